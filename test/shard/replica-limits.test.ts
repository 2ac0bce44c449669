/** Many replicas in one shard, logs that are closed meanwhile, and partitions that go away. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BrokerError } from '../../src/errors/broker-error.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { APPEND_ALL, READ_TO_LOG_END } from '../../src/shard/messages-layout.ts'
import { batch, offsetsIn } from '../storage/support/fixture.ts'
import { LOG_DIRECTORY, ShardFixture } from './fixture.ts'
import { stateIn } from './replica-cluster.ts'

const BROKERS = { kind: 'set-brokers', self: 1, lagMsMax: 1000 } as const
const LANES = { requestLaneBytes: 1 << 18, answerLaneBytes: 1 << 18 }

/** A shard of broker 1 that leads `count` partitions in epoch 1; 2 is in sync. */
async function leading(count: number, openLogsMax = 100): Promise<ShardFixture> {
  const shard = new ShardFixture({ ...LANES, openLogsMax })
  for (let handle = 0; handle < count; handle++) await shard.openAs(handle, { role: 'follower' })
  await shard.control({ ...BROKERS, brokers: [[2, 1]] })
  const partitions = Array.from({ length: count }, (_, handle) => ({
    handle,
    leaderEpoch: 1,
    partitionEpoch: 1,
    replicas: [1, 2],
    inSyncReplicas: [1, 2],
    minInSyncReplicas: 1,
  }))
  const reply = await shard.control({ kind: 'lead', partitions })
  assert.deepEqual(reply, { kind: 'replicas', states: [] })
  return shard
}

const CURRENT = { currentLeaderEpoch: 1, lastFetchedEpoch: 1 }

describe('a shard that leads many partitions', () => {
  test('proposes for all of them, in events of a bounded size', async () => {
    const shard = await leading(200)
    shard.clock.ms += 1001
    shard.settle()
    const asked = shard.events.flatMap((one) =>
      one.kind === 'isr-proposals' ? [one.proposals] : [],
    )
    assert.ok(asked.length > 1)
    const handles = asked.flat().map(({ handle }) => handle)
    assert.deepEqual(
      handles.sort((a, b) => a - b),
      Array.from({ length: 200 }, (_, i) => i),
    )
    for (const { members } of asked.flat()) {
      assert.deepEqual(members, [{ brokerId: 1, brokerEpoch: -1 }])
    }
    shard.events.length = 0
    shard.clock.ms += 5000
    shard.settle()
    assert.deepEqual(shard.events, [])
  })

  test('closes their logs while followers wait, and knows the watermark afterwards', async () => {
    const shard = await leading(40, 4)
    for (let handle = 0; handle < 40; handle++) {
      shard.append(handle, batch({ records: 2 }), { leaderEpoch: 1, flags: APPEND_ALL })
      shard.settle()
      shard.replicaRead(handle, { ...CURRENT, fetchOffset: 2 })
      shard.settle()
      shard.replicaRead(handle, { ...CURRENT, fetchOffset: 2 })
      shard.settle()
    }
    assert.equal(shard.of('appended').filter(({ outcome }) => outcome.errorCode === 0).length, 40)
    const stats = await shard.control({ kind: 'stats' })
    assert(stats.kind === 'stats')
    assert.ok(stats.stats.openLogs <= 5, `${stats.stats.openLogs} logs are open`)
    assert.deepEqual([stats.stats.ledPartitions, stats.stats.underReplicatedPartitions], [40, 0])
    const reply = await shard.control({ kind: 'replica-states', handles: [0, 20] })
    assert(reply.kind === 'replicas')
    assert.deepEqual(
      reply.states.map(({ highWatermark }) => highWatermark),
      [2, 2],
    )
    const wakes = shard.of('wake').length
    shard.append(0, batch(), { leaderEpoch: 1 })
    shard.settle()
    assert.equal(shard.of('wake').length, wakes + 1, 'the follower waits though the log was closed')
  })

  test('looks at none twice that is not there any more', async () => {
    const shard = await leading(3)
    const waiting = shard.append(1, batch(), { leaderEpoch: 1, flags: APPEND_ALL })
    const watch = shard.replicaRead(1, CURRENT)
    shard.settle()
    await shard.control({ kind: 'delete', handle: 1 })
    const [answer] = shard.of('appended').filter(({ index }) => index === waiting)
    assert.equal(answer!.outcome.errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    assert.ok(shard.of('read').some(({ index }) => index === watch.index))
    shard.clock.ms += 1001
    shard.settle()
    const asked = shard.events.flatMap((one) => (one.kind === 'isr-proposals' ? one.proposals : []))
    assert.deepEqual(
      asked.map(({ handle }) => handle),
      [0, 2],
    )
  })

  test('answers everybody at a shutdown', async () => {
    const shard = await leading(1)
    shard.append(0, batch(), { leaderEpoch: 1 })
    shard.settle()
    const stopped = shard.proxy.control({ kind: 'shutdown' })
    const read = shard.replicaRead(0, CURRENT)
    const follow = shard.follow(0, batch(), { leaderEpoch: 1 })
    shard.settle()
    assert.equal((await stopped).kind, 'closed')
    const code = ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert.equal(
      shard.of('read').find(({ index }) => index === read.index)!.outcome.errorCode,
      code,
    )
    assert.equal(
      shard.of('followed').find(({ index }) => index === follow)!.outcome.errorCode,
      code,
    )
    assert.equal(shard.ingress.bytesInUse, 0)
  })
})

describe('a disk that fails under replicas', () => {
  test('is told to producers and leaders, and nobody waits on', async () => {
    const shard = await leading(1)
    const all = shard.append(0, batch(), { leaderEpoch: 1, flags: APPEND_ALL })
    shard.settle()
    shard.files.onOperation = (kind) => {
      if (kind === 'write') throw new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, 'write', null)
    }
    const one = shard.append(0, batch(), { leaderEpoch: 1 })
    shard.settle()
    const codes = new Map(
      shard.of('appended').map(({ index, outcome }) => [index, outcome.errorCode]),
    )
    const failed = ErrorCode.KAFKA_STORAGE_ERROR
    assert.deepEqual([codes.get(all), codes.get(one)], [failed, failed])
    const { index } = shard.replicaRead(0, CURRENT)
    shard.settle()
    assert.equal(shard.of('read').find((read) => read.index === index)!.outcome.errorCode, failed)
    assert.equal(shard.proxy.inFlight, 0)
  })

  test('for want of space refuses a follower batches, and takes them later', async () => {
    const shard = new ShardFixture()
    await shard.openAs(0, { role: 'follower' })
    await shard.control({ kind: 'follow', partitions: [{ handle: 0, leaderEpoch: 1 }] })
    shard.files.onOperation = (kind) => {
      if (kind !== 'write') return
      const cause = Object.assign(new Error('no space'), { code: 'ENOSPC' })
      throw new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, 'write', cause)
    }
    const run = batch({ records: 3 })
    shard.follow(0, run, { leaderEpoch: 1, leaderHighWatermark: 3 })
    shard.settle()
    shard.files.onOperation = () => {}
    shard.follow(0, run, { leaderEpoch: 1, leaderHighWatermark: 3 })
    shard.settle()
    assert.deepEqual(
      shard.of('followed').map(({ outcome }) => [outcome.errorCode, outcome.logEndOffset]),
      [
        [ErrorCode.KAFKA_STORAGE_ERROR, 0],
        [ErrorCode.NONE, 3],
      ],
    )
    assert.equal(shard.of('followed')[1]!.outcome.highWatermark, 3)
    const { index } = shard.read(0, 0, READ_TO_LOG_END)
    shard.settle()
    const { offset, length } = shard.of('read').find((read) => read.index === index)!.outcome
    const bytes = shard.proxy.egress.subarray(offset, offset + length)
    assert.deepEqual(offsetsIn(bytes), [{ base: 0, last: 2 }])
  })
})

