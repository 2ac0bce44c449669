/**
 * A histogram with fixed buckets in one preallocated array: `observe` allocates nothing and asks
 * nobody for the time. Counts are exact up to 2^53. Owned by one thread; another one gets a copy
 * of `cells`.
 */

/** Upper bounds in milliseconds, inclusive. Small requests take a fraction of the first ones. */
export const LATENCY_BOUNDS_MS: readonly number[] = [
  0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000,
]

export class Histogram {
  readonly boundsMs: readonly number[]
  /** A count for each bound, the count beyond the last one, and the sum in milliseconds. */
  readonly cells: Float64Array

  constructor(boundsMs: readonly number[] = LATENCY_BOUNDS_MS) {
    this.boundsMs = boundsMs
    this.cells = new Float64Array(boundsMs.length + 2)
  }

  observe(ms: number): void {
    const { boundsMs, cells } = this
    let bucket = 0
    while (bucket < boundsMs.length && ms > (boundsMs[bucket] as number)) bucket++
    cells[bucket]! += 1
    cells[boundsMs.length + 1]! += ms
  }

  get count(): number {
    let count = 0
    for (let i = 0; i <= this.boundsMs.length; i++) count += this.cells[i] as number
    return count
  }

  get sumMs(): number {
    return this.cells[this.boundsMs.length + 1] as number
  }
}
