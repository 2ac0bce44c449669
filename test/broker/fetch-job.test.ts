import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { FetchJob, type FetchTarget } from '../../src/broker/fetch-job.ts'
import { SendTurns } from '../../src/broker/send-turns.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import {
  READ_MIN_ONE_BATCH,
  READ_TOO_SMALL,
  READ_WATCHING,
} from '../../src/shard/messages-layout.ts'
import type {
  LentExtent,
  ReadOutcome,
  ReadRequest,
  ReadSink,
  ShardProxy,
} from '../../src/shard/shard-proxy.ts'
import { batchOf } from '../support/kafka.ts'

/** Stands for the proxies of all shards: answers when the test says so. */
class FakeShard {
  readonly egress = new Uint8Array(1024)
  readonly reads: { request: ReadRequest; sink: ReadSink; index: number; token: number }[] = []
  readonly released: LentExtent[] = []
  readonly unwatched: number[] = []
  #nextToken = 1

  read(request: ReadRequest, sink: ReadSink, index: number): number {
    const token = this.#nextToken++
    this.reads.push({ request, sink, index, token })
    return token
  }

  unwatch(token: number): void {
    this.unwatched.push(token)
  }

  release(extent: LentExtent): void {
    this.released.push({ ...extent })
  }

  countSent(): void {}

  flush(): void {}

  /** Answers the oldest read. */
  answer(outcome: Partial<ReadOutcome>): void {
    const { sink, index } = this.reads.shift()!
    sink.onRead({ ...NOTHING, ...outcome }, index)
  }
}

const NOTHING: ReadOutcome = {
  errorCode: ErrorCode.NONE,
  highWatermark: 0,
  lastStableOffset: 0,
  logStartOffset: 0,
  offset: 0,
  length: 0,
  generation: 1,
  flags: 0,
  divergingEpoch: -1,
  divergingEndOffset: -1,
}

function targets(shard: FakeShard, count: number): FetchTarget[] {
  return Array.from({ length: count }, (_, handle) => ({
    handle,
    shard: shard as unknown as ShardProxy,
    fetchOffset: 0,
    bytesMax: 100,
    errorCode: ErrorCode.NONE,
  }))
}

