/**
 * Latencies in an HDR histogram of three significant digits, microseconds inside. The histogram is
 * plain JavaScript: the library's WebAssembly needs asynchronous preparation and is no faster for
 * what is recorded here.
 */
import { build, type Histogram } from 'hdr-histogram-js'
import type { LatencySummary } from './latency-summary.ts'

/** 35 minutes: what is longer counts as that. */
const MICROS_MAX = 2 ** 31 - 1
/** Of the file: reporting points for each halving of the distance to 100 %. */
const TICKS_PER_HALF = 5
const MICROS_PER_MS = 1000

export class Latency {
  readonly #histogram: Histogram = build({
    bitBucketSize: 32,
    lowestDiscernibleValue: 1,
    highestTrackableValue: MICROS_MAX,
    numberOfSignificantValueDigits: 3,
  })
  /** The library's own excludes 0. */
  #minMicros = Number.POSITIVE_INFINITY

  get count(): number {
    return this.#histogram.totalCount
  }

  /** Records `count` times the same. A negative time counts as none. */
  record(ms: number, count = 1): void {
    const micros = Math.min(MICROS_MAX, Math.max(0, Math.round(ms * MICROS_PER_MS)))
    if (micros < this.#minMicros) this.#minMicros = micros
    if (count === 1) this.#histogram.recordValue(micros)
    else this.#histogram.recordValueWithCount(micros, count)
  }

  /** Records all that `other` has. */
  add(other: Latency): void {
    this.#histogram.add(other.#histogram)
    this.#minMicros = Math.min(this.#minMicros, other.#minMicros)
  }

  reset(): void {
    this.#histogram.reset()
    this.#minMicros = Number.POSITIVE_INFINITY
  }

  /** Milliseconds; null when nothing was recorded. `percentile` from 0 to 100. */
  percentile(percentile: number): number | null {
    if (this.count === 0) return null
    return round(this.#histogram.getValueAtPercentile(percentile))
  }

  summary(): LatencySummary {
    const isEmpty = this.count === 0
    return {
      count: this.count,
      min: isEmpty ? null : round(this.#minMicros),
      mean: isEmpty ? null : round(this.#histogram.mean),
      p50: this.percentile(50),
      p90: this.percentile(90),
      p99: this.percentile(99),
      p999: this.percentile(99.9),
      p9999: this.percentile(99.99),
      max: isEmpty ? null : round(this.#histogram.maxValue),
    }
  }

  /** HdrHistogram's own text form, in milliseconds: what its plotters read. */
  distribution(): string {
    return this.#histogram.outputPercentileDistribution(TICKS_PER_HALF, MICROS_PER_MS)
  }
}

function round(micros: number): number {
  return Number((micros / MICROS_PER_MS).toFixed(4))
}
