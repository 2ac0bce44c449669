/** Topics of a cluster: how many replicas, who may have them, and changes whose answer was lost. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createTopics } from '../../src/broker/handlers/19-create-topics.ts'
import { createPartitions } from '../../src/broker/handlers/37-create-partitions.ts'
import type { Reply } from '../../src/broker/request.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import type { CreateTopicsResponseInit } from '../../src/wire/kafka/schema/19-create-topics.ts'
import { active, registered } from '../metadata/cluster-records.ts'
import { FakeCluster } from '../support/fake-cluster.ts'

interface Wish {
  readonly numPartitions?: number
  readonly replicationFactor?: number
  /** Partition and its brokers. */
  readonly assignments?: readonly [number, number[]][]
}

async function create(cluster: FakeCluster, wish: Wish, validateOnly = false) {
  const assignments = (wish.assignments ?? []).map(([partitionIndex, brokerIds]) => {
    return { partitionIndex, brokerIds }
  })
  const { numPartitions = -1, replicationFactor = -1 } = wish
  const topic = { name: 't', numPartitions, replicationFactor, assignments, configs: [] }
  const body = { topics: [topic], timeoutMs: 0, validateOnly }
  const reply = await createTopics(cluster.broker, body as never)
  return (reply.body as CreateTopicsResponseInit).topics[0]!
}

async function grow(
  cluster: FakeCluster,
  count: number,
  assigned: readonly number[][] | null = null,
): Promise<number> {
  const assignments = assigned?.map((brokerIds) => ({ brokerIds })) ?? null
  const topics = [{ name: 't', count, assignments }]
  const body = { topics, timeoutMs: 0, validateOnly: false }
  const reply: Reply = await createPartitions(cluster.broker, body as never)
  return (reply.body as { results: { errorCode: number }[] }).results[0]!.errorCode
}

function replicasOf(cluster: FakeCluster): unknown {
  const { partitions } = cluster.image
  return cluster.broker.topicByName('t')?.handles.map((handle) => partitions.replicas(handle))
}

const { INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICATION_FACTOR, NONE } = ErrorCode