function tick(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

const LONG_POLL = { bytesMin: 1, bytesMax: 1000, waitMsMax: 60_000 }

function started(job: FetchJob): { isDone: boolean; done: Promise<void> } {
  const state = { isDone: false, done: Promise.resolve() }
  state.done = job.run().then(() => {
    state.isDone = true
  })
  return state
}

describe('FetchJob', () => {
  test('reads again when a watch is answered while another shard is still reading', async () => {
    const shard = new FakeShard()
    const job = new FetchJob(targets(shard, 2), LONG_POLL, () => 0)
    const state = started(job)
    const [first] = shard.reads
    shard.answer({ flags: READ_WATCHING })
    first!.sink.onWake(first!.index) // An append, before the second partition has answered.
    shard.answer({ flags: READ_WATCHING })
    assert.equal(shard.reads.length, 2, 'a new pass has begun')
    shard.answer({ length: 10 })
    shard.answer({})
    await state.done
    assert.equal(job.results[0]!.records?.length, 10)
  })

  test('lets others have the turn while it waits with nothing, and has it again to read', async () => {
    const shard = new FakeShard()
    const turns = new SendTurns()
    assert.equal(turns.enter(), null)
    const job = new FetchJob(targets(shard, 1), LONG_POLL, () => 0, turns)
    const state = started(job)
    const [first] = shard.reads
    shard.answer({ flags: READ_WATCHING })
    assert.equal(turns.enter(), null, 'the turn was free')
    first!.sink.onWake(first!.index)
    await tick()
    assert.equal(shard.reads.length, 0, 'it waits for its turn')
    turns.leave()
    await tick()
    shard.answer({ length: 10 })
    await state.done
    assert.deepEqual([job.hasTurn, job.results[0]!.records?.length], [true, 10])
    let isFree = false
    void turns.enter()?.then(() => {
      isFree = true
    })
    await tick()
    assert.equal(isFree, false)
  })

  test('that is cancelled while it waits with nothing, or for its turn, gives none twice', async () => {
    const shard = new FakeShard()
    const turns = new SendTurns()
    assert.equal(turns.enter(), null)
    const waiting = new FetchJob(targets(shard, 1), LONG_POLL, () => 0, turns)
    const { done } = started(waiting)
    shard.answer({ flags: READ_WATCHING })
    waiting.cancel()
    await done
    assert.equal(waiting.hasTurn, false)

    assert.equal(turns.enter(), null)
    const entering = new FetchJob(targets(shard, 1), LONG_POLL, () => 0, turns)
    const state = started(entering)
    const [read] = shard.reads
    shard.answer({ flags: READ_WATCHING })
    assert.equal(turns.enter(), null)
    read!.sink.onWake(read!.index)
    entering.cancel()
    await tick()
    assert.equal(state.isDone, false)
    turns.leave()
    await tick()
    shard.answer({})
    await state.done
    assert.equal(entering.hasTurn, true)
  })

  test('ends every watch and gives back what it read before it reads again', async () => {
    const shard = new FakeShard()
    const limits = { ...LONG_POLL, bytesMin: 50 }
    const job = new FetchJob(targets(shard, 2), limits, () => 0)
    const state = started(job)
    const [, second] = shard.reads
    shard.answer({ offset: 512, length: 10, generation: 3 })
    shard.answer({ flags: READ_WATCHING })
    second!.sink.onWake(1)
    assert.deepEqual(shard.released, [{ offset: 512, length: 10, generation: 3 }])
    assert.deepEqual(shard.unwatched, [second!.token])
    shard.answer({ length: 10 })
    shard.answer({ length: 40 })
    await state.done
    assert.deepEqual(
      job.results.map((result) => result.records?.length),
      [10, 40],
    )
  })

  test('asks only the first partition for a batch above the budget, then who was too small', async () => {
    const shard = new FakeShard()
    const job = new FetchJob(targets(shard, 3), { ...LONG_POLL, bytesMax: 300 }, () => 0)
    const state = started(job)
    assert.deepEqual(
      shard.reads.map((read) => read.request.flags & READ_MIN_ONE_BATCH),
      [READ_MIN_ONE_BATCH, 0, 0],
    )
    shard.answer({ flags: READ_WATCHING })
    shard.answer({ flags: READ_TOO_SMALL })
    shard.answer({ flags: READ_TOO_SMALL })
    assert.deepEqual(
      shard.reads.map((read) => [read.index, read.request.flags & READ_MIN_ONE_BATCH]),
      [[1, READ_MIN_ONE_BATCH]],
    )
    shard.answer({ length: 500 })
    await state.done
    assert.deepEqual(
      job.results.map((result) => result.records?.length ?? 0),
      [0, 500, 0],
    )
  })

  test('a cancelled wait ends with its watches', async () => {
    const shard = new FakeShard()
    const job = new FetchJob(targets(shard, 1), LONG_POLL, () => 0)
    const state = started(job)
    const { token } = shard.reads[0]!
    shard.answer({ flags: READ_WATCHING })
    assert.equal(state.isDone, false)
    job.cancel()
    await state.done
    assert.deepEqual(shard.unwatched, [token])
  })

  test('never reads more at a time than its budget allows', async () => {
    const shard = new FakeShard()
    const job = new FetchJob(targets(shard, 5), { ...LONG_POLL, bytesMax: 250 }, () => 0)
    const state = started(job)
    assert.deepEqual(
      shard.reads.map((read) => read.request.bytesMax),
      [100, 100, 50],
    )
    shard.answer({ length: 100 })
    shard.answer({ length: 100 })
    shard.answer({ length: 50 })
    await state.done
    assert.equal(shard.reads.length, 0)
  })

  test('a fetch that has less than it asked for, looks again at growing intervals', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const shard = new FakeShard()
    let now = 0
    const limits = { bytesMin: 50, bytesMax: 1000, waitMsMax: 5000 }
    const job = new FetchJob(targets(shard, 1), limits, () => now)
    const state = started(job)
    const readAtMs: number[] = []
    while (!state.isDone && now <= 6000) {
      if (shard.reads.length > 0) {
        readAtMs.push(now)
        shard.answer({ length: 10 })
      }
      now++
      t.mock.timers.tick(1)
      await Promise.resolve()
    }
    assert.deepEqual(readAtMs.slice(0, 7), [0, 20, 60, 140, 300, 620, 1120])
    assert.ok(readAtMs.length < 20, `${readAtMs.length} reads in 5 s`)
    assert.equal(state.isDone, true)
  })

  test('a partition that has more than it may give, counts with all that it may', async () => {
    const shard = new FakeShard()
    const batch = batchOf({ values: ['some', 'records'] })
    shard.egress.set(batch)
    const limits = { bytesMin: batch.length + 5, bytesMax: 1000, waitMsMax: 5000 }
    const [target] = targets(shard, 1)
    const job = new FetchJob([{ ...target!, bytesMax: batch.length + 5 }], limits, () => 0)
    const state = started(job)
    shard.answer({ length: batch.length, highWatermark: 3 })
    await Promise.resolve()
    await Promise.resolve()
    assert.equal(state.isDone, true, 'the next batch did not fit')
  })
})
