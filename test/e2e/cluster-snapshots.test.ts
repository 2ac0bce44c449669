/** Snapshots of the metadata, between processes: for a broker that was away, and for a restart. */
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import kafkajs, { type Kafka } from 'kafkajs'
import type { TestBroker } from '../support/broker.ts'
import { type TestCluster, withCluster } from '../support/cluster.ts'

const KEPT = 'kept'
const PATIENCE_MS = 60_000
const SMALL = { 'metadata.log.max.record.bytes.between.snapshots': '3000' }

function kafkaOf(bootstrap: string): Kafka {
  return new kafkajs.Kafka({
    clientId: 'snapshots-test',
    brokers: bootstrap.split(','),
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 60 },
  })
}

/** What a broker says of all topics, in an order that does not depend on it. */
async function topicsOf(broker: TestBroker): Promise<string> {
  const admin = kafkaOf(broker.bootstrap).admin()
  await admin.connect()
  const { topics } = await admin.fetchTopicMetadata()
  await admin.disconnect()
  const lines = topics.flatMap(({ name, partitions }) =>
    partitions.map(({ partitionId, leader, replicas, isr }) =>
      JSON.stringify([name, partitionId, leader, replicas, [...isr].sort()]),
    ),
  )
  return lines.sort().join('\n')
}

function isInSync(line: string): boolean {
  const [, , , replicas, isr] = JSON.parse(line) as [string, number, number, number[], number[]]
  return replicas.length === isr.length
}

/** All say the same, and everybody is in sync. */
async function untilEqual(cluster: TestCluster): Promise<string> {
  const deadline = Date.now() + PATIENCE_MS
  for (;;) {
    const [first = '', ...others] = await Promise.all([...cluster.brokers.values()].map(topicsOf))
    const areInSync = first.split('\n').every(isInSync)
    if (areInSync && others.every((other) => other === first)) return first
    assert.ok(Date.now() < deadline, `brokers differ:\n${[first, ...others].join('\n---\n')}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** The third from the end goes once the newest is there. */
async function untilTwo(directory: string): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS
  for (;;) {
    const names = readdirSync(directory).filter((name) => name.endsWith('.checkpoint'))
    if (names.length === 2) return
    assert.ok(Date.now() < deadline, names.join())
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function change(kafka: Kafka, from: number, to: number): Promise<void> {
  const admin = kafka.admin()
  await admin.connect()
  for (let i = from; i < to; i++) {
    const topics = [{ topic: `topic-${i}`, numPartitions: 4, replicationFactor: 2 }]
    await admin.createTopics({ topics, waitForLeaders: false })
    if (i % 3 === 0) await admin.deleteTopics({ topics: [`topic-${i}`] })
  }
  await admin.disconnect()
}

async function valuesOf(kafka: Kafka, count: number): Promise<string[]> {
  const consumer = kafka.consumer({ groupId: `readers-${Math.random()}` })
  const values: string[] = []
  await consumer.connect()
  await consumer.subscribe({ topic: KEPT, fromBeginning: true })
  await new Promise<void>((resolve) => {
    void consumer.run({
      eachMessage: async ({ message }) => {
        values.push(String(message.value))
        if (values.length === count) resolve()
      },
    })
  })
  await consumer.disconnect()
  return values.sort()
}

describe('a cluster whose metadata log is short', () => {
  test('sends a snapshot to who was away, and begins with one', async () => {
    await withCluster({ set: SMALL }, async (cluster) => {
      const kafka = kafkaOf(cluster.bootstrap)
      const admin = kafka.admin()
      await admin.connect()
      const topics = [{ topic: KEPT, numPartitions: 1, replicationFactor: 3 }]
      await admin.createTopics({ topics, waitForLeaders: true })
      await admin.disconnect()
      await change(kafka, 0, 5)
      const producer = kafka.producer()
      await producer.connect()
      await producer.send({ topic: KEPT, acks: -1, messages: [{ value: '1' }] })
      await cluster.brokers.get(3)?.stop()
      await change(kafka, 5, 60)
      await producer.send({ topic: KEPT, acks: -1, messages: [{ value: '2' }] })
      await producer.disconnect()
      const directory = join(cluster.brokers.get(1)?.dataDir ?? '', '__cluster_metadata-snapshots')
      await untilTwo(directory)

      const back = await cluster.restart(3)
      const before = await untilEqual(cluster)
      assert.match(back.output(), /the metadata is the leader's snapshot/)
      assert.doesNotMatch(cluster.output(), /the metadata log is not cut now|can be taken now/)

      await Promise.all([...cluster.brokers.values()].map((broker) => broker.kill()))
      await Promise.all([1, 2, 3].map((id) => cluster.restart(id)))
      for (const broker of cluster.brokers.values()) {
        assert.match(broker.output(), /the metadata begins with its snapshot/)
      }
      const after = await untilEqual(cluster)
      const withoutLeader = (text: string): string => text.replaceAll(/,\d,\[/g, ',[')
      assert.equal(withoutLeader(after), withoutLeader(before))
      assert.deepEqual(await valuesOf(kafka, 2), ['1', '2'])
    })
  })
})
