/** `millrace.v1` against a real broker, on every HTTP engine. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { decodeBatch } from '../../src/record/batch.ts'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import { encodeEnvelope } from '../../src/wire/websocket/envelope.ts'
import {
  CloseCode,
  OFFSET_EARLIEST,
  OFFSET_LATEST,
  type ServerMessages,
} from '../../src/wire/websocket/messages.ts'
import { type TestBroker, withBroker } from '../support/broker.ts'
import { WebSocketTestClient } from '../support/websocket-client.ts'

const text = new TextDecoder()

function batchOf(values: readonly string[]): Uint8Array {
  const builder = new BatchBuilder()
  for (const value of values) builder.append(1_700_000_000_000, null, Buffer.from(value))
  return builder.buildSync()
}

async function valuesOf(payload: Uint8Array): Promise<{ offset: number; value: string }[]> {
  const values: { offset: number; value: string }[] = []
  for (let at = 0; at < payload.length; ) {
    const batch = await decodeBatch(payload, at, { recordsBytesMax: 1_000_000, verifyCrc: true })
    for (const { offset, value } of batch) {
      values.push({ offset, value: text.decode(value ?? new Uint8Array(0)) })
    }
    at += batch.header.bytes
  }
  return values
}

async function withTopic(
  broker: TestBroker,
  partitions: number,
): Promise<{ client: WebSocketTestClient; topic: string }> {
  const client = await WebSocketTestClient.open(broker.httpUrl)
  const topic = 'orders'
  await client.ask('done', {
    type: 'createTopic',
    id: client.nextId(),
    name: topic,
    partitions,
    replicationFactor: -1,
    configs: {},
  })
  client.send({ type: 'requestCredits', bytes: 1_000_000 })
  await client.takeType('credits')
  return { client, topic }
}

for (const engine of ['native', 'uws', 'node']) {
  describe(`millrace.v1 on ${engine}`, () => {
    const set = { 'millrace.http.engine': engine }

    test('greets, appends batches, and gives them back by fetch and by push', async () => {
      await withBroker({ set }, async (broker) => {
        const { client, topic } = await withTopic(broker, 3)
        assert.deepEqual(client.hello.versions, [1, 1])
        assert.ok(client.hello.credits > 0)
        const [a, b] = [batchOf(['a0', 'a1']), batchOf(['b0'])]
        const produced = await client.ask(
          'produced',
          {
            type: 'produce',
            id: client.nextId(),
            acks: -1,
            partitions: [
              [topic, 0, a.length],
              [topic, 2, b.length],
              [topic, 9, b.length],
            ],
          },
          a,
          b,
          b,
        )
        assert.deepEqual(
          produced.partitions.map(([code, offset]) => [code, offset]),
          [
            [0, 0],
            [0, 0],
            [3, -1],
          ],
        )
        assert.match(String(produced.partitions[2]?.[4]), /topic|partition/i)
        const fetched = await client.ask('fetched', {
          type: 'fetch',
          id: client.nextId(),
          maxBytes: 1_000_000,
          minBytes: 1,
          maxWaitMs: 0,
          partitions: [
            [topic, 0, 0, 100_000],
            [topic, 2, 0, 100_000],
          ],
        })
        const [first, second] = fetched.partitions
        assert.deepEqual([first?.[1], second?.[1]], [2, 1], 'high watermarks')
        const values = await valuesOf(fetched.payload.subarray(0, first?.[3]))
        assert.deepEqual(values, [
          { offset: 0, value: 'a0' },
          { offset: 1, value: 'a1' },
        ])

        const where = { topic, partition: 0, credits: 100_000 }
        const subscribed = await client.ask('subscribed', {
          type: 'subscribe',
          id: client.nextId(),
          subscription: 7,
          offset: OFFSET_EARLIEST,
          ...where,
        })
        assert.deepEqual([subscribed.offset, subscribed.highWatermark], [0, 2])
        const pushed = await client.takeType('batches')
        assert.equal(pushed.message.subscription, 7)
        assert.deepEqual((await valuesOf(pushed.payload)).length, 2)
        // What comes later is pushed by itself.
        const c = batchOf(['a2'])
        client.send(
          { type: 'produce', id: client.nextId(), acks: 1, partitions: [[topic, 0, c.length]] },
          c,
        )
        const live = await client.takeType('batches')
        assert.deepEqual(await valuesOf(live.payload), [{ offset: 2, value: 'a2' }])
        await client.ask('done', { type: 'unsubscribe', id: client.nextId(), subscription: 7 })
        await client.close()
      })
    })

    test('stores large batches of several partitions, whole or in fragments, as they are', async () => {
      await withBroker({ set }, async (broker) => {
        const { client, topic } = await withTopic(broker, 3)
        client.send({ type: 'requestCredits', bytes: 6_000_000 })
        await client.takeType('credits')
        const sent: string[][] = [[], [], []]
        const answers: Promise<{ partitions: readonly (readonly unknown[])[] }>[] = []
        for (let id = 1000; id < 1012; id++) {
          const batches = sent.map((values, partition) => {
            const mine = Array.from({ length: 60 }, (_, i) => `${id}-${partition}-`.padEnd(i * 50))
            values.push(...mine)
            return batchOf(mine)
          })
          const partitions = batches.map(({ length }, i): [string, number, number] => {
            return [topic, i, length]
          })
          const envelope = encodeEnvelope({ type: 'produce', id, acks: -1, partitions })
          const message = Buffer.concat([envelope, ...batches])
          const cut = id % 3 === 0 ? message.length : Math.floor(message.length / 3) + id
          for (let at = 0; at < message.length; at += cut) {
            client.socket.send(message.subarray(at, at + cut), { fin: at + cut >= message.length })
          }
          const taken = client.take(({ message: { type, ...rest } }) => {
            return type === 'produced' && 'id' in rest && rest.id === id
          })
          answers.push(taken.then((one) => one.message as ServerMessages['produced']))
        }
        for (const { partitions } of await Promise.all(answers)) {
          assert.deepEqual(
            partitions.map(([code]) => code),
            [0, 0, 0],
          )
        }
        for (const [partition, values] of sent.entries()) {
          const where = { topic, partition, credits: 10_000_000, offset: OFFSET_EARLIEST }
          const [id, subscription] = [client.nextId(), partition]
          await client.ask('subscribed', { type: 'subscribe', id, subscription, ...where })
          const read: string[] = []
          while (read.length < values.length) {
            const pushed = await client.takeType('batches')
            read.push(...(await valuesOf(pushed.payload)).map(({ value }) => value))
          }
          assert.deepEqual(read, values)
        }
        await client.close()
      })
    })

    test('builds batches of plain records, by key, partition or in turn', async () => {
      await withBroker({ set }, async (broker) => {
        const { client, topic } = await withTopic(broker, 4)
        const keyed = await client.ask('producedRecords', {
          type: 'produceRecords',
          id: client.nextId(),
          acks: -1,
          topic,
          partition: null,
          records: [
            { key: 'k1', value: 'one', headers: [['h', 'x']] },
            { key: 'k2', value: 'two' },
            { key: 'k1', value: Buffer.from('three'), timestamp: 1_700_000_000_001 },
            { value: null },
          ],
        })
        assert.equal(keyed.message, null)
        assert.equal(keyed.records[0]?.[0], keyed.records[2]?.[0], 'equal keys, equal partitions')
        assert.ok((keyed.records[2]?.[1] as number) > (keyed.records[0]?.[1] as number))
        const refused = await client.ask('error', {
          type: 'produceRecords',
          id: client.nextId(),
          acks: 1,
          topic,
          partition: 4,
          records: [{ value: 'x' }],
        })
        assert.equal(refused.code, 3)
        const apart = await client.ask('error', {
          type: 'produceRecords',
          id: client.nextId(),
          acks: 1,
          topic,
          partition: 0,
          records: [
            { value: 'x', timestamp: Number.MIN_SAFE_INTEGER },
            { value: 'y', timestamp: Number.MAX_SAFE_INTEGER },
          ],
        })
        assert.equal(apart.name, 'INVALID_TIMESTAMP', 'no batch holds such a distance')
        await client.close()
      })
    })

    test('answers about topics, offsets and errors', async () => {
      await withBroker({ set }, async (broker) => {
        const { client, topic } = await withTopic(broker, 2)
        const bytes = batchOf(['x', 'y', 'z'])
        await client.ask(
          'produced',
          { type: 'produce', id: 900, acks: 1, partitions: [[topic, 1, bytes.length]] },
          bytes,
        )
        const found = await client.ask('metadata', {
          type: 'metadata',
          id: 901,
          topics: [topic, 'no'],
        })
        assert.deepEqual(
          found.topics.map((one) => [one.name, one.errorCode, one.partitions.length]),
          [
            [topic, 0, 2],
            ['no', 3, 0],
          ],
        )
        const offsets = await client.ask('offsets', {
          type: 'listOffsets',
          id: 902,
          partitions: [
            [topic, 1, -1],
            [topic, 1, -2],
            [topic, 0, -1],
            [topic, 1, 1_700_000_000_000],
            [topic, 5, -1],
          ],
        })
        assert.deepEqual(
          offsets.partitions.map(([code, offset]) => [code, offset]),
          [
            [0, 3],
            [0, 0],
            [0, 0],
            [0, 0],
            [3, -1],
          ],
        )
        const cut = await client.ask('deleted', {
          type: 'deleteRecords',
          id: 903,
          topic,
          partition: 1,
          offset: 2,
        })
        assert.equal(cut.logStartOffset, 2)
        const below = await client.ask('error', {
          type: 'subscribe',
          id: 904,
          subscription: 1,
          topic,
          partition: 1,
          offset: 1,
          credits: 10,
        })
        assert.equal(below.name, 'OFFSET_OUT_OF_RANGE')
        const latest = await client.ask('subscribed', {
          type: 'subscribe',
          id: 905,
          subscription: 1,
          topic,
          partition: 1,
          offset: OFFSET_LATEST,
          credits: 10,
        })
        assert.equal(latest.offset, 3)
        const configs = await client.ask('topicConfig', {
          type: 'describeTopic',
          id: 906,
          name: topic,
        })
        assert.ok(configs.configs.some(([name]) => name === 'retention.ms'))
        const producer = await client.ask('producer', { type: 'initProducer', id: 907 })
        assert.equal(producer.producerEpoch, 0)
        await client.ask('done', { type: 'createPartitions', id: 908, name: topic, count: 3 })
        const again = await client.ask('error', {
          type: 'createTopic',
          id: 909,
          name: topic,
          partitions: 1,
          replicationFactor: -1,
          configs: {},
        })
        assert.equal(again.name, 'TOPIC_ALREADY_EXISTS')
        await client.ask('pong', { type: 'ping', id: 910 })
        await client.ask('done', { type: 'deleteTopic', id: 911, name: topic })
        const ended = await client.takeType('ended')
        assert.equal(ended.message.subscription, 1)
        await client.close()
      })
    })

    test('closes who overdraws, who is malformed, who has too many subscriptions', async () => {
      await withBroker({ set }, async (broker) => {
        const { client, topic } = await withTopic(broker, 1)
        const greedy = await WebSocketTestClient.open(broker.httpUrl)
        const big = batchOf(['x'.repeat(greedy.hello.credits)])
        greedy.send({ type: 'produce', id: 1, acks: 1, partitions: [[topic, 0, big.length]] }, big)
        const said = await greedy.takeType('error')
        assert.equal(said.message.id, null)
        assert.match(said.message.message, /credits/)
        assert.equal(await greedy.closed, CloseCode.LIMIT_EXCEEDED)

        for (const bytes of [
          Buffer.of(0, 0, 0, 1, 0xc1),
          Buffer.of(1),
          Buffer.of(0xff, 0xff, 0xff, 0xff, 0),
        ]) {
          const broken = await WebSocketTestClient.open(broker.httpUrl)
          broken.socket.send(bytes)
          assert.equal(await broken.closed, CloseCode.MALFORMED)
        }
        const lying = await WebSocketTestClient.open(broker.httpUrl)
        lying.send({ type: 'produce', id: 1, acks: 1, partitions: [[topic, 0, 50]] }, Buffer.of(1))
        assert.equal(await lying.closed, CloseCode.MALFORMED)
        const flooding = await WebSocketTestClient.open(broker.httpUrl)
        const credits = flooding.hello.limits.pushBytes
        const where = { topic, partition: 0, offset: OFFSET_LATEST }
        flooding.send({ type: 'subscribe', id: 1, subscription: 1, credits, ...where })
        flooding.send({ type: 'subscribe', id: 2, subscription: 2, credits: 1, ...where })
        assert.equal(await flooding.closed, CloseCode.LIMIT_EXCEEDED)
        // Questions are free of credits, but not of bounds.
        const asking = await WebSocketTestClient.open(broker.httpUrl)
        const partitions = Array.from({ length: 2000 }, (): [string, number, number, number] => {
          return [topic, 0, 0, 1]
        })
        for (let id = 1; id < 100; id++) {
          const wait = { maxBytes: 1, minBytes: 1, maxWaitMs: 60_000 }
          asking.send({ type: 'fetch', id, ...wait, partitions })
        }
        assert.equal(await asking.closed, CloseCode.LIMIT_EXCEEDED)
        const twice = await WebSocketTestClient.open(broker.httpUrl)
        const empty: [string, number, number, number][] = [[topic, 0, 0, 1]]
        for (const id of [7, 7]) {
          const wait = { maxBytes: 1, minBytes: 1, maxWaitMs: 60_000 }
          twice.send({ type: 'fetch', id, ...wait, partitions: empty })
        }
        assert.equal(await twice.closed, CloseCode.MALFORMED)
        // Others are served, and everything that was granted has come back.
        const bytes = batchOf(['still here'])
        const produced = await client.ask(
          'produced',
          { type: 'produce', id: 1, acks: 1, partitions: [[topic, 0, bytes.length]] },
          bytes,
        )
        assert.equal(produced.partitions[0]?.[0], 0)
        await client.close()
      })
    })

    test('pushes no more than the credits, and goes on when more are granted', async () => {
      await withBroker({ set }, async (broker) => {
        const { client, topic } = await withTopic(broker, 1)
        const batch = batchOf(['v'.repeat(1000)])
        for (let id = 100; id < 120; id++) {
          await client.ask(
            'produced',
            { type: 'produce', id, acks: 1, partitions: [[topic, 0, batch.length]] },
            batch,
          )
        }
        await client.ask('subscribed', {
          type: 'subscribe',
          id: 1,
          subscription: 3,
          topic,
          partition: 0,
          offset: 0,
          credits: 2 * batch.length,
          maxBytes: batch.length,
        })
        let seen = 0
        for (const granted of [0, 5, 13]) {
          if (granted > 0) {
            client.send({ type: 'flow', subscription: 3, credits: granted * batch.length })
          }
          const until = granted === 0 ? 2 : seen + granted
          while (seen < until) {
            const { payload } = await client.takeType('batches')
            const values = await valuesOf(payload)
            assert.equal(values[0]?.offset, seen)
            seen += values.length
          }
          // A later answer of the same connection proves that no push was under way.
          await client.ask('pong', { type: 'ping', id: client.nextId() })
          assert.equal(client.inbox.filter(({ message }) => message.type === 'batches').length, 0)
        }
        assert.equal(seen, 20)
        await client.close()
      })
    })

    test('produces with acks 0 give their credits back', async () => {
      await withBroker({ set }, async (broker) => {
        const { client, topic } = await withTopic(broker, 1)
        const batch = batchOf(['quiet'])
        let credits = 0
        for (let i = 0; i < 10; i++) {
          const partitions: [string, number, number][] = [[topic, 0, batch.length]]
          client.send({ type: 'produce', id: i, acks: 0, partitions }, batch)
          credits += (await client.takeType('credits')).message.bytes
        }
        assert.ok(credits > 10 * (batch.length + 512))
        const offsets = await client.ask('offsets', {
          type: 'listOffsets',
          id: 1,
          partitions: [[topic, 0, -1]],
        })
        assert.equal(offsets.partitions[0]?.[1], 10)
        await client.close()
      })
    })
  })
}
