/**
 * SipHash-2-4 with 128 bits of output (Aumasson, Bernstein: "SipHash: a fast short-input PRF"), in
 * 32-bit halves. Compaction takes two keys for the same one when their hashes are equal, and who
 * could make such keys could make a record of somebody else disappear: hence a keyed hash, and a
 * secret key for each run.
 */
import { assert } from '../../base/assert.ts'

/** 32-bit words of the secret key and of a hash, little-endian. */
export const HASH_WORDS = 4

const ROUNDS = 2
const FINAL_ROUNDS = 4

/** Writes the hash of bytes[start, end) to `out`. */
export function hashKey(
  secret: Int32Array,
  bytes: Uint8Array,
  { start, end }: { readonly start: number; readonly end: number },
  out: Int32Array,
): void {
  assert(secret.length === HASH_WORDS && out.length === HASH_WORDS)
  const k0l = secret[0] as number
  const k0h = secret[1] as number
  const k1l = secret[2] as number
  const k1h = secret[3] as number
  let v0l = k0l ^ 0x70736575
  let v0h = k0h ^ 0x736f6d65
  let v1l = k1l ^ 0x6e646f6d ^ 0xee
  let v1h = k1h ^ 0x646f7261
  let v2l = k0l ^ 0x6e657261
  let v2h = k0h ^ 0x6c796765
  let v3l = k1l ^ 0x79746573
  let v3h = k1h ^ 0x74656462
  const length = end - start
  // Whole words, then one with the rest and the length, then the two halves of the result.
  const words = (length >>> 3) + 1
  for (let block = 0; block < words + 2; block++) {
    let ml = 0
    let mh = 0
    if (block < words) {
      const at = start + block * 8
      const count = Math.min(8, end - at)
      for (let i = 0; i < Math.min(4, count); i++) ml |= (bytes[at + i] as number) << (i * 8)
      for (let i = 4; i < count; i++) mh |= (bytes[at + i] as number) << ((i - 4) * 8)
      if (block === words - 1) mh |= (length & 0xff) << 24
      v3l ^= ml
      v3h ^= mh
    } else if (block === words) v2l ^= 0xee
    else v1l ^= 0xdd
    for (let round = block < words ? ROUNDS : FINAL_ROUNDS; round > 0; round--) {
      let low = (v0l >>> 0) + (v1l >>> 0)
      v0h = (v0h + v1h + (low > 0xffff_ffff ? 1 : 0)) | 0
      v0l = low | 0
      let half = (v1l << 13) | (v1h >>> 19)
      v1h = ((v1h << 13) | (v1l >>> 19)) ^ v0h
      v1l = half ^ v0l
      half = v0l
      v0l = v0h
      v0h = half
      low = (v2l >>> 0) + (v3l >>> 0)
      v2h = (v2h + v3h + (low > 0xffff_ffff ? 1 : 0)) | 0
      v2l = low | 0
      half = (v3l << 16) | (v3h >>> 16)
      v3h = ((v3h << 16) | (v3l >>> 16)) ^ v2h
      v3l = half ^ v2l
      low = (v0l >>> 0) + (v3l >>> 0)
      v0h = (v0h + v3h + (low > 0xffff_ffff ? 1 : 0)) | 0
      v0l = low | 0
      half = (v3l << 21) | (v3h >>> 11)
      v3h = ((v3h << 21) | (v3l >>> 11)) ^ v0h
      v3l = half ^ v0l
      low = (v2l >>> 0) + (v1l >>> 0)
      v2h = (v2h + v1h + (low > 0xffff_ffff ? 1 : 0)) | 0
      v2l = low | 0
      half = (v1l << 17) | (v1h >>> 15)
      v1h = ((v1h << 17) | (v1l >>> 15)) ^ v2h
      v1l = half ^ v2l
      half = v2l
      v2l = v2h
      v2h = half
    }
    if (block < words) {
      v0l ^= ml
      v0h ^= mh
      continue
    }
    const at = (block - words) * 2
    out[at] = v0l ^ v1l ^ v2l ^ v3l
    out[at + 1] = v0h ^ v1h ^ v2h ^ v3h
  }
}
