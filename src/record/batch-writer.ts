/**
 * Writes records into one batch (layout: `batch-layout.ts`, records: `record-reader.ts`). Each is
 * encoded once, into a growing buffer that already has room for the header in front, so that an
 * uncompressed batch leaves without a copy. Checksum and compression are the caller's: browsers
 * have others than Node (`batch-builder.ts` joins Node's). Belongs to one thread; no `node:`
 * module.
 */
import { assert } from '../base/assert.ts'
import { viewOf, writeInt64 } from '../base/bytes.ts'
import { sizeOfUtf8, writeUtf8 } from '../base/utf8.ts'
import {
  sizeOfVarint,
  sizeOfVarlong,
  VARINT_BYTES_MAX,
  writeVarint,
  writeVarlong,
} from '../base/varint.ts'
import { BATCH_MAGIC, type Crc32c } from './batch-header.ts'
import {
  ATTRIBUTES,
  BASE_OFFSET,
  BASE_SEQUENCE,
  BASE_TIMESTAMP,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH,
  CONTROL_BIT,
  CRC,
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
import { COMPRESSION_NONE, type CompressionCode } from './compression-code.ts'

/** A key or a value; text is written as UTF-8. */
export type Content = Uint8Array | string | null

/** The parts of a record whose size varies. */
export interface RecordContent {
  readonly key: Content
  readonly value: Content
  readonly headers?: readonly WritableHeader[]
}

export interface WritableHeader {
  readonly key: string
  readonly value: Content
}

export interface BuildOptions {
  /** Default: no compression. */
  readonly compression?: CompressionCode
  /** Default: −1, not idempotent. */
  readonly producerId?: number
  readonly producerEpoch?: number
  readonly baseSequence?: number
  readonly transactional?: boolean
  readonly control?: boolean
  /** Default: 0; the broker that appends the batch writes its own. */
  readonly baseOffset?: number
  /** Default: −1, written by the leader. */
  readonly leaderEpoch?: number
  /** When given, every record has this timestamp (LogAppendTime). */
  readonly appendTimeMs?: number
}

const INITIAL_BYTES = 1024
const BATCH_BYTES_MAX = 0x7fff_ffff
const NO_HEADERS: readonly WritableHeader[] = Object.freeze([])
const ATTRIBUTES_BYTES = 1

export class BatchWriter {
  #bytes: Uint8Array
  /** Next free index in #bytes. */
  #end = BATCH_HEADER_BYTES
  #recordsCount = 0
  #baseTimestamp = -1
  #maxTimestamp = -1

  /** `capacity` is a first guess at the size of the batch in bytes; the buffer grows as needed. */
  constructor(capacity = INITIAL_BYTES) {
    this.#bytes = new Uint8Array(Math.max(capacity, BATCH_HEADER_BYTES))
  }

  get recordsCount(): number {
    return this.#recordsCount
  }

  /** Bytes of the batch as it stands, header included, before compression. */
  get bytesEstimate(): number {
    return this.#end
  }

  /**
   * Whether `record` would take a batch that has records already past `batchBytesMax` (inclusive,
   * before compression). An empty batch is never full: a record alone may be too large, and that is
   * for the broker to refuse.
   */
  isFullFor(record: RecordContent, batchBytesMax: number): boolean {
    if (this.#recordsCount === 0) return false
    return this.#end + recordBytesMax(record) > batchBytesMax
  }

  /** Encodes a record behind the others. `timestamp` in milliseconds, −1 for none. */
  append(
    timestamp: number,
    key: Content,
    value: Content,
    headers: readonly WritableHeader[] = NO_HEADERS,
  ): void {
    assert(Number.isSafeInteger(timestamp))
    if (this.#recordsCount === 0) {
      this.#baseTimestamp = timestamp
      this.#maxTimestamp = timestamp
    } else if (timestamp > this.#maxTimestamp) {
      this.#maxTimestamp = timestamp
    }
    const timestampDelta = timestamp - this.#baseTimestamp
    const keyBytes = contentBytes(key)
    const valueBytes = contentBytes(value)
    const size =
      ATTRIBUTES_BYTES +
      sizeOfVarlong(timestampDelta) +
      sizeOfVarint(this.#recordsCount) +
      sizeOfContent(keyBytes) +
      sizeOfContent(valueBytes) +
      sizeOfHeaders(headers)
    this.#reserve(VARINT_BYTES_MAX + size)
    const start = writeVarint(this.#bytes, this.#end, size)
    this.#bytes[start] = 0 // Attributes: none is defined.
    let next = writeVarlong(this.#bytes, start + ATTRIBUTES_BYTES, timestampDelta)
    next = writeVarint(this.#bytes, next, this.#recordsCount)
    next = writeContent(this.#bytes, writeVarint(this.#bytes, next, keyBytes), key)
    next = writeContent(this.#bytes, writeVarint(this.#bytes, next, valueBytes), value)
    next = writeHeaders(this.#bytes, next, headers)
    assert(next === start + size)
    this.#end = next
    this.#recordsCount++
  }

  /** Lets go of the records, at least one: the writer is empty again. */
  take(): BatchDraft {
    assert(this.#recordsCount > 0, 'a batch needs a record')
    const draft: BatchDraft = {
      bytes: this.#bytes,
      end: this.#end,
      recordsCount: this.#recordsCount,
      baseTimestamp: this.#baseTimestamp,
      maxTimestamp: this.#maxTimestamp,
    }
    this.#bytes = new Uint8Array(INITIAL_BYTES)
    this.#end = BATCH_HEADER_BYTES
    this.#recordsCount = 0
    return draft
  }

  #reserve(bytes: number): void {
    const needed = this.#end + bytes
    if (needed <= this.#bytes.length) return
    assert(needed <= BATCH_BYTES_MAX, 'a batch length is a signed 32-bit integer')
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2))
    grown.set(this.#bytes.subarray(0, this.#end))
    this.#bytes = grown
  }
}

/** An upper bound of what `record` takes inside a batch. */
export function recordBytesMax(record: RecordContent): number {
  const variable =
    sizeOfContent(contentBytes(record.key)) +
    sizeOfContent(contentBytes(record.value)) +
    sizeOfHeaders(record.headers ?? NO_HEADERS)
  return variable + FIXED_RECORD_BYTES_MAX
}

/** Length, attributes, timestampDelta and offsetDelta at their longest. */
const FIXED_RECORD_BYTES_MAX = 5 + ATTRIBUTES_BYTES + 8 + 5

/** A batch without its header. */
export interface BatchDraft {
  /** Room for the header, then the encoded records up to `end`. */
  readonly bytes: Uint8Array
  readonly end: number
  readonly recordsCount: number
  readonly baseTimestamp: number
  readonly maxTimestamp: number
}

/** The encoded records, to be compressed: a view. */
export function draftRecords(draft: BatchDraft): Uint8Array {
  return draft.bytes.subarray(BATCH_HEADER_BYTES, draft.end)
}

/**
 * The batch: a header before the records, in place, or in front of their compressed form `packed`.
 * Without compression the result is the draft's own memory.
 */
export function finishBatch(
  draft: BatchDraft,
  options: BuildOptions,
  crc32c: Crc32c,
  packed: Uint8Array | null = null,
): Uint8Array {
  const size = packed === null ? draft.end : BATCH_HEADER_BYTES + packed.length
  const bytes = packed === null ? draft.bytes.subarray(0, size) : new Uint8Array(size)
  if (packed !== null) bytes.set(packed, BATCH_HEADER_BYTES)
  const isAppendTime = options.appendTimeMs !== undefined
  const view = viewOf(bytes)
  writeInt64(view, BASE_OFFSET, options.baseOffset ?? 0)
  view.setInt32(BATCH_LENGTH, size - LENGTH_PREFIX_BYTES)
  view.setInt32(LEADER_EPOCH, options.leaderEpoch ?? -1)
  view.setInt8(MAGIC, BATCH_MAGIC)
  view.setInt16(
    ATTRIBUTES,
    (options.compression ?? COMPRESSION_NONE) |
      (isAppendTime ? LOG_APPEND_TIME_BIT : 0) |
      (options.transactional ? TRANSACTIONAL_BIT : 0) |
      (options.control ? CONTROL_BIT : 0),
  )
  view.setInt32(LAST_OFFSET_DELTA, draft.recordsCount - 1)
  writeInt64(view, BASE_TIMESTAMP, draft.baseTimestamp)
  writeInt64(view, MAX_TIMESTAMP, options.appendTimeMs ?? draft.maxTimestamp)
  writeInt64(view, PRODUCER_ID, options.producerId ?? -1)
  view.setInt16(PRODUCER_EPOCH, options.producerEpoch ?? -1)
  view.setInt32(BASE_SEQUENCE, options.baseSequence ?? -1)
  view.setInt32(RECORDS_COUNT, draft.recordsCount)
  view.setUint32(CRC, crc32c(bytes, ATTRIBUTES, size))
  return bytes
}

/** The length as it is written: −1 for null. */
function contentBytes(content: Content): number {
  if (content === null) return -1
  return typeof content === 'string' ? sizeOfUtf8(content) : content.length
}

/** What a content of that length takes, the length included. */
function sizeOfContent(bytes: number): number {
  return sizeOfVarint(bytes) + Math.max(0, bytes)
}

function sizeOfHeaders(headers: readonly WritableHeader[]): number {
  let size = sizeOfVarint(headers.length)
  for (const { key, value } of headers) {
    size += sizeOfContent(contentBytes(key)) + sizeOfContent(contentBytes(value))
  }
  return size
}

/** Writes it behind its length. */
function writeContent(bytes: Uint8Array, position: number, content: Content): number {
  if (content === null) return position
  if (typeof content === 'string') return writeUtf8(bytes, position, content)
  bytes.set(content, position)
  return position + content.length
}

function writeHeaders(
  bytes: Uint8Array,
  position: number,
  headers: readonly WritableHeader[],
): number {
  let next = writeVarint(bytes, position, headers.length)
  for (const { key, value } of headers) {
    next = writeContent(bytes, writeVarint(bytes, next, contentBytes(key)), key)
    next = writeContent(bytes, writeVarint(bytes, next, contentBytes(value)), value)
  }
  return next
}
