/**
 * Hostile requests against a real broker: each is answered or costs its connection, others are
 * served meanwhile, and what is there in the end is what was acknowledged.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import {
  ApiKey,
  DecodeError,
  decodeRequest,
  decodeRequestHeader,
  decodeResponse,
  decodeResponseHeader,
  encodeRequest,
  isSupported,
  Reader,
  type ResponseOf,
} from '../../src/wire/kafka/api.ts'
import { startBroker, type TestBroker, withBroker } from '../support/broker.ts'
import { createTopic, readPartition } from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'
import { testSeed } from '../support/seed.ts'
import { type HostileCase, hostileCases } from './kafka-cases.ts'
import { bytesOf, CORRELATION_ID, frameOf, SAMPLE_TOPIC, sampleRequests } from './kafka-message.ts'
import { residentBytes, underWatch } from './watch.ts'

/** Of some thirty thousand, chosen by seed; MILLRACE_TEST_CASES for more. */
const CASES = Number(process.env.MILLRACE_TEST_CASES ?? 1500)
const PING_ID = 77
const PING = Buffer.concat(
  encodeRequest(ApiKey.API_VERSIONS, 0, { correlationId: PING_ID, clientId: null }, {}),
)

interface Said {
  readonly key: number
  readonly version: number
  readonly body: unknown
}

/** What a case says when it is a request after all; null when it is none. */
function meaningOf({ body }: HostileCase): Said | null {
  const reader = new Reader(body)
  try {
    const { requestApiKey: key, requestApiVersion: version } = decodeRequestHeader(reader)
    if (!isSupported(key, version)) return null
    return { key, version, body: decodeRequest(key, version, reader) }
  } catch (error) {
    if (error instanceof DecodeError) return null
    throw error
  }
}

/** A lie may be a right request: one that waits for long, is not answered, or deletes. */
function isOrderly(said: Said | null): boolean {
  if (said === null) return false
  const { acks, maxWaitMs } = said.body as { acks?: number; maxWaitMs?: number }
  if (said.key === ApiKey.DELETE_TOPICS || said.key === ApiKey.DELETE_RECORDS) return true
  return (said.key === ApiKey.PRODUCE && acks === 0) || (maxWaitMs ?? 0) > 0
}

/** Cases chosen by seed; all of them once when so many are wanted. */
function chosenCases(random: Random): HostileCase[] {
  const all = sampleRequests().flatMap((sample) => [...hostileCases(sample)])
  const hostile = all.filter((one) => !isOrderly(meaningOf(one)))
  if (CASES >= hostile.length) return hostile
  return Array.from({ length: CASES }, () => random.pick(hostile))
}

/** What was acknowledged to somebody who was up to no good. */
class Acknowledged {
  readonly topics = new Set<string>([SAMPLE_TOPIC])
  readonly baseOffsets: number[] = []

  note({ key, version }: Said, frame: Buffer): void {
    const reader = new Reader(frame)
    decodeResponseHeader(key as 0, version, reader)
    const body: unknown = decodeResponse(key as 0, version, reader)
    if (key === ApiKey.PRODUCE) this.#produced(body as ResponseOf<0>)
    if (key === ApiKey.CREATE_TOPICS) {
      const { topics } = body as ResponseOf<typeof ApiKey.CREATE_TOPICS>
      for (const { name, errorCode } of topics) if (errorCode === 0) this.topics.add(name)
    }
    if (key === ApiKey.METADATA) {
      const { topics } = body as ResponseOf<typeof ApiKey.METADATA>
      for (const { name, errorCode } of topics) if (errorCode === 0) this.topics.add(name ?? '')
    }
  }

  #produced({ responses }: ResponseOf<0>): void {
    for (const { name, partitionResponses } of responses) {
      for (const { index, errorCode, baseOffset } of partitionResponses) {
        if (name === SAMPLE_TOPIC && index === 0 && errorCode === 0) {
          this.baseOffsets.push(baseOffset)
        }
      }
    }
  }
}

type Outcome = 'answered' | 'closed'

/** One case on a connection, a right request behind it: that is answered, or nothing any more. */
class Attacker {
  readonly #port: number
  #client: RawClient | null = null

  constructor(port: number) {
    this.#port = port
  }

  async say(one: HostileCase, onAnswer: (frame: Buffer) => void): Promise<Outcome> {
    this.#client ??= await RawClient.open(this.#port)
    const client = this.#client
    // Where it stands, whatever stands there now.
    const correlationId = one.body.length < 8 ? CORRELATION_ID : one.body.readInt32BE(4)
    const answered = client.sendFrame(correlationId, frameOf(one.body)).then(onAnswer)
    const pinged = client.sendFrame(PING_ID, PING)
    const [first] = await Promise.allSettled([answered, pinged])
    if (first.status === 'fulfilled') return 'answered'
    if (!/closed the connection|ECONNRESET|EPIPE/.test(String(first.reason))) throw first.reason
    await client.closed
    this.#client = null
    return 'closed'
  }

  close(): void {
    this.#client?.close()
  }
}

