/** Retention as a shard does it: when it looks, how much it does in a turn, what it tells. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { READ_MIN_ONE_BATCH } from '../../src/shard/messages-layout.ts'
import { DEFAULT_LOG_OPTIONS, type LogOptions } from '../../src/storage/log.ts'
import { batch, START_MS } from '../storage/support/fixture.ts'
import { ShardFixture } from './fixture.ts'

const CHECK_MS = 5000
const ONE = batch().length

async function opened(partitions: number, options: Partial<LogOptions>): Promise<ShardFixture> {
  const shard = new ShardFixture({ retentionCheckIntervalMs: CHECK_MS })
  await shard.open(partitions, { segmentBytes: 2 * ONE, ...options })
  return shard
}

/** Appends `count` batches to a partition, each in a turn of its own. */
function fill(shard: ShardFixture, handle: number, count: number): void {
  for (let i = 0; i < count; i++) {
    shard.append(handle, batch({ timestamp: START_MS }))
    shard.settle()
  }
}

async function offsetsOf(shard: ShardFixture, handle: number): Promise<[number, number]> {
  const reply = await shard.control({ kind: 'offsets', handle })
  assert(reply.kind === 'offsets')
  return [reply.logStartOffset, reply.logEndOffset]
}

function deletedFiles(shard: ShardFixture): string[] {
  return shard.files.paths().filter((path) => path.endsWith('.deleted'))
}

describe('retention between passes', () => {
  test('bounds what a writer that does not stop keeps on the disk', async () => {
    const shard = await opened(1, { retentionBytes: 4 * ONE, fileDeleteDelayMs: 0 })
    let largest = 0
    for (let i = 0; i < 200; i++) {
      shard.append(0, batch())
      shard.settle()
      shard.clock.ms += 1000 / 2 // No pass is due for long: four segments a second or less.
      largest = Math.max(largest, shard.shard.state.logBytes())
    }
    shard.settle()
    const [start, end] = await offsetsOf(shard, 0)
    assert.equal(end, 200)
    assert.ok(start >= 190, `starts at ${start}`)
    assert.ok(largest <= 10 * ONE, `${largest / ONE} batches were there at once`)
    assert.ok(shard.files.paths().filter((path) => path.includes('.log')).length <= 5)
  })
})

