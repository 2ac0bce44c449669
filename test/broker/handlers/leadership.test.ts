/** Requests at a broker that does not lead the partition, and reads from replicas near a client. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ZERO_UUID } from '../../../src/base/uuid.ts'
import { produce } from '../../../src/broker/handlers/00-produce.ts'
import { fetch } from '../../../src/broker/handlers/01-fetch.ts'
import { listOffsets } from '../../../src/broker/handlers/02-list-offsets.ts'
import { deleteRecords } from '../../../src/broker/handlers/21-delete-records.ts'
import { offsetForLeaderEpoch } from '../../../src/broker/handlers/23-offset-for-leader-epoch.ts'
import type { PendingReply, Reply } from '../../../src/broker/request.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import type { MetadataRecord } from '../../../src/metadata/records.ts'
import { READ_FROM_FOLLOWER, READ_TOO_SMALL } from '../../../src/shard/messages-layout.ts'
import {
  ApiKey,
  decodeResponse,
  decodeResponseHeader,
  encodeResponse,
  Reader,
  type ResponseOf,
} from '../../../src/wire/kafka/api.ts'
import type { ProduceResponseInit } from '../../../src/wire/kafka/schema/00-produce.ts'
import type { FetchResponseInit } from '../../../src/wire/kafka/schema/01-fetch.ts'
import {
  active,
  altered,
  brokerEvent,
  placed,
  registered,
  TOPIC,
} from '../../metadata/cluster-records.ts'
import { FakeCluster, type FakeClusterOptions } from '../../support/fake-cluster.ts'
import { batchOf } from '../../support/kafka.ts'

const NOT_LEADER = ErrorCode.NOT_LEADER_OR_FOLLOWER
const RACK_AWARE = 'replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector'
const NODE_2 = { nodeId: 2, host: 'localhost', port: 9094, rack: null }

/** Partition 0 is led by broker 2, followed by 1; 1 is led by 1; 2 is broker 2's alone. */
const TWO: readonly MetadataRecord[] = [...active(1, 2), ...placed([2, 1], [1, 2], [2])]

const BATCH = batchOf()

function produced(cluster: FakeCluster, partitions: readonly number[]) {
  const context = cluster.context(10, BATCH)
  const records = { offset: context.frame.offset, length: BATCH.length }
  const partitionData = partitions.map((index) => ({ index, records }))
  const topicData = [{ name: 'orders', topicId: ZERO_UUID, partitionData }]
  const body = { transactionalId: null, acks: -1, timeoutMs: 1000, topicData }
  const pending = produce(cluster.broker, body as never, context) as PendingReply
  let reply: Reply | null = null
  pending.whenReady((ready) => {
    reply = ready
  })
  return () => reply!.body as ProduceResponseInit
}

function fetched(cluster: FakeCluster, version: number, asked: object = {}, rackId = '') {
  const partition = {
    partition: 0,
    currentLeaderEpoch: -1,
    fetchOffset: 5,
    lastFetchedEpoch: -1,
    logStartOffset: -1,
    partitionMaxBytes: 1000,
    ...asked,
  }
  const body = {
    replicaId: -1,
    replicaState: { replicaId: -1, replicaEpoch: -1 },
    maxWaitMs: 60_000,
    minBytes: 1,
    maxBytes: 1e6,
    isolationLevel: 0,
    sessionId: 0,
    sessionEpoch: -1,
    topics: [{ topic: 'orders', topicId: TOPIC, partitions: [partition] }],
    forgottenTopicsData: [],
    rackId,
  }
  const reply = fetch(cluster.broker, body as never, cluster.context(version)) as Promise<Reply>
  return reply.then((ready) => {
    const { responses, nodeEndpoints } = ready.body as Required<FetchResponseInit>
    return { ...responses[0]!.partitions[0]!, nodeEndpoints }
  })
}

