import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ApiKey, decodeRequest, encodeRequest } from '../../src/wire/kafka/api.ts'
import { DecodeError } from '../../src/wire/kafka/decode-error.ts'
import { Reader } from '../../src/wire/kafka/reader.ts'

const readUvarint = (...bytes: number[]) => new Reader(Buffer.from(bytes)).uvarint('x')

describe('Reader.uvarint', () => {
  test('reads every length up to 32 bits', () => {
    assert.equal(readUvarint(0), 0)
    assert.equal(readUvarint(0x7f), 127)
    assert.equal(readUvarint(0x80, 0x01), 128)
    assert.equal(readUvarint(0xff, 0xff, 0xff, 0xff, 0x0f), 0xffff_ffff)
  })

  test('refuses what is longer, larger or cut off', () => {
    assert.throws(() => readUvarint(0xff, 0xff, 0xff, 0xff, 0x10), DecodeError)
    assert.throws(() => readUvarint(0x80, 0x80, 0x80, 0x80, 0x80, 0x00), DecodeError)
    assert.throws(() => readUvarint(0x80), DecodeError)
    assert.throws(() => readUvarint(), DecodeError)
  })
})

describe('Reader, strings', () => {
  const read = (bytes: Buffer) => {
    const size = Buffer.alloc(2)
    size.writeInt16BE(bytes.length)
    return new Reader(Buffer.concat([size, bytes])).string('x')
  }

  test('are valid UTF-8 or a DecodeError', () => {
    for (const text of ['', 'plain', 'größe', '日本', '🎯', 'a\ufffdb', 'x'.repeat(300)]) {
      assert.equal(read(Buffer.from(text)), text)
    }
    for (const bad of ['c3', 'c0af', 'eda080', 'f4908080', '61ff62', '80'.repeat(90)]) {
      assert.throws(() => read(Buffer.from(bad, 'hex')), DecodeError, bad)
    }
  })

  test('do not mix up texts that share a slot of the interning table', () => {
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 5_000; i++) assert.equal(read(Buffer.from(`topic-${i}`)), `topic-${i}`)
    }
  })

  test('are at most 32,767 bytes long in the compact encoding as well', () => {
    const compact = (length: number) => {
      const size = length + 1
      const varint = Buffer.of((size & 0x7f) | 0x80, ((size >> 7) & 0x7f) | 0x80, size >> 14)
      return new Reader(Buffer.concat([varint, Buffer.alloc(length, 'x')]))
    }
    assert.equal(compact(0x7fff).compactString('x').length, 0x7fff)
    assert.equal(compact(0x7fff).compactNullableString('x')?.length, 0x7fff)
    assert.throws(() => compact(0x8000).compactString('x'), DecodeError)
    assert.throws(() => compact(0x8000).compactNullableString('x'), DecodeError)
  })

  test('refuse null where it is not allowed, and other negative lengths always', () => {
    assert.throws(() => new Reader(Buffer.of(0xff, 0xff)).string('x'), DecodeError)
    assert.equal(new Reader(Buffer.of(0xff, 0xff)).nullableString('x'), null)
    assert.throws(() => new Reader(Buffer.of(0xff, 0xfe)).nullableString('x'), DecodeError)
  })
})

test('Reader, does not mix up uuids that share a slot', () => {
  const bytes = Buffer.alloc(16)
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 5_000; i++) {
      bytes.writeUInt32BE(i, (i % 4) * 4)
      assert.equal(new Reader(bytes).uuidAt(0), bytes.toString('base64url'))
    }
  }
})

test('Reader, refuses a range outside of its bytes', () => {
  assert.throws(() => new Reader(Buffer.alloc(4), 0, 5), RangeError)
  assert.throws(() => new Reader(Buffer.alloc(4), -1, 2), RangeError)
  assert.throws(() => new Reader(Buffer.alloc(4), 3, 2), RangeError)
})

describe('decodeRequest, hostile counts', () => {
  // Name, API key, version, body, and what the refusal must say.
  const hostile: [string, 0 | 3 | 32, number, string, RegExp][] = [
    ['Produce v3, topics', 0, 3, 'ffff0001000003e8 7fffffff', /topicData: 2147483647 elements/],
    ['Produce v9, topics', 0, 9, '000001000003e8 ffffffff0f', /topicData: 4294967294 elements/],
    [
      'Produce v3, records',
      0,
      3,
      'ffff0001000003e8 00000001000174 00000001 00000000 7fffffff',
      /records: 2147483647 bytes are needed/,
    ],
    ['Metadata v1, topics', 3, 1, '7fffffff', /topics: 2147483647 elements/],
    ['Metadata v1, a count that only just exceeds', 3, 1, '00000003 00000000', /3 elements/],
    ['Metadata v1, negative', 3, 1, 'fffffffe', /length -2/],
    ['Metadata v9, topics', 3, 9, 'ffffffff07', /topics: 2147483646 elements/],
    ['Metadata v9, tags', 3, 9, '01000000 ffffffff0f', /4294967295 tagged fields/],
    ['Metadata v9, size of a tag', 3, 9, '01000000 01ff01 ffffffff0f00', /4294967295 bytes/],
    ['DescribeConfigs v1, keys', 32, 1, '00000001 02000174 7fffffff', /2147483647 elements/],
  ]

  for (const [name, apiKey, version, body, reason] of hostile) {
    test(`${name}, is refused before anything is allocated`, () => {
      const bytes = Buffer.from(body.replaceAll(' ', ''), 'hex')
      const before = process.memoryUsage()
      assert.throws(
        () => decodeRequest(apiKey, version, new Reader(bytes)),
        (error) => error instanceof DecodeError && reason.test(error.message),
      )
      const after = process.memoryUsage()
      assert.ok(after.heapUsed - before.heapUsed < 8 << 20)
      assert.ok(after.arrayBuffers - before.arrayBuffers < 8 << 20)
    })
  }

  test('more elements than a message may have, is refused', () => {
    // A compact empty string takes one byte: two million of them would fit two megabytes.
    const count = 2_000_000
    const head = Buffer.of(2, 2, 2, 0x74)
    const keys = Buffer.concat([uvarint(count + 1), Buffer.alloc(count, 1)])
    const tail = Buffer.alloc(4)
    const reader = new Reader(Buffer.concat([head, keys, tail]))
    assert.throws(() => decodeRequest(32, 4, reader), /too many array elements/)
  })
})

test('DecodeError, names the field', () => {
  const body = { topicData: [{ name: 't', partitionData: [{ index: 1, records: null }] }] }
  const header = { correlationId: 1, clientId: null }
  const frame = encodeRequest(ApiKey.PRODUCE, 3, header, { acks: 1, timeoutMs: 1, ...body })
  const bytes = Buffer.concat(frame).subarray(14) // Without size and header v1, no client id.
  bytes.writeInt32BE(-2, bytes.length - 4)
  assert.throws(
    () => decodeRequest(ApiKey.PRODUCE, 3, new Reader(bytes)),
    (error) => error instanceof DecodeError && error.path === 'topicData.partitionData.records',
  )
})

function uvarint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80)
  return Buffer.from([...bytes, rest])
}