describe('a pass of retention', () => {
  test('comes every interval, and deletes by age what nobody writes to', async () => {
    const shard = await opened(2, { retentionMs: 1000 })
    fill(shard, 0, 3)
    shard.clock.ms = CHECK_MS - 1
    shard.settle()
    assert.deepEqual(await offsetsOf(shard, 0), [0, 3])
    assert.ok(shard.shard.nextDeadlineMs <= CHECK_MS)
    shard.clock.ms = CHECK_MS
    shard.settle()
    assert.deepEqual(await offsetsOf(shard, 0), [3, 3])
    assert.deepEqual(await offsetsOf(shard, 1), [0, 0])
    const { deletedSegments, deletedBytes } = shard.shard.state.counters
    assert.deepEqual([deletedSegments, deletedBytes], [2, 3 * ONE])
    const told = shard.events.filter(({ kind }) => kind === 'retention')
    assert.deepEqual(told, [{ kind: 'retention', segments: 2, bytes: 3 * ONE }])
  })

  test('opens a resting log once, to learn its age, and rests it again', async () => {
    const shard = await opened(3, { retentionMs: 100 * CHECK_MS, retentionBytes: 100 * ONE })
    for (const handle of [0, 1, 2]) fill(shard, handle, 3)
    const { state } = shard.shard
    for (const partition of state.partitions.values()) {
      state.rest(partition)
      partition.configure(partition.options) // As if nobody had looked at it since the start.
    }
    const before = { ...shard.files.counters }
    shard.clock.ms = CHECK_MS
    shard.settle()
    assert.equal(state.open.size, 0)
    assert.equal(shard.files.counters.lists, before.lists + 3)
    const after = { ...shard.files.counters }
    for (let pass = 2; pass < 12; pass++) {
      shard.clock.ms = pass * CHECK_MS
      shard.settle()
    }
    assert.deepEqual(
      [shard.files.counters.lists, shard.files.counters.opens, shard.files.counters.reads],
      [after.lists, after.opens, after.reads],
    )
    shard.clock.ms = 102 * CHECK_MS
    shard.settle()
    for (const handle of [0, 1, 2]) assert.deepEqual(await offsetsOf(shard, handle), [3, 3])
  })

  test('deletes one segment a turn, removes one file a turn, and serves between them', async () => {
    const shard = await opened(4, { retentionMs: 1000, fileDeleteDelayMs: 0 })
    for (const handle of [0, 1, 2, 3]) fill(shard, handle, 6)
    shard.clock.ms = CHECK_MS
    let turns = 0
    for (; shard.shard.state.counters.deletedSegments < 12; turns++) {
      const before = shard.shard.state.counters.deletedSegments
      const files = deletedFiles(shard).length
      const read = shard.read(3, 0, READ_MIN_ONE_BATCH)
      shard.turn()
      shard.poll()
      assert.ok(shard.shard.state.counters.deletedSegments - before <= 1)
      assert.ok(files - deletedFiles(shard).length <= 1)
      const answer = shard.of('read').find(({ index }) => index === read.index)
      assert.ok(answer !== undefined, 'a reader does not wait for a pass')
      if (answer.outcome.length > 0) shard.proxy.release(answer.outcome)
      assert.ok(turns < 100)
    }
    shard.settle()
    assert.deepEqual(deletedFiles(shard), [])
  })

  test('looks at ten thousand idle partitions in a few dozen turns', async () => {
    const shard = await opened(10_000, { retentionMs: 1000, retentionBytes: 1000 })
    for (const partition of shard.shard.state.partitions.values()) {
      const log = shard.shard.state.openLog(partition)
      assert(log !== null)
      shard.shard.state.rest(partition) // Empty, and known to be.
    }
    shard.clock.ms = CHECK_MS
    let turns = 0
    while (shard.turn() > 0) turns++
    assert.ok(turns >= 10_000 / 256 && turns <= 60, `${turns} turns`)
  })

  test('follows a changed configuration, and leaves a deleted partition alone', async () => {
    const shard = await opened(2, {})
    fill(shard, 0, 6)
    fill(shard, 1, 6)
    shard.clock.ms = CHECK_MS
    shard.settle()
    assert.deepEqual(await offsetsOf(shard, 0), [0, 6])
    const options = { ...DEFAULT_LOG_OPTIONS, segmentBytes: 2 * ONE, retentionMs: 1000 }
    for (const handle of [0, 1]) await shard.control({ kind: 'configure', handle, options })
    shard.clock.ms = 2 * CHECK_MS
    shard.turn() // One of three segments of partition 0 is gone, and the pass is at it.
    assert.equal((await shard.control({ kind: 'delete', handle: 0 })).kind, 'ok')
    shard.settle()
    assert.deepEqual(await offsetsOf(shard, 1), [6, 6])
    assert.equal(
      shard.files.paths().some((path) => path.includes('topic-0')),
      false,
    )
  })
})

describe('a reader of a segment that is deleted', () => {
  test('gets what it asked for when it came first, and a clean refusal when it comes later', async () => {
    const shard = await opened(1, { retentionMs: 1000, pageCacheWindowBytes: 0 })
    shard.files.readsLater = true
    fill(shard, 0, 6)
    const early = shard.read(0, 0, READ_MIN_ONE_BATCH)
    shard.proxy.flush()
    // The disk takes its time: the segment and its file are gone before the bytes are there.
    const { drainReads } = shard.files
    shard.files.drainReads = () => 0
    shard.clock.ms = CHECK_MS
    shard.settle()
    shard.clock.ms += 60_000
    shard.settle()
    assert.deepEqual(await offsetsOf(shard, 0), [6, 6])
    assert.deepEqual(deletedFiles(shard), [])
    assert.equal(shard.shard.isReading, true)
    shard.files.drainReads = drainReads
    shard.settle()
    const late = shard.read(0, 0, READ_MIN_ONE_BATCH)
    shard.settle()
    const answer = (index: number) => shard.of('read').find((one) => one.index === index)!.outcome
    assert.equal(answer(early.index).errorCode, ErrorCode.NONE)
    assert.ok(answer(early.index).length > 0)
    assert.equal(answer(late.index).errorCode, ErrorCode.OFFSET_OUT_OF_RANGE)
    assert.equal(answer(late.index).logStartOffset, 6)
    shard.proxy.release(answer(early.index))
  })
})

describe('files of deleted segments', () => {
  test('are removed at a clean shutdown, also those whose time has not come', async () => {
    const shard = await opened(1, { fileDeleteDelayMs: 60_000 })
    fill(shard, 0, 6)
    await shard.control({ kind: 'delete-records', handle: 0, beforeOffset: 5 })
    assert.equal(deletedFiles(shard).length, 2)
    await shard.control({ kind: 'shutdown' })
    assert.deepEqual(deletedFiles(shard), [])
  })
})
