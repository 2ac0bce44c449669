/** Reads of old data off the shard's thread, on a disk that does them when the test says so. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ErrorCode } from '../../src/errors/error-code.ts'
import {
  READ_MIN_ONE_BATCH,
  READ_TOO_SMALL,
  READ_WATCH,
  READ_WATCHING,
} from '../../src/shard/messages-layout.ts'
import { batch } from '../storage/support/fixture.ts'
import { ShardFixture } from './fixture.ts'

/** Everything but the last few bytes is old. */
const ALL_OLD = { pageCacheWindowBytes: 1, segmentBytes: 1_000_000 }

async function withBatches(count: number, fill = 0): Promise<ShardFixture> {
  const shard = new ShardFixture()
  await shard.open(1, ALL_OLD)
  for (let i = 0; i < count; i++) shard.append(0, batch({ fill: fill + i }))
  shard.settle()
  shard.files.readsLater = true
  return shard
}

/** Turns in which the disk finishes nothing. */
function turnWithoutReads(shard: ShardFixture): void {
  const { drainReads } = shard.files
  shard.files.drainReads = () => 0
  shard.settle()
  shard.files.drainReads = drainReads
}

test('a read of old data, lets appends and other reads pass, and comes whole', async () => {
  const shard = await withBatches(4)
  const old = shard.read(0, 1, READ_MIN_ONE_BATCH)
  const atEnd = shard.read(0, 4, READ_WATCH)
  shard.append(0, batch({ fill: 9 }))
  turnWithoutReads(shard)
  assert.equal(shard.shard.isReading, true)
  assert.deepEqual(
    shard.of('read').map(({ index, outcome }) => [index, outcome.flags]),
    [[atEnd.index, READ_WATCHING]],
  )
  assert.equal(shard.of('appended').length, 5)
  assert.equal(shard.of('wake').length, 1)
  shard.settle()
  assert.equal(shard.shard.isReading, false)
  const done = shard.of('read').find(({ index }) => index === old.index)!.outcome
  assert.equal(done.errorCode, ErrorCode.NONE)
  const bytes = shard.proxy.egress.subarray(done.offset, done.offset + done.length)
  // Three batches, each with its offset: what was there when the read was asked for.
  assert.equal(bytes.length, 3 * batch({ fill: 1 }).length)
  const one = batch({ fill: 1 }).length
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  assert.deepEqual(
    [0, 1, 2].map((i) => view.getBigInt64(i * one)),
    [1n, 2n, 3n],
  )
  assert.equal(done.highWatermark, 5, 'the answer says what is true when it is given')
  shard.proxy.release(done)
  shard.settle()
  assert.equal(shard.shard.state.egress.bytesInUse, 0)
})

test('a read of old data that comes short or failed, is done once more at once', async () => {
  for (const result of [0, 61, -5]) {
    const shard = await withBatches(3)
    const { drainReads } = shard.files
    shard.files.drainReads = (handler) =>
      drainReads.call(shard.files, (token) => handler(token, result))
    shard.read(0, 0, READ_MIN_ONE_BATCH)
    shard.settle()
    const { outcome } = shard.of('read')[0]!
    assert.equal(outcome.errorCode, ErrorCode.NONE)
    assert.ok(outcome.length > 61, `after ${result}`)
  }
})

test('a first batch longer than the read, comes whole or is said to be too large', async () => {
  const shard = await withBatches(2)
  shard.readBytesMax = 70
  shard.read(0, 0, READ_MIN_ONE_BATCH)
  shard.read(0, 0)
  shard.settle()
  const [whole, refused] = shard.of('read')
  assert.equal(whole!.outcome.length, batch({ fill: 0 }).length)
  assert.equal(refused!.outcome.length, 0)
  assert.equal(refused!.outcome.flags, READ_TOO_SMALL)
})

test('a partition with reads under way, is deleted after them, and they are answered', async () => {
  const shard = await withBatches(3)
  shard.read(0, 0, READ_MIN_ONE_BATCH)
  turnWithoutReads(shard)
  assert.equal((await shard.control({ kind: 'delete', handle: 0 })).kind, 'ok')
  const [read] = shard.of('read')
  assert.ok(read!.outcome.length > 0)
  assert.equal(shard.shard.isReading, false)
})

test('a disk that cannot read later, is read at once', async () => {
  const shard = await withBatches(3)
  shard.files.readsLater = false
  shard.read(0, 0, READ_MIN_ONE_BATCH)
  shard.settle()
  assert.ok(shard.of('read')[0]!.outcome.length > 0)
})
