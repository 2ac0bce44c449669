/**
 * Hostile messages of `millrace.v1`: in process a message or an EnvelopeError, and on every engine
 * an answer or a closed connection, while others are served.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import {
  decodeClientMessage,
  decodeServerMessage,
  EnvelopeError,
  encodeEnvelope,
} from '../../src/wire/websocket/envelope.ts'
import { CLIENT_MESSAGES, CloseCode } from '../../src/wire/websocket/messages.ts'
import { startBroker } from '../support/broker.ts'
import { batchOf, createTopic } from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'
import { testSeed } from '../support/seed.ts'
import { Opcode, WebSocketClient } from '../support/web-socket-client.ts'
import { SAMPLE_TOPIC } from './kafka-message.ts'
import { underWatch } from './watch.ts'
import { type HostileMessage, hostileMessages, messageOf } from './websocket-cases.ts'
import { SAMPLE_MESSAGES } from './websocket-message.ts'

const ENVELOPE_BYTES_MAX = 64 * 1024
/** For each engine, chosen by seed; MILLRACE_TEST_CASES for more. */
const CASES = Number(process.env.MILLRACE_TEST_CASES ?? 600)

/** True when the bytes are a message. */
function isMessage({ bytes, label }: HostileMessage): boolean {
  try {
    decodeClientMessage(bytes, ENVELOPE_BYTES_MAX)
    return true
  } catch (error) {
    if (error instanceof EnvelopeError) return false
    throw new Error(label, { cause: error })
  }
}

describe('hostile messages, in process', () => {
  test('there is a sample of every type, and each is a message', () => {
    assert.deepEqual(Object.keys(SAMPLE_MESSAGES).sort(), Object.keys(CLIENT_MESSAGES).sort())
    for (const message of Object.values(SAMPLE_MESSAGES)) {
      assert.ok(isMessage({ label: message.type, bytes: Buffer.from(encodeEnvelope(message)) }))
    }
  })

  test('every case is a message or an EnvelopeError', () => {
    const counts = { messages: 0, refused: 0 }
    for (const one of hostileMessages()) counts[isMessage(one) ? 'messages' : 'refused']++
    assert.ok(counts.messages > 100 && counts.refused > 2000, JSON.stringify(counts))
  })
})

const PING_ID = 0xffff_fff0

for (const engine of ['native', 'uws', 'node']) {
  describe(`the WebSocket door under attack, ${engine}`, () => {
    test(`${CASES} hostile messages are answered or cost their connection`, async () => {
      const seed = testSeed()
      const random = new Random(seed)
      const all = [...hostileMessages(), ...payloadLies()]
      const broker = await startBroker({ set: { 'millrace.http.engine': engine } })
      try {
        const client = await RawClient.open(broker.port)
        await createTopic(client, { name: SAMPLE_TOPIC, partitions: 1 })
        client.close()
        const port = Number(new URL(broker.httpUrl).port)
        await underWatch(broker, async () => {
          for (let i = 0; i < CASES; i++) {
            const one = random.pick(all)
            try {
              await attack(port, one)
            } catch (cause) {
              const message = `${one.label} (MILLRACE_SEED=${seed})`
              throw new Error(`${message}\n${broker.output().slice(-3000)}`, { cause })
            }
          }
        })
        await broker.stop()
      } finally {
        await broker.kill()
        broker.cleanUp()
      }
    })
  })
}

/** Payloads that are not what the envelope says of them. */
function* payloadLies(): Generator<HostileMessage> {
  const batch = batchOf()
  for (const length of [0, 1, 60, batch.length - 1, batch.length + 1, 0x7fff_ffff]) {
    for (const payload of [Buffer.alloc(0), batch, Buffer.concat([batch, batch])]) {
      const partitions = [[SAMPLE_TOPIC, 0, length]]
      const bytes = messageOf({ type: 'produce', id: 1, acks: 1, partitions }, payload)
      yield { label: `produce: ${length} of ${payload.length} bytes`, bytes }
    }
  }
  const many = new Array(2000).fill([SAMPLE_TOPIC, 0, 0])
  const bytes = messageOf({ type: 'produce', id: 1, acks: 1, partitions: many }, batch)
  yield { label: 'produce: two thousand empty partitions', bytes }
}

/** A case and a ping behind it: the pong comes, or the connection goes with a code of ours. */
async function attack(port: number, one: HostileMessage): Promise<void> {
  const client = await WebSocketClient.open(port)
  client.send(Opcode.BINARY, one.bytes)
  client.send(Opcode.BINARY, messageOf({ type: 'ping', id: PING_ID }))
  let parts: Buffer[] = []
  for (;;) {
    const frame = await client.frame()
    if (frame === null || frame.opcode === Opcode.CLOSE) break
    if (frame.opcode > Opcode.CLOSE) continue
    parts.push(frame.payload)
    if (!frame.fin) continue
    const { envelope } = decodeServerMessage(Buffer.concat(parts), 64 * 1024 * 1024)
    parts = []
    if (envelope.type !== 'pong' || envelope.id !== PING_ID) continue
    assert.ok(isMessage(one), `${one.label} was taken for a message`)
    client.destroy()
    await client.ended
    return
  }
  client.destroy() // Or the broker would wait for our close frame.
  const { code } = await client.ended
  const codes: readonly (number | null)[] = Object.values(CloseCode)
  assert.ok(codes.includes(code), `closed with ${code}`)
}