describe('Produce', () => {
  test('names the leader of each partition that is not led here, and where it is', () => {
    const cluster = new FakeCluster(TWO)
    const answer = produced(cluster, [0, 1, 2])
    cluster.shard.appended({ baseOffset: 4 })
    const { responses, nodeEndpoints } = answer()
    assert.deepEqual(
      responses[0]!.partitionResponses.map((one) => [
        one.errorCode,
        one.baseOffset,
        one.currentLeader,
      ]),
      [
        [NOT_LEADER, -1, { leaderId: 2, leaderEpoch: 0 }],
        [0, 4, undefined],
        [NOT_LEADER, -1, { leaderId: 2, leaderEpoch: 0 }],
      ],
    )
    assert.deepEqual(nodeEndpoints, [NODE_2])
  })

  test('a shard that knows better, is believed, and the leader of the image named', () => {
    const cluster = new FakeCluster(TWO)
    const answer = produced(cluster, [1])
    cluster.apply([brokerEvent('broker-draining', 1, 1)])
    cluster.shard.appended({ errorCode: NOT_LEADER, baseOffset: -1 })
    const { responses, nodeEndpoints } = answer()
    const [partition] = responses[0]!.partitionResponses
    assert.deepEqual(partition!.currentLeader, { leaderId: 2, leaderEpoch: 1 })
    assert.deepEqual(nodeEndpoints, [NODE_2])
  })

  test('a leader that the client cannot reach, has no endpoint', () => {
    const cluster = new FakeCluster(TWO)
    cluster.apply([brokerEvent('broker-fenced', 2, 2)])
    const { responses, nodeEndpoints } = produced(cluster, [2])()
    const [partition] = responses[0]!.partitionResponses
    assert.deepEqual(partition!.currentLeader, { leaderId: -1, leaderEpoch: 1 })
    assert.deepEqual(nodeEndpoints, [])
  })

  test('is encoded with the leader from version 10 on, and without it before', () => {
    const cluster = new FakeCluster(TWO)
    const body = produced(cluster, [0])()
    const seen = (version: number) => {
      const response = roundTrip(version, body)
      const [partition] = response.responses[0]!.partitionResponses
      return [partition!.errorCode, partition!.currentLeader, response.nodeEndpoints]
    }
    assert.deepEqual(seen(9), [NOT_LEADER, { leaderId: -1, leaderEpoch: -1 }, []])
    assert.deepEqual(seen(10), [NOT_LEADER, { leaderId: 2, leaderEpoch: 0 }, [NODE_2]])
  })
})

function roundTrip(version: number, body: ProduceResponseInit): ResponseOf<typeof ApiKey.PRODUCE> {
  const reader = new Reader(Buffer.concat(encodeResponse(ApiKey.PRODUCE, version, 1, body)), 4)
  decodeResponseHeader(ApiKey.PRODUCE, version, reader)
  return decodeResponse(ApiKey.PRODUCE, version, reader)
}

