/** A log that takes what a leader's log has, and a high watermark that others decide about. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { loadNative } from '../../src/base/native.ts'
import { Random } from '../../src/base/random.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import type { BatchEngine } from '../../src/record/batch-engine.ts'
import { jsBatchEngine } from '../../src/record/batch-engine-js.ts'
import { nativeBatchEngine } from '../../src/record/batch-engine-native.ts'
import { truncationOffset } from '../../src/replication/fetch-rules.ts'
import { type LogHint, type LogOptions, PartitionLog } from '../../src/storage/log.ts'
import {
  append,
  Bench,
  batch,
  concat,
  DIRECTORY,
  follow,
  offsetsIn,
  readAll,
  refusedToFollow,
  rerun,
  SEED,
} from './support/fixture.ts'

const SMALL: Partial<LogOptions> = { segmentBytes: 900, indexIntervalBytes: 150 }

function openReplica(bench: Bench, hint: LogHint | null = null): PartitionLog {
  const { context, options } = bench
  return PartitionLog.open(context, { directory: DIRECTORY, options, hint, isReplicated: true })
}

/** What of the leader lies from the follower's end on, cut where a response might be. */
function copy(leader: PartitionLog, follower: PartitionLog, maxBytes = 1 << 20): Uint8Array {
  const bytes = readAll(leader, follower.logEndOffset, { upTo: 'logEnd' })
  return bytes.slice(0, Math.max(0, Math.min(bytes.length, maxBytes)))
}

function producersOf(log: PartitionLog): unknown {
  const states = [...log.producers.entries()].map(([id, state]) => {
    const words = [...state]
    words[5] = 0 // When it was last seen is each broker's own.
    return [id, words] as const
  })
  return states.sort(([a], [b]) => a - b)
}

function segmentsOf(bench: Bench): Map<string, Uint8Array> {
  const names = bench.files.list(DIRECTORY).filter((name) => name.endsWith('.log'))
  return new Map(names.sort().map((name) => [name, bench.files.contentOf(bench.path(name))]))
}

function splitBatches(run: Uint8Array): Uint8Array[] {
  const size = (at: number): number =>
    12 + Buffer.from(run.buffer, run.byteOffset).readInt32BE(at + 8)
  const batches: Uint8Array[] = []
  for (let at = 0; at < run.length; at += size(at)) batches.push(run.slice(at, at + size(at)))
  return batches
}

const lastOf = (bytes: Uint8Array): number => offsetsIn(bytes)[0]?.last as number

