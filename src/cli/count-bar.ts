import type { SingleBar } from 'cli-progress'

/**
 * How much of something that is counted has been done, on standard error: a bar on a terminal, else
 * a line every few seconds while it moves.
 */
const LINE_MS = 5000
const BAR_MAX = 40
const BESIDE_BAR = 60

export class CountBar {
  readonly #label: string
  readonly #unit: string
  readonly #bar: SingleBar | null
  readonly #line: (text: string) => void
  #saidMs = Number.NEGATIVE_INFINITY
  #said = ''

  static async start(options: {
    readonly label: string
    /** What is counted, in the plural. */
    readonly unit: string
    readonly line: (text: string) => void
  }): Promise<CountBar> {
    if (!process.stderr.isTTY) return new CountBar(options, null)
    const { default: library } = await import('cli-progress')
    const columns = process.stderr.columns ?? 80
    const bar = new library.SingleBar({
      stream: process.stderr,
      hideCursor: true,
      barsize: Math.max(8, Math.min(BAR_MAX, columns - BESIDE_BAR)),
      barCompleteChar: '█',
      barIncompleteChar: '░',
      format: `  ${options.label}  {bar} {value} of {total} ${options.unit}  {note}`,
    })
    bar.start(1, 0, { note: '' })
    return new CountBar(options, bar)
  }

  private constructor(
    options: { label: string; unit: string; line: (text: string) => void },
    bar: SingleBar | null,
  ) {
    this.#label = options.label
    this.#unit = options.unit
    this.#line = options.line
    this.#bar = bar
  }

  update(done: number, total: number, note = ''): void {
    if (this.#bar !== null) {
      this.#bar.setTotal(Math.max(1, total))
      this.#bar.update(total === 0 ? 1 : done, { note })
      return
    }
    const text = `${this.#label}: ${done} of ${total} ${this.#unit}${note && `, ${note}`}`
    const nowMs = performance.now()
    if (text === this.#said || nowMs - this.#saidMs < LINE_MS) return
    // What is over before anybody could wait for it is not worth a line.
    if (this.#saidMs !== Number.NEGATIVE_INFINITY) this.#line(text)
    this.#saidMs = nowMs
    this.#said = text
  }

  /** Leaves what was drawn last. */
  stop(): void {
    this.#bar?.stop()
  }
}
