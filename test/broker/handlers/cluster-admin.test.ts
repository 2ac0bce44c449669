/** What administrators ask of a cluster, as Kafka's requests say it. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { ClusterAdmin } from '../../../src/broker/cluster-admin.ts'
import { electLeaders } from '../../../src/broker/handlers/43-elect-leaders.ts'
import { alterPartitionReassignments } from '../../../src/broker/handlers/45-alter-partition-reassignments.ts'
import { listPartitionReassignments } from '../../../src/broker/handlers/46-list-partition-reassignments.ts'
import { describeQuorum } from '../../../src/broker/handlers/55-describe-quorum.ts'
import { unregisterBroker } from '../../../src/broker/handlers/64-unregister-broker.ts'
import { addRaftVoter } from '../../../src/broker/handlers/80-add-raft-voter.ts'
import { removeRaftVoter } from '../../../src/broker/handlers/81-remove-raft-voter.ts'
import type { Reply } from '../../../src/broker/request.ts'
import { BrokerError } from '../../../src/errors/broker-error.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import { active, DIRECTORY, placed, TOPIC } from '../../metadata/cluster-records.ts'
import { FakeCluster } from '../../support/fake-cluster.ts'

const OK = { errorCode: ErrorCode.NONE, errorMessage: null }
const {
  BROKER_ID_NOT_REGISTERED,
  ELECTION_NOT_NEEDED,
  INCONSISTENT_CLUSTER_ID,
  INVALID_REPLICA_ASSIGNMENT,
  INVALID_REQUEST,
  NO_REASSIGNMENT_IN_PROGRESS,
  NONE,
  UNKNOWN_TOPIC_OR_PARTITION,
  UNSUPPORTED_VERSION,
} = ErrorCode

/** Remembers what it is asked, and answers that it went well. */
class FakeAdmin implements ClusterAdmin {
  readonly calls: unknown[] = []
  error: BrokerError | null = null

  async #did(...call: unknown[]): Promise<typeof OK> {
    this.calls.push(call)
    if (this.error !== null) throw this.error
    return OK
  }

  async electLeaders(...[kind, partitions]: Parameters<ClusterAdmin['electLeaders']>) {
    const ok = await this.#did(kind, partitions)
    return (partitions ?? []).map((name) => ({ ...name, ...ok }))
  }

  async reassign(...[moves, mayChangeFactor]: Parameters<ClusterAdmin['reassign']>) {
    const ok = await this.#did(moves, mayChangeFactor)
    return moves.map(({ topic, partition }) => ({ topic, partition, ...ok }))
  }

  async describeQuorum() {
    await this.#did()
    const replica = { directoryId: DIRECTORY(1), lastFetchMs: 1, lastCaughtUpMs: 2 }
    return {
      leaderId: 1,
      leaderEpoch: 7,
      highWatermark: 90,
      voters: [{ nodeId: 1, logEndOffset: 91, ...replica }],
      observers: [{ nodeId: 4, logEndOffset: 80, ...replica }],
      nodes: [{ nodeId: 1, listeners: [{ name: 'CLUSTER', host: 'h', port: 9 }] }],
    }
  }

  unregisterBroker = (brokerId: number) => this.#did('unregister', brokerId)
  addVoter = (voter: unknown) => this.#did('add', voter)
  removeVoter = (voter: unknown) => this.#did('remove', voter)
}

function withAdmin() {
  const cluster = new FakeCluster([...active(1, 2), ...placed([1, 2], [2, 1])])
  const admin = new FakeAdmin()
  cluster.broker.clusterAdmin = admin
  return { cluster, broker: cluster.broker, admin }
}

function alone(): FakeCluster {
  return new FakeCluster([
    { type: 'broker-start', brokerId: 1, brokerEpoch: 1, clean: true },
    ...placed([1], [1]),
  ])
}

function bodyOf<T>(reply: Reply): T {
  return reply.body as T
}

interface Elections {
  readonly errorCode: number
  readonly replicaElectionResults: { partitionResult: { errorCode: number }[] }[]
}

interface Reassignments {
  readonly errorCode: number
  readonly responses: { partitions: { errorCode: number }[] }[]
}

const TWO_AND_UNKNOWN = [
  { topic: 'orders', partitions: [0, 1] },
  { topic: 'none', partitions: [0] },
]

