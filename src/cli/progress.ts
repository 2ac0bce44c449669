import type { MultiBar, SingleBar } from 'cli-progress'

/**
 * How far a command has come, on a terminal: one line for each thing that moves, with its rate.
 * Where there is no terminal nothing is drawn. Numbers are taken from counters that the command
 * keeps.
 */
export interface Counter {
  records: number
  bytes: number
}

export interface ProgressLine {
  readonly name: string
  readonly counter: Readonly<Counter>
  /** Bytes at the end; null when nobody knows. */
  readonly bytesTotal: number | null
}

const REDRAW_MS = 100
/** What stands beside the bar: the percentage, the rates, and spaces. */
const BESIDE_BAR = 61
const BAR_MAX = 40

/** What the terminal's width leaves for bars beside names of that width. */
function barSize(nameWidth: number): number {
  const columns = process.stderr.columns ?? 80
  return Math.max(0, Math.min(BAR_MAX, columns - nameWidth - BESIDE_BAR))
}

export class Progress {
  readonly #bars: MultiBar | null
  readonly #lines: { readonly line: ProgressLine; readonly bar: SingleBar }[] = []
  readonly #timer: NodeJS.Timeout | null = null
  readonly #startedMs = performance.now()

  /** Draws on stderr, if that is a terminal and `isWanted`. */
  static async start(lines: readonly ProgressLine[], isWanted = true): Promise<Progress> {
    if (!isWanted || !process.stderr.isTTY) return new Progress(lines, null)
    return new Progress(lines, (await import('cli-progress')).default)
  }

  private constructor(
    lines: readonly ProgressLine[],
    library: typeof import('cli-progress') | null,
  ) {
    if (library === null) {
      this.#bars = null
      return
    }
    const width = Math.max(...lines.map(({ name }) => name.length))
    this.#bars = new library.MultiBar(
      {
        stream: process.stderr,
        hideCursor: true,
        clearOnComplete: false,
        autopadding: true,
        barsize: barSize(width),
        format: (options, params, payload: { line: ProgressLine }) => {
          const { line } = payload
          const seconds = (performance.now() - this.#startedMs) / 1000
          const size = options.barsize ?? 24
          const done = Math.round(params.progress * size)
          const bar = `${'█'.repeat(done)}${'░'.repeat(size - done)}`
          const share = line.bytesTotal === null ? '' : `${bar}${percent(params.progress)} `
          return `  ${line.name.padEnd(width)}  ${share}${rateText(line.counter, seconds)}`
        },
      },
      library.Presets.shades_classic,
    )
    for (const line of lines) {
      this.#lines.push({ line, bar: this.#bars.create(line.bytesTotal ?? 1, 0, { line }) })
    }
    this.#timer = setInterval(() => this.#draw(), REDRAW_MS)
    this.#timer.unref()
  }

  /** Draws the last state and leaves it standing. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#draw()
    this.#bars?.stop()
  }

  #draw(): void {
    for (const { line, bar } of this.#lines) {
      bar.update(line.bytesTotal === null ? 0 : Math.min(line.counter.bytes, line.bytesTotal), {
        line,
      })
    }
    this.#bars?.update()
  }
}

/** `1,234,567 events  210 MB  412,000 events/s  70.1 MB/s`. */
export function rateText({ records, bytes }: Readonly<Counter>, seconds: number): string {
  const perSecond = seconds > 0 ? 1 / seconds : 0
  const parts = [
    `${whole(records)} events`.padStart(17),
    sizeText(bytes).padStart(8),
    `${whole(records * perSecond)}/s`.padStart(11),
    `${sizeText(bytes * perSecond)}/s`.padStart(10),
  ]
  return parts.join(' ')
}

/** Powers of ten: 1 MB is 10^6 bytes. */
export function sizeText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

function percent(share: number): string {
  return `${Math.floor(share * 100)}%`.padStart(4)
}
