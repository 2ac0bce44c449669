/**
 * Walks the records of a batch, already decompressed, without an object for each: where they lie,
 * and what compaction and the check of keys ask of them. Layout: `record-reader.ts`, which decodes
 * them whole. Headers are passed over unread.
 */
import { VarintCursor, VarintError } from '../base/varint.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { RecordError } from './record-error.ts'

/** attributes, timestampDelta, offsetDelta, keyLength, valueLength, headersCount. */
const BODY_BYTES_MIN = 6

export class RecordSlices {
  // —— the current record; valid after `next` returned true ——
  /** Of the whole record, its length prefix included; indexes in `bytes`. */
  start = 0
  /** Exclusive. */
  end = 0
  attributes = 0
  timestampDelta = 0
  offsetDelta = 0
  /** Where offsetDelta and what follows it lie, up to `end`. */
  restStart = 0
  keyStart = 0
  /** −1 = null. */
  keyBytes = 0
  hasValue = false

  readonly #cursor = new VarintCursor(new Uint8Array(0))
  #left = 0
  #lastOffsetDelta = 0

  /** Starts a walk of `count` records that fill `bytes`. */
  walk(bytes: Uint8Array, count: number, lastOffsetDelta: number): void {
    this.#cursor.reset(bytes, 0, bytes.length)
    this.#left = count
    this.#lastOffsetDelta = lastOffsetDelta
    this.offsetDelta = -1
    this.end = 0
  }

  /** Moves to the next record; false after the last. Throws RecordError on malformed bytes. */
  next(): boolean {
    const cursor = this.#cursor
    if (this.#left === 0) {
      if (cursor.remaining > 0) throw malformed('bytes are left after the last one')
      return false
    }
    this.#left--
    try {
      this.#read(cursor)
    } catch (error) {
      if (error instanceof VarintError) throw malformed(error.message)
      throw error
    }
    return true
  }

  #read(cursor: VarintCursor): void {
    const previous = this.offsetDelta
    this.start = cursor.position
    const length = cursor.readVarint()
    if (length < BODY_BYTES_MIN || length > cursor.remaining) throw malformed(`${length} bytes`)
    this.end = cursor.position + length
    this.attributes = cursor.readInt8()
    this.timestampDelta = cursor.readVarlong()
    this.restStart = cursor.position
    this.offsetDelta = cursor.readVarint()
    if (this.offsetDelta <= previous || this.offsetDelta > this.#lastOffsetDelta) {
      throw malformed(`offset delta ${this.offsetDelta} after ${previous}`)
    }
    this.keyBytes = cursor.readVarint()
    this.keyStart = cursor.position
    this.#skip(cursor, this.keyBytes)
    const valueBytes = cursor.readVarint()
    this.#skip(cursor, valueBytes)
    this.hasValue = valueBytes >= 0
    if (cursor.position >= this.end) throw malformed('no room for its headers')
    cursor.position = this.end
  }

  #skip(cursor: VarintCursor, length: number): void {
    if (length < -1 || cursor.position + Math.max(0, length) > this.end) {
      throw malformed(`a field of ${length} bytes`)
    }
    cursor.position += Math.max(0, length)
  }
}

function malformed(what: string): RecordError {
  return new RecordError(ErrorCode.CORRUPT_MESSAGE, `A record is malformed: ${what}`)
}
