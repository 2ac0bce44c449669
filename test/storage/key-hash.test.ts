/** SipHash-2-4-128 by its authors' vectors, and the map that relies on it against a plain one. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { HASH_WORDS, hashKey } from '../../src/storage/compaction/key-hash.ts'
import { ENTRY_BYTES, OffsetMap } from '../../src/storage/compaction/offset-map.ts'
import { SECRET } from './support/compaction.ts'
import { rerun, SEED } from './support/fixture.ts'

/** Of the messages 00 01 02 … of so many bytes, with the key 00 01 … 0f. */
const VECTORS: readonly (readonly [number, string])[] = [
  [0, 'a3817f04ba25a8e66df67214c7550293'],
  [1, 'da87c1d86b99af44347659119b22fc45'],
]

function hashOf(bytes: Uint8Array, start = 0, end = bytes.length): string {
  const out = new Int32Array(HASH_WORDS)
  hashKey(SECRET, bytes, { start, end }, out)
  return Buffer.from(out.buffer).toString('hex')
}

describe('hashKey', () => {
  test('is SipHash-2-4 with 128 bits', () => {
    for (const [length, expected] of VECTORS) {
      assert.equal(hashOf(Uint8Array.from({ length }, (_, i) => i)), expected)
    }
  })

  test('depends on every byte of the range and on none outside', () => {
    const bytes = Uint8Array.from({ length: 40 }, (_, i) => i * 7)
    for (let length = 0; length < 30; length++) {
      const before = hashOf(bytes, 5, 5 + length)
      assert.equal(hashOf(bytes.slice(5, 5 + length)), before)
      for (let i = 0; i < bytes.length; i++) {
        const other = bytes.slice()
        other[i] = (other[i] as number) ^ 0x80
        const isInside = i >= 5 && i < 5 + length
        assert.equal(hashOf(other, 5, 5 + length) !== before, isInside, `byte ${i} of ${length}`)
      }
    }
  })
})

describe('OffsetMap', () => {
  test('equals a plain map, and is full where it says', () => {
    const random = new Random(SEED)
    for (let round = 0; round < 50; round++) {
      const slots = random.between(2, 3000)
      const map = new OffsetMap(slots * ENTRY_BYTES, 0.9, SECRET)
      const plain = new Map<string, number>()
      const capacity = Math.max(1, Math.floor(slots * 0.9))
      for (let i = 0; i < 4000; i++) {
        const key = `k${random.below(3000)}`
        const bytes = Buffer.from(key)
        const isTaken = map.put(bytes, 0, bytes.length, i)
        assert.equal(isTaken, plain.has(key) || plain.size < capacity, rerun(SEED))
        if (isTaken) plain.set(key, i)
      }
      assert.equal(map.count, plain.size)
      assert(map.bytes <= slots * ENTRY_BYTES)
      for (let i = 0; i < 3000; i++) {
        const bytes = Buffer.from(`k${i}`)
        assert.equal(map.get(bytes, 0, bytes.length), plain.get(`k${i}`) ?? -1)
      }
    }
  })
})