describe('ElectLeaders', () => {
  const ask = async (
    cluster: FakeCluster,
    electionType: number,
    topicPartitions = TWO_AND_UNKNOWN,
  ) =>
    bodyOf<Elections>(
      await electLeaders(cluster.broker, { electionType, topicPartitions, timeoutMs: 1000 }),
    )
  const codes = ({ replicaElectionResults }: Elections): number[][] =>
    replicaElectionResults.map(({ partitionResult }) => partitionResult.map((one) => one.errorCode))

  test('is passed on, by kind', async () => {
    const { cluster, admin } = withAdmin()
    const asked = [{ topic: 'orders', partitions: [0, 1] }]
    assert.deepEqual(codes(await ask(cluster, 0, asked)), [[NONE, NONE]])
    await ask(cluster, 1, asked)
    const partitions = [0, 1].map((partition) => ({ topic: 'orders', partition }))
    assert.deepEqual(admin.calls, [
      ['preferred', partitions],
      ['unclean', partitions],
    ])
    assert.equal((await ask(cluster, 2)).errorCode, INVALID_REQUEST)
    admin.error = new BrokerError(ErrorCode.REQUEST_TIMED_OUT, 'elect')
    assert.equal((await ask(cluster, 0)).errorCode, ErrorCode.REQUEST_TIMED_OUT)
  })

  test('of a broker that is alone, is not needed', async () => {
    const answer = await ask(alone(), 0)
    assert.deepEqual(codes(answer), [
      [ELECTION_NOT_NEEDED, ELECTION_NOT_NEEDED],
      [UNKNOWN_TOPIC_OR_PARTITION],
    ])
  })
})

describe('AlterPartitionReassignments', () => {
  const ask = async (cluster: FakeCluster, moves: readonly [number, number[] | null][]) => {
    const partitions = moves.map(([partitionIndex, replicas]) => ({ partitionIndex, replicas }))
    const topics = [{ name: 'orders', partitions }]
    const body = { timeoutMs: 1000, allowReplicationFactorChange: false, topics }
    return bodyOf<Reassignments>(await alterPartitionReassignments(cluster.broker, body))
  }

  test('is passed on', async () => {
    const { cluster, admin } = withAdmin()
    const answer = await ask(cluster, [
      [0, [2, 1]],
      [1, null],
    ])
    assert.deepEqual(
      answer.responses[0]!.partitions.map(({ errorCode }) => errorCode),
      [NONE, NONE],
    )
    const moves = [
      { topic: 'orders', partition: 0, replicas: [2, 1] },
      { topic: 'orders', partition: 1, replicas: null },
    ]
    assert.deepEqual(admin.calls, [[moves, false]])
    admin.error = new BrokerError(ErrorCode.NOT_CONTROLLER, 'move')
    assert.equal((await ask(cluster, [])).errorCode, ErrorCode.NOT_CONTROLLER)
  })

  test('of a broker that is alone, is where the partition is', async () => {
    const { responses } = await ask(alone(), [
      [0, [1]],
      [0, [2]],
      [1, null],
      [7, [1]],
    ])
    assert.deepEqual(
      responses[0]!.partitions.map(({ errorCode }) => errorCode),
      [NONE, INVALID_REPLICA_ASSIGNMENT, NO_REASSIGNMENT_IN_PROGRESS, UNKNOWN_TOPIC_OR_PARTITION],
    )
  })
})

test('ListPartitionReassignments, names what is under way', () => {
  const cluster = new FakeCluster([...active(1, 2, 3), ...placed([1, 2], [2, 1])])
  const ask = (topics: { name: string; partitionIndexes: number[] }[] | null) =>
    bodyOf<{ topics: unknown[] }>(
      listPartitionReassignments(cluster.broker, { timeoutMs: 1000, topics }),
    ).topics
  assert.deepEqual(ask(null), [])
  const replicas = [3, 1, 2]
  cluster.apply([
    {
      type: 'partition-reassigned',
      topicId: TOPIC,
      partition: 0,
      replicas,
      replicaDirectories: replicas.map(DIRECTORY),
      addingReplicas: [3],
      removingReplicas: [2],
      ruleVersion: 1,
    },
  ])
  const seen = ask(null) as { name: string; partitions: Record<string, unknown>[] }[]
  assert.equal(seen[0]?.name, 'orders')
  const { partitionIndex, addingReplicas, removingReplicas } = seen[0].partitions[0]!
  assert.deepEqual([partitionIndex, addingReplicas, removingReplicas], [0, [3], [2]])
  assert.deepEqual(seen[0].partitions[0]!.replicas, replicas)
  assert.equal(ask([{ name: 'orders', partitionIndexes: [0, 1] }]).length, 1)
  assert.equal(ask([{ name: 'orders', partitionIndexes: [1] }]).length, 0)
})

