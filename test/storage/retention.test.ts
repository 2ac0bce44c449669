/** Deleting old segments: what is due, in which order, and what stays of it. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ErrorCode } from '../../src/errors/error-code.ts'
import type { LogOptions, PartitionLog } from '../../src/storage/log.ts'
import {
  append,
  Bench,
  batch,
  DIRECTORY,
  offsetsIn,
  readAll,
  SEED,
  START_MS,
  stage,
} from './support/fixture.ts'
import { fault } from './support/memory-files.ts'

const DAY_MS = 24 * 3600_000

interface SegmentFile {
  readonly baseOffset: number
  readonly bytes: number
}

/** The segments as the disk has them, ascending. */
function segmentsOf(bench: Bench): SegmentFile[] {
  const paths = bench.files.paths().filter((path) => path.endsWith('.log'))
  return paths.map((path) => ({
    baseOffset: Number(path.slice(-24, -4)),
    bytes: bench.files.contentOf(path).length,
  }))
}

function deletedOf(bench: Bench): string[] {
  return bench.files.paths().filter((path) => path.endsWith('.deleted'))
}

/** Retains until nothing is due; returns how many segments went. */
function retainAll(bench: Bench, log: PartitionLog): number {
  let count = 0
  while (log.retain(bench.clock.wallMs()) > 0) count++
  return count
}

/** A log of `count` batches, two a segment. */
function filled(options: Partial<LogOptions>, count = 20): { bench: Bench; log: PartitionLog } {
  const bench = new Bench({ segmentBytes: 2 * batch().length, ...options })
  const log = bench.open()
  for (let i = 0; i < count; i++) append(log, batch({ timestamp: START_MS + i, fill: i }))
  return { bench, log }
}

function outOfRange(log: PartitionLog, offset: number): boolean {
  const found = log.locate(offset, 1000, { minOneBatch: true, upTo: 'highWatermark' })
  return found === ErrorCode.OFFSET_OUT_OF_RANGE
}

describe('PartitionLog.retain by size', () => {
  test('deletes the oldest segments while retention.bytes would be kept without them', () => {
    const two = 2 * batch().length
    const { bench, log } = filled({ retentionBytes: 3 * two + 1 })
    assert.equal(log.segmentCount, 10)
    assert.equal(log.isTooLarge, true)
    assert.equal(retainAll(bench, log), 6)
    assert.deepEqual([log.logStartOffset, log.bytes, log.isTooLarge], [12, 4 * two, false])
    assert.deepEqual(
      segmentsOf(bench).map((segment) => segment.baseOffset),
      [12, 14, 16, 18],
    )
    assert.equal(outOfRange(log, 11), true)
    assert.deepEqual(offsetsIn(readAll(log, 12)).length, 8)
    assert.deepEqual(log.verify().problems, [])
  })

  test('never deletes the segment that takes appends', () => {
    const { bench, log } = filled({ retentionBytes: 0 })
    retainAll(bench, log)
    assert.deepEqual([log.segmentCount, log.logStartOffset, log.logEndOffset], [1, 18, 20])
    assert.equal(log.isRetentionDue(bench.clock.wallMs() + 1000 * DAY_MS), false)
  })

  test('leaves what is not below the high watermark, and what a flush still uses', () => {
    const { bench, log } = filled({ retentionBytes: 0, flushMessages: 1 })
    assert.equal(log.highWatermark, 0)
    assert.equal(retainAll(bench, log), 0)
    log.startFlush(99)
    assert.equal(retainAll(bench, log), 0)
    bench.files.drainFlushes((token, error) => log.onFlushed(token, error))
    assert.equal(log.highWatermark, 20)
    assert.equal(retainAll(bench, log), 9)
  })

  test('does nothing unless somebody asks for it', () => {
    const { bench, log } = filled({})
    bench.clock.ms = 1000 * DAY_MS
    assert.equal(log.isRetentionDue(bench.clock.wallMs()), false)
    assert.equal(retainAll(bench, log), 0)
    assert.deepEqual(log.retentionBounds, { atMs: Infinity, atBytes: Infinity })
  })
})

