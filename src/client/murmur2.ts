/**
 * MurmurHash2 as Kafka's Java client computes it for keys (`Utils.murmur2`, seed 0x9747b28c): other
 * clients' events with the same key must meet ours in the same partition. Pure.
 */
const SEED = 0x9747b28c
const M = 0x5bd1e995
const R = 24

/** The hash of bytes[start, end), a signed 32-bit integer. */
export function murmur2(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let hash = SEED ^ (end - start)
  let at = start
  for (const last = end - 4; at <= last; at += 4) {
    let k = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    k = Math.imul(k, M)
    k ^= k >>> R
    hash = Math.imul(hash, M) ^ Math.imul(k, M)
  }
  const left = end - at
  if (left === 3) hash ^= bytes[at + 2]! << 16
  if (left >= 2) hash ^= bytes[at + 1]! << 8
  if (left >= 1) hash = Math.imul(hash ^ bytes[at]!, M)
  hash ^= hash >>> 13
  hash = Math.imul(hash, M)
  return hash ^ (hash >>> 15)
}

/** The partition of a key, in [0, partitionsCount): `Utils.toPositive(hash) % n`. */
export function partitionOfKey(key: Uint8Array, partitionsCount: number): number {
  return (murmur2(key) & 0x7fff_ffff) % partitionsCount
}
