/**
 * The header of a record batch (layout: `batch-layout.ts`): fields straight from a DataView for
 * code that treats batches as opaque (no objects, no checks: whoever calls them has validated the
 * run), and `parseHeader` for bytes that nobody has checked. Pure, without a `node:` module:
 * browsers run it too.
 */
import { readInt64, viewOf } from '../base/bytes.ts'
import { ErrorCode } from '../errors/error-code.ts'
import {
  ATTRIBUTES,
  BASE_OFFSET,
  BASE_SEQUENCE,
  BASE_TIMESTAMP,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH,
  COMPRESSION_MASK,
  CONTROL_BIT,
  CRC,
  DELETE_HORIZON_BIT,
  LAST_OFFSET_DELTA,
  LEADER_EPOCH,
  LENGTH_PREFIX_BYTES,
  LOG_APPEND_TIME_BIT,
  MAGIC,
  MAX_TIMESTAMP,
  PRODUCER_EPOCH,
  PRODUCER_ID,
  RECORDS_COUNT,
  TRANSACTIONAL_BIT,
} from './batch-layout.ts'
import { type CompressionCode, isCompressionCode } from './compression-code.ts'
import { RecordError } from './record-error.ts'
import type { RecordContext } from './record-reader.ts'

/** The only magic (format version) that the log holds. */
export const BATCH_MAGIC = 2

// —— header fields of the batch that starts at `at` ——

export function batchBaseOffset(view: DataView, at: number): number {
  return readInt64(view, at + BASE_OFFSET)
}

/** The whole batch, the 12 prefix bytes included. */
export function batchBytes(view: DataView, at: number): number {
  return view.getInt32(at + BATCH_LENGTH) + LENGTH_PREFIX_BYTES
}

export function batchLeaderEpoch(view: DataView, at: number): number {
  return view.getInt32(at + LEADER_EPOCH)
}

export function batchMagic(view: DataView, at: number): number {
  return view.getInt8(at + MAGIC)
}

export function batchCrc(view: DataView, at: number): number {
  return view.getUint32(at + CRC)
}

export function batchAttributes(view: DataView, at: number): number {
  return view.getInt16(at + ATTRIBUTES)
}

export function batchLastOffsetDelta(view: DataView, at: number): number {
  return view.getInt32(at + LAST_OFFSET_DELTA)
}

/** The offset of the last record, inclusive. Compaction may have removed the record itself. */
export function batchLastOffset(view: DataView, at: number): number {
  return batchBaseOffset(view, at) + view.getInt32(at + LAST_OFFSET_DELTA)
}

export function batchBaseTimestamp(view: DataView, at: number): number {
  return readInt64(view, at + BASE_TIMESTAMP)
}

export function batchMaxTimestamp(view: DataView, at: number): number {
  return readInt64(view, at + MAX_TIMESTAMP)
}

export function batchProducerId(view: DataView, at: number): number {
  return readInt64(view, at + PRODUCER_ID)
}

export function batchProducerEpoch(view: DataView, at: number): number {
  return view.getInt16(at + PRODUCER_EPOCH)
}

export function batchBaseSequence(view: DataView, at: number): number {
  return view.getInt32(at + BASE_SEQUENCE)
}

export function batchRecordsCount(view: DataView, at: number): number {
  return view.getInt32(at + RECORDS_COUNT)
}

/** A batch's header as an object; field meanings as in `batch-layout.ts`. */
export interface BatchHeader extends RecordContext {
  /** The whole batch, the 12 prefix bytes included. */
  readonly bytes: number
  readonly leaderEpoch: number
  readonly attributes: number
  readonly compression: CompressionCode
  readonly isTransactional: boolean
  readonly isControl: boolean
  /** True: `baseTimestamp` is when tombstones of this batch may go (KIP-534). */
  readonly hasDeleteHorizon: boolean
  /** −1 when the producer is not idempotent. */
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
}

/** CRC-32C of bytes[start, end): platforms have different ones at hand. */
export type Crc32c = (bytes: Uint8Array, start: number, end: number) => number

/**
 * Reads and checks the header of the batch at `offset`, and its CRC unless `crc32c` is null. Throws
 * RecordError.
 */
export function parseHeader(bytes: Uint8Array, offset: number, crc32c: Crc32c | null): BatchHeader {
  const available = bytes.length - offset
  if (offset < 0 || available < BATCH_HEADER_BYTES) throw corrupt('A batch header is cut off')
  const view = viewOf(bytes)
  const size = batchBytes(view, offset)
  if (size < BATCH_HEADER_BYTES || size > available) {
    throw corrupt(`A batch of ${size} bytes does not fit the ${available} that are there`)
  }
  if (batchMagic(view, offset) !== BATCH_MAGIC) {
    throw corrupt(`A batch has magic ${batchMagic(view, offset)}; only ${BATCH_MAGIC} is supported`)
  }
  if (crc32c !== null) {
    const crc = crc32c(bytes, offset + ATTRIBUTES, offset + size)
    if (crc !== batchCrc(view, offset)) throw corrupt('A batch fails its CRC')
  }
  return headerFields(view, offset, size)
}

function headerFields(view: DataView, offset: number, size: number): BatchHeader {
  const attributes = batchAttributes(view, offset)
  const compression = attributes & COMPRESSION_MASK
  if (!isCompressionCode(compression)) {
    const message = `Compression code ${compression} is not known`
    throw new RecordError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, message)
  }
  const header: BatchHeader = {
    baseOffset: batchBaseOffset(view, offset),
    bytes: size,
    leaderEpoch: batchLeaderEpoch(view, offset),
    attributes,
    compression,
    isLogAppendTime: (attributes & LOG_APPEND_TIME_BIT) !== 0,
    isTransactional: (attributes & TRANSACTIONAL_BIT) !== 0,
    isControl: (attributes & CONTROL_BIT) !== 0,
    hasDeleteHorizon: (attributes & DELETE_HORIZON_BIT) !== 0,
    lastOffsetDelta: batchLastOffsetDelta(view, offset),
    baseTimestamp: batchBaseTimestamp(view, offset),
    maxTimestamp: batchMaxTimestamp(view, offset),
    producerId: batchProducerId(view, offset),
    producerEpoch: batchProducerEpoch(view, offset),
    baseSequence: batchBaseSequence(view, offset),
    recordsCount: batchRecordsCount(view, offset),
  }
  const { baseOffset, lastOffsetDelta, recordsCount } = header
  if (
    baseOffset < 0 ||
    lastOffsetDelta < 0 ||
    !Number.isSafeInteger(baseOffset + lastOffsetDelta)
  ) {
    throw corrupt(`A batch starts at offset ${baseOffset} and spans ${lastOffsetDelta}`)
  }
  // Compaction leaves fewer records than offsets; an empty batch keeps a producer's sequence.
  if (recordsCount < 0 || recordsCount > lastOffsetDelta + 1) {
    throw corrupt(`A batch of ${lastOffsetDelta + 1} offsets claims ${recordsCount} records`)
  }
  if (!Number.isSafeInteger(header.baseTimestamp) || !Number.isSafeInteger(header.maxTimestamp)) {
    throw new RecordError(ErrorCode.INVALID_TIMESTAMP, 'A timestamp of a batch is out of range')
  }
  if (!Number.isSafeInteger(header.producerId)) throw corrupt('A producer id is out of range')
  return header
}

function corrupt(message: string): RecordError {
  return new RecordError(ErrorCode.CORRUPT_MESSAGE, message)
}
