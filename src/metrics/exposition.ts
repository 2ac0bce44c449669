import { assert } from '../base/assert.ts'
import { type Histogram, LATENCY_BOUNDS_MS } from './histogram.ts'
import { METRICS, type MetricName } from './metric-table.ts'

/**
 * Writes Prometheus' text form (0.0.4), family by family. Ten thousand partitions are some 110,000
 * lines: they are strings joined and encoded piece by piece, and the event loop runs in between
 * (`breathe`), so that no scrape holds requests up. Runs on main.
 *
 *   begin(name) → put, histogram … → begin(next) …  → finish
 */
const PIECE_CHARS = 16 * 1024
const FIRST_BYTES = 64 * 1024
/** A character of UTF-16 takes at most so many bytes of UTF-8. */
const CHAR_BYTES_MAX = 3
/** How long it goes on before others may: small beside what a request may take. */
const SLICE_MS = 3

export class Exposition {
  #bytes: Buffer
  #length = 0
  readonly #seen = new Set<MetricName>()
  #text = ''
  #family = ''
  #sliceStartMs = performance.now()

  /** `bytesExpected`: as long as the last text was. Copying it while it grows takes long. */
  constructor(bytesExpected = 0) {
    this.#bytes = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, bytesExpected))
  }

  /** Begins a family; each name once. */
  begin(name: MetricName): void {
    assert(!this.#seen.has(name), `the family ${name} is begun twice`)
    this.#seen.add(name)
    const { type, help } = METRICS[name]
    this.#text += `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`
    this.#family = name
  }

  /** One sample of the family; `labels` come from `labelText`, '' for none. */
  put(value: number, labels = ''): void {
    this.#text += `${this.#family}${labels} ${valueText(value)}\n`
    if (this.#text.length >= PIECE_CHARS) this.#encode()
  }

  /** A family of one sample. */
  single(name: MetricName, value: number): void {
    this.begin(name)
    this.put(value)
  }

  /** The samples of one histogram of the family, whose `cells` are milliseconds. */
  histogram(
    cells: ArrayLike<number>,
    labels = '',
    boundsMs: readonly number[] = LATENCY_BOUNDS_MS,
  ): void {
    assert(cells.length === boundsMs.length + 2, 'the cells of a histogram')
    const inner = labels === '' ? '' : `${labels.slice(1, -1)},`
    let count = 0
    let text = ''
    for (const [i, bound] of boundsMs.entries()) {
      count += cells[i] as number
      text += `${this.#family}_bucket{${inner}le="${bound / 1000}"} ${count}\n`
    }
    count += cells[boundsMs.length] as number
    const sum = (cells[boundsMs.length + 1] as number) / 1000
    text += `${this.#family}_bucket{${inner}le="+Inf"} ${count}\n`
    text += `${this.#family}_sum${labels} ${valueText(sum)}\n`
    this.#text += `${text}${this.#family}_count${labels} ${count}\n`
    if (this.#text.length >= PIECE_CHARS) this.#encode()
  }

  /** Text of another writer: whole families. */
  append(text: string): void {
    this.#text += text
  }

  /** Lets others run when it has gone on for long. */
  async breathe(): Promise<void> {
    if (performance.now() - this.#sliceStartMs < SLICE_MS) return
    await new Promise(setImmediate)
    this.#sliceStartMs = performance.now()
  }

  /** What was waited for has cost nobody anything: a new slice begins. */
  resumed(): void {
    this.#sliceStartMs = performance.now()
  }

  /** The whole text. Nothing is written after it. */
  finish(): Uint8Array {
    this.#encode()
    return this.#bytes.subarray(0, this.#length)
  }

  #encode(): void {
    const needed = this.#length + CHAR_BYTES_MAX * this.#text.length
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(2 * this.#bytes.length, needed))
      grown.set(this.#bytes.subarray(0, this.#length))
      this.#bytes = grown
    }
    this.#length += this.#bytes.write(this.#text, this.#length)
    this.#text = ''
  }
}

export function histogramOf(exposition: Exposition, histogram: Histogram, labels = ''): void {
  exposition.histogram(histogram.cells, labels, histogram.boundsMs)
}

/** `{a="1",b="2"}`, with what the format forbids escaped. */
export function labelText(labels: Readonly<Record<string, string | number>>): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`)
  return parts.length === 0 ? '' : `{${parts.join(',')}}`
}

export function escapeLabel(value: string | number): string {
  if (typeof value === 'number') return String(value)
  if (!/[\\"\n]/.test(value)) return value
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

function escapeHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}

function valueText(value: number): string {
  if (Number.isFinite(value)) return String(value)
  if (Number.isNaN(value)) return 'NaN'
  return value > 0 ? '+Inf' : '-Inf'
}
