import { oneInThousand } from '../base/quantile.ts'
import { Histogram } from './histogram.ts'

/**
 * How long work on the event loop of its thread keeps a timer waiting, from samples 50 ms apart.
 * A histogram, not the quantiles of Node's `monitorEventLoopDelay` (which prom-client gives as
 * well): those cannot be added up over time or brokers.
 */
const INTERVAL_MS = 50

/**
 * Upper bounds in milliseconds, inclusive: close to each other around a quarter of the election
 * timeout, which the delays of a controller have to stay below.
 */
export const LOOP_DELAY_BOUNDS_MS: readonly number[] = [
  0.5, 1, 2.5, 5, 10, 20, 30, 40, 50, 60, 75, 90, 105, 125, 150, 200, 300, 500, 1000, 2500, 5000,
  10_000,
]

/** Of the last three and a half minutes; fewer than the least say nothing of one in a thousand. */
const SAMPLES_MAX = 4096
const SAMPLES_MIN = 1000

export class LoopDelay {
  readonly histogram = new Histogram(LOOP_DELAY_BOUNDS_MS)
  readonly #newest = new Float64Array(SAMPLES_MAX)
  #count = 0
  #timer: NodeJS.Timeout
  #dueMs = performance.now() + INTERVAL_MS

  constructor() {
    this.#timer = setTimeout(this.#sample, INTERVAL_MS)
    this.#timer.unref()
  }

  /** A start is late as nothing later is: it says nothing of what is to come. */
  forgetStart(): void {
    this.#count = 0
  }

  /** What one of a thousand of the newest samples is above; 0 while there are few. */
  get oneInThousandMs(): number {
    if (this.#count < SAMPLES_MIN) return 0
    return oneInThousand(this.#newest.subarray(0, Math.min(this.#count, SAMPLES_MAX)))
  }

  close(): void {
    clearTimeout(this.#timer)
  }

  readonly #sample = (): void => {
    const now = performance.now()
    // Timers count whole milliseconds and may run a fraction of one early.
    const lateMs = Math.max(0, now - this.#dueMs)
    this.histogram.observe(lateMs)
    this.#newest[this.#count % SAMPLES_MAX] = lateMs
    this.#count++
    this.#dueMs = now + INTERVAL_MS
    this.#timer.refresh()
  }
}