describe('Fetch', () => {
  test('a partition without a replica here, is answered with its leader', async () => {
    const cluster = new FakeCluster(TWO)
    const answer = await fetched(cluster, 16, { partition: 2 })
    assert.equal(answer.errorCode, NOT_LEADER)
    assert.deepEqual(answer.currentLeader, { leaderId: 2, leaderEpoch: 0 })
    assert.deepEqual(answer.nodeEndpoints, [NODE_2])
    assert.equal(cluster.shard.reads.length, 0)
  })

  test('a stale or an unknown epoch, is answered with the current one', async () => {
    const cluster = new FakeCluster(TWO)
    cluster.apply([brokerEvent('broker-fenced', 2, 2)])
    const stale = await fetched(cluster, 16, { currentLeaderEpoch: 0 })
    assert.equal(stale.errorCode, ErrorCode.FENCED_LEADER_EPOCH)
    assert.deepEqual(stale.currentLeader, { leaderId: 1, leaderEpoch: 1 })
    const unknown = await fetched(cluster, 16, { currentLeaderEpoch: 2 })
    assert.equal(unknown.errorCode, ErrorCode.UNKNOWN_LEADER_EPOCH)
    assert.deepEqual(unknown.currentLeader, { leaderId: 1, leaderEpoch: 1 })
  })

  test('a shard that leads no more, is answered with the leader of the image', async () => {
    const cluster = new FakeCluster(TWO)
    cluster.shard.onRead = () => {
      cluster.apply([brokerEvent('broker-draining', 1, 1)])
      return { errorCode: NOT_LEADER }
    }
    const answer = await fetched(cluster, 16, { partition: 1 })
    assert.deepEqual(answer.currentLeader, { leaderId: 2, leaderEpoch: 1 })
  })

  test('a follower, serves who knows of followers and nobody else', async () => {
    const cluster = new FakeCluster(TWO)
    cluster.shard.onRead = ({ flags }) => ({ highWatermark: flags })
    assert.equal((await fetched(cluster, 10)).errorCode, NOT_LEADER)
    const asked = { fetchOffset: 5, currentLeaderEpoch: 0 }
    const reading = fetched(cluster, 11, asked)
    // It long-polls: nothing was there.
    assert.equal(await Promise.race([reading, 'waits']), 'waits')
    const flagsOf = async (partition: number): Promise<number> => {
      let seen = 0
      cluster.shard.onRead = ({ flags }) => {
        seen = flags
        return { errorCode: ErrorCode.OFFSET_OUT_OF_RANGE }
      }
      await fetched(cluster, 11, { partition })
      return seen
    }
    assert.equal((await flagsOf(0)) & READ_FROM_FOLLOWER, READ_FROM_FOLLOWER)
    assert.equal((await flagsOf(1)) & READ_FROM_FOLLOWER, 0, 'it leads that one')
  })
})

describe('Fetch of a consumer in a rack', () => {
  const RACKS: readonly MetadataRecord[] = [
    ...['a', 'b', 'c'].flatMap((rack, i) => [
      registered(i + 1, i + 1, { rack }),
      brokerEvent('broker-unfenced', i + 1, i + 1),
    ]),
    ...placed([1, 2, 3]),
  ]
  const inRacks = (options: FakeClusterOptions = { set: [RACK_AWARE] }): FakeCluster => {
    const cluster = new FakeCluster(RACKS, options)
    cluster.shard.onRead = ({ bytesMax }) => {
      return bytesMax === 1
        ? { highWatermark: 9, lastStableOffset: 9, flags: READ_TOO_SMALL }
        : { errorCode: ErrorCode.OFFSET_OUT_OF_RANGE }
    }
    return cluster
  }

  test('is sent to the in-sync replica there, with where the log stands', async () => {
    const answer = await fetched(inRacks(), 11, {}, 'b')
    assert.deepEqual(
      [answer.errorCode, answer.preferredReadReplica, answer.highWatermark],
      [ErrorCode.NONE, 2, 9],
    )
    assert.equal(answer.records?.length, 0)
  })

  test('reads from the leader, when that or nobody is there', async () => {
    for (const rack of ['a', 'nowhere', '']) {
      const answer = await fetched(inRacks(), 11, {}, rack)
      assert.equal(answer.errorCode, ErrorCode.OFFSET_OUT_OF_RANGE, rack)
      assert.equal(answer.preferredReadReplica, -1)
    }
  })

  test('is not sent to a replica that is not in sync, or whose broker is lost', async () => {
    const lagging = inRacks()
    lagging.apply([altered([1, 3])])
    assert.equal((await fetched(lagging, 11, {}, 'b')).preferredReadReplica, -1)
    const lost = inRacks()
    lost.apply([brokerEvent('broker-fenced', 2, 2)])
    assert.equal((await fetched(lost, 11, {}, 'b')).preferredReadReplica, -1)
  })

  test('is sent nowhere without the selector', async () => {
    assert.equal((await fetched(inRacks({}), 11, {}, 'b')).preferredReadReplica, -1)
  })

  test('at the follower, is served and not sent on', async () => {
    const answer = await fetched(inRacks({ nodeId: 2, set: [RACK_AWARE] }), 11, {}, 'c')
    assert.equal(answer.preferredReadReplica, -1)
    assert.equal(answer.errorCode, ErrorCode.OFFSET_OUT_OF_RANGE, 'what its log says')
  })
})

