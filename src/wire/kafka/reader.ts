import { ZERO_UUID } from '../../base/uuid.ts'
import { DecodeError } from './decode-error.ts'

/**
 * A cursor over the bytes of one message, which may lie on a SharedArrayBuffer that nobody else
 * writes meanwhile. One reader serves any number of messages (`reset`).
 *
 * It never reads outside [start, end) and never allocates by a length that the bytes declare: every
 * length and count is first compared with the bytes that are left. Strings and uuids that were seen
 * lately are handed out again instead of being built (topic names repeat in every request).
 *
 * `path` arguments are constants of the compiled codec; they cost nothing until something fails.
 */

/** Elements in all arrays of one message together: bounds the objects a small frame can demand. */
const ELEMENTS_MAX = 1_000_000
/** What the classic encoding can say; Kafka refuses longer strings in the compact one too. */
const STRING_BYTES_MAX = 0x7fff

const INTERNED_SLOTS = 1024 // A power of two.
const INTERNED_BYTES_MAX = 64
const INTERNED_TEXTS: string[] = new Array(INTERNED_SLOTS).fill('')
const INTERNED_UUIDS: string[] = new Array(INTERNED_SLOTS).fill(ZERO_UUID)
const INTERNED_UUID_WORDS = new Int32Array(INTERNED_SLOTS * 4)

const EMPTY = Buffer.alloc(0)
const REPLACEMENT = '\ufffd' // What decoding puts in place of invalid UTF-8.

export class Reader {
  bytes: Buffer = EMPTY
  view: DataView = new DataView(EMPTY.buffer, 0, 0)
  position = 0
  /** Exclusive. */
  end = 0
  #source: Uint8Array = EMPTY
  #elementsLeft = ELEMENTS_MAX

  constructor(bytes?: Uint8Array, start = 0, end = bytes?.length ?? 0) {
    if (bytes !== undefined) this.reset(bytes, start, end)
  }

  /** Starts anew over bytes[start, end). Cheap when `bytes` is the same object as before. */
  reset(bytes: Uint8Array, start = 0, end = bytes.length): this {
    if (!(start >= 0 && start <= end && end <= bytes.length)) {
      throw new RangeError(`range [${start}, ${end}) is outside of ${bytes.length} bytes`)
    }
    if (bytes !== this.#source) {
      this.#source = bytes
      this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    }
    this.position = start
    this.end = end
    this.#elementsLeft = ELEMENTS_MAX
    return this
  }

  get remaining(): number {
    return this.end - this.position
  }

  fail(reason: string, path: string): never {
    throw new DecodeError(`${reason} before byte ${this.position} of ${this.end}`, path)
  }

  /** Claims the next `count` bytes and returns where they start. */
  take(count: number, path: string): number {
    const position = this.position
    if (count > this.end - position) this.fail(`${count} bytes are needed`, path)
    this.position = position + count
    return position
  }

  int8(path: string): number {
    return this.view.getInt8(this.take(1, path))
  }

  int16(path: string): number {
    return this.view.getInt16(this.take(2, path))
  }

  int32(path: string): number {
    return this.view.getInt32(this.take(4, path))
  }

  /** An unsigned varint of at most 5 bytes and 32 bits. */
  uvarint(path: string): number {
    const { bytes, end } = this
    let position = this.position
    if (position >= end) this.fail('a varint is cut off', path)
    let byte = bytes[position++]!
    let value = byte & 0x7f
    for (let shift = 7; byte > 0x7f; shift += 7) {
      if (position >= end) this.fail('a varint is cut off', path)
      byte = bytes[position++]!
      if (shift === 28 && byte > 0x0f) this.fail('a varint exceeds 32 bits', path)
      value |= (byte & 0x7f) << shift
    }
    this.position = position
    return value >>> 0
  }

  string(path: string): string {
    const length = this.int16(path)
    if (length < 0) this.fail('null is not allowed', path)
    return this.#text(length, path)
  }

  nullableString(path: string): string | null {
    const length = this.int16(path)
    return length < 0 ? this.#null(length, path) : this.#text(length, path)
  }

  compactString(path: string): string {
    const length = this.uvarint(path) - 1
    if (length < 0) this.fail('null is not allowed', path)
    if (length > STRING_BYTES_MAX) this.fail(`a string of ${length} bytes`, path)
    return this.#text(length, path)
  }

  compactNullableString(path: string): string | null {
    const length = this.uvarint(path) - 1
    if (length < 0) return null
    if (length > STRING_BYTES_MAX) this.fail(`a string of ${length} bytes`, path)
    return this.#text(length, path)
  }