describe('DescribeQuorum', () => {
  const asked = {
    topics: [
      {
        topicName: '__cluster_metadata',
        partitions: [{ partitionIndex: 0 }, { partitionIndex: 1 }],
      },
    ],
  }
  const ask = async (cluster: FakeCluster) => {
    const body = bodyOf<{ topics: { partitions: Record<string, unknown>[] }[] }>(
      await describeQuorum(cluster.broker, asked),
    )
    return body.topics[0]!.partitions
  }

  test('names voters and observers of the one partition that has them', async () => {
    const [quorum, none] = await ask(withAdmin().cluster)
    assert.deepEqual([quorum!.leaderId, quorum!.leaderEpoch, quorum!.highWatermark], [1, 7, 90])
    const times = { lastFetchTimestamp: 1, lastCaughtUpTimestamp: 2 }
    const replicaDirectoryId = DIRECTORY(1)
    assert.deepEqual(quorum!.observers, [
      { replicaId: 4, replicaDirectoryId, logEndOffset: 80, ...times },
    ])
    assert.equal(none!.errorCode, UNKNOWN_TOPIC_OR_PARTITION)
  })

  test('of a broker that is alone, names itself', async () => {
    const cluster = alone()
    cluster.shard.onControl = () => ({
      kind: 'offsets',
      logStartOffset: 0,
      logEndOffset: 5,
      highWatermark: 5,
      lastStableOffset: 5,
    })
    const [quorum] = await ask(cluster)
    assert.deepEqual([quorum!.leaderId, quorum!.highWatermark], [1, 5])
    const [voter] = quorum!.currentVoters as Record<string, unknown>[]
    assert.deepEqual([voter!.replicaId, voter!.replicaDirectoryId], [1, DIRECTORY(1)])
  })
})

test('UnregisterBroker, is passed on, of a broker that there is', async () => {
  const { broker, admin } = withAdmin()
  const codeOf = async (of: typeof broker, brokerId: number): Promise<number> =>
    bodyOf<{ errorCode: number }>(await unregisterBroker(of, { brokerId })).errorCode
  assert.equal(await codeOf(broker, 2), NONE)
  assert.equal(await codeOf(broker, 9), BROKER_ID_NOT_REGISTERED)
  assert.deepEqual(admin.calls, [['unregister', 2]])
  assert.equal(await codeOf(alone().broker, 1), INVALID_REQUEST)
})

test('AddRaftVoter and RemoveRaftVoter, are passed on to the cluster that is meant', async () => {
  const { broker, admin } = withAdmin()
  const voter = { voterId: 4, voterDirectoryId: DIRECTORY(4) }
  const listeners = [{ name: 'CLUSTER', host: 'h', port: 9 }]
  const codes = async (of: typeof broker, clusterId: string | null): Promise<number[]> => {
    const added = await addRaftVoter(of, { clusterId, timeoutMs: 1, ...voter, listeners })
    const removed = await removeRaftVoter(of, { clusterId, ...voter })
    return [added, removed].map((reply) => bodyOf<{ errorCode: number }>(reply).errorCode)
  }
  assert.deepEqual(await codes(broker, null), [NONE, NONE])
  const key = { nodeId: 4, directoryId: DIRECTORY(4) }
  assert.deepEqual(admin.calls, [
    ['add', { ...key, listeners }],
    ['remove', key],
  ])
  assert.deepEqual(await codes(broker, broker.clusterId), [NONE, NONE])
  const other = await codes(broker, 'another')
  assert.deepEqual(other, [INCONSISTENT_CLUSTER_ID, INCONSISTENT_CLUSTER_ID])
  assert.deepEqual(await codes(alone().broker, null), [UNSUPPORTED_VERSION, UNSUPPORTED_VERSION])
})
