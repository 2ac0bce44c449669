import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pack } from 'msgpackr'
import { checkMessagePack } from '../../../src/wire/websocket/check-msgpack.ts'
import {
  decodeClientMessage,
  decodeServerMessage,
  EnvelopeError,
  encodeEnvelope,
} from '../../../src/wire/websocket/envelope.ts'
import type { ClientMessage, ServerMessage } from '../../../src/wire/websocket/messages.ts'
import { withSeed } from '../../support/seed.ts'

const ENVELOPE_MAX = 64 * 1024

function message(envelope: Uint8Array, payload = new Uint8Array(0)): Uint8Array {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(envelope.length)
  return new Uint8Array(Buffer.concat([head, envelope, payload]))
}

const CLIENT: readonly ClientMessage[] = [
  { type: 'hello', followLeaders: false },
  { type: 'requestCredits', bytes: 1 << 20 },
  { type: 'produce', id: 0xffff_ffff, acks: -1, partitions: [['orders', 3, 1000]] },
  {
    type: 'produceRecords',
    id: 1,
    acks: 1,
    topic: 'orders',
    partition: null,
    records: [
      { key: Buffer.of(1, 2), value: 'text', headers: [['a', null]], timestamp: 1.7e12 },
      { value: null },
    ],
  },
  {
    type: 'subscribe',
    id: 2,
    subscription: 9,
    topic: 'orders',
    partition: 0,
    offset: 2 ** 40 + 1,
    credits: 65536,
  },
  { type: 'metadata', id: 3, topics: null },
  {
    type: 'createTopic',
    id: 4,
    name: 'a',
    partitions: -1,
    replicationFactor: -1,
    configs: { 'retention.ms': '1' },
  },
]

const SERVER: readonly ServerMessage[] = [
  { type: 'produced', id: 1, partitions: [[0, 2 ** 53 - 1, 1.7e12, 0, null]] },
  { type: 'error', id: null, code: 42, name: 'INVALID_REQUEST', message: 'no', retriable: false },
  { type: 'batches', subscription: 1, highWatermark: 2 ** 33, logStartOffset: 0, bytes: 5 },
]

test('envelopes, encoded and decoded, are what they were, with offsets above 2^32', () => {
  for (const envelope of CLIENT) {
    const head = encodeEnvelope(envelope)
    const whole = Buffer.concat([head, Buffer.from('payload')])
    const decoded = decodeClientMessage(whole, ENVELOPE_MAX)
    assert.equal(whole.toString('utf8', decoded.payloadStart), 'payload')
    assert.deepEqual(JSON.stringify(decoded.envelope), JSON.stringify(envelope))
  }
  for (const envelope of SERVER) {
    assert.deepEqual(decodeServerMessage(encodeEnvelope(envelope), ENVELOPE_MAX).envelope, envelope)
  }
})

test('integers as 64-bit MessagePack or as floats, are read alike', () => {
  // { type: 'deleteRecords', id: 1, topic: 't', partition: 0, offset: … }, offset last.
  const before = Buffer.concat([
    Buffer.of(0x85, 0xa4),
    Buffer.from('type'),
    Buffer.of(0xad),
    Buffer.from('deleteRecords'),
    Buffer.of(0xa2),
    Buffer.from('id'),
    Buffer.of(0x01, 0xa5),
    Buffer.from('topic'),
    Buffer.of(0xa1, 0x74, 0xa9),
    Buffer.from('partition'),
    Buffer.of(0x00, 0xa6),
    Buffer.from('offset'),
  ])
  const offset = 2 ** 33 + 5
  const uint64 = Buffer.alloc(9, 0xcf)
  uint64.writeBigUInt64BE(BigInt(offset), 1)
  const float64 = Buffer.alloc(9, 0xcb)
  float64.writeDoubleBE(offset, 1)
  for (const encoded of [uint64, float64]) {
    const bytes = message(new Uint8Array(Buffer.concat([before, encoded])))
    const { envelope } = decodeClientMessage(bytes, ENVELOPE_MAX)
    assert.equal(envelope.type === 'deleteRecords' && envelope.offset, offset)
  }
  const half = Buffer.alloc(9, 0xcb)
  half.writeDoubleBE(0.5, 1)
  const huge = Buffer.alloc(9, 0xcf)
  huge.writeBigUInt64BE(2n ** 63n, 1)
  for (const encoded of [half, huge]) {
    const bytes = message(new Uint8Array(Buffer.concat([before, encoded])))
    assert.throws(() => decodeClientMessage(bytes, ENVELOPE_MAX), /offset must be an integer/)
  }
})