  /** The 16 bytes at `position`, which the caller has claimed, as base64url. */
  uuidAt(position: number): string {
    const { view } = this
    const a = view.getInt32(position)
    const b = view.getInt32(position + 4)
    const c = view.getInt32(position + 8)
    const d = view.getInt32(position + 12)
    const slot = mix(a ^ Math.imul(b, 3) ^ Math.imul(c, 5) ^ Math.imul(d, 7))
    const words = INTERNED_UUID_WORDS
    const word = slot * 4
    if (
      words[word] === a &&
      words[word + 1] === b &&
      words[word + 2] === c &&
      words[word + 3] === d
    ) {
      return INTERNED_UUIDS[slot]!
    }
    const uuid = this.bytes.toString('base64url', position, position + 16)
    words[word] = a
    words[word + 1] = b
    words[word + 2] = c
    words[word + 3] = d
    INTERNED_UUIDS[slot] = uuid
    return uuid
  }

  /** A copy: unlike records, these bytes outlive the message. */
  bytesField(length: number, path: string): Uint8Array {
    const start = this.take(length, path)
    const copy = new Uint8Array(length)
    copy.set(this.bytes.subarray(start, start + length))
    return copy
  }

  /** Length of classic bytes or records: −1 is null, where that is allowed. */
  length(nullable: boolean, path: string): number {
    const length = this.int32(path)
    if (length < 0 && !(nullable && length === -1)) this.fail(`length ${length}`, path)
    return length
  }

  compactLength(nullable: boolean, path: string): number {
    const length = this.uvarint(path) - 1
    if (length < 0 && !nullable) this.fail('null is not allowed', path)
    return length
  }

  /** Checks an array's count; `bytesMin` is the least that one element takes. */
  count(count: number, bytesMin: number, path: string): number {
    if (count * bytesMin > this.end - this.position) this.fail(`${count} elements`, path)
    this.#elementsLeft -= count
    if (this.#elementsLeft < 0) this.fail('too many array elements', path)
    return count
  }

  /** Number of tagged fields: each takes two bytes at least. */
  tagCount(path: string): number {
    if (this.position < this.end && this.bytes[this.position] === 0) {
      this.position++
      return 0
    }
    const count = this.uvarint(path)
    if (count * 2 > this.end - this.position) this.fail(`${count} tagged fields`, path)
    return count
  }

  /** Skips a whole section of tagged fields, none of which is known. */
  skipTags(path: string): void {
    for (let count = this.tagCount(path); count > 0; count--) {
      this.uvarint(path)
      this.take(this.uvarint(path), path)
    }
  }

  /** Narrows `end` to a tagged field's content; returns the end to restore with `leave`. */
  enter(path: string): number {
    const size = this.uvarint(path)
    const { end } = this
    if (size > end - this.position) this.fail(`a tagged field of ${size} bytes`, path)
    this.end = this.position + size
    return end
  }

  leave(end: number, path: string): void {
    if (this.position !== this.end) this.fail('a tagged field is longer than its content', path)
    this.end = end
  }

  /** The message must be over. */
  finish(path: string): void {
    if (this.position !== this.end) this.fail(`${this.remaining} bytes too many`, path)
  }

  #null(length: number, path: string): null {
    if (length !== -1) this.fail(`length ${length}`, path)
    return null
  }

  #text(length: number, path: string): string {
    const start = this.take(length, path)
    if (length === 0) return ''
    if (length > INTERNED_BYTES_MAX) return this.#utf8(start, path)
    const { bytes } = this
    const end = start + length
    let hash = length
    for (let i = start; i < end; i++) {
      const byte = bytes[i]!
      if (byte > 0x7f) return this.#utf8(start, path)
      hash = Math.imul(hash ^ byte, 0x01000193)
    }
    const slot = mix(hash)
    const known = INTERNED_TEXTS[slot]!
    if (known.length === length && sameAscii(known, bytes, start)) return known
    const text = bytes.toString('latin1', start, end)
    INTERNED_TEXTS[slot] = text
    return text
  }

  /** Decodes from `start` to the current position. */
  #utf8(start: number, path: string): string {
    const text = this.bytes.toString('utf8', start, this.position)
    // The replacement character is legal in a string, but then it encodes to the same bytes again.
    if (
      text.includes(REPLACEMENT) &&
      !Buffer.from(text).equals(this.bytes.subarray(start, this.position))
    ) {
      this.fail('invalid UTF-8', path)
    }
    return text
  }
}

function sameAscii(text: string, bytes: Uint8Array, start: number): boolean {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) !== bytes[start + i]) return false
  }
  return true
}

function mix(hash: number): number {
  return ((hash ^ (hash >>> 15)) >>> 3) & (INTERNED_SLOTS - 1)
}
