import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionError } from '../../src/base/assert.ts'
import { Reader } from '../../src/wire/kafka/reader.ts'
import { Writer } from '../../src/wire/kafka/writer.ts'

describe('Writer', () => {
  test('gathers external chunks by reference, in place', () => {
    const writer = new Writer()
    const [first, second] = [Buffer.from('first'), Buffer.from('second')]
    writer.start()
    writer.int8(1)
    writer.external(first)
    writer.external(second)
    writer.external(Buffer.alloc(0))
    writer.int8(2)
    assert.equal(writer.bytesWritten, 4 + 1 + 5 + 6 + 1)
    const chunks = writer.finish()
    assert.equal(chunks.length, 4)
    assert.equal(chunks[1], first)
    assert.equal(chunks[2], second)
    assert.equal(Buffer.concat(chunks).toString('latin1'), '\0\0\0\r\x01firstsecond\x02')
  })

  test('never touches what it has finished', () => {
    const writer = new Writer()
    const messages: { chunks: Uint8Array[]; fill: number }[] = []
    for (let i = 0; i < 400; i++) {
      writer.start()
      const fill = i & 0xff
      for (let n = 0; n < 1 + ((i * 37) % 600); n++) writer.int8(fill)
      messages.push({ chunks: writer.finish(), fill })
    }
    for (const { chunks, fill } of messages) {
      const bytes = Buffer.concat(chunks)
      assert.equal(bytes.readInt32BE(0), bytes.length - 4)
      assert.ok(bytes.subarray(4).every((byte) => byte === fill))
    }
  })

  test('start, drops a message that was not finished', () => {
    const writer = new Writer()
    writer.start()
    writer.int32(-1)
    writer.external(Buffer.from('lost'))
    writer.start()
    writer.int8(7)
    assert.deepEqual(Buffer.concat(writer.finish()), Buffer.of(0, 0, 0, 1, 7))
  })

  test('grows in the middle of a message, external chunks kept in place', () => {
    const writer = new Writer()
    const chunk = Buffer.from('|')
    const text = 'é'.repeat(10_000)
    writer.start()
    for (let i = 0; i < 20; i++) {
      writer.string(text)
      writer.external(chunk)
    }
    const bytes = Buffer.concat(writer.finish())
    assert.equal(bytes.length, 4 + 20 * (2 + 20_000 + 1))
    for (let i = 0, at = 4; i < 20; i++, at += 20_003) {
      assert.equal(bytes.toString('utf8', at + 2, at + 20_002), text)
      assert.equal(bytes[at + 20_002], 0x7c)
    }
  })

  test('closeTag, writes the size of short, long and nested content', () => {
    const writer = new Writer()
    for (const size of [0, 1, 127, 128, 300, 16_383, 16_384, 70_000]) {
      writer.start()
      const outer = writer.openTag(3)
      const inner = writer.openTag(4)
      for (let i = 0; i < size; i++) writer.int8(0x55)
      writer.closeTag(inner)
      writer.closeTag(outer)
      const innerBytes = [4, ...uvarint(size), ...new Array(size).fill(0x55)]
      const expected = Buffer.from([3, ...uvarint(innerBytes.length), ...innerBytes])
      assert.deepEqual(Buffer.concat(writer.finish()).subarray(4), expected)
    }
  })

  test('refuses a string that no length field can hold, and a bad uuid', () => {
    const writer = new Writer().start()
    assert.throws(() => writer.string('x'.repeat(32_768)), /string of 32768 bytes/)
    assert.throws(() => writer.uuidAt(writer.reserve(16), 'short'), /uuid short/)
    assert.throws(() => writer.uuidAt(writer.reserve(16), '!'.repeat(22)), /uuid !/)
  })
})

function uvarint(value: number): number[] {
  return value > 0x7f ? [(value & 0x7f) | 0x80, ...uvarint(value >>> 7)] : [value]
}

describe('Writer, strings that are too long', () => {
  const read = (text: string, kind: 'string' | 'compactString') => {
    const writer = new Writer().start('cut')
    writer[kind](text)
    const reader = new Reader(Buffer.concat(writer.finish()), 4)
    const back = reader[kind]('x')
    reader.finish('x')
    return back
  }

  test('are cut at a character where they may be', () => {
    for (const kind of ['string', 'compactString'] as const) {
      assert.equal(read('x'.repeat(0x7fff), kind).length, 0x7fff)
      assert.equal(read('x'.repeat(0x8000), kind).length, 0x7fff)
      assert.equal(read('é'.repeat(20_000), kind), 'é'.repeat(0x7fff >> 1))
      assert.equal(read(`x${'🎯'.repeat(10_000)}`, kind), `x${'🎯'.repeat((0x7fff - 1) >> 2)}`)
    }
  })

  test('are our own bug elsewhere', () => {
    const writer = new Writer()
    read('x'.repeat(0x8000), 'string')
    assert.throws(() => writer.start().string('x'.repeat(0x8000)), AssertionError)
    assert.throws(() => writer.start().compactString('x'.repeat(0x8000)), AssertionError)
  })
})
