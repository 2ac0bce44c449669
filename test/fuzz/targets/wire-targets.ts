/** What clients send: Kafka requests and messages of `millrace.v1`. */
import assert from 'node:assert/strict'
import {
  DecodeError,
  decodeRequest,
  decodeRequestHeader,
  encodeRequest,
  isSupported,
  Reader,
} from '../../../src/wire/kafka/api.ts'
import {
  decodeClientMessage,
  EnvelopeError,
  encodeEnvelope,
} from '../../../src/wire/websocket/envelope.ts'
import { bytesOf, int, sampleRequests, uvarint } from '../../hostile/kafka-message.ts'
import { SAMPLE_MESSAGES } from '../../hostile/websocket-message.ts'
import { EDGE_INTEGERS } from '../mutate.ts'
import { type FuzzTarget, tolerate } from '../target.ts'

const reader = new Reader()

function decode(bytes: Uint8Array) {
  return tolerate(
    (error) => error instanceof DecodeError,
    () => {
      reader.reset(bytes)
      const header = decodeRequestHeader(reader)
      const { requestApiKey: key, requestApiVersion: version } = header
      if (!isSupported(key, version)) return null
      return { key, version, header, body: decodeRequest(key, version, reader) }
    },
  )
}

/** Ranges of record batches as the bytes themselves. */
function withRecords(value: unknown, bytes: Uint8Array): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  if (Array.isArray(value)) return value.map((one) => withRecords(one, bytes))
  const entries = Object.entries(value)
  if (entries.length === 2 && 'offset' in value && 'length' in value) {
    const { offset, length } = value as { offset: number; length: number }
    assert(offset >= 0 && length >= 0 && offset + length <= bytes.length)
    return Buffer.from(bytes.subarray(offset, offset + length))
  }
  return Object.fromEntries(entries.map(([name, one]) => [name, withRecords(one, bytes)]))
}

/** Decodes or is refused; what is decoded means the same when it is encoded and decoded again. */
export const kafkaRequest: FuzzTarget = {
  name: 'kafka-request',
  bytesMax: 1024,
  seeds: () => sampleRequests().map((sample) => bytesOf(sample.pieces)),
  dictionary: [
    ...EDGE_INTEGERS.map((value) => int(4, value)),
    ...EDGE_INTEGERS.filter((value) => value >= 0).map((value) => uvarint(value + 1)),
    Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f),
    Uint8Array.of(0xff, 0xff),
    Buffer.from('sampled'),
    Uint8Array.of(0xef, 0xbf, 0xbd),
  ],
  run(input) {
    const first = decode(input)
    if (first === null) return
    const { key, version, header } = first
    const body = withRecords(first.body, input)
    const again = Buffer.concat(encodeRequest(key, version, header, body as never)).subarray(4)
    const second = decode(again)
    assert.notEqual(second, null, 'what was decoded does not survive encoding')
    assert.deepEqual(second?.header, header)
    assert.deepEqual(withRecords(second?.body, again), body)
  },
}

const ENVELOPE_BYTES_MAX = 64 * 1024

/** Decodes or is refused; what is decoded survives encoding. */
export const websocketMessage: FuzzTarget = {
  name: 'websocket-message',
  bytesMax: 1024,
  seeds: () => Object.values(SAMPLE_MESSAGES).map((message) => encodeEnvelope(message)),
  dictionary: [
    ...Object.keys(SAMPLE_MESSAGES).map((type) => Buffer.from(type)),
    // MessagePack: lengths of every width, extensions, floats, times, 64-bit integers.
    Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff),
    Uint8Array.of(0xdf, 0x7f, 0xff, 0xff, 0xff),
    Uint8Array.of(0xc6, 0xff, 0xff, 0xff, 0xff),
    Uint8Array.of(0xdb, 0x80, 0, 0, 0),
    Uint8Array.of(0xd6, 0xff, 0, 0, 0, 0),
    Uint8Array.of(0xd4, 0x72, 0x40),
    Uint8Array.of(0xc7, 1, 0x62, 1),
    Uint8Array.of(0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0),
    Uint8Array.of(0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
    Uint8Array.of(0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0),
    Uint8Array.of(0xc1),
    Uint8Array.of(0xc0),
    Buffer.concat([Uint8Array.of(0xa9), Buffer.from('__proto__')]),
    Buffer.concat([Uint8Array.of(0xab), Buffer.from('constructor')]),
    Buffer.concat([Uint8Array.of(0xa6), Buffer.from('toJSON')]),
  ],
  run(input) {
    const refused = (error: unknown): boolean => error instanceof EnvelopeError
    const first = tolerate(refused, () => decodeClientMessage(input, ENVELOPE_BYTES_MAX))
    if (first === null) return
    assert(first.payloadStart <= input.length)
    const again = decodeClientMessage(encodeEnvelope(first.envelope), 4 * ENVELOPE_BYTES_MAX)
    assert.deepEqual(again.envelope, first.envelope)
  },
}
