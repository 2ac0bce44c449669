/** The codecs of record batches by their code in the batch attributes, and Kafka's names. Pure. */
export const COMPRESSION_NONE = 0
export const COMPRESSION_GZIP = 1
export const COMPRESSION_SNAPPY = 2
export const COMPRESSION_LZ4 = 3
export const COMPRESSION_ZSTD = 4

export type CompressionCode = 0 | 1 | 2 | 3 | 4
export type SyncCompressionCode = Exclude<CompressionCode, typeof COMPRESSION_ZSTD>

/** Kafka's names, by code, as in `compression.type`. */
export const COMPRESSION_NAMES = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const

export function isCompressionCode(code: number): code is CompressionCode {
  return Number.isInteger(code) && code >= COMPRESSION_NONE && code <= COMPRESSION_ZSTD
}
