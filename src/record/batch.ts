/**
 * Reading record batches (layout: `batch-layout.ts`). Two levels: the header alone
 * (`batch-header.ts`), and `decodeBatch` for code that wants records (clients' doors, compaction,
 * coordinators). Pure; runs on any thread; keeps no reference to the bytes beyond the result.
 */
import { ErrorCode } from '../errors/error-code.ts'
import { type BatchHeader, parseHeader } from './batch-header.ts'
import { BATCH_HEADER_BYTES } from './batch-layout.ts'
import { COMPRESSION_NONE, COMPRESSION_ZSTD, decompress, decompressSync } from './compression.ts'
import { crc32c } from './crc32c.ts'
import { RecordError } from './record-error.ts'
import { type BatchRecord, readRecords } from './record-reader.ts'

export {
  BATCH_MAGIC,
  type BatchHeader,
  batchAttributes,
  batchBaseOffset,
  batchBaseSequence,
  batchBaseTimestamp,
  batchBytes,
  batchCrc,
  batchLastOffset,
  batchLastOffsetDelta,
  batchLeaderEpoch,
  batchMagic,
  batchMaxTimestamp,
  batchProducerEpoch,
  batchProducerId,
  batchRecordsCount,
} from './batch-header.ts'

export interface DecodeOptions {
  /** Most bytes that the records may take once decompressed, inclusive. */
  readonly recordsBytesMax: number
  /** False only where the CRC has been checked already. Default: true. */
  readonly verifyCrc?: boolean
}

/**
 * A batch whose records are readable. Iterating decodes one record at a time, may be repeated, and
 * throws RecordError at the first malformed record. Without compression keys and values are views
 * into the batch's own bytes: copy what must outlive them.
 */
export interface DecodedBatch extends Iterable<BatchRecord> {
  readonly header: BatchHeader
  [Symbol.iterator](): Generator<BatchRecord, void, void>
}

/**
 * Decodes the batch that starts at `offset`. Throws (rejects with) RecordError for anything that is
 * not one whole batch with a right CRC. The bytes must not change until the promise settles.
 */
export async function decodeBatch(
  bytes: Uint8Array,
  offset: number,
  options: DecodeOptions,
): Promise<DecodedBatch> {
  const header = decodeHeader(bytes, offset, options)
  const section = recordsSection(bytes, offset, header)
  if (header.compression === COMPRESSION_NONE) return openBatch(header, section, options)
  const inflated = await decompress(header.compression, section, options.recordsBytesMax)
  return openBatch(header, inflated, options)
}

/**
 * The same at once, for every codec but zstd, whose library has no synchronous call: such a batch
 * is refused with UNSUPPORTED_COMPRESSION_TYPE.
 */
export function decodeBatchSync(
  bytes: Uint8Array,
  offset: number,
  options: DecodeOptions,
): DecodedBatch {
  const header = decodeHeader(bytes, offset, options)
  const section = recordsSection(bytes, offset, header)
  const code = header.compression
  if (code === COMPRESSION_NONE) return openBatch(header, section, options)
  if (code === COMPRESSION_ZSTD) {
    const message = 'A zstd batch cannot be decoded synchronously'
    throw new RecordError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, message)
  }
  return openBatch(header, decompressSync(code, section, options.recordsBytesMax), options)
}

/** Reads and checks the header and, unless told otherwise, the CRC. Throws RecordError. */
export function decodeHeader(
  bytes: Uint8Array,
  offset: number,
  options: Pick<DecodeOptions, 'verifyCrc'> = {},
): BatchHeader {
  return parseHeader(bytes, offset, options.verifyCrc === false ? null : crc32c)
}

function recordsSection(bytes: Uint8Array, offset: number, header: BatchHeader): Uint8Array {
  return bytes.subarray(offset + BATCH_HEADER_BYTES, offset + header.bytes)
}

function openBatch(header: BatchHeader, records: Uint8Array, options: DecodeOptions): DecodedBatch {
  if (records.length > options.recordsBytesMax) {
    const message = `${records.length} bytes of records exceed the ${options.recordsBytesMax} allowed`
    throw new RecordError(ErrorCode.MESSAGE_TOO_LARGE, message)
  }
  return { header, [Symbol.iterator]: () => readRecords(records, header) }
}