test('what is no message, is refused with the reason', () => {
  const cases: [string, Uint8Array, RegExp][] = [
    ['nothing', new Uint8Array(0), /no envelope/],
    ['three bytes', new Uint8Array(3), /no envelope/],
    ['a declared length beyond', new Uint8Array([0, 0, 0, 9, 0x80]), /envelope of 9 bytes/],
    [
      'a huge declared length',
      new Uint8Array([0xff, 0xff, 0xff, 0xff, 0x80]),
      /envelope of 429496/,
    ],
    ['too long', message(new Uint8Array(ENVELOPE_MAX + 1)), /at most 65536/],
    ['a list', message(pack([1])), /not a map/],
    ['nothing in it', message(new Uint8Array(0)), /ends within/],
    ['no type', message(pack({ id: 1 })), /no message of type/],
    ['an inherited name', message(pack({ type: 'toString' })), /no message of type "toString"/],
    ['a server message', message(pack({ type: 'pong', id: 1 })), /no message of type "pong"/],
    ['a key missing', message(pack({ type: 'ping' })), /ping: id must be an integer/],
    ['a negative id', message(pack({ type: 'ping', id: -1 })), /id must be/],
    ['a fraction', message(pack({ type: 'ping', id: 0.5 })), /id must be/],
    ['NaN', message(pack({ type: 'ping', id: Number.NaN })), /id must be/],
    ['an extension', message(pack({ type: 'ping', id: 1, at: new Date() })), /extension type/],
    ['a count without elements', message(new Uint8Array([0xdd, 0xff, 0xff, 0xff, 0xff])), /ends/],
    ['no partitions', message(pack({ type: 'produce', id: 1, acks: 1, partitions: [] })), /1 to/],
    [
      'a long tuple',
      message(pack({ type: 'produce', id: 1, acks: 1, partitions: [['t', 0, 1, 1]] })),
      /partitions must be/,
    ],
  ]
  for (const [what, bytes, expected] of cases) {
    assert.throws(
      () => decodeClientMessage(bytes, ENVELOPE_MAX),
      (error: unknown) => error instanceof EnvelopeError && expected.test(error.message),
      what,
    )
  }
  const nested = new Uint8Array(20_000).fill(0x91)
  nested[nested.length - 1] = 0
  assert.throws(() => decodeClientMessage(message(nested), ENVELOPE_MAX), /nested more than 16/)
})

test('any prefix and any mutation of an envelope, is decoded or refused, never worse', async () => {
  await withSeed('wire/websocket/envelope', (random) => {
    for (const envelope of CLIENT) {
      const bytes = encodeEnvelope(envelope)
      for (let length = 0; length < bytes.length; length++) attempt(bytes.subarray(0, length))
      for (let round = 0; round < 500; round++) {
        const mutated = Uint8Array.from(bytes)
        for (let i = random.between(1, 4); i > 0; i--) {
          mutated[random.below(mutated.length)] = random.below(256)
        }
        attempt(mutated)
      }
    }
  })
})

function attempt(bytes: Uint8Array): void {
  try {
    decodeClientMessage(bytes, ENVELOPE_MAX)
  } catch (error) {
    assert.ok(error instanceof EnvelopeError, String(error))
  }
}

test('checkMessagePack, agrees with the decoder on what random values look like', async () => {
  await withSeed('wire/websocket/envelope', (random) => {
    for (let round = 0; round < 300; round++) {
      const bytes = pack(randomValue(random, 0))
      assert.equal(checkMessagePack(bytes), null)
      assert.notEqual(checkMessagePack(bytes.subarray(0, bytes.length - 1)), null)
      assert.notEqual(checkMessagePack(Buffer.concat([bytes, Buffer.of(0)])), null)
    }
  })
})

type Random = Parameters<Parameters<typeof withSeed>[1]>[0]

function randomValue(random: Random, depth: number): unknown {
  const kind = random.below(depth > 4 ? 6 : 8)
  switch (kind) {
    case 0:
      return null
    case 1:
      return random.chance(0.5)
    case 2:
      return random.between(-(2 ** 31), 2 ** 31)
    case 3:
      return random.fraction() * 2 ** 52
    case 4:
      return 'é'.repeat(random.below(300))
    case 5:
      return random.bytes(random.chance(0.1) ? 70_000 : random.below(300))
    case 6:
      return Array.from({ length: random.below(20) }, () => randomValue(random, depth + 1))
    default: {
      const object: Record<string, unknown> = {}
      for (let i = random.below(20); i > 0; i--) object[`k${i}`] = randomValue(random, depth + 1)
      return object
    }
  }
}
