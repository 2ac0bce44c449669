/** A partition whose log somebody else decides about: the quorum's metadata. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BrokerError } from '../../src/errors/broker-error.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import type { ControlReply } from '../../src/shard/control.ts'
import { READ_MIN_ONE_BATCH, READ_TO_LOG_END } from '../../src/shard/messages-layout.ts'
import type { ReplicaState } from '../../src/shard/replica-control.ts'
import { append, Bench, batch, offsetsIn, readAll } from '../storage/support/fixture.ts'
import { LOG_DIRECTORY, ShardFixture } from './fixture.ts'

/** Batches of two records, with offsets from `first` on, in one epoch. */
function entries(first: number, count: number, epoch: number): Uint8Array {
  const log = new Bench().open()
  if (first > 0) log.truncateFullyAndStartAt(first)
  for (let i = 0; i < count; i++) append(log, batch({ records: 2, fill: epoch }), epoch)
  return readAll(log, first)
}

function stateIn(reply: ControlReply): ReplicaState {
  assert(reply.kind === 'replicas', JSON.stringify(reply))
  assert.equal(reply.states.length, 1)
  return reply.states[0]!
}

async function opened(): Promise<ShardFixture> {
  const shard = new ShardFixture()
  await shard.openAs(0, { role: 'raw', flushMessages: 1 })
  return shard
}