describe('a log that follows', () => {
  test('keeps offsets, epochs and timestamps, and ignores a trailing part of a batch', () => {
    const leader = new Bench(SMALL)
    const from = leader.open()
    for (let i = 0; i < 9; i++) {
      const producer = { producerId: 4, producerEpoch: 1, baseSequence: 2 * i }
      append(from, batch({ records: 2, fill: i, timestamp: 1000 + i, ...producer }), i >> 2)
    }
    const bench = new Bench(SMALL)
    const log = openReplica(bench)
    const run = copy(from, log)
    const cut = run.subarray(0, run.length - 30)
    const out = follow(log, cut)
    assert.deepEqual([out.baseOffset, out.endOffset, out.duplicate], [0, 16, false])
    assert.equal(log.logEndOffset, 16)
    follow(log, copy(from, log))
    assert.deepEqual([log.logEndOffset, log.latestEpoch], [18, 2])
    assert.deepEqual(segmentsOf(bench), segmentsOf(leader))
    assert.deepEqual(producersOf(log), producersOf(from))
    for (const epoch of [0, 1, 2]) {
      assert.deepEqual(log.endOffsetForEpoch(epoch), from.endOffsetForEpoch(epoch))
    }
    assert.deepEqual(log.verify().problems, [])
  })

  test('takes nothing when a run holds no whole batch', () => {
    const log = openReplica(new Bench())
    for (const length of [0, 7, 40, 70]) {
      const out = follow(log, batch().slice(0, length))
      assert.deepEqual([out.baseOffset, out.endOffset], [-1, 0])
      assert.equal(log.hasStaged, false)
    }
  })

  test('refuses batches that do not follow its end, and stages none of them', () => {
    const bench = new Bench()
    const from = bench.open()
    for (let i = 0; i < 4; i++) append(from, batch({ records: 3 }), i)
    const log = openReplica(new Bench())
    const run = copy(from, log)
    const half = run.length / 2
    const [first, second] = [run.slice(0, half), run.slice(half)]
    const code = ErrorCode.INVALID_RECORD
    assert.equal(refusedToFollow(log, concat([second, first])), code)
    follow(log, run.slice())
    assert.equal(refusedToFollow(log, first), code, 'below the log end')
    const older = new Bench().open()
    for (let i = 0; i < 20; i++) append(older, batch({ records: 1 }), 1)
    const late = readAll(older, 15)
    assert.equal(refusedToFollow(log, late), code, 'an epoch that decreases')
    assert.equal(log.logEndOffset, 12)
    assert.equal(log.hasStaged, false)
  })

  test('refuses every changed byte that the CRC covers, and lengths that lie', () => {
    const from = new Bench().open()
    append(from, batch({ records: 2 }))
    append(from, batch({ records: 2 }))
    const log = openReplica(new Bench())
    const run = copy(from, log)
    for (let at = 8; at < run.length; at++) {
      // A length may say that the rest of the batch has not come, an epoch is not covered.
      const isHead = at % (run.length / 2) < 17
      const lie = run.slice()
      lie[at] = (lie[at] as number) ^ 0x41
      if (isHead) continue
      assert.notEqual(refusedToFollow(log, lie), ErrorCode.NONE, `byte ${at}`)
      assert.equal(log.hasStaged, false)
    }
    for (const length of [-1, 0, 48, 0x7fff_ffff]) {
      const lie = run.slice()
      new DataView(lie.buffer).setInt32(8, length)
      assert.equal(refusedToFollow(log, lie), ErrorCode.CORRUPT_MESSAGE, `length ${length}`)
    }
  })

  test('takes the holes of a compacted log, and recovers with them', () => {
    const from = new Bench().open()
    for (let i = 0; i < 30; i++)
      append(from, batch({ records: 2, fill: i, valueBytes: 60 }), i >> 3)
    const whole = readAll(from, 0)
    const size = whole.length / 30
    const kept = [3, 4, 9, 10, 17, 25, 29]
    const runOf = (index: number): Uint8Array => whole.slice(index * size, (index + 1) * size)
    const bench = new Bench({ segmentBytes: size * 2 })
    let log = openReplica(bench)
    for (const index of kept) follow(log, runOf(index))
    assert.equal(log.logEndOffset, 60)
    const expected = concat(kept.map(runOf))
    assert.deepEqual(readAll(log, 0, { upTo: 'logEnd' }), expected)
    assert.deepEqual(log.verify().problems, [])
    bench.flush(log)
    bench.files.kill()
    log = openReplica(bench)
    assert.equal(log.logEndOffset, 60)
    assert.deepEqual(readAll(log, 0, { upTo: 'logEnd' }), expected)
    assert.deepEqual(log.verify().problems, [])
    for (let offset = 0; offset < 60; offset++) {
      const [first] = offsetsIn(readAll(log, offset, { upTo: 'logEnd' }))
      assert.equal(
        first?.last,
        kept.map((one) => one * 2 + 1).find((last) => last >= offset),
      )
    }
    // Behind a hole, in one and in front of one: the log ends with what lies before it.
    for (const [offset, index] of [
      [58, 25],
      [50, 17],
      [34, 10],
      [23, 10],
      [20, 9],
      [18, 4],
      [6, null],
    ] as const) {
      log.truncateTo(offset)
      const read = offsetsIn(readAll(log, 0, { upTo: 'logEnd' }))
      const last = index === null ? undefined : index * 2 + 1
      assert.equal(read.at(-1)?.last, last, `cut at ${offset}`)
      assert.deepEqual(log.verify().problems, [], `cut at ${offset}`)
    }
  })
})

test('a log with holes is what it took and was not cut, however it was cut, closed and killed', () => {
  const rounds = Number(process.env.MILLRACE_ROUNDS ?? 300)
  for (let round = 0; round < rounds; round++) {
    const random = new Random(SEED + round)
    const from = new Bench().open()
    for (let i = 0; i < 24; i++) {
      append(from, batch({ records: random.between(1, 3), fill: i, valueBytes: 60 }), i >> 3)
    }
    const whole = readAll(from, 0)
    const batches = splitBatches(whole).filter(() => random.chance(0.5))
    const bench = new Bench({ segmentBytes: random.between(150, 750) })
    let log = openReplica(bench)
    let kept = 0
    for (let step = 0; step < 30; step++) {
      const what = random.below(10)
      const next = batches[kept]
      if (what < 5 && next !== undefined) {
        follow(log, next)
        kept++
      } else if (what < 7) {
        const offset = random.below(log.logEndOffset + 1)
        log.truncateTo(offset)
        kept = batches.filter((one) => lastOf(one) < offset).length
      } else if (what === 7) {
        log = openReplica(bench, log.close())
      } else if (what === 8) {
        bench.files.kill()
        log = openReplica(bench)
      } else bench.flush(log)
      const why = `step ${step} of round ${round}, ${rerun(SEED)}`
      const end = kept === 0 ? log.logEndOffset : lastOf(batches[kept - 1] as Uint8Array) + 1
      assert.equal(log.logEndOffset, end, why)
      const read = kept === 0 ? new Uint8Array(0) : readAll(log, 0, { upTo: 'logEnd' })
      assert.deepEqual(read, concat(batches.slice(0, kept)), why)
      assert.deepEqual(log.verify().problems, [], why)
    }
  }
})

