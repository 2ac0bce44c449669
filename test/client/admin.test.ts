import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { Client } from '../../src/client/client.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { harness } from './harness.ts'

function start() {
  const h = harness(new Random(1))
  const client = new Client({ url: 'ws://fake' }, h.server.platform)
  return { ...h, client, admin: client.admin() }
}

test('topics are created, listed, described, enlarged and deleted', async () => {
  const { timers, admin } = start()
  await timers.until(admin.createTopic({ name: 'a', partitions: 2, configs: { x: 'y' } }))
  await timers.until(admin.createTopic({ name: 'b' }))
  await timers.until(admin.createPartitions('a', 3))
  const topics = await timers.until(admin.listTopics())
  const counts = topics.map(({ name, partitions }) => [name, partitions.length])
  assert.deepEqual(counts, [
    ['a', 3],
    ['b', 1],
  ])
  const described = await timers.until(admin.describeTopic('a'))
  assert.deepEqual(described.partitions[2], { partition: 2, leader: 1, leaderEpoch: 0 })
  assert.deepEqual(described.configs, [{ name: 'retention.ms', value: '1', isDefault: false }])
  await timers.until(admin.deleteTopic('a'))
  const code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
  await assert.rejects(timers.until(admin.describeTopic('a')), { code, retriable: true })
  await assert.rejects(timers.until(admin.deleteTopic('a')), { code })
})

test('offsets are found by end and by time, and records deleted before one', async () => {
  const { timers, server, client, admin } = start()
  server.createTopic('t', 1)
  const producer = client.producer()
  const records = [10, 20, 30].map((timestamp) => ({ topic: 't', value: 'x', timestamp }))
  await timers.until(producer.sendMany(records))
  const place = { topic: 't', partition: 0 }
  assert.equal(await timers.until(admin.deleteRecords(place, 1)), 1)
  const queries = [
    { ...place, at: 'earliest' },
    place,
    { ...place, at: { timestamp: 15 } },
    { ...place, at: { timestamp: 99 } },
  ] as const
  const found = await timers.until(admin.listOffsets(queries))
  assert.deepEqual(
    found.map(({ offset, timestamp }) => [offset, timestamp]),
    [
      [1, -1],
      [3, -1],
      [1, 20],
      [-1, -1],
    ],
  )
  assert.equal(await timers.until(admin.deleteRecords(place, 'latest')), 3)
  assert.deepEqual(await admin.listOffsets([]), [])
})

test('the cluster is described', async () => {
  const { timers, admin } = start()
  assert.deepEqual(await timers.until(admin.describeCluster()), {
    cluster: 'fake',
    controller: 1,
    nodes: [{ node: 1, host: 'localhost', port: 9092 }],
  })
})