describe('a leader whose files somebody changes', () => {
  test('leads no more in this epoch', async () => {
    const shard = await leading(1)
    shard.append(0, batch({ records: 2 }), { leaderEpoch: 1 })
    shard.append(0, batch({ records: 2 }), { leaderEpoch: 1 })
    shard.settle()
    // Closed in order, so that the next use believes its mark.
    const partition = shard.shard.state.partitions.get(0)!
    shard.shard.state.rest(partition)
    const path = `${LOG_DIRECTORY}/topic-0/${'0'.repeat(20)}.log`
    const content = shard.files.contentOf(path)
    shard.files.tamper(path, content.slice(0, content.length / 2))
    const all = shard.append(0, batch(), { leaderEpoch: 1 })
    shard.settle()
    const again = shard.append(0, batch(), { leaderEpoch: 1 })
    shard.settle()
    const codes = new Map(
      shard.of('appended').map(({ index, outcome }) => [index, outcome.errorCode]),
    )
    assert.equal(codes.get(all), ErrorCode.KAFKA_STORAGE_ERROR)
    assert.equal(codes.get(again), ErrorCode.NOT_LEADER_OR_FOLLOWER)
    const state = stateIn(await shard.control({ kind: 'replica-states', handles: [0] }))
    assert.equal(state.logEndOffset, 2)
    const partitions = [
      {
        handle: 0,
        leaderEpoch: 2,
        partitionEpoch: 2,
        replicas: [1, 2],
        inSyncReplicas: [1],
        minInSyncReplicas: 1,
      },
    ]
    await shard.control({ kind: 'lead', partitions })
    const later = shard.append(0, batch(), { leaderEpoch: 2, flags: APPEND_ALL })
    shard.settle()
    const answer = shard.of('appended').find(({ index }) => index === later)!
    assert.deepEqual([answer.outcome.errorCode, answer.outcome.baseOffset], [ErrorCode.NONE, 2])
  })
})