for (const tier of ['auto', 'portable']) {
  describe(`the Kafka door under attack, tier ${tier}`, () => {
    test(`${CASES} hostile requests are answered or cost their connection`, async () => {
      const seed = testSeed()
      const cases = chosenCases(new Random(seed))
      const broker = await startBroker({ set: { 'millrace.native.tier': tier } })
      try {
        const client = await RawClient.open(broker.port)
        await createTopic(client, { name: SAMPLE_TOPIC, partitions: 1 })
        const acknowledged = new Acknowledged()
        const outcomes = { answered: 0, closed: 0 }
        await underWatch(broker, async () => {
          const attacker = new Attacker(broker.port)
          for (const [index, one] of cases.entries()) {
            const said = meaningOf(one)
            const outcome = await attacker
              .say(one, (frame) => said !== null && acknowledged.note(said, frame))
              .catch((cause: unknown) => {
                const before = cases[index - 1]?.label
                const message = `${one.label}, after ${before} (MILLRACE_SEED=${seed})`
                throw new Error(`${message}\n${broker.output()}`, { cause })
              })
            outcomes[outcome]++
            if (said !== null) continue
            // Only ApiVersions is answered in versions that there are not (KIP-511).
            const isAsked = one.body.length >= 8 && one.body.readInt16BE(0) === ApiKey.API_VERSIONS
            assert.ok(outcome === 'closed' || isAsked, `${one.label}: ${outcome}`)
          }
          attacker.close()
        })
        assert.ok(
          outcomes.answered > 0 && outcomes.closed > cases.length / 2,
          JSON.stringify(outcomes),
        )
        assert.match(broker.output(), /closed a connection: .+ before byte \d+ of \d+/)
        await checkWhatIsThere(client, acknowledged)
        client.close()
        await broker.stop() // Fails unless it ends in order.
      } finally {
        await broker.kill()
        broker.cleanUp()
      }
    })
  })
}

/** Not the canary's, and not what the broker makes for its groups. */
function isSampled(topic: string): boolean {
  return !topic.startsWith('canary') && topic !== '__consumer_offsets'
}

async function checkWhatIsThere(client: RawClient, acknowledged: Acknowledged): Promise<void> {
  const { topics } = await client.request(ApiKey.METADATA, 12, { topics: null })
  const names = topics.map(({ name }) => name ?? '').filter(isSampled)
  assert.deepEqual(new Set(names), new Set([...acknowledged.topics].filter(isSampled)))
  const records = await readPartition(client, { topic: SAMPLE_TOPIC, partition: 0 })
  const bases = [...new Set(records.map(({ batch }) => batch.baseOffset))]
  assert.deepEqual(bases, acknowledged.baseOffsets)
}

test('Metadata 10 and 11 of a topic by its id, which they cannot answer, is INVALID_REQUEST', () =>
  withBroker({}, async (broker) => {
    const client = await RawClient.open(broker.port)
    for (const version of [10, 11]) {
      const topics = [{ topicId: 'AQIDBAUGBwgJCgsMDQ4PEA', name: null }]
      const answer = await client.request(ApiKey.METADATA, version, { topics })
      assert.deepEqual(
        answer.topics.map(({ errorCode, name }) => [errorCode, name]),
        [[ErrorCode.INVALID_REQUEST, '']],
      )
    }
    client.close()
  }))

describe('frames', () => {
  const whole = sampleRequests().map(({ pieces }) => frameOf(bytesOf(pieces)))

  test('that are cut off by hanging up leave nothing behind', () =>
    withBroker({}, async (broker) => {
      await underWatch(broker, async () => {
        for (const frame of whole) {
          for (const length of [1, 3, 4, 5, frame.length >> 1, frame.length - 1]) {
            const client = await RawClient.open(broker.port)
            client.sendBytes(frame.subarray(0, length))
            client.socket.end()
            await client.closed
          }
        }
      })
      await onlyCanaries(broker)
    }))

  test('of noise and of other protocols close', () =>
    withBroker({}, async (broker) => {
      const random = new Random(testSeed())
      const others = [
        'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n',
        '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'.padEnd(600, 'x'),
        'SSH-2.0-OpenSSH_9.2p1\r\n',
        'EHLO localhost\r\n',
        '*1\r\n$4\r\nPING\r\n',
      ]
      await underWatch(broker, async () => {
        for (const text of others) await closes(broker, Buffer.from(text, 'latin1'))
        for (let i = 0; i < 200; i++) {
          const bytes = Buffer.from(random.bytes(random.between(8, 400)))
          await closes(broker, frameOf(bytes))
        }
      })
      await onlyCanaries(broker)
    }))
})

/** A frame of noise is refused; a size that is one is waited for, until the client hangs up. */
async function closes(broker: TestBroker, bytes: Buffer): Promise<void> {
  const client = await RawClient.open(broker.port)
  client.sendBytes(bytes)
  client.socket.end()
  await client.closed
}

async function onlyCanaries(broker: TestBroker): Promise<void> {
  const client = await RawClient.open(broker.port)
  const { topics } = await client.request(ApiKey.METADATA, 12, { topics: null })
  for (const { name } of topics) assert.match(name ?? '', /^canary/)
  client.close()
  assert.ok(residentBytes(broker.pid) > 0)
}
