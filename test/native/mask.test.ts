import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { turnKey, unmask, unmaskWith } from '../../src/gateway/web/unmask.ts'
import { addonOrThrow, seed, withoutAddon } from './support.ts'

const skip = withoutAddon
const KEY = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })

test('unmask, for any piece and key, does what its twin does and touches nothing else', {
  skip,
}, () => {
  const addon = addonOrThrow()
  const piece = fc.record({
    bytes: fc.uint8Array({ maxLength: 300 }),
    offset: fc.nat(300),
    length: fc.nat(300),
    key: KEY,
  })
  const property = fc.property(piece, ({ bytes, offset, length, key }) => {
    const at = Math.min(offset, bytes.length)
    const count = Math.min(length, bytes.length - at)
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length))
    shared.set(bytes)
    const twin = Uint8Array.from(bytes)
    addon.unmask(shared, at, count, key)
    unmask(twin, at, count, key)
    assert.deepEqual([...shared], [...twin])
    assert.deepEqual([...shared.subarray(0, at)], [...bytes.subarray(0, at)])
    assert.deepEqual([...shared.subarray(at + count)], [...bytes.subarray(at + count)])
  })
  fc.assert(property, { seed, numRuns: 500 })
})

test('unmask, in pieces with the key turned, is unmask of the whole', () => {
  const pieces = fc.array(fc.nat(9), { maxLength: 20 })
  const property = fc.property(pieces, KEY, fc.func(fc.nat(255)), (counts, key, byteAt) => {
    const length = counts.reduce((sum, count) => sum + count, 0)
    const whole = Uint8Array.from({ length }, (_, i) => byteAt(i))
    const cut = Uint8Array.from(whole)
    unmask(whole, 0, length, key)
    let [at, turned] = [0, key]
    for (const count of counts) {
      unmask(cut, at, count, turned)
      turned = turnKey(turned, count)
      at += count
    }
    assert.deepEqual(cut, whole)
  })
  fc.assert(property, { seed })
})

test('unmask, begins with the highest byte of the key, by a call or by a loop', () => {
  const lengths: number[] = []
  const both = unmaskWith((bytes, offset, length, key) => {
    lengths.push(length)
    unmask(bytes, offset, length, key)
  })
  for (const length of [0, 1, 48, 49, 1000]) {
    const bytes = new Uint8Array(length)
    both(bytes, 0, length, 0x01020304)
    assert.ok(bytes.every((byte, i) => byte === (i & 3) + 1))
  }
  assert.deepEqual(lengths, [49, 1000])
})

test('unmask, a range outside its memory, is a RangeError', { skip }, () => {
  const addon = addonOrThrow()
  const bytes = new Uint8Array(8)
  for (const [offset, length] of [
    [0, 9],
    [8, 1],
    [9, 0],
    [-1, 1],
  ] as const) {
    assert.throws(() => addon.unmask(bytes, offset, length, 1), RangeError)
  }
  assert.throws(() => addon.unmask(bytes, 0, 8, 2 ** 31), RangeError)
  assert.ok(bytes.every((byte) => byte === 0))
})
