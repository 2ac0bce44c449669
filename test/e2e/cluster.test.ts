/** Several brokers as one cluster, as processes: what is acknowledged survives any one of them. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import kafkajs, { type Consumer, type Kafka, type Producer } from 'kafkajs'
import { startBroker, type TestBroker } from '../support/broker.ts'
import { CLUSTER_SECRET, type TestCluster, withCluster } from '../support/cluster.ts'
import { runCommand } from '../support/command.ts'
import { freePort } from '../support/ports.ts'

const TOPIC = 'events'
const PARTITIONS = 6
const BATCHES = 90
const BATCH_EVENTS = 20
const PATIENCE_MS = 60_000
/** Nobody waits for more members. */
const QUICK = { set: { 'group.initial.rebalance.delay.ms': '0' } }

function kafkaOf(cluster: TestCluster): Kafka {
  return new kafkajs.Kafka({
    clientId: 'cluster-test',
    brokers: cluster.bootstrap.split(','),
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 60 },
  })
}

async function createTopic(kafka: Kafka): Promise<void> {
  const admin = kafka.admin()
  await admin.connect()
  const topics = [{ topic: TOPIC, numPartitions: PARTITIONS, replicationFactor: 3 }]
  await admin.createTopics({ topics, waitForLeaders: true })
  await admin.disconnect()
}

async function leaderOf(kafka: Kafka, partition: number): Promise<number> {
  const admin = kafka.admin()
  await admin.connect()
  const { topics } = await admin.fetchTopicMetadata({ topics: [TOPIC] })
  await admin.disconnect()
  const found = topics[0]?.partitions.find((one) => one.partitionId === partition)
  assert.ok(found !== undefined && found.leader >= 0)
  return found.leader
}

async function untilInSync(kafka: Kafka): Promise<void> {
  const admin = kafka.admin()
  await admin.connect()
  await until(async () => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [TOPIC] })
    return topics[0]?.partitions.every(({ isr }) => isr.length === 3) === true
  })
  await admin.disconnect()
}