describe('PartitionLog.retain by age', () => {
  test('deletes segments whose newest record is too old, up to the first that is not', () => {
    const { bench, log } = filled({ retentionMs: 1000 })
    bench.clock.ms = 1000 + 5 // Record 4 is 1001 ms old, record 5 is 1000 ms old.
    assert.equal(retainAll(bench, log), 2)
    assert.equal(log.logStartOffset, 4)
    bench.clock.ms++
    assert.equal(log.isRetentionDue(bench.clock.wallMs()), true)
    assert.equal(retainAll(bench, log), 1)
    assert.equal(log.logStartOffset, 6)
    assert.equal(log.isRetentionDue(bench.clock.wallMs()), false)
    assert.equal(log.retentionBounds.atMs, START_MS + 7 + 1000 + 1)
  })

  test('keeps an old segment behind a newer one', () => {
    const bench = new Bench({ segmentBytes: batch().length, retentionMs: 1000 })
    const log = bench.open()
    for (const age of [0, 500, 10, 20]) append(log, batch({ timestamp: START_MS + age }))
    bench.clock.ms = 1400
    assert.equal(retainAll(bench, log), 1)
    assert.equal(log.logStartOffset, 1)
  })

  test('empties a log that is too old as a whole; offsets, producers and epoch go on', () => {
    const bench = new Bench({ retentionMs: 1000 })
    let log = bench.open()
    const producer = { producerId: 5, producerEpoch: 0 }
    for (let i = 0; i < 3; i++) append(log, batch({ ...producer, baseSequence: i }), 7)
    bench.clock.ms = 1001
    assert.equal(retainAll(bench, log), 1)
    assert.deepEqual([log.logStartOffset, log.logEndOffset, log.bytes], [3, 3, 0])
    assert.deepEqual(segmentsOf(bench), [{ baseOffset: 3, bytes: 0 }])
    assert.equal(log.isRetentionDue(bench.clock.wallMs() + DAY_MS), false)
    assert.equal(retainAll(bench, log), 0, 'an empty segment stays')
    const check = (): void => {
      assert.deepEqual([log.logStartOffset, log.logEndOffset, log.highWatermark], [3, 3, 3])
      assert.deepEqual(log.endOffsetForEpoch(7), { epoch: 7, endOffset: 3 })
      assert.equal(stage(log, batch({ ...producer, baseSequence: 2 }), 7).duplicate, true)
      assert.deepEqual(log.verify().problems, [])
    }
    check()
    log = bench.open(log.close())
    check()
    const stale = { ...log.close(), clean: false, logStartOffset: 0, recoveryPoint: 0 }
    for (const hint of [stale, null]) {
      log = bench.open(hint)
      check()
      bench.files.kill()
    }
    log = bench.open(null)
    assert.equal(append(log, batch({ ...producer, baseSequence: 3 }), 7).baseOffset, 3)
    assert.equal(readAll(log, 3).length, batch().length)
  })

  test('goes by the file, when no record has a timestamp', () => {
    const { bench, log } = filled({ retentionMs: 1000 }, 0)
    for (const writtenMs of [10, 10, 600, 600, 700]) {
      bench.files.nowMs = START_MS + writtenMs
      append(log, batch({ timestamp: -1 }))
    }
    bench.clock.ms = 1500
    assert.equal(retainAll(bench, log), 1)
    assert.equal(log.logStartOffset, 2)
  })

  test('keeps a record of the future until its time has passed, and says so once', () => {
    const bench = new Bench({ retentionMs: 1000, timestampAfterMaxMs: Infinity })
    const log = bench.open()
    append(log, batch({ timestamp: START_MS + DAY_MS }))
    bench.clock.ms = 2000
    for (let i = 0; i < 3; i++) {
      if (log.isRetentionDue(bench.clock.wallMs())) assert.equal(retainAll(bench, log), 0)
    }
    assert.equal(bench.warnings.length, 1)
    assert.match(bench.warnings[0]!, /of the future/)
    bench.clock.ms = DAY_MS + 1001
    assert.equal(retainAll(bench, log), 1)
  })

  test('knows the age of a cleanly opened log from its index, and of a damaged one all the same', () => {
    const { bench, log } = filled({ retentionMs: 1000 })
    const hint = log.close()
    bench.clock.ms = 1000 + 3
    let again = bench.open(hint)
    assert.equal(again.retentionBounds.atMs, -Infinity, 'nobody has looked yet')
    assert.equal(retainAll(bench, again), 1)
    assert.equal(again.retentionBounds.atMs, START_MS + 3 + 1000 + 1)
    const next = again.close()
    const path = segmentsOf(bench)[0]!
    const name = `${DIRECTORY}/${String(path.baseOffset).padStart(20, '0')}`
    bench.files.remove(`${name}.timeindex`)
    bench.files.nowMs = START_MS
    bench.files.tamper(`${name}.log`, new Uint8Array(path.bytes).fill(7))
    bench.clock.ms = DAY_MS
    bench.files.nowMs = START_MS + DAY_MS
    again = bench.open(next)
    assert.ok(retainAll(bench, again) > 0, 'damage does not keep a segment for ever')
  })
})

