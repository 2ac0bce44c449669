import { DecodeError } from './decode-error.ts'

/**
 * Kafka's frames: an int32 size, then that many bytes (header and body). Pure helpers; whoever owns
 * the socket receives the bytes. A size is checked before anything is reserved for it.
 */
export const FRAME_SIZE_BYTES = 4

/** A request has at least API key, version and correlation id. */
export const REQUEST_BYTES_MIN = 8

/**
 * Returns `size` when it is within [`bytesMin`, `bytesMax`], both inclusive; else a DecodeError.
 */
export function checkFrameSize(size: number, bytesMax: number, bytesMin = REQUEST_BYTES_MIN) {
  if (size < bytesMin) throw new DecodeError(`size ${size} is below ${bytesMin}`, 'frame')
  if (size > bytesMax) throw new DecodeError(`size ${size} exceeds ${bytesMax}`, 'frame')
  return size
}

/** Reads and checks the size prefix at `position`; four bytes must be there. */
export function readFrameSize(bytes: Uint8Array, position: number, bytesMax: number): number {
  const size =
    (bytes[position]! << 24) |
    (bytes[position + 1]! << 16) |
    (bytes[position + 2]! << 8) |
    bytes[position + 3]!
  return checkFrameSize(size, bytesMax)
}