describe('CreateTopics', () => {
  test('gives each partition as many replicas as are asked for, or the default', async () => {
    const cluster = new FakeCluster(active(1, 2, 3))
    const asked = await create(cluster, { numPartitions: 2, replicationFactor: 3 })
    assert.deepEqual([asked.errorCode, asked.numPartitions, asked.replicationFactor], [NONE, 2, 3])
    assert.deepEqual(replicasOf(cluster), [
      [1, 2, 3],
      [2, 3, 1],
    ])
    const minimum = asked.configs!.find(({ name }) => name === 'min.insync.replicas')
    assert.equal(minimum?.value, '2')
    assert.deepEqual(cluster.opener.calls, ['opened t 0'])
    const other = new FakeCluster(active(1, 2), { set: ['default.replication.factor=2'] })
    assert.equal((await create(other, { numPartitions: 1 })).replicationFactor, 2)
  })

  test('more replicas than brokers that are registered, or none, are refused', async () => {
    const cluster = new FakeCluster([...active(1, 2), registered(3, 3)])
    for (const replicationFactor of [4, 0, -2]) {
      const { errorCode } = await create(cluster, { replicationFactor })
      assert.equal(errorCode, INVALID_REPLICATION_FACTOR, `${replicationFactor}`)
    }
    assert.equal(cluster.store.changes.length, 0)
  })

  test('an assignment, is taken as it is', async () => {
    const cluster = new FakeCluster([...active(1, 2), registered(3, 3)])
    const assignments: [number, number[]][] = [
      [1, [1, 3]],
      [0, [2, 1]],
    ]
    const validated = await create(cluster, { assignments }, true)
    assert.equal(validated.errorCode, NONE)
    assert.equal(replicasOf(cluster), undefined)
    assert.equal((await create(cluster, { assignments })).replicationFactor, 2)
    assert.deepEqual(replicasOf(cluster), [
      [2, 1],
      [1, 3],
    ])
  })

  const bad: readonly [string, [number, number[]][]][] = [
    ['with a gap', [[1, [1]]]],
    [
      'of a partition twice',
      [
        [0, [1]],
        [0, [2]],
      ],
    ],
    ['without brokers', [[0, []]]],
    ['to a broker that is not registered', [[0, [1, 7]]]],
    ['to a broker twice', [[0, [1, 1]]]],
    [
      'of different numbers of replicas',
      [
        [0, [1, 2]],
        [1, [1]],
      ],
    ],
    ['to nobody who is there', [[0, [3]]]],
  ]
  for (const [what, assignments] of bad) {
    test(`an assignment ${what}, is refused`, async () => {
      const cluster = new FakeCluster([...active(1, 2), registered(3, 3)])
      const { errorCode } = await create(cluster, { assignments })
      assert.equal(errorCode, INVALID_REPLICA_ASSIGNMENT)
    })
  }

  test('an assignment beside a number, is refused', async () => {
    const cluster = new FakeCluster(active(1))
    const answer = await create(cluster, { assignments: [[0, [1]]], replicationFactor: 1 })
    assert.equal(answer.errorCode, ErrorCode.INVALID_REQUEST)
  })

  test('that was committed but not answered, is a success', async () => {
    const cluster = new FakeCluster(active(1))
    cluster.store.lostAnswers = 1
    const answer = await create(cluster, { numPartitions: 1 })
    assert.equal(answer.errorCode, NONE)
    assert.equal(cluster.store.changes.length, 1)
    assert.deepEqual(cluster.opener.calls, ['opened t 0'])
    const again = await create(cluster, { numPartitions: 1 })
    assert.equal(again.errorCode, ErrorCode.TOPIC_ALREADY_EXISTS)
  })
})

describe('CreatePartitions', () => {
  async function withTopic(): Promise<FakeCluster> {
    const cluster = new FakeCluster(active(1, 2, 3))
    await create(cluster, { numPartitions: 1, replicationFactor: 2 })
    cluster.opener.calls.length = 0
    return cluster
  }

  test('gives new partitions as many replicas as the others have', async () => {
    const cluster = await withTopic()
    assert.equal(await grow(cluster, 2), NONE)
    assert.deepEqual(replicasOf(cluster), [
      [1, 2],
      [2, 3],
    ])
    assert.deepEqual(cluster.opener.calls, ['opened t 1'])
  })

  test('an assignment, names the replicas of each new partition', async () => {
    const cluster = await withTopic()
    assert.equal(await grow(cluster, 2, [[3, 1]]), NONE)
    assert.deepEqual(replicasOf(cluster), [
      [1, 2],
      [3, 1],
    ])
    for (const assigned of [
      [],
      [[1]],
      [[1, 2, 3]],
      [[1, 9]],
      [
        [1, 2],
        [2, 1],
      ],
    ]) {
      assert.equal(await grow(cluster, 3, assigned), INVALID_REPLICA_ASSIGNMENT)
    }
  })

  test('that was committed but not answered, is a success', async () => {
    const cluster = await withTopic()
    cluster.store.lostAnswers = 1
    assert.equal(await grow(cluster, 2), NONE)
    assert.equal(await grow(cluster, 2), ErrorCode.INVALID_PARTITIONS)
  })
})

test('DeleteTopics, that was committed but not answered, is a success', async () => {
  const cluster = new FakeCluster(active(1))
  await create(cluster, { numPartitions: 1 })
  const topic = cluster.broker.topicByName('t')!
  cluster.store.lostAnswers = 1
  assert.equal((await cluster.broker.topics.delete(topic)).errorCode, NONE)
  const again = await cluster.broker.topics.delete(topic)
  assert.equal(again.errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
  assert.deepEqual(cluster.opener.calls, ['opened t 0', 'deleted t'])
})
