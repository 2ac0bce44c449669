import assert from 'node:assert/strict'
import { test } from 'node:test'
import { murmur2, partitionOfKey } from '../../src/record/murmur2.ts'

/** From Kafka's own `UtilsTest`. */
const VECTORS: readonly [string, number][] = [
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
  ['abc', 479470107],
]

test("murmur2 hashes what Kafka's Java client hashes to the same", () => {
  for (const [text, hash] of VECTORS) {
    const bytes = new TextEncoder().encode(text)
    assert.equal(murmur2(bytes), hash, text)
    const inside = new Uint8Array(bytes.length + 9).fill(0xff)
    inside.set(bytes, 5)
    assert.equal(murmur2(inside, 5, 5 + bytes.length), hash)
    assert.equal(partitionOfKey(bytes, 7), (hash & 0x7fffffff) % 7)
  }
})
