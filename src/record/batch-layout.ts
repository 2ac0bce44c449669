/**
 * RecordBatch v2, the unit that producers send, the log stores and consumers receive (KIP-98).
 *
 *   0 baseOffset i64 │ 8 batchLength i32 │ 12 partitionLeaderEpoch i32 │ 16 magic i8 │ 17 crc u32
 *  21 attributes i16 │ 23 lastOffsetDelta i32 │ 27 baseTimestamp i64 │ 35 maxTimestamp i64
 *  43 producerId i64 │ 51 producerEpoch i16 │ 53 baseSequence i32 │ 57 recordsCount i32
 *  61 records
 *
 * `batchLength` counts from byte 12. The CRC-32C covers byte 21 to the end, so that base offset and
 * leader epoch are written in place. Everything is big-endian.
 */
export const BASE_OFFSET = 0
export const BATCH_LENGTH = 8
export const LEADER_EPOCH = 12
export const MAGIC = 16
export const CRC = 17
export const ATTRIBUTES = 21
export const LAST_OFFSET_DELTA = 23
export const BASE_TIMESTAMP = 27
export const MAX_TIMESTAMP = 35
export const PRODUCER_ID = 43
export const PRODUCER_EPOCH = 51
export const BASE_SEQUENCE = 53
export const RECORDS_COUNT = 57
export const BATCH_HEADER_BYTES = 61

/** Bytes before the ones that `batchLength` counts. */
export const LENGTH_PREFIX_BYTES = 12

/** Attribute bits. */
export const COMPRESSION_MASK = 0x07
export const LOG_APPEND_TIME_BIT = 0x08
export const TRANSACTIONAL_BIT = 0x10
export const CONTROL_BIT = 0x20
export const DELETE_HORIZON_BIT = 0x40

/** What validation tells of each batch of a run: float64 words in the `info` array, by index. */
export const INFO_POSITION = 0 // Relative to the start of the run, bytes.
export const INFO_BYTES = 1 // Whole batch, the 12 prefix bytes included.
export const INFO_RECORDS_COUNT = 2
export const INFO_ATTRIBUTES = 3
export const INFO_PRODUCER_ID = 4 // −1 when the producer is not idempotent.
export const INFO_PRODUCER_EPOCH = 5
export const INFO_BASE_SEQUENCE = 6
export const INFO_BASE_OFFSET = 7 // As stamped.
export const INFO_MAX_TIMESTAMP = 8 // As stamped.
export const INFO_WORDS = 9
