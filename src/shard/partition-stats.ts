/**
 * What a shard says of many partitions at once, for `/metrics`: rows of numbers, so that ten
 * thousand of them are a few messages. NaN: not known without opening the log.
 */
export const PARTITION_STATS_FIELDS = [
  'logStartOffset',
  'logEndOffset',
  'highWatermark',
  'logBytes',
  /** Since the start, what the shard appended. */
  'recordsIn',
  'bytesIn',
] as const
export type PartitionStatsField = (typeof PARTITION_STATS_FIELDS)[number]

export const PARTITION_STATS_STRIDE = PARTITION_STATS_FIELDS.length

/** Partitions in one message: the rows are well below what a lane's record holds. */
export const PARTITION_STATS_BATCH = 1024

/** The bytes of numbers, for a message. */
export function bytesOfRows(rows: Float64Array): Uint8Array {
  return new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength)
}

/** The numbers again, wherever the message lay. */
export function rowsOfBytes(bytes: Uint8Array): Float64Array {
  return new Float64Array(bytes.slice().buffer)
}
