/** What clients are told of a cluster of several brokers. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ZERO_UUID } from '../../../src/base/uuid.ts'
import { metadata } from '../../../src/broker/handlers/03-metadata.ts'
import { findCoordinator } from '../../../src/broker/handlers/10-find-coordinator.ts'
import { describeCluster } from '../../../src/broker/handlers/60-describe-cluster.ts'
import { describeTopicPartitions } from '../../../src/broker/handlers/75-describe-topic-partitions.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import type { MetadataRecord } from '../../../src/metadata/records.ts'
import type { MetadataResponseInit } from '../../../src/wire/kafka/schema/03-metadata.ts'
import type { FindCoordinatorResponseInit } from '../../../src/wire/kafka/schema/10-find-coordinator.ts'
import type { DescribeClusterResponseInit } from '../../../src/wire/kafka/schema/60-describe-cluster.ts'
import type { DescribeTopicPartitionsResponseInit } from '../../../src/wire/kafka/schema/75-describe-topic-partitions.ts'
import { active, altered, brokerEvent, placed, registered } from '../../metadata/cluster-records.ts'
import { FakeCluster } from '../../support/fake-cluster.ts'

const INTERNAL = [{ listener: 'INTERNAL', host: 'in', port: 1 }]

async function described(cluster: FakeCluster, version = 12): Promise<MetadataResponseInit> {
  const body = {
    topics: [{ topicId: ZERO_UUID, name: 'orders' }],
    allowAutoTopicCreation: false,
    includeClusterAuthorizedOperations: false,
    includeTopicAuthorizedOperations: false,
  }
  const reply = await metadata(cluster.broker, body, cluster.context(version))
  return reply!.body as MetadataResponseInit
}

async function partitionsOf(cluster: FakeCluster, version?: number) {
  const { topics } = await described(cluster, version)
  return topics![0]!.partitions!.map((partition) => [
    partition.errorCode,
    partition.leaderId,
    partition.leaderEpoch,
    partition.replicaNodes,
    partition.isrNodes,
    partition.offlineReplicas,
  ])
}

describe('Metadata', () => {
  test('names the brokers in order, with racks, and who leads and follows', async () => {
    const cluster = new FakeCluster([
      registered(3, 1, { rack: 'c' }),
      brokerEvent('broker-unfenced', 3, 1),
      registered(1, 2, { rack: 'a' }),
      brokerEvent('broker-unfenced', 1, 2),
      ...placed([3, 1], [1, 3]),
    ])
    cluster.broker.controllerId = () => 3
    const { brokers, controllerId } = await described(cluster)
    assert.deepEqual(brokers, [
      { nodeId: 1, host: 'localhost', port: 9093, rack: 'a' },
      { nodeId: 3, host: 'localhost', port: 9095, rack: 'c' },
    ])
    assert.equal(controllerId, 3)
    assert.deepEqual(await partitionsOf(cluster), [
      [0, 3, 0, [3, 1], [3, 1], []],
      [0, 1, 0, [1, 3], [1, 3], []],
    ])
  })

  test('a broker that was lost, is no broker, and its replicas are offline', async () => {
    const cluster = new FakeCluster([...active(1, 2, 3), ...placed([2, 1, 3])])
    cluster.apply([brokerEvent('broker-fenced', 2, 2)])
    const { brokers } = await described(cluster)
    assert.deepEqual(
      brokers!.map(({ nodeId }) => nodeId),
      [1, 3],
    )
    assert.deepEqual(await partitionsOf(cluster), [[0, 1, 1, [2, 1, 3], [1, 3], [2]]])
  })

  test('a partition that nobody leads, says so, with its last epoch', async () => {
    const cluster = new FakeCluster([...active(1, 2), ...placed([2])])
    cluster.apply([brokerEvent('broker-fenced', 2, 2)])
    const [partition] = await partitionsOf(cluster)
    assert.deepEqual(partition!.slice(0, 3), [ErrorCode.LEADER_NOT_AVAILABLE, -1, 1])
  })

  test('a leader without the listener, is none for who comes through it', async () => {
    const cluster = new FakeCluster([
      ...active(1),
      registered(2, 2, { endpoints: INTERNAL }),
      brokerEvent('broker-unfenced', 2, 2),
      ...placed([2, 1]),
    ])
    const { brokers } = await described(cluster)
    assert.equal(brokers!.length, 1)
    const now = await partitionsOf(cluster)
    assert.deepEqual(now, [[ErrorCode.LISTENER_NOT_FOUND, -1, 0, [2, 1], [2, 1], [2]]])
    const before = await partitionsOf(cluster, 5)
    assert.equal(before[0]![0], ErrorCode.LEADER_NOT_AVAILABLE)
  })

  test('in version 0, leaves out replicas that cannot be reached, as an error', async () => {
    const cluster = new FakeCluster([...active(1, 2), ...placed([1, 2])])
    cluster.apply([brokerEvent('broker-fenced', 2, 2)])
    const [partition] = await partitionsOf(cluster, 0)
    const { REPLICA_NOT_AVAILABLE } = ErrorCode
    assert.deepEqual(partition!.slice(0, 5), [REPLICA_NOT_AVAILABLE, 1, 0, [1], [1]])
  })

  test('of a broker that is alone, names the endpoint of the listener', async () => {
    const start: MetadataRecord = {
      type: 'broker-start',
      brokerId: 1,
      brokerEpoch: 1,
      clean: true,
    }
    const cluster = new FakeCluster([start])
    cluster.broker.endpoints.set('OTHER', { host: 'other', port: 1 })
    cluster.broker.endpoints.set('PLAINTEXT', { host: 'here', port: 9092 })
    const { brokers, controllerId } = await described(cluster)
    assert.deepEqual(brokers, [{ nodeId: 1, host: 'here', port: 9092, rack: null }])
    assert.equal(controllerId, 1)
  })
})

describe('DescribeCluster', () => {
  const ask = (cluster: FakeCluster, endpointType: number, includeFencedBrokers: boolean) => {
    const body = {
      includeClusterAuthorizedOperations: false,
      endpointType,
      includeFencedBrokers,
    }
    return describeCluster(cluster.broker, body, cluster.context(2))
      .body as DescribeClusterResponseInit
  }

  test('names fenced brokers to who asks for them', () => {
    const cluster = new FakeCluster([...active(2, 1), registered(3, 3)])
    const ids = (withFenced: boolean) =>
      ask(cluster, 1, withFenced).brokers.map(({ brokerId, isFenced }) => [brokerId, isFenced])
    assert.deepEqual(ids(false), [
      [1, false],
      [2, false],
    ])
    assert.deepEqual(ids(true), [
      [1, false],
      [2, false],
      [3, true],
    ])
  })

  test('controllers and what there is not, are not answered here', () => {
    const cluster = new FakeCluster(active(1))
    assert.equal(ask(cluster, 2, false).errorCode, ErrorCode.MISMATCHED_ENDPOINT_TYPE)
    assert.equal(ask(cluster, 3, false).errorCode, ErrorCode.UNSUPPORTED_ENDPOINT_TYPE)
    assert.deepEqual(ask(cluster, 2, false).brokers, [])
  })
})

test('DescribeTopicPartitions, names who is eligible to lead', () => {
  const cluster = new FakeCluster([...active(1, 2, 3), ...placed([1, 2, 3], [3, 2, 1])])
  cluster.apply([
    altered([1]),
    brokerEvent('broker-fenced', 2, 2),
    brokerEvent('broker-fenced', 3, 3),
  ])
  const body = { topics: [{ name: 'orders' }], responsePartitionLimit: 10, cursor: null }
  const reply = describeTopicPartitions(cluster.broker, body, cluster.context(0))
  const { topics } = reply.body as DescribeTopicPartitionsResponseInit
  assert.deepEqual(
    topics[0]!.partitions.map((one) => [
      one.leaderId,
      one.isrNodes,
      one.eligibleLeaderReplicas,
      one.lastKnownElr,
      one.offlineReplicas,
    ]),
    [
      [1, [1], [2, 3], [], [2, 3]],
      [1, [1], [3], [], [3, 2]],
    ],
  )
})

describe('FindCoordinator', () => {
  const ask = async (cluster: FakeCluster, ...groups: string[]) => {
    const body = { key: '', keyType: 0, coordinatorKeys: groups }
    const reply = await findCoordinator(cluster.broker, body, cluster.context(6))
    const { coordinators } = reply.body as FindCoordinatorResponseInit
    return coordinators!.map(({ nodeId, port, errorCode }) => [nodeId, port, errorCode])
  }

  test("names who leads the group's partition, and nobody while nobody does", async () => {
    const set = ['offsets.topic.num.partitions=2', 'offsets.topic.replication.factor=1']
    const cluster = new FakeCluster(active(1, 2), { set })
    cluster.shard.onControl = () => ({
      kind: 'offsets',
      logStartOffset: 0,
      logEndOffset: 0,
      highWatermark: 0,
      lastStableOffset: 0,
    })
    cluster.shard.onRead = () => ({})
    // Java's hash of 'a' is 97, of 'b' 98.
    assert.deepEqual(await ask(cluster, 'a', 'b'), [
      [2, 9094, 0],
      [1, 9093, 0],
    ])
    cluster.apply([brokerEvent('broker-fenced', 2, 2)])
    assert.deepEqual(await ask(cluster, 'a', 'b'), [
      [-1, -1, ErrorCode.COORDINATOR_NOT_AVAILABLE],
      [1, 9093, 0],
    ])
    cluster.broker.groups.stop()
  })

  test('makes the topic with as many replicas as brokers, also while one is away', async () => {
    const cluster = new FakeCluster([...active(1, 2), registered(3, 3)])
    cluster.shard.onControl = () => ({ kind: 'failed', errorCode: 3, message: '' })
    assert.equal((await ask(cluster, 'a'))[0]![2], ErrorCode.NONE)
    assert.equal(cluster.factorOf('__consumer_offsets'), 3)
    cluster.broker.groups.stop()
  })
})
