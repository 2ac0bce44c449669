/**
 * The mask of WebSocket frames (RFC 6455 §5.3), undone where the bytes lie. `key` is an int32 whose
 * highest byte belongs to the first byte: what a frame's head says, turned by `turnKey` where a
 * piece does not begin at the payload's first byte.
 */
export type Unmask = (bytes: Uint8Array, offset: number, length: number, key: number) => void

/** Up to here a loop is done before a call of the addon has begun. */
const LOOP_BYTES_MAX = 48

/** `native` for long pieces, a loop for short ones. */
export function unmaskWith(native: Unmask): Unmask {
  return (bytes, offset, length, key) => {
    if (length > LOOP_BYTES_MAX) native(bytes, offset, length, key)
    else unmask(bytes, offset, length, key)
  }
}

/** The addon's `unmask` in JavaScript. */
export function unmask(bytes: Uint8Array, offset: number, length: number, key: number): void {
  for (let i = 0; i < length; i++) {
    bytes[offset + i] = (bytes[offset + i] as number) ^ (key >>> (24 - 8 * (i & 3)))
  }
}

/** The key for what follows `count` bytes. */
export function turnKey(key: number, count: number): number {
  const bits = 8 * (count & 3)
  return bits === 0 ? key : (key << bits) | (key >>> (32 - bits))
}
