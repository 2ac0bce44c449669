/**
 * The head of a WebSocket frame (RFC 6455 §5.2), pure:
 *
 *   0 FIN 1 bit │ reserved 3 │ opcode 4 ║ 1 MASK 1 bit │ length 7 ║ 2 length, 0, 2 or 8 ║ key, 4
 *
 * A length of 126 or 127 says that 2 or 8 bytes follow. Only clients mask.
 */
export const Opcode = {
  CONTINUATION: 0,
  TEXT: 1,
  BINARY: 2,
  CLOSE: 8,
  PING: 9,
  PONG: 10,
} as const

export const FIN = 0x80
const RESERVED = 0x70
export const OPCODE = 0x0f
const MASK = 0x80
const LENGTH = 0x7f
const LENGTH_16 = 126
const LENGTH_64 = 127

/** The longest head of a client's frame. */
export const HEAD_BYTES_MAX = 14
export const CONTROL_BYTES_MAX = 125

/** Bytes of the head of a client's frame, by its second byte. */
export function headBytes(second: number): number {
  const length = second & LENGTH
  return length < LENGTH_16 ? 6 : length === LENGTH_16 ? 8 : HEAD_BYTES_MAX
}

/**
 * What is wrong with a frame that a client begins so, as half a sentence; null when nothing is.
 * `isContinued` says that a fragmented message is under way.
 */
export function wrongStart(first: number, second: number, isContinued: boolean): string | null {
  const opcode = first & OPCODE
  if ((first & RESERVED) !== 0) return 'reserved bits are set and no extension was agreed'
  if ((second & MASK) === 0) return 'a frame of a client must be masked'
  if (opcode >= Opcode.CLOSE) {
    if (opcode > Opcode.PONG) return `there is no opcode ${opcode}`
    if ((first & FIN) === 0) return 'a control frame is never fragmented'
    if ((second & LENGTH) > CONTROL_BYTES_MAX) return 'a control frame holds at most 125 bytes'
    return null
  }
  if (opcode > Opcode.BINARY) return `there is no opcode ${opcode}`
  if (opcode === Opcode.CONTINUATION) return isContinued ? null : 'nothing is there to continue'
  return isContinued ? 'a new message inside a fragmented one' : null
}

/**
 * The payload's length by a whole head at bytes[at]: −1 when it is written wider than it needs,
 * Infinity beyond 2^32.
 */
export function payloadLength(bytes: Uint8Array, at: number): number {
  const length = (bytes[at + 1] as number) & LENGTH
  if (length < LENGTH_16) return length
  if (length === LENGTH_16) {
    const wide = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number)
    return wide < LENGTH_16 ? -1 : wide
  }
  if (word(bytes, at + 2) !== 0) return Infinity
  const wide = word(bytes, at + 6) >>> 0
  return wide <= 0xffff ? -1 : wide
}

/** The last four bytes of a head of `count` bytes at bytes[at], as an int32. */
export function maskKey(bytes: Uint8Array, at: number, count: number): number {
  return word(bytes, at + count - 4)
}

/** The head of a server's frame, which is whole. */
export function encodeHead(opcode: number, length: number): Uint8Array {
  if (length < LENGTH_16) return Uint8Array.of(FIN | opcode, length)
  if (length <= 0xffff) return Uint8Array.of(FIN | opcode, LENGTH_16, length >> 8, length & 0xff)
  const head = new Uint8Array(10)
  head[0] = FIN | opcode
  head[1] = LENGTH_64
  const view = new DataView(head.buffer)
  view.setUint32(2, Math.floor(length / 2 ** 32))
  view.setUint32(6, length >>> 0)
  return head
}

function word(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] as number) << 24) | ((bytes[at + 1] as number) << 16)
  return high | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number)
}