describe('a raw partition', () => {
  test('appends what has its offsets and epochs, and answers when it is durable', async () => {
    const shard = await opened()
    let answersAtFlush = -1
    shard.files.onOperation = (kind) => {
      if (kind === 'flush') answersAtFlush = shard.of('followed').length
    }
    shard.follow(0, entries(0, 3, 7), { leaderEpoch: 99 })
    shard.settle()
    assert.equal(answersAtFlush, 0)
    assert.deepEqual(shard.of('followed')[0]?.outcome, {
      errorCode: ErrorCode.NONE,
      logEndOffset: 6,
      highWatermark: 6,
      logStartOffset: 0,
    })
    shard.follow(0, entries(6, 1, 8))
    const again = shard.follow(0, entries(6, 1, 8))
    shard.settle()
    for (const { index, outcome } of shard.of('followed')) {
      assert.equal(outcome.errorCode, index === again ? ErrorCode.INVALID_RECORD : ErrorCode.NONE)
    }
    assert.equal(shard.ingress.bytesInUse, 0)
    shard.read(0, 0, READ_MIN_ONE_BATCH | READ_TO_LOG_END)
    shard.settle()
    const { offset, length } = shard.of('read')[0]!.outcome
    const bytes = shard.proxy.egress.subarray(offset, offset + length)
    assert.deepEqual(
      offsetsIn(bytes).map(({ base }) => base),
      [0, 2, 4, 6],
    )
  })

  test('is cut at an exact offset, and goes on from there', async () => {
    const shard = await opened()
    shard.follow(0, entries(0, 4, 1))
    const cut = stateIn(await shard.control({ kind: 'truncate-to', handle: 0, offset: 4 }))
    assert.deepEqual([cut.logEndOffset, cut.highWatermark, cut.latestEpoch], [4, 4, 1])
    assert.equal(shard.of('followed')[0]!.outcome.errorCode, ErrorCode.NONE)
    shard.follow(0, entries(4, 2, 3))
    shard.settle()
    const states = { kind: 'replica-states', handles: [0] } as const
    const after = stateIn(await shard.control(states))
    assert.deepEqual([after.logEndOffset, after.latestEpoch], [8, 3])
    const nothing = await shard.control({ kind: 'truncate-to', handle: 0, offset: 90 })
    assert.equal(stateIn(nothing).logEndOffset, 8)
    const negative = await shard.control({ kind: 'truncate-to', handle: 0, offset: -1 })
    assert.equal(negative.kind === 'failed' && negative.errorCode, ErrorCode.INVALID_REQUEST)
  })

  test('starts anew at an offset', async () => {
    const shard = await opened()
    shard.follow(0, entries(0, 4, 1))
    const restart = { kind: 'restart-at', handle: 0, leaderEpoch: -1, offset: 100 } as const
    const state = stateIn(await shard.control(restart))
    assert.deepEqual(
      [state.logStartOffset, state.logEndOffset, state.highWatermark, state.latestEpoch],
      [100, 100, 100, -1],
    )
    shard.follow(0, entries(100, 1, 9))
    shard.settle()
    assert.equal(shard.of('followed').at(-1)!.outcome.logEndOffset, 102)
  })

  test('is never told that it leads or follows, and has no fetches of followers', async () => {
    const shard = await opened()
    const follow = { kind: 'follow', partitions: [{ handle: 0, leaderEpoch: 3 }] } as const
    assert.equal(stateIn(await shard.control(follow)).errorCode, ErrorCode.INVALID_REQUEST)
    shard.replicaRead(0, { currentLeaderEpoch: 0 })
    shard.settle()
    assert.equal(shard.of('read')[0]!.outcome.errorCode, ErrorCode.NOT_LEADER_OR_FOLLOWER)
  })

  test('tells of a failed flush, and that nothing more is taken', async () => {
    const shard = await opened()
    shard.files.onOperation = (kind) => {
      if (kind === 'flush') throw diskError()
    }
    shard.follow(0, entries(0, 1, 1))
    shard.settle()
    shard.follow(0, entries(2, 1, 1))
    shard.settle()
    const codes = shard.of('followed').map((one) => one.outcome.errorCode)
    assert.deepEqual(codes, [ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.KAFKA_STORAGE_ERROR])
    assert.ok(shard.events.some((one) => one.kind === 'directory-failed'))
    assert.equal(shard.ingress.bytesInUse, 0)
  })

  test('has no hole where the disk had no room, though it has some for what follows', async () => {
    const shard = await opened()
    let hasRoom = false
    shard.files.onOperation = (kind) => {
      if (kind === 'write' && !hasRoom) throw fullDisk()
    }
    const sent = [0, 2].map((first) => shard.follow(0, entries(first, 1, 1)))
    shard.settle()
    shard.follow(0, entries(0, 1, 1))
    shard.settle()
    hasRoom = true
    // On its way when the refusal was answered.
    const late = shard.follow(0, entries(2, 1, 1))
    shard.settle()
    const codes = new Map(shard.of('followed').map((one) => [one.index, one.outcome.errorCode]))
    assert.deepEqual(
      sent.map((index) => codes.get(index)),
      [ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.KAFKA_STORAGE_ERROR],
    )
    assert.equal(codes.get(late), ErrorCode.INVALID_RECORD)
    shard.follow(0, entries(0, 2, 1))
    shard.settle()
    assert.deepEqual(shard.of('followed').at(-1)?.outcome.logEndOffset, 4)
  })

  test('is what it was after a stop in order, with its epochs', async () => {
    const shard = await opened()
    shard.follow(0, entries(0, 2, 1))
    shard.follow(0, entries(4, 2, 5))
    await shard.control({ kind: 'shutdown' })
    assert.ok(shard.files.list(LOG_DIRECTORY).some((name) => name.startsWith('clean-')))
    const next = new ShardFixture({ files: shard.files })
    await next.openAs(0, { role: 'raw', flushMessages: 1 })
    const state = stateIn(await next.control({ kind: 'replica-states', handles: [0] }))
    assert.deepEqual([state.logEndOffset, state.highWatermark, state.latestEpoch], [8, 8, 5])
    const epoch = await next.control({ kind: 'end-offset-for-epoch', handle: 0, leaderEpoch: 3 })
    assert.deepEqual(epoch, { kind: 'epoch', leaderEpoch: 1, endOffset: 4 })
  })
})

function fullDisk(): BrokerError {
  const cause = Object.assign(new Error('no space'), { code: 'ENOSPC', syscall: 'pwritev' })
  return new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, 'write', cause)
}

function diskError(): BrokerError {
  return new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, 'flush', null)
}
