/** Shard, Outbox and ShardProxy together, on one thread. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BrokerError } from '../../src/errors/broker-error.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import {
  READ_MIN_ONE_BATCH,
  READ_NO_MEMORY,
  READ_WATCH,
  READ_WATCHING,
} from '../../src/shard/messages-layout.ts'
import { DEFAULT_LOG_OPTIONS, PartitionLog } from '../../src/storage/log.ts'
import { append, batch } from '../storage/support/fixture.ts'
import { LOG_DIRECTORY, ShardFixture } from './fixture.ts'

const SMALL_LANE = 2048

describe('a shard', () => {
  test('appends runs in the order of the lane and reads them back', async () => {
    const shard = new ShardFixture()
    await shard.open(2)
    for (let i = 0; i < 5; i++) shard.append(i % 2, batch({ records: i + 1 }))
    const { index } = shard.read(1, 0, READ_MIN_ONE_BATCH)
    shard.settle()
    const offsets = (partition: number) =>
      shard.of('appended').filter(({ index }) => index % 2 === partition)
    assert.deepEqual(
      offsets(0).map(({ index, outcome }) => [index, outcome.baseOffset]),
      [
        [0, 0],
        [2, 1],
        [4, 4],
      ],
    )
    assert.deepEqual(
      offsets(1).map(({ index, outcome }) => [index, outcome.baseOffset]),
      [
        [1, 0],
        [3, 2],
      ],
    )
    // The read came in the same turn as the appends: it sees what was written before the turn.
    const [read] = shard.of('read')
    assert.equal(read!.index, index)
    const again = shard.read(1, 0, READ_MIN_ONE_BATCH)
    shard.settle()
    const last = shard.of('read').find((one) => one.index === again.index)
    assert.equal(last!.outcome.highWatermark, 6)
    assert.ok(last!.outcome.length > 0)
    shard.proxy.release(last!.outcome)
    assert.equal(shard.ingress.bytesInUse, 0, 'every extent came back')
  })

  test('recovers nothing that was used and deleted while it waited', async () => {
    const shard = new ShardFixture()
    const directory = `${LOG_DIRECTORY}/topic-0`
    const open = {
      ...{ handle: 0, topicId: 'T', partition: 0, logDirectory: LOG_DIRECTORY, directory },
      ...{ hint: null, leaderEpoch: 0 },
    }
    const options = DEFAULT_LOG_OPTIONS
    const replies = [
      shard.proxy.control({ kind: 'open', recover: true, options, partitions: [open] }),
      shard.proxy.control({ kind: 'offsets', handle: 0 }),
      shard.proxy.control({ kind: 'delete', handle: 0 }),
    ]
    shard.settle()
    const kinds = (await Promise.all(replies)).map(({ kind }) => kind)
    assert.deepEqual(kinds, ['ok', 'offsets', 'ok'])
  })

  test('answers an unknown partition, and goes on', async () => {
    const shard = new ShardFixture()
    await shard.open(1)
    shard.append(7, batch())
    shard.read(7, 0)
    shard.append(0, batch())
    shard.settle()
    const codes = shard.of('appended').map(({ outcome }) => outcome.errorCode)
    assert.deepEqual(codes, [ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.NONE])
    assert.equal(shard.of('read')[0]!.outcome.errorCode, ErrorCode.NOT_LEADER_OR_FOLLOWER)
    const reply = await shard.control({ kind: 'offsets', handle: 7 })
    assert.equal(reply.kind, 'failed')
  })
})

describe('a full lane', () => {
  test('towards the shard lets requests wait in order and reports congestion', async () => {
    const shard = new ShardFixture({ requestLaneBytes: SMALL_LANE })
    await shard.open(1)
    const count = 500
    for (let i = 0; i < count; i++) shard.append(0, batch({ fill: i & 0x7f }))
    assert.equal(shard.proxy.isCongested, true)
    assert.equal(shard.proxy.inFlight, count)
    shard.settle()
    assert.equal(shard.proxy.isCongested, false)
    assert.equal(shard.proxy.inFlight, 0)
    assert.deepEqual(
      shard.of('appended').map(({ index, outcome }) => [index, outcome.baseOffset]),
      Array.from({ length: count }, (_, i) => [i, i]),
    )
  })

  test('towards main lets answers wait in order, and the shard takes nothing new', async () => {
    const shard = new ShardFixture({ answerLaneBytes: SMALL_LANE })
    await shard.open(1)
    const count = 300
    for (let i = 0; i < count; i++) shard.append(0, batch())
    shard.turn()
    const { appends } = shard.shard.state.counters
    assert.equal(shard.shard.state.outbox.isBlocked, true)
    for (let i = 0; i < 5; i++) shard.append(0, batch())
    for (let i = 0; i < 10; i++) shard.turn()
    assert.equal(shard.shard.state.counters.appends, appends)
    assert.equal(shard.shard.nextDeadlineMs, 0, 'it does not park on what it cannot say')
    shard.settle()
    assert.deepEqual(
      shard.of('appended').map(({ outcome }) => outcome.baseOffset),
      Array.from({ length: count + 5 }, (_, i) => i),
    )
  })

  test('both ways at once loses and doubles nothing', async () => {
    const lanes = { requestLaneBytes: SMALL_LANE, answerLaneBytes: SMALL_LANE }
    const shard = new ShardFixture(lanes)
    await shard.open(3)
    const reads: number[] = []
    for (let i = 0; i < 600; i++) {
      shard.append(i % 3, batch())
      if (i % 5 === 0) reads.push(shard.read(i % 3, 0, READ_MIN_ONE_BATCH).index)
      if (i % 50 === 0) shard.turn()
    }
    for (let i = 0; shard.proxy.inFlight > 0; i++) {
      assert.ok(i < 10_000)
      shard.turn()
      shard.poll()
      for (const { outcome } of shard.of('read')) {
        if (outcome.length === 0) continue
        shard.proxy.release(outcome)
        outcome.length = 0
      }
    }
    assert.equal(shard.of('appended').length, 600)
    assert.deepEqual(
      shard.of('read').map(({ index }) => index),
      reads,
    )
  })
})

describe('a watch', () => {
  test('wakes once, when something lies at its offset', async () => {
    const shard = new ShardFixture()
    await shard.open(1)
    const { index } = shard.read(0, 0, READ_WATCH)
    shard.settle()
    assert.equal(shard.of('read')[0]!.outcome.flags, READ_WATCHING)
    assert.deepEqual(shard.of('wake'), [])
    for (let i = 0; i < 3; i++) {
      shard.append(0, batch())
      shard.settle()
    }
    assert.deepEqual(shard.of('wake'), [{ kind: 'wake', index }])
  })

  test('set in the turn of an append is woken by it', async () => {
    const shard = new ShardFixture()
    await shard.open(1)
    shard.append(0, batch())
    const { index } = shard.read(0, 0, READ_WATCH)
    shard.settle()
    const [read] = shard.of('read')
    const sawData = read!.outcome.length > 0
    assert.ok(sawData || shard.of('wake').some((wake) => wake.index === index))
  })

  test('waits for the high watermark: an append that is not flushed wakes nobody', async () => {
    const shard = new ShardFixture()
    await shard.open(1, { flushMessages: 1 })
    shard.read(0, 0, READ_WATCH)
    shard.settle()
    let wakesAtFlush = -1
    shard.files.onOperation = (kind) => {
      if (kind === 'flush') wakesAtFlush = shard.of('wake').length
    }
    shard.append(0, batch())
    shard.settle()
    assert.equal(wakesAtFlush, 0)
    assert.equal(shard.of('wake').length, 1)
  })

  test('that is taken back does not wake, also when the wake is on its way', async () => {
    const shard = new ShardFixture()
    await shard.open(1)
    const first = shard.read(0, 0, READ_WATCH)
    shard.settle()
    shard.proxy.unwatch(first.token)
    shard.append(0, batch())
    shard.settle()
    const second = shard.read(0, 1, READ_WATCH)
    shard.settle()
    shard.append(0, batch())
    shard.turn()
    shard.proxy.unwatch(second.token)
    shard.settle()
    assert.deepEqual(shard.of('wake'), [])
  })
})

describe('an edit in the turn of an append', () => {
  test('deletes records that came before it in the lane', async () => {
    const shard = new ShardFixture()
    await shard.open(1)
    shard.append(0, batch({ records: 3 }))
    const reply = await shard.control({ kind: 'delete-records', handle: 0, beforeOffset: 3 })
    assert.ok(reply.kind === 'offsets')
    assert.deepEqual([reply.logStartOffset, reply.logEndOffset], [3, 3])
    assert.equal(shard.of('appended')[0]!.outcome.errorCode, ErrorCode.NONE)
  })

  test('deletes the partition, answers everybody and leaves the directory alone', async () => {
    for (const flushMessages of [1, Infinity]) {
      const shard = new ShardFixture()
      await shard.open(2, { flushMessages })
      const watch = shard.read(0, 5, READ_WATCH)
      const early = shard.read(0, 0, READ_WATCH)
      shard.settle()
      shard.append(0, batch())
      const deleted = shard.proxy.control({ kind: 'delete', handle: 0 })
      shard.append(0, batch())
      shard.append(1, batch())
      shard.settle()
      assert.equal((await deleted).kind, 'ok')
      const outcomes = shard.of('appended').map(({ index, outcome }) => [index, outcome.errorCode])
      const byIndex = new Map(outcomes.map(([index, code]) => [index, code]))
      assert.equal(byIndex.size, 3, 'each append has one answer')
      assert.equal(byIndex.get(3), ErrorCode.NOT_LEADER_OR_FOLLOWER)
      assert.equal(byIndex.get(4), ErrorCode.NONE)
      const woken = shard.of('wake').map(({ index }) => index)
      assert.ok(woken.includes(early.index) || woken.includes(watch.index))
      assert.deepEqual(shard.events, [])
      assert.deepEqual(shard.files.list(`${LOG_DIRECTORY}/topic-0`), [])
    }
  })

  test('shuts down after what came before it, and takes nothing after it', async () => {
    const shard = new ShardFixture()
    await shard.open(1)
    shard.append(0, batch({ records: 2 }))
    const reply = shard.proxy.control({ kind: 'shutdown' })
    shard.settle()
    assert.equal((await reply).kind, 'closed')
    assert.equal(shard.of('appended')[0]!.outcome.errorCode, ErrorCode.NONE)
    assert.equal(shard.shard.isShutDown, true)
    assert.ok(shard.files.list(LOG_DIRECTORY).some((name) => name.startsWith('clean-checkpoint')))
  })
})

describe('flush.messages=1', () => {
  test('acknowledges after the flush, gives memory back before it, one flush for many', async () => {
    const shard = new ShardFixture()
    await shard.open(1, { flushMessages: 1 })
    const before = shard.files.counters.flushes
    for (let i = 0; i < 20; i++) shard.append(0, batch())
    shard.settle()
    assert.deepEqual(
      shard.of('appended').map(({ index }) => index),
      Array.from({ length: 20 }, (_, i) => i),
    )
    assert.ok(shard.files.counters.flushes - before <= 2, 'one turn needs one flush of the data')
    assert.equal(shard.ingress.bytesInUse, 0)
  })

  test('a failed flush takes the directory offline: nobody is told that it is safe', async () => {
    const shard = new ShardFixture()
    await shard.open(2, { flushMessages: 1 })
    shard.append(0, batch())
    shard.settle()
    shard.files.onOperation = (kind) => {
      if (kind === 'flush') throw new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, 'flush', null)
    }
    shard.append(0, batch())
    shard.append(1, batch())
    shard.settle()
    shard.append(1, batch())
    shard.settle()
    const codes = shard.of('appended').map(({ outcome }) => outcome.errorCode)
    const failed = ErrorCode.KAFKA_STORAGE_ERROR
    assert.deepEqual(codes, [ErrorCode.NONE, failed, failed, failed])
    const [event, ...more] = shard.events.filter((one) => one.kind === 'directory-failed')
    assert.equal(event?.kind === 'directory-failed' && event.logDirectory, LOG_DIRECTORY)
    assert.deepEqual(more, [])
    assert.equal(shard.ingress.bytesInUse, 0)
  })
})

describe('a write that the disk refuses', () => {
  test('for want of space is told, and the log goes on when there is space again', async () => {
    const shard = new ShardFixture()
    await shard.open(1)
    shard.append(0, batch())
    shard.settle()
    shard.files.onOperation = (kind) => {
      if (kind !== 'write') return
      const cause = Object.assign(new Error('no space'), { code: 'ENOSPC' })
      throw new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, 'write', cause)
    }
    shard.append(0, batch())
    shard.append(0, batch())
    shard.settle()
    shard.files.onOperation = () => {}
    shard.append(0, batch())
    shard.settle()
    assert.deepEqual(
      shard.of('appended').map(({ outcome }) => [outcome.errorCode, outcome.baseOffset]),
      [
        [ErrorCode.NONE, 0],
        [ErrorCode.KAFKA_STORAGE_ERROR, -1],
        [ErrorCode.KAFKA_STORAGE_ERROR, -1],
        [ErrorCode.NONE, 1],
      ],
    )
  })
})

describe('egress memory', () => {
  test('that is exhausted is said at once, and comes back with a release', async () => {
    const shard = new ShardFixture({ egressBytes: 64 * 1024 })
    await shard.open(1)
    shard.append(0, batch({ valueBytes: 30_000 }))
    shard.settle()
    for (let i = 0; i < 4; i++) shard.read(0, 0, READ_MIN_ONE_BATCH)
    shard.settle()
    const reads = shard.of('read').map(({ outcome }) => outcome)
    const served = reads.filter((outcome) => outcome.length > 0)
    assert.ok(served.length >= 1 && served.length < 4)
    for (const outcome of reads) {
      if (outcome.length === 0) assert.equal(outcome.flags, READ_NO_MEMORY)
    }
    assert.ok(shard.proxy.lentBytes > 0)
    for (const outcome of served) shard.proxy.release(outcome)
    assert.equal(shard.proxy.lentBytes, 0)
    shard.settle()
    assert.equal(shard.shard.state.egress.bytesInUse, 0)
    const { index } = shard.read(0, 0, READ_MIN_ONE_BATCH)
    shard.settle()
    assert.ok(shard.of('read').some((one) => one.index === index && one.outcome.length > 0))
  })
})

describe('a partition whose files were changed behind its clean mark', () => {
  for (const markedEnd of [2, 5]) {
    test(`is scanned at the first append, when the mark says ${markedEnd} and there are 3`, async () => {
      const shard = new ShardFixture()
      const { context } = shard.shard.state
      const directory = `${LOG_DIRECTORY}/topic-0`
      const options = DEFAULT_LOG_OPTIONS
      const log = PartitionLog.open(context, { directory, options, hint: null })
      for (let i = 0; i < 3; i++) append(log, batch({ fill: i }))
      const hint = { ...log.close(), logEndOffset: markedEnd, recoveryPoint: markedEnd }
      const open = {
        handle: 0,
        topicId: 'QUJDREVGR0hJSktMTU5PUA',
        partition: 0,
        logDirectory: LOG_DIRECTORY,
        directory,
        hint,
        leaderEpoch: 0,
      }
      await shard.control({ kind: 'open', recover: false, options, partitions: [open] })
      for (let i = 0; i < 2; i++) shard.append(0, batch())
      shard.settle()
      assert.deepEqual(
        shard.of('appended').map(({ outcome }) => [outcome.errorCode, outcome.baseOffset]),
        [
          [ErrorCode.NONE, 3],
          [ErrorCode.NONE, 4],
        ],
      )
      const warnings = shard.events.filter((event) => event.kind === 'warning')
      assert.match(warnings[0]?.message ?? '', /its files were changed, and the log is scanned/)
      const offsets = await shard.control({ kind: 'offsets', handle: 0 })
      assert.ok(offsets.kind === 'offsets' && offsets.logStartOffset === 0)
      const { index } = shard.read(0, 0, READ_MIN_ONE_BATCH)
      shard.settle()
      const read = shard.of('read').find((one) => one.index === index)?.outcome
      assert.equal(read?.highWatermark, 5)
    })
  }
})
