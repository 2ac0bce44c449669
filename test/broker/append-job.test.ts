/** Appends of one request: who may take them, how long they wait, and whose memory they hold. */
import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, mock, test } from 'node:test'
import { AppendJob, type AppendTerms } from '../../src/broker/append-job.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import type { MetadataRecord } from '../../src/metadata/records.ts'
import { active, placed } from '../metadata/cluster-records.ts'
import { FakeCluster } from '../support/fake-cluster.ts'
import { batchOf } from '../support/kafka.ts'

const BATCH = batchOf()
const REPLICATED: readonly MetadataRecord[] = [...active(1, 2), ...placed([1, 2], [1], [2, 1])]

/** A job with one batch for each of these partitions, started. */
function started(cluster: FakeCluster, partitions: readonly number[], terms?: AppendTerms) {
  const { frame } = cluster.context(9, BATCH)
  const job = new AppendJob(cluster.broker, frame, terms)
  const at = { offset: frame.offset, length: BATCH.length }
  for (const partition of partitions) job.append(cluster.handle('orders', partition), at)
  const state = { isDone: false }
  job.start(() => {
    state.isDone = true
  })
  frame.release() // The connection's own hold.
  return { job, state, codes: () => job.results.map(({ errorCode }) => errorCode) }
}

describe('AppendJob', () => {
  beforeEach(() => mock.timers.enable({ apis: ['setInterval'] }))
  afterEach(() => mock.timers.reset())

  test('a partition that another broker leads, is refused without asking a shard', () => {
    const cluster = new FakeCluster(REPLICATED)
    const { codes, state } = started(cluster, [2])
    assert.deepEqual(codes(), [ErrorCode.NOT_LEADER_OR_FOLLOWER])
    assert.equal(state.isDone, true)
    assert.equal(cluster.shard.appends.length, 0)
    assert.equal(cluster.arena.bytesInUse, 0)
  })

  test('acks, is what the shard is told to wait for', () => {
    const cluster = new FakeCluster(REPLICATED)
    for (const acks of [-1, 0, 1]) started(cluster, [0], { acks, timeoutMs: 1000 })
    const flags = cluster.shard.appends.map(({ request }) => request.flags)
    assert.deepEqual(flags, [1, 0, 0])
  })

  test('followers that do not answer in time, let what waits for them time out', () => {
    const cluster = new FakeCluster(REPLICATED)
    const { state, codes } = started(cluster, [0, 1, 0], { acks: -1, timeoutMs: 1000 })
    cluster.shard.appended({ baseOffset: 7 })
    cluster.shard.appended({ baseOffset: 3 })
    cluster.nowMs = 999
    mock.timers.tick(100)
    assert.equal(state.isDone, false)
    cluster.nowMs = 1000
    mock.timers.tick(100)
    assert.equal(state.isDone, true)
    assert.deepEqual(codes(), [0, 0, ErrorCode.REQUEST_TIMED_OUT])
    assert.equal(cluster.broker.appendDeadlines.count, 0)
  })

  test('a gap in sequences, is told by a leader that is sure to lead, and by no other', () => {
    const cluster = new FakeCluster(REPLICATED)
    const gap = { errorCode: ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER }
    const { codes } = started(cluster, [0])
    cluster.shard.appended(gap)
    assert.deepEqual(codes(), [ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER])
    cluster.broker.mayBeDeposed = () => true
    const unsure = started(cluster, [0])
    cluster.shard.appended(gap)
    assert.deepEqual(unsure.codes(), [ErrorCode.NOT_LEADER_OR_FOLLOWER])
  })

  test('a partition of one replica, waits for its shard however long', () => {
    const cluster = new FakeCluster(REPLICATED)
    const { state } = started(cluster, [1], { acks: -1, timeoutMs: 10 })
    assert.equal(cluster.broker.appendDeadlines.count, 0)
    cluster.nowMs = 1e6
    mock.timers.tick(1000)
    assert.equal(state.isDone, false)
    cluster.shard.appended()
    assert.equal(state.isDone, true)
  })

  for (const acks of [0, 1]) {
    test(`acks=${acks}, waits for no follower and so has no deadline`, () => {
      const cluster = new FakeCluster(REPLICATED)
      started(cluster, [0], { acks, timeoutMs: 10 })
      assert.equal(cluster.broker.appendDeadlines.count, 0)
    })
  }

  for (const isWritten of [false, true]) {
    const what = isWritten ? 'was written' : 'was not written'
    test(`a late answer about a batch that ${what}, gives its memory back and is nobody's`, () => {
      const cluster = new FakeCluster(REPLICATED)
      const { job, codes } = started(cluster, [0], { acks: -1, timeoutMs: 10 })
      if (isWritten) job.onWritten(0)
      cluster.nowMs = 10
      mock.timers.tick(100)
      assert.deepEqual(codes(), [ErrorCode.REQUEST_TIMED_OUT])
      assert.equal(cluster.arena.bytesInUse > 0, !isWritten, 'the shard may still read it')
      cluster.shard.appended({ baseOffset: 5 })
      assert.deepEqual(codes(), [ErrorCode.REQUEST_TIMED_OUT])
      assert.equal(job.results[0]?.baseOffset, -1)
      assert.equal(cluster.arena.bytesInUse, 0)
    })
  }

  test('a write that is announced after the deadline, gives the memory back once', () => {
    const cluster = new FakeCluster(REPLICATED)
    const { job } = started(cluster, [0], { acks: -1, timeoutMs: 10 })
    cluster.nowMs = 10
    mock.timers.tick(100)
    job.onWritten(0)
    assert.equal(cluster.arena.bytesInUse, 0)
    cluster.shard.appended()
    assert.equal(cluster.arena.bytesInUse, 0)
  })

  test('an answer in time, ends the wait', () => {
    const cluster = new FakeCluster(REPLICATED)
    const { state, codes } = started(cluster, [0], { acks: -1, timeoutMs: 10 })
    assert.equal(cluster.broker.appendDeadlines.count, 1)
    cluster.shard.appended()
    assert.deepEqual([state.isDone, codes()], [true, [0]])
    assert.equal(cluster.broker.appendDeadlines.count, 0)
    cluster.nowMs = 1e6
    mock.timers.tick(1000)
    assert.deepEqual(codes(), [0])
  })
})