describe('the high watermark of a replicated log', () => {
  test('is what it is told, never above the end, never down except by truncation', () => {
    const log = openReplica(new Bench())
    for (let i = 0; i < 5; i++) append(log, batch({ records: 2 }))
    assert.deepEqual([log.highWatermark, log.countedOffset, log.logEndOffset], [0, 10, 10])
    assert.equal(readAll(log, 0).length, 0, 'nothing is seen')
    log.setHighWatermark(6)
    log.setHighWatermark(4)
    assert.equal(log.highWatermark, 6)
    assert.throws(() => log.setHighWatermark(11))
    assert.equal(offsetsIn(readAll(log, 0)).length, 3)
    for (const offset of [6, 8, 10]) {
      const found = log.locate(offset, 1000, { minOneBatch: true, upTo: 'highWatermark' })
      assert(typeof found === 'object' && found.length === 0)
    }
    const past = log.locate(11, 1000, { minOneBatch: true, upTo: 'highWatermark' })
    assert.equal(past, ErrorCode.OFFSET_OUT_OF_RANGE)
    log.truncateTo(8)
    assert.deepEqual([log.highWatermark, log.logEndOffset], [6, 8])
    log.truncateTo(3)
    assert.deepEqual([log.highWatermark, log.logEndOffset, log.countedOffset], [2, 2, 2])
    log.truncateFullyAndStartAt(40)
    assert.deepEqual([log.highWatermark, log.logStartOffset, log.logEndOffset], [40, 40, 40])
  })

  test('follows what counts again when the log is not replicated any more', () => {
    const bench = new Bench({ flushMessages: 1 })
    const log = bench.open()
    append(log, batch({ records: 2 }))
    bench.flush(log)
    log.isReplicated = true
    assert.equal(log.countedOffset, 2)
    append(log, batch({ records: 2 }))
    assert.deepEqual([log.countedOffset, log.logEndOffset], [2, 4])
    bench.flush(log)
    assert.deepEqual([log.countedOffset, log.highWatermark], [4, 2])
    log.isReplicated = false
    assert.equal(log.highWatermark, 4)
    append(log, batch())
    bench.flush(log)
    assert.equal(log.highWatermark, 5)
    assert.equal(offsetsIn(readAll(log, 0)).length, 3)
  })

  test('is known after a restart, and after a kill as far as a checkpoint knows', () => {
    const bench = new Bench()
    let log = openReplica(bench)
    for (let i = 0; i < 5; i++) append(log, batch({ records: 2 }))
    log.setHighWatermark(6)
    const hint = log.close()
    assert.deepEqual([hint.highWatermark, hint.clean], [6, true])
    log = openReplica(bench, hint)
    assert.equal(log.highWatermark, 6)
    assert.equal(offsetsIn(readAll(log, 0)).length, 3)
    append(log, batch({ records: 2 }))
    log.setHighWatermark(12)
    const known = log.checkpoint()
    append(log, batch({ records: 2 }))
    log.setHighWatermark(14)
    bench.files.kill()
    log = openReplica(bench, known)
    assert.deepEqual([log.highWatermark, log.logEndOffset], [12, 14])
    bench.files.kill()
    log = openReplica(bench)
    assert.deepEqual([log.highWatermark, log.logEndOffset], [0, 14], 'nothing is known')
  })

  test('that a checkpoint knows from before a truncation is worth nothing above it', () => {
    const bench = new Bench()
    let log = openReplica(bench)
    for (let i = 0; i < 5; i++) append(log, batch({ records: 2 }))
    log.setHighWatermark(10)
    const known = log.checkpoint()
    log.truncateTo(4)
    for (let i = 0; i < 5; i++) append(log, batch({ records: 2 }), 1)
    bench.files.kill()
    log = openReplica(bench, known)
    assert.deepEqual([log.highWatermark, log.logEndOffset], [4, 14])
  })

  test('that a checkpoint knows from before a power loss is worth nothing above what it left', () => {
    const bench = new Bench()
    let log = openReplica(bench)
    append(log, batch({ records: 2 }))
    bench.flush(log)
    for (let i = 0; i < 5; i++) append(log, batch({ records: 2 }))
    log.setHighWatermark(12)
    const known = log.checkpoint()
    bench.files.losePower(new Random(3))
    log = openReplica(bench, known)
    const left = log.logEndOffset
    assert(left < 12, 'the seed loses something')
    assert.equal(log.highWatermark, left)
    for (let i = 0; i < 9; i++) append(log, batch({ records: 2 }), 1)
    bench.files.kill()
    log = openReplica(bench, known)
    assert.equal(log.highWatermark, left)
  })
})

