import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { readUtf8, sizeOfUtf8, writeUtf8 } from '../../src/base/utf8.ts'
import { seed } from './support.ts'

/** Any UTF-16, lone surrogates too, short and long. */
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 120 }),
  fc.string({ maxLength: 120 }),
  fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 60 }).map((units) => {
    return String.fromCharCode(...units)
  }),
)

test('writeUtf8 writes what Buffer does, and sizeOfUtf8 says how much', () => {
  const property = fc.property(text, (value) => {
    const expected = Buffer.from(value)
    assert.equal(sizeOfUtf8(value), expected.length)
    const bytes = new Uint8Array(expected.length + 7)
    assert.equal(writeUtf8(bytes, 3, value), 3 + expected.length)
    assert.deepEqual(Buffer.from(bytes.subarray(3, 3 + expected.length)), expected)
    assert.ok(bytes.subarray(3 + expected.length).every((byte) => byte === 0))
  })
  fc.assert(property, { seed })
})

test('readUtf8 reads what Buffer does, also ill-formed bytes and shared memory', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 120 }),
    text.map((value) => Buffer.from(value)),
  )
  const property = fc.property(bytes, (value) => {
    const expected = Buffer.from(value).toString('utf8')
    assert.equal(readUtf8(value), expected)
    const shared = new Uint8Array(new SharedArrayBuffer(value.length))
    shared.set(value)
    assert.equal(readUtf8(shared), expected)
  })
  fc.assert(property, { seed })
  assert.equal(readUtf8(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61)), '\ufeffa')
})