test('PartitionLog.retain deletes what a naive reading of the rules deletes', () => {
  const step = fc.record({
    records: fc.integer({ min: 1, max: 4 }),
    valueBytes: fc.integer({ min: 0, max: 60 }),
    timestamp: fc.integer({ min: 0, max: 2000 }),
  })
  const limits = fc.record({
    retentionBytes: fc.constantFrom(0, 150, 600, 2000, Infinity),
    retentionMs: fc.constantFrom(0, 100, 1000, 1900, Infinity),
  })
  fc.assert(
    fc.property(limits, fc.array(step, { maxLength: 30 }), fc.boolean(), (limit, steps, clean) => {
      const bench = new Bench({ segmentBytes: 450, ...limit })
      let log = bench.open()
      const newest = new Map<number, number>()
      for (const { records, valueBytes, timestamp } of steps) {
        append(log, batch({ records, valueBytes, timestamp: START_MS + timestamp }))
        const { baseOffset } = segmentsOf(bench).at(-1)!
        newest.set(baseOffset, Math.max(newest.get(baseOffset) ?? 0, START_MS + timestamp))
      }
      bench.clock.ms = 2000
      const kept = segmentsOf(bench)
      let bytes = log.bytes
      for (let first = kept[0]; first !== undefined; first = kept[0]) {
        const isBySize = kept.length > 1 && bytes - first.bytes >= limit.retentionBytes
        const age = bench.clock.wallMs() - newest.get(first.baseOffset)!
        if (!isBySize && !(age > limit.retentionMs)) break
        bytes -= first.bytes
        kept.shift()
      }
      if (clean) log = bench.open(log.close())
      const wasDue = log.isRetentionDue(bench.clock.wallMs())
      const count = retainAll(bench, log)
      if (!wasDue) assert.equal(count, 0, 'something was due that the bounds did not tell of')
      assert.equal(log.logStartOffset, kept[0]?.baseOffset ?? log.logEndOffset)
      assert.equal(log.bytes, bytes)
      assert.deepEqual(log.verify().problems, [])
      assert.equal(deletedOf(bench).length, count)
    }),
    { seed: SEED, numRuns: Number(process.env.MILLRACE_RUNS ?? 300) },
  )
})