async function until(
  isTrue: () => boolean | Promise<boolean>,
  state: () => string = () => '',
): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS
  while (!(await isTrue())) {
    assert.ok(Date.now() < deadline, `it takes too long: ${state()}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/**
 * What a group was given: ids by partition and offset. An offset may come again, after a rebalance
 * or with a new coordinator; what lies there is the same.
 */
class Received {
  readonly byPartition = new Map<number, Map<number, number>>()
  count = 0

  async all(acknowledged: readonly number[]): Promise<void> {
    const state = (): string => {
      const counts = [...this.byPartition].map(([partition, ids]) => `${partition}: ${ids.size}`)
      return `${this.count} of ${acknowledged.length} events; ${counts.join(', ')}`
    }
    await until(() => this.count >= acknowledged.length, state)
  }

  async from(consumer: Consumer): Promise<void> {
    await consumer.connect()
    await consumer.subscribe({ topic: TOPIC, fromBeginning: true })
    await consumer.run({
      eachMessage: async ({ partition, message }) => {
        const ids = this.byPartition.get(partition) ?? new Map<number, number>()
        this.byPartition.set(partition, ids)
        const offset = Number(message.offset)
        const id = Number(message.value?.toString())
        if (!ids.has(offset)) this.count++
        assert.equal(ids.get(offset) ?? id, id, `offset ${offset} of partition ${partition}`)
        ids.set(offset, id)
      },
    })
  }
}

/** Sends batches one after another; `between` runs before each. Returns what was acknowledged. */
async function produce(
  producer: Producer,
  between: (batch: number) => Promise<void>,
): Promise<number[]> {
  await producer.connect()
  const acknowledged: number[] = []
  for (let batch = 0; batch < BATCHES; batch++) {
    await between(batch)
    const ids = Array.from({ length: BATCH_EVENTS }, (_, i) => batch * BATCH_EVENTS + i)
    // To one partition: kafkajs takes what it has not sent for sent when a partition moves to a
    // broker that has answered for another one of the same call.
    const partition = batch % PARTITIONS
    const messages = ids.map((id) => ({ partition, value: String(id) }))
    await producer.send({ topic: TOPIC, acks: -1, messages })
    acknowledged.push(...ids)
  }
  await producer.disconnect()
  return acknowledged
}

function assertOnceAndInOrder(received: Received, acknowledged: readonly number[]): void {
  const all = [...received.byPartition.values()].flatMap((ids) => [...ids.values()])
  assert.deepEqual(
    all.sort((a, b) => a - b),
    [...acknowledged],
  )
  for (const [partition, ids] of received.byPartition) {
    const byOffset = [...ids].sort(([a], [b]) => a - b).map(([, id]) => id)
    const sorted = [...byOffset].sort((a, b) => a - b)
    assert.deepEqual(byOffset, sorted, `partition ${partition} is out of order`)
  }
}

/** The segments of a topic's partitions below a data directory, by name. */
function segmentsOf(broker: TestBroker): Map<string, Buffer> {
  const found = new Map<string, Buffer>()
  for (const partition of readdirSync(broker.dataDir)) {
    if (!/^[0-9a-f]{32}-\d+$/.test(partition)) continue
    const directory = join(broker.dataDir, partition)
    for (const name of readdirSync(directory)) {
      if (name.endsWith('.log')) {
        found.set(`${partition}/${name}`, readFileSync(join(directory, name)))
      }
    }
  }
  return found
}

describe('a cluster of three', () => {
  test('keeps all that was acknowledged when a leader is killed under load', async () => {
    await withCluster(QUICK, async (cluster) => {
      const kafka = kafkaOf(cluster)
      await createTopic(kafka)
      const received = new Received()
      const consumer = kafka.consumer({ groupId: 'readers', sessionTimeout: 10_000 })
      await received.from(consumer)
      let victim = -1
      const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
      const acknowledged = await produce(producer, async (batch) => {
        if (batch === 30) {
          victim = await leaderOf(kafka, 0)
          await cluster.brokers.get(victim)?.kill()
        }
        if (batch === 60) await cluster.restart(victim)
      })
      await received.all(acknowledged)
      await untilInSync(kafka)
      await consumer.disconnect()
      assertOnceAndInOrder(received, acknowledged)
      await Promise.all([...cluster.brokers.values()].map((broker) => broker.stop()))
      const [first, ...others] = [...cluster.brokers.values()].map(segmentsOf)
      assert.ok(first !== undefined && first.size > PARTITIONS)
      for (const other of others) {
        assert.deepEqual([...other.keys()].sort(), [...first.keys()].sort())
        for (const [name, bytes] of first) assert.ok(other.get(name)?.equals(bytes), name)
      }
    })
  })

  test('is restarted broker by broker without an error that a producer sees', async () => {
    await withCluster(QUICK, async (cluster) => {
      const kafka = kafkaOf(cluster)
      await createTopic(kafka)
      const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
      const acknowledged = await produce(producer, async (batch) => {
        if (batch % 30 !== 15) return
        const id = Math.floor(batch / 30) + 1
        await untilInSync(kafka)
        await cluster.brokers.get(id)?.stop()
        await cluster.restart(id)
      })
      const received = new Received()
      const consumer = kafka.consumer({ groupId: 'readers' })
      await received.from(consumer)
      await received.all(acknowledged)
      await consumer.disconnect()
      assertOnceAndInOrder(received, acknowledged)
    })
  })

  test('goes on where it was after all brokers were killed at once', async () => {
    await withCluster(QUICK, async (cluster) => {
      const kafka = kafkaOf(cluster)
      await createTopic(kafka)
      const acknowledged = await produce(kafka.producer({ idempotent: true }), async () => {})
      await Promise.all([...cluster.brokers.values()].map((broker) => broker.kill()))
      await Promise.all([1, 2, 3].map((id) => cluster.restart(id)))
      const received = new Received()
      const consumer = kafka.consumer({ groupId: 'readers' })
      await received.from(consumer)
      await received.all(acknowledged)
      await consumer.disconnect()
      assertOnceAndInOrder(received, acknowledged)
    })
  })
})

describe('a node', () => {
  const start = async (
    args: readonly string[],
    environment: Readonly<Record<string, string>> = { MILLRACE_CLUSTER_SECRET: CLUSTER_SECRET },
  ) => {
    const place = ['--kafka', '127.0.0.1:0', '--http', 'off', '--shards', '1']
    return runCommand(['start', ...place, ...args], environment)
  }

  test('refuses a secret that is not its cluster’s', async () => {
    await withCluster({}, async (cluster) => {
      const { controllers, id } = await strangerOf(cluster)
      const dataDir = mkdtempSync(join(tmpdir(), 'millrace-test-'))
      const own = ['--node-id', '9', '--cluster', `127.0.0.1:${await freePort()}`]
      const joined = ['--data-dir', dataDir, ...own, '--controllers', controllers]
      const wrong = await start([...joined, '--cluster-id', id], {
        MILLRACE_CLUSTER_SECRET: 'not the secret',
      })
      assert.equal(wrong.code, 1)
      assert.match(wrong.output, /secret/)
      rmSync(dataDir, { recursive: true, force: true })
    })
  })

  test('of another cluster refuses to join', async () => {
    await withCluster({}, async (cluster) => {
      const { controllers } = await strangerOf(cluster)
      const dataDir = mkdtempSync(join(tmpdir(), 'millrace-test-'))
      const own = ['--node-id', '9', '--cluster', `127.0.0.1:${await freePort()}`]
      const joined = ['--data-dir', dataDir, ...own, '--controllers', controllers]
      const other = await start([...joined, '--cluster-id', 'AAAAAAAAAAAAAAAAAAAAAg'])
      assert.equal(other.code, 1)
      assert.match(other.output, /belongs to cluster/)
      rmSync(dataDir, { recursive: true, force: true })
    })
  })

  test('does not use the data of a broker that was alone, nor the other way round', async () => {
    const alone = await startBroker()
    await alone.stop()
    const member = ['--data-dir', alone.dataDir, '--controllers', `1@127.0.0.1:${await freePort()}`]
    const id = /cluster\.id=(.*)/.exec(
      readFileSync(join(alone.dataDir, 'meta.properties'), 'utf8'),
    )?.[1]
    const refused = await start([...member, '--cluster-id', id ?? ''])
    assert.equal(refused.code, 1)
    assert.match(refused.output, /a broker that was alone/)
    alone.cleanUp()
    await withCluster({ nodes: 1 }, async (cluster) => {
      const [broker] = cluster.brokers.values()
      await broker?.stop()
      const lone = await start(['--data-dir', broker?.dataDir ?? ''])
      assert.equal(lone.code, 1)
      assert.match(lone.output, /start it with --controllers/)
    })
  })
})

/** What somebody who wants to join has to be told. */
async function strangerOf(cluster: TestCluster): Promise<{ controllers: string; id: string }> {
  const [broker] = cluster.brokers.values()
  assert.ok(broker !== undefined)
  const meta = readFileSync(join(broker.dataDir, 'meta.properties'), 'utf8')
  const id = /cluster\.id=(.*)/.exec(meta)?.[1] ?? ''
  return { controllers: cluster.controllers, id }
}