describe('a partition that is not led here', () => {
  test('ListOffsets, OffsetForLeaderEpoch and DeleteRecords, ask its shard nothing', async () => {
    const cluster = new FakeCluster(TWO)
    const { broker } = cluster
    const timestamp = { partitionIndex: 0, currentLeaderEpoch: -1, maxNumOffsets: 1 }
    for (const at of [-1, -2, 1234]) {
      const partitions = [{ ...timestamp, timestamp: at }]
      const topics = [{ name: 'orders', partitions }]
      const body = { replicaId: -1, isolationLevel: 0, timeoutMs: 0, topics }
      const reply = await listOffsets(broker, body, cluster.context(9))
      assert.equal(firstCode(reply), NOT_LEADER)
    }
    const epoch = { partition: 0, currentLeaderEpoch: -1, leaderEpoch: 0 }
    const epochs = { replicaId: -1, topics: [{ topic: 'orders', partitions: [epoch] }] }
    assert.equal(firstCode(await offsetForLeaderEpoch(broker, epochs)), NOT_LEADER)
    const records = { name: 'orders', partitions: [{ partitionIndex: 0, offset: 1 }] }
    const before = { timeoutMs: 0, topics: [records] }
    assert.equal(firstCode(await deleteRecords(broker, before)), NOT_LEADER)
    assert.deepEqual(cluster.shard.controls, [])
  })

  test('an offset that was asked for in an epoch that is over, is not given', async () => {
    const cluster = new FakeCluster(TWO)
    cluster.shard.onControl = () => {
      cluster.apply([brokerEvent('broker-draining', 1, 1)])
      const offsets = { logStartOffset: 0, logEndOffset: 9, highWatermark: 9, lastStableOffset: 9 }
      return { kind: 'offsets', ...offsets }
    }
    const partition = { partitionIndex: 1, currentLeaderEpoch: 0, timestamp: -1, maxNumOffsets: 1 }
    const topics = [{ name: 'orders', partitions: [partition] }]
    const body = { replicaId: -1, isolationLevel: 0, timeoutMs: 0, topics }
    const reply = await listOffsets(cluster.broker, body, cluster.context(9))
    assert.equal(firstCode(reply), NOT_LEADER)
  })
})

describe('ListOffsets of a leader that is new', () => {
  /** Broker 1 leads partition 0 since epoch 1, which begins at offset 9. */
  const ask = async (highWatermark: number, version = 9) => {
    const cluster = new FakeCluster(TWO)
    cluster.apply([brokerEvent('broker-fenced', 2, 2)])
    cluster.shard.onControl = (request) => {
      const offsets = { logStartOffset: 0, logEndOffset: 9, lastStableOffset: highWatermark }
      return request.kind === 'end-offset-for-epoch'
        ? { kind: 'epoch', leaderEpoch: request.leaderEpoch, endOffset: 9 }
        : { kind: 'offsets', highWatermark, ...offsets }
    }
    const partition = { partitionIndex: 0, currentLeaderEpoch: -1, timestamp: -1, maxNumOffsets: 1 }
    const topics = [{ name: 'orders', partitions: [partition] }]
    const body = { replicaId: -1, isolationLevel: 0, timeoutMs: 0, topics }
    return listOffsets(cluster.broker, body, cluster.context(version))
  }

  test('names no end before it knows what the leader before has acknowledged', async () => {
    assert.equal(firstCode(await ask(8)), ErrorCode.OFFSET_NOT_AVAILABLE)
    assert.equal(firstCode(await ask(8, 4)), ErrorCode.LEADER_NOT_AVAILABLE)
    assert.equal(firstCode(await ask(9)), ErrorCode.NONE)
  })
})

function firstCode({ body }: Reply): number {
  const { topics } = body as { topics: { partitions: { errorCode: number }[] }[] }
  return topics[0]!.partitions[0]!.errorCode
}
