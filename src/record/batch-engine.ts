/**
 * The byte work on runs of record batches: one JavaScript implementation (`batch-engine-js.ts`) and
 * one in the addon, equal result for equal input, held so by a property test.
 */
export interface BatchEngine {
  readonly name: 'javascript' | 'native'

  /** CRC-32C (Castagnoli) of bytes[start, end). */
  crc32c(bytes: Uint8Array, start: number, end: number): number

  /**
   * Validates every batch of the run bytes[offset, offset + length) and, when all are valid, stamps
   * them with consecutive offsets. Nothing is written when any batch is refused.
   *
   * Checks, in this order per batch: a whole header is there (CORRUPT_MESSAGE); batchLength ≥ 49
   * and inside the run (CORRUPT_MESSAGE); whole batch ≤ batchBytesMax (MESSAGE_TOO_LARGE);
   * magic = 2 (CORRUPT_MESSAGE); CRC (CORRUPT_MESSAGE); no control bit, unless `allowControl`
   * (INVALID_RECORD); compression code ≤ 4 (UNSUPPORTED_COMPRESSION_TYPE); recordsCount > 0 and
   * lastOffsetDelta = recordsCount − 1 (INVALID_RECORD); producerId ≥ 0 needs producerEpoch ≥ 0
   * and, for a batch that is not control, baseSequence ≥ 0, and at most 2^53 − 1 (INVALID_RECORD);
   * maxTimestamp within [−1, timestampMax] (INVALID_TIMESTAMP). An empty run is CORRUPT_MESSAGE,
   * one of more batches than `info` holds INVALID_RECORD.
   *
   * Stamps: baseOffset, leaderEpoch; when appendTimeMs ≥ 0 also maxTimestamp = appendTimeMs, the
   * LogAppendTime bit set, and a new CRC; otherwise the LogAppendTime bit is cleared (new CRC only
   * if it was set).
   *
   * @returns the number of batches (≥ 1), or minus an ErrorCode.
   */
  validateAndStamp(
    bytes: Uint8Array,
    offset: number,
    length: number,
    stamp: Float64Array,
    info: Float64Array,
  ): number
}

/** Words of the `stamp` argument. One array is reused: no object per batch. */
export const STAMP_BASE_OFFSET = 0
export const STAMP_LEADER_EPOCH = 1
export const STAMP_APPEND_TIME_MS = 2 // −1: CreateTime.
export const STAMP_BATCH_BYTES_MAX = 3
export const STAMP_TIMESTAMP_MAX = 4 // Largest CreateTime accepted, inclusive; milliseconds.
export const STAMP_ALLOW_CONTROL = 5 // 1 or 0.
export const STAMP_WORDS = 6
