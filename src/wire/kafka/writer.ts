import { assert } from '../../base/assert.ts'

/**
 * Encodes one message after another into slabs, with record batches left where they lie.
 *
 * `start` opens a message, `finish` returns it as a list of chunks to send in order: pieces of the
 * slab, and between them the external chunks, by reference. Returned pieces are never written
 * again: the writer goes on behind them, and takes a fresh slab when one is full, so nobody has to
 * hand anything back and one writer can serve a whole thread.
 */
const SLAB_BYTES = 32 * 1024
const STRING_BYTES_MAX = 0x7fff
/** Up to here a loop over the characters beats the call into the runtime. */
const SHORT_TEXT = 64
const INT64_MAX = 2 ** 63

export class Writer {
  bytes: Buffer = Buffer.allocUnsafeSlow(SLAB_BYTES)
  view: DataView = new DataView(this.bytes.buffer)
  position = 0
  #start = 0
  /** External chunks and, relative to #start, where in the slab's bytes each one belongs. */
  #chunks: Uint8Array[] = []
  #splits: number[] = []
  #externalBytes = 0
  #cutsStrings = false

  /**
   * Opens a message and leaves room for its size; a message that was not finished is dropped.
   * Strings that are too long are our own bug, unless they may be cut: an error message may quote
   * whatever a client has sent.
   */
  start(longStrings: 'refuse' | 'cut' = 'refuse'): this {
    this.#cutsStrings = longStrings === 'cut'
    this.position = this.#start
    this.#externalBytes = 0
    if (this.#chunks.length > 0) this.#chunks = []
    if (this.#splits.length > 0) this.#splits.length = 0
    this.reserve(4)
    return this
  }

  /** Bytes of the open message so far, size prefix and external chunks included. */
  get bytesWritten(): number {
    return this.position - this.#start + this.#externalBytes
  }

  /** Closes the message: its chunks in order, the size prefix at the start of the first one. */
  finish(): Uint8Array[] {
    const start = this.#start
    const { buffer } = this.bytes
    this.view.setInt32(start, this.bytesWritten - 4)
    const chunks: Uint8Array[] = []
    let from = start
    for (let i = 0; i < this.#chunks.length; i++) {
      const split = start + this.#splits[i]!
      if (split > from) chunks.push(new Uint8Array(buffer, from, split - from))
      chunks.push(this.#chunks[i]!)
      from = split
    }
    if (this.position > from) chunks.push(new Uint8Array(buffer, from, this.position - from))
    this.#start = this.position
    this.#chunks = []
    this.#splits.length = 0
    this.#externalBytes = 0
    return chunks
  }

  /** Claims `count` bytes and returns where they start. `view` may be another one afterwards. */
  reserve(count: number): number {
    const position = this.position
    if (position + count > this.bytes.length) return this.#grow(count)
    this.position = position + count
    return position
  }

  int8(value: number): void {
    const position = this.reserve(1)
    this.view.setInt8(position, value)
  }

  int16(value: number): void {
    const position = this.reserve(2)
    this.view.setInt16(position, value)
  }

  int32(value: number): void {
    const position = this.reserve(4)
    this.view.setInt32(position, value)
  }

  /** `value` is an unsigned 32-bit integer. */
  uvarint(value: number): void {
    let position = this.reserve(5)
    const { bytes } = this
    let rest = value >>> 0
    while (rest > 0x7f) {
      bytes[position++] = rest | 0x80
      rest >>>= 7
    }
    bytes[position++] = rest
    this.position = position
  }

  string(text: string): void {
    const { length } = text
    if (length <= SHORT_TEXT) {
      const position = this.reserve(2 + length)
      if (this.#ascii(text, position + 2)) {
        this.view.setInt16(position, length)
        return
      }
      this.position = position
    }
    const byteLength = Buffer.byteLength(text)
    if (byteLength > STRING_BYTES_MAX) {
      this.string(this.#cut(text, byteLength))
      return
    }
    this.int16(byteLength)
    this.#utf8(text, byteLength)
  }

  nullableString(text: string | null): void {
    if (text === null) this.int16(-1)
    else this.string(text)
  }

  compactString(text: string): void {
    const { length } = text
    if (length <= SHORT_TEXT) {
      const position = this.reserve(1 + length)
      if (this.#ascii(text, position + 1)) {
        this.bytes[position] = length + 1
        return
      }
      this.position = position
    }
    const byteLength = Buffer.byteLength(text)
    if (byteLength > STRING_BYTES_MAX) {
      this.compactString(this.#cut(text, byteLength))
      return
    }
    this.uvarint(byteLength + 1)
    this.#utf8(text, byteLength)
  }

  compactNullableString(text: string | null): void {
    if (text === null) this.uvarint(0)
    else this.compactString(text)
  }

  /**
   * Writes at a claimed position, within ±2^53; larger positive values become the int64 maximum.
   */
  int64At(position: number, value: number): void {
    const { view } = this
    if (value >= INT64_MAX) {
      view.setInt32(position, 0x7fffffff)
      view.setInt32(position + 4, -1)
      return
    }
    const low = value >>> 0
    view.setInt32(position, (value - low) / 0x1_0000_0000)
    view.setUint32(position + 4, low)
  }

  /** Writes the 16 bytes of a 22-character base64url id at a claimed position. */
  uuidAt(position: number, uuid: string): void {
    assert(uuid.length === 22, `uuid ${uuid}`)
    const { view } = this
    let word = 0
    let bits = 0
    for (let i = 0, at = position; i < 22; i++) {
      const digit = BASE64_DIGITS[uuid.charCodeAt(i)] ?? 255
      assert(digit < 64, `uuid ${uuid}`)
      // 16 bytes are 21 digits and two bits: the last digit's low four bits are padding.
      word = (word << 6) | digit
      bits += 6
      if (bits >= 8) {
        bits -= 8
        view.setUint8(at++, word >>> bits)
      }
    }
  }

  /** Appends bytes by copy. */
  raw(bytes: Uint8Array): void {
    const position = this.reserve(bytes.length)
    this.bytes.set(bytes, position)
  }

  /** Appends a chunk by reference; it must not change until the message is sent. */
  external(chunk: Uint8Array): void {
    if (chunk.length === 0) return
    this.#chunks.push(chunk)
    this.#splits.push(this.position - this.#start)
    this.#externalBytes += chunk.length
  }

  /** Opens a tagged field's content: returns its start, to be handed to `closeTag`. */
  openTag(tag: number): number {
    this.uvarint(tag)
    return this.reserve(1) + 1 - this.#start
  }

  /**
   * Writes the content's size before it, moving the content when one byte does not hold the size.
   */
  closeTag(contentStart: number): void {
    const start = this.#start + contentStart
    const size = this.position - start
    if (size <= 0x7f) {
      this.bytes[start - 1] = size
      return
    }
    let extra = 0
    for (let rest = size >>> 7; rest > 0; rest >>>= 7) extra++
    this.reserve(extra)
    const content = this.#start + contentStart // The slab may have changed.
    this.bytes.copyWithin(content + extra, content, content + size)
    let rest = size
    let at = content - 1
    while (rest > 0x7f) {
      this.bytes[at++] = rest | 0x80
      rest >>>= 7
    }
    this.bytes[at] = rest
  }

  #ascii(text: string, position: number): boolean {
    const { bytes } = this
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      if (code > 0x7f) return false
      bytes[position + i] = code
    }
    return true
  }

  /** The start of a text that is too long, up to the last whole character that fits. */
  #cut(text: string, byteLength: number): string {
    assert(this.#cutsStrings, `string of ${byteLength} bytes`)
    const bytes = Buffer.from(text)
    let end = STRING_BYTES_MAX
    while ((bytes[end]! & 0xc0) === 0x80) end--
    return bytes.toString('utf8', 0, end)
  }

  #utf8(text: string, byteLength: number): void {
    const position = this.reserve(byteLength)
    this.bytes.write(text, position, byteLength, 'utf8')
  }

  /** Moves the open message to the start of a larger slab; finished ones keep the old one alive. */
  #grow(count: number): number {
    const used = this.position - this.#start
    const size = Math.max(SLAB_BYTES, 2 * (used + count))
    const bytes = Buffer.allocUnsafeSlow(size)
    bytes.set(this.bytes.subarray(this.#start, this.position))
    this.bytes = bytes
    this.view = new DataView(bytes.buffer)
    this.#start = 0
    this.position = used + count
    return used
  }
}

const BASE64_DIGITS = new Uint8Array(128).fill(255)
for (let i = 0; i < 64; i++) {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  BASE64_DIGITS[alphabet.charCodeAt(i)] = i
}
