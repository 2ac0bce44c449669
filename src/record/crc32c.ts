/**
 * CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) without the addon: @node-rs/crc32 for
 * longer ranges where it loads, tables in JavaScript otherwise. Any thread. The addon's own CRC
 * stands behind `BatchEngine`, which hot paths use instead.
 */
import { createRequire } from 'node:module'
import { checkRange, crc32cByTables } from './crc32c-tables.ts'

export { crc32cByTables } from './crc32c-tables.ts'

/** Below this many bytes the tables finish before a call into native code does. Measured. */
const NATIVE_BYTES_MIN = 128

type WholeCrc = (bytes: Uint8Array) => number

const wholeCrc = loadWholeCrc()

function loadWholeCrc(): WholeCrc | null {
  try {
    return (createRequire(import.meta.url)('@node-rs/crc32') as { crc32c: WholeCrc }).crc32c
  } catch {
    return null // No binary for this platform: the tables do.
  }
}

/** CRC-32C of bytes[start, end), an unsigned 32-bit integer. */
export function crc32c(bytes: Uint8Array, start: number, end: number): number {
  if (wholeCrc === null || end - start < NATIVE_BYTES_MIN) return crc32cByTables(bytes, start, end)
  checkRange(bytes, start, end)
  return wholeCrc(bytes.subarray(start, end))
}
