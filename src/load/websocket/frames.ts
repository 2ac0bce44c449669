/** WebSocket frames (RFC 6455) as a client sends and receives them. Pure. */

export const OPCODE_CONTINUATION = 0x0
export const OPCODE_BINARY = 0x2
export const OPCODE_CLOSE = 0x8
export const OPCODE_PING = 0x9
export const OPCODE_PONG = 0xa

const FIN = 0x80
const MASKED = 0x80
const LENGTH_16 = 126
const LENGTH_64 = 127
/**
 * One mask for every frame. It protects proxies from pages that choose what is sent; here it is
 * only what the server has to undo.
 */
const MASK = Buffer.of(0x37, 0xfa, 0x21, 0x3d)

/** A whole masked frame of one piece. */
export function maskedFrame(opcode: number, payload: Uint8Array): Buffer {
  const { length } = payload
  const extended = length < LENGTH_16 ? 0 : length < 0x1_0000 ? 2 : 8
  const start = 2 + extended + MASK.length
  const frame = Buffer.alloc(start + length)
  frame[0] = FIN | opcode
  if (extended === 0) {
    frame[1] = MASKED | length
  } else if (extended === 2) {
    frame[1] = MASKED | LENGTH_16
    frame.writeUInt16BE(length, 2)
  } else {
    frame[1] = MASKED | LENGTH_64
    frame.writeBigUInt64BE(BigInt(length), 2)
  }
  frame.set(MASK, start - MASK.length)
  for (let i = 0; i < length; i++) frame[start + i] = payload[i]! ^ MASK[i & 3]!
  return frame
}

/** Where a frame lies; one object is used again and again. */
export interface FrameHead {
  opcode: number
  isLast: boolean
  /** Of the payload, exclusive end. */
  start: number
  end: number
}

/**
 * Reads the frame at `at` into `head`. False: it is not whole yet. The payload is plain: servers do
 * not mask.
 */
export function readFrame(bytes: Buffer, at: number, end: number, head: FrameHead): boolean {
  if (end - at < 2) return false
  let length = bytes[at + 1]! & 0x7f
  let start = at + 2
  if (length === LENGTH_16) {
    if (end - at < 4) return false
    length = bytes.readUInt16BE(at + 2)
    start = at + 4
  } else if (length === LENGTH_64) {
    if (end - at < 10) return false
    length = bytes.readUInt32BE(at + 2) * 0x1_0000_0000 + bytes.readUInt32BE(at + 6)
    start = at + 10
  }
  if (end - start < length) return false
  head.opcode = bytes[at]! & 0x0f
  head.isLast = (bytes[at]! & FIN) !== 0
  head.start = start
  head.end = start + length
  return true
}