const ENGINES: BatchEngine[] = [jsBatchEngine]
const addon = loadNative()
if (addon !== null) ENGINES.push(nativeBatchEngine(addon))

for (const engine of ENGINES) {
  // Leaders change, each with a tail that not all have; a follower cuts by the rules and copies.
  test(`copies are equal byte for byte, over epochs and truncations (${engine.name})`, () => {
    for (let round = 0; round < 12; round++) {
      const random = new Random(SEED + round)
      const flushMessages = random.between(0, 1) === 0 ? 1 : Number.POSITIVE_INFINITY
      const benches = [0, 1, 2].map(() => new Bench({ ...SMALL, flushMessages }))
      const logs = benches.map((bench) => {
        const context = { ...bench.context, engine }
        const setup = { directory: DIRECTORY, options: bench.options, hint: null }
        return PartitionLog.open(context, { ...setup, isReplicated: true })
      })
      for (let epoch = 0; epoch < 12; epoch++) {
        const leader = logs[random.between(0, 2)]!
        // What others wrote and this one has not is gone: its producers go on as it knows them.
        for (let i = random.between(0, 6); i >= 0; i--) {
          const producerId = random.between(-1, 3)
          const state = leader.producers.get(producerId)
          const last = state === undefined || state[1] === 0 ? -1 : state[6 + 4 * (state[1]! - 1)]!
          const records = random.between(1, 4)
          const producer = { producerId, producerEpoch: 0, baseSequence: last + 1 }
          const spec = { records, fill: random.between(0, 255), timestamp: random.between(1, 9999) }
          append(leader, batch({ ...spec, ...(producerId < 0 ? {} : producer) }), epoch)
        }
        for (const follower of logs) {
          if (follower === leader || random.between(0, 2) === 0) continue
          reconcile(leader, follower)
          follow(follower, copy(leader, follower, random.between(0, 2000)))
        }
      }
      const leader = logs[random.between(0, 2)]!
      append(leader, batch({ records: 2 }), 12)
      for (const [i, log] of logs.entries()) {
        const why = `replica ${i} in round ${round}, ${rerun(SEED)}`
        if (log !== leader) {
          reconcile(leader, log)
          follow(log, copy(leader, log))
        }
        assert.equal(log.logEndOffset, leader.logEndOffset, why)
        const bytes = readAll(log, 0, { upTo: 'logEnd' })
        assert.deepEqual(bytes, readAll(leader, 0, { upTo: 'logEnd' }), why)
        assert.deepEqual(producersOf(log), producersOf(leader), why)
        for (let epoch = 0; epoch <= 12; epoch++) {
          assert.deepEqual(log.endOffsetForEpoch(epoch), leader.endOffsetForEpoch(epoch), why)
        }
        assert.deepEqual(log.verify().problems, [], why)
        for (let ms = 0; ms < 10_000; ms += 911) {
          const found = log.batchForTimestamp(ms, 'logEnd')
          assert.equal(
            found?.baseOffset,
            leader.batchForTimestamp(ms, 'logEnd')?.baseOffset,
            `${why}, time ${ms}`,
          )
        }
      }
      // Recovery finds the same once more.
      const bytes = readAll(leader, 0, { upTo: 'logEnd' })
      const producers = producersOf(leader)
      for (const bench of benches) {
        bench.files.kill()
        const again = openReplica(bench)
        assert.equal(again.latestEpoch, 12)
        assert.deepEqual(producersOf(again), producers)
        assert.deepEqual(readAll(again, 0, { upTo: 'logEnd' }), bytes)
      }
    }
  })
}

/** As a follower does whose fetches are answered with where the logs part. */
function reconcile(leader: PartitionLog, follower: PartitionLog): void {
  for (let i = 0; ; i++) {
    assert(i < 100, 'it does not come to an end')
    const { latestEpoch } = follower
    if (latestEpoch < 0) return
    const end =
      latestEpoch > leader.latestEpoch
        ? { epoch: leader.latestEpoch, endOffset: leader.logEndOffset }
        : leader.endOffsetForEpoch(latestEpoch)
    if (end.epoch === latestEpoch && end.endOffset >= follower.logEndOffset) return
    const epochs = {
      latest: latestEpoch,
      endOffsetFor: (epoch: number) => follower.endOffsetForEpoch(epoch),
    }
    follower.truncateTo(truncationOffset({ epochs, logEndOffset: follower.logEndOffset }, end))
  }
}
