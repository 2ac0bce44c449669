/**
 * Variable-length integers: base-128, least significant group first; the signed ones are zigzag.
 * Unsigned varints frame compact strings, arrays and tags (KIP-482); signed ones fill records
 * (KIP-98). 64-bit values are numbers within ±(2^53 − 1): anything larger is refused, never
 * rounded.
 *
 * Reading goes through a cursor that is reused: no object per value. Writing returns the next index
 * and does not check room: the caller reserves VARINT_BYTES_MAX or asks `sizeOf…` first, since a
 * store past the end of a typed array is silently lost.
 */
import { assert } from './assert.ts'

export const VARINT_BYTES_MAX = 5
export const VARLONG_BYTES_MAX = 10

const GROUP_BITS = 28 // Four groups of seven bits fit a 32-bit operation.
const TWO_27 = 2 ** 27
const TWO_26 = 2 ** 26

/** The bytes are not a varint of the wanted width. The reader's fault is excluded: bad input. */
export class VarintError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'VarintError'
  }
}

/** A reading position in bytes[position, end). `position` after a thrown error is unspecified. */
export class VarintCursor {
  bytes: Uint8Array
  /** Index of the next byte to read, inclusive. */
  position: number
  /** Exclusive. */
  end: number

  constructor(bytes: Uint8Array, position = 0, end = bytes.length) {
    this.bytes = bytes
    this.position = position
    this.end = end
    this.reset(bytes, position, end)
  }

  /** Points the cursor elsewhere. */
  reset(bytes: Uint8Array, position: number, end: number): void {
    assert(position >= 0 && position <= end && end <= bytes.length)
    this.bytes = bytes
    this.position = position
    this.end = end
  }

  get remaining(): number {
    return this.end - this.position
  }

  /** One byte as a signed integer. Throws VarintError at the end. */
  readInt8(): number {
    return (this.#readByte() << 24) >> 24
  }

  /** An unsigned 32-bit varint of at most 5 bytes. */
  readUnsignedVarint(): number {
    let byte = this.#readByte()
    if (byte < 0x80) return byte
    let value = byte & 0x7f
    for (let shift = 7; shift < 28; shift += 7) {
      byte = this.#readByte()
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    byte = this.#readByte()
    if (byte > 0x0f) throw new VarintError('A varint exceeds 32 bits')
    return (value | (byte << 28)) >>> 0
  }

  /** A zigzag 32-bit varint of at most 5 bytes. */
  readVarint(): number {
    const value = this.readUnsignedVarint()
    return (value >>> 1) ^ -(value & 1)
  }

  /** A zigzag 64-bit varint of at most 10 bytes whose value is a safe integer. */
  readVarlong(): number {
    let byte = this.#readByte()
    if (byte < 0x80) return (byte >>> 1) ^ -(byte & 1)
    let low = byte & 0x7f
    let shift = 7
    while (byte >= 0x80 && shift < GROUP_BITS) {
      byte = this.#readByte()
      low |= (byte & 0x7f) << shift
      shift += 7
    }
    let high = 0
    for (shift = 0; byte >= 0x80 && shift < GROUP_BITS; shift += 7) {
      byte = this.#readByte()
      high |= (byte & 0x7f) << shift
    }
    for (let i = 0; byte >= 0x80 && i < 2; i++) {
      byte = this.#readByte()
      if ((byte & 0x7f) !== 0) throw new VarintError('A varlong exceeds the safe integers')
    }
    if (byte >= 0x80) throw new VarintError('A varlong is longer than 10 bytes')
    const magnitude = high * TWO_27 + (low >>> 1)
    // −2^53 would be exact too, but is no safe integer: its neighbour rounds to it.
    if (magnitude >= Number.MAX_SAFE_INTEGER + (low & 1 ? 0 : 1)) {
      throw new VarintError('A varlong exceeds the safe integers')
    }
    return low & 1 ? -magnitude - 1 : magnitude
  }

  #readByte(): number {
    if (this.position >= this.end) throw new VarintError('A varint is cut off')
    return this.bytes[this.position++] as number
  }
}

/** Writes an integer of [0, 2^32) at `position`; returns the index after it. */
export function writeUnsignedVarint(bytes: Uint8Array, position: number, value: number): number {
  let rest = value >>> 0
  let next = position
  while (rest > 0x7f) {
    bytes[next++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  bytes[next++] = rest
  return next
}

/** Writes a signed 32-bit integer, zigzag. */
export function writeVarint(bytes: Uint8Array, position: number, value: number): number {
  return writeUnsignedVarint(bytes, position, (value << 1) ^ (value >> 31))
}

/** Writes a safe integer, zigzag. */
export function writeVarlong(bytes: Uint8Array, position: number, value: number): number {
  const magnitude = value < 0 ? -(value + 1) : value
  if (magnitude < TWO_26) return writeVarint(bytes, position, value)
  assert(Number.isSafeInteger(value), 'a varlong must be a safe integer')
  const low = ((magnitude % TWO_27) << 1) | (value < 0 ? 1 : 0) // 28 bits of the zigzag value.
  const high = Math.floor(magnitude / TWO_27)
  if (high === 0) return writeUnsignedVarint(bytes, position, low)
  bytes[position] = (low & 0x7f) | 0x80
  bytes[position + 1] = ((low >>> 7) & 0x7f) | 0x80
  bytes[position + 2] = ((low >>> 14) & 0x7f) | 0x80
  bytes[position + 3] = ((low >>> 21) & 0x7f) | 0x80
  return writeUnsignedVarint(bytes, position + 4, high)
}

/** Bytes that `writeUnsignedVarint` uses. */
export function sizeOfUnsignedVarint(value: number): number {
  const bits = 32 - Math.clz32(value)
  return bits <= 7 ? 1 : Math.ceil(bits / 7)
}

/** Bytes that `writeVarint` uses. */
export function sizeOfVarint(value: number): number {
  return sizeOfUnsignedVarint((value << 1) ^ (value >> 31))
}

/** Bytes that `writeVarlong` uses. */
export function sizeOfVarlong(value: number): number {
  const magnitude = value < 0 ? -(value + 1) : value
  if (magnitude < TWO_26) return sizeOfVarint(value)
  const high = Math.floor(magnitude / TWO_27)
  return 4 + (high === 0 ? 0 : sizeOfUnsignedVarint(high))
}
