/** What a seed draws for its disk: how it keeps, tears and reorders what was not flushed. */
export interface DiskPlan {
  readonly sectorBytes: number
  /** A write takes only part of what it was given. */
  readonly shortWriteChance: number
  /** A flush, once polled, is done. */
  readonly flushDoneChance: number
  /** A read of old data is started off the thread. */
  readonly readLaterChance: number
  /** Some dirty sectors reach the platter after a write, unasked. */
  readonly writebackChance: number
  /** Unsynced names survive in the order they were made, or in any combination. */
  readonly orderedNames: boolean
  /** What was never written reads as garbage instead of zeros after a power loss. */
  readonly garbage: boolean
}
