/**
 * The records inside a batch, already decompressed (KIP-98):
 *
 *   length varint │ attributes i8 │ timestampDelta varlong │ offsetDelta varint
 *   │ keyLength varint (−1: null), key │ valueLength varint (−1: null), value
 *   │ headersCount varint, then each: keyLength varint, key (UTF-8), valueLength varint (−1), value
 *
 * Every length and count is checked against the bytes that remain before anything is made from it.
 */
import { readUtf8 } from '../base/utf8.ts'
import { VarintCursor, VarintError } from '../base/varint.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { RecordError } from './record-error.ts'

export interface RecordHeader {
  readonly key: string
  readonly value: Uint8Array | null
}

export interface BatchRecord {
  readonly offset: number
  /** Milliseconds since the Unix epoch; −1 when the producer gave none. */
  readonly timestamp: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly RecordHeader[]
}

/** What the records need to know of their batch; meanings as in `batch-layout.ts`. */
export interface RecordContext {
  readonly baseOffset: number
  readonly lastOffsetDelta: number
  readonly baseTimestamp: number
  readonly maxTimestamp: number
  /** True: each record's timestamp is `maxTimestamp`, the time of the append. */
  readonly isLogAppendTime: boolean
  readonly recordsCount: number
}

/** length, attributes, timestampDelta, offsetDelta, keyLength, valueLength, headersCount. */
const RECORD_BYTES_MIN = 7
/** keyLength, valueLength. */
const HEADER_BYTES_MIN = 2
const NO_HEADERS: readonly RecordHeader[] = Object.freeze([])

/** Yields the records of `bytes` in order. Throws RecordError unless they fill it exactly. */
export function* readRecords(
  bytes: Uint8Array,
  batch: RecordContext,
): Generator<BatchRecord, void, void> {
  if (batch.recordsCount * RECORD_BYTES_MIN > bytes.length) {
    throw malformed(`${batch.recordsCount} records do not fit ${bytes.length} bytes`)
  }
  const cursor = new VarintCursor(bytes)
  let previousDelta = -1
  for (let index = 0; index < batch.recordsCount; index++) {
    const record = readRecord(cursor, batch, previousDelta)
    previousDelta = record.offset - batch.baseOffset
    yield record
  }
  if (cursor.position !== bytes.length) {
    throw malformed(`${bytes.length - cursor.position} bytes are left after the last record`)
  }
}

function readRecord(cursor: VarintCursor, batch: RecordContext, previous: number): BatchRecord {
  try {
    const length = cursor.readVarint()
    if (length < RECORD_BYTES_MIN - 1 || length > cursor.remaining) {
      throw malformed(`A record of ${length} bytes does not fit the ${cursor.remaining} left`)
    }
    const end = cursor.position + length
    cursor.readInt8() // Attributes: no bit has a meaning yet.
    const timestampDelta = cursor.readVarlong()
    const offsetDelta = cursor.readVarint()
    if (offsetDelta <= previous || offsetDelta > batch.lastOffsetDelta) {
      throw malformed(`Offset delta ${offsetDelta} after ${previous}, at most the batch's last one`)
    }
    const timestamp = batch.isLogAppendTime
      ? batch.maxTimestamp
      : batch.baseTimestamp + timestampDelta
    if (!Number.isSafeInteger(timestamp)) {
      throw new RecordError(
        ErrorCode.INVALID_TIMESTAMP,
        'The timestamp of a record is out of range',
      )
    }
    const key = readNullableBytes(cursor, end)
    const value = readNullableBytes(cursor, end)
    const headers = readHeaders(cursor, end)
    if (cursor.position !== end) throw malformed(`A record is not the ${length} bytes it claims`)
    return { offset: batch.baseOffset + offsetDelta, timestamp, key, value, headers }
  } catch (error) {
    if (error instanceof VarintError) throw malformed(error.message, error)
    throw error
  }
}

/** `end` is where the record ends: it bounds every length, so nothing reaches into the next. */
function readNullableBytes(cursor: VarintCursor, end: number): Uint8Array | null {
  const length = cursor.readVarint()
  if (length === -1) return null
  return take(cursor, length, end)
}

function readHeaders(cursor: VarintCursor, end: number): readonly RecordHeader[] {
  const count = cursor.readVarint()
  if (count === 0) return NO_HEADERS
  if (count < 0 || count * HEADER_BYTES_MIN > end - cursor.position) {
    throw malformed(`${count} headers do not fit the ${end - cursor.position} bytes left`)
  }
  const headers: RecordHeader[] = []
  for (let i = 0; i < count; i++) {
    const key = readUtf8(take(cursor, cursor.readVarint(), end))
    headers.push({ key, value: readNullableBytes(cursor, end) })
  }
  return headers
}

function take(cursor: VarintCursor, length: number, end: number): Uint8Array {
  const start = cursor.position
  if (length < 0 || length > end - start) {
    throw malformed(`A field of ${length} bytes does not fit the ${end - start} left`)
  }
  cursor.position = start + length
  return cursor.bytes.subarray(start, start + length)
}

function malformed(message: string, cause?: unknown): RecordError {
  return new RecordError(ErrorCode.CORRUPT_MESSAGE, message, cause)
}
