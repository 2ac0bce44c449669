/**
 * Big-endian 64-bit integers as safe JavaScript numbers, and hexadecimal for messages.
 * Offsets, positions and timestamps fit 2^53; a value outside loses low bits and is refused by the
 * range check of whoever reads it, never trusted.
 */
const TWO_32 = 0x1_0000_0000

/** Reads a signed 64-bit integer. Exact within ±2^53. */
export function readInt64(view: DataView, position: number): number {
  return view.getInt32(position) * TWO_32 + view.getUint32(position + 4)
}

/** Writes a signed 64-bit integer that is safe (within ±2^53). */
export function writeInt64(view: DataView, position: number, value: number): void {
  const low = value >>> 0 // ToUint32 is modulo 2^32, also for negative numbers.
  view.setInt32(position, (value - low) / TWO_32)
  view.setUint32(position + 4, low)
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/**
 * A copy of bytes[from, to) in memory of its own. Not `slice`: a Buffer's slice is a view, and what
 * must outlive an extent or a lane record would change under its reader.
 */
export function copyOf(bytes: Uint8Array, from: number, to: number): Uint8Array {
  const copy = new Uint8Array(to - from)
  copy.set(bytes.subarray(from, to))
  return copy
}