describe('the file of a deleted segment', () => {
  test('stays for file.delete.delay.ms under another name, whoever deleted it', () => {
    const { bench, log } = filled({ retentionBytes: 0, fileDeleteDelayMs: 500 }, 6)
    assert.equal(log.deleteRecordsTo(2), ErrorCode.NONE)
    bench.clock.ms = 100
    assert.equal(retainAll(bench, log), 1)
    assert.deepEqual(
      deletedOf(bench).map((path) => path.slice(-28)),
      ['00000000000000000000.log.deleted', '00000000000000000002.log.deleted'].map((name) =>
        name.slice(-28),
      ),
    )
    const { deletedFiles } = bench
    assert.deepEqual([deletedFiles.count, deletedFiles.nextDueMs], [2, 500])
    assert.equal(deletedFiles.removeDue(499), 0)
    assert.equal(deletedFiles.removeDue(500), 1)
    assert.equal(deletedFiles.removeDue(Infinity, 1), 1)
    assert.deepEqual([deletedOf(bench), deletedFiles.count], [[], 0])
  })

  test('goes at the next start after a crash, and does not spoil a clean one', () => {
    const { bench, log } = filled({ retentionBytes: 0, fileDeleteDelayMs: 500 }, 6)
    retainAll(bench, log)
    const hint = log.close()
    bench.restart()
    const again = bench.open(hint)
    assert.deepEqual(bench.warnings, [])
    assert.equal(bench.deletedFiles.count, 2)
    bench.deletedFiles.removeDue(bench.clock.ms + 500)
    assert.deepEqual(deletedOf(bench), [])
    append(again, batch())
    append(again, batch())
    assert.equal(retainAll(bench, again), 1)
    assert.equal(deletedOf(bench).length, 1)
    bench.files.kill()
    bench.open(null)
    assert.deepEqual(deletedOf(bench), [])
  })

  test('is removed at once when the disk has no room for its name', () => {
    const { bench, log } = filled({ retentionBytes: 0 }, 6)
    bench.files.onOperation = (kind) => {
      if (kind === 'rename' || kind === 'write') throw fault('ENOSPC', kind)
    }
    assert.equal(retainAll(bench, log), 2)
    assert.deepEqual([log.failed, log.logStartOffset, deletedOf(bench)], [false, 4, []])
  })
})

describe('PartitionLog.retain on a disk that refuses', () => {
  test('takes a deletion back that could not be made durable for now', () => {
    const { bench, log } = filled({ retentionBytes: 0 }, 6)
    const content = readAll(log, 0)
    bench.files.onOperation = (kind) => {
      if (kind === 'syncDirectory') throw fault('EMFILE', kind)
    }
    assert.throws(() => log.retain(bench.clock.wallMs()), /syncDirectory/)
    assert.deepEqual([log.failed, log.logStartOffset, log.segmentCount], [false, 0, 3])
    assert.deepEqual(readAll(log, 0), content)
    bench.files.onOperation = () => {}
    bench.flush(log)
    assert.equal(log.recoveryPoint, 6)
    assert.equal(retainAll(bench, log), 2)
    assert.deepEqual(log.verify().problems, [])
  })

  test('fails the log when the disk cannot be trusted, and shows no new log start', () => {
    const { bench, log } = filled({ retentionBytes: 0 }, 6)
    bench.files.onOperation = (kind) => {
      if (kind === 'syncDirectory') throw fault('EIO', kind)
    }
    assert.throws(() => log.retain(bench.clock.wallMs()), /syncDirectory/)
    assert.deepEqual([log.failed, log.logStartOffset], [true, 0])
    assert.equal(log.retain(bench.clock.wallMs()), 0)
  })

  test('begins no new segment when there is no room for one', () => {
    const bench = new Bench({ retentionMs: 1000 })
    const log = bench.open()
    append(log, batch())
    bench.clock.ms = 1001
    for (const refused of ['create', 'write', 'syncDirectory']) {
      bench.files.onOperation = (kind) => {
        if (kind === refused) throw fault('ENOSPC', kind)
      }
      assert.throws(() => log.retain(bench.clock.wallMs()), new RegExp(refused))
      assert.deepEqual([log.failed, log.segmentCount, log.logStartOffset], [false, 1, 0])
    }
    bench.files.onOperation = () => {}
    assert.deepEqual(segmentsOf(bench).length, 1)
    append(log, batch({ timestamp: START_MS }))
    assert.equal(retainAll(bench, log), 1)
    assert.equal(log.logStartOffset, 2)
  })
})
