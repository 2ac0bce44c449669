import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { PartitionLog } from '../../src/storage/log.ts'
import { TimeIndex } from '../../src/storage/time-index.ts'
import { append, Bench, batch, offsetsIn } from './support/fixture.ts'

/** One batch a segment. */
const SMALL_SEGMENTS = { segmentBytes: 100 }

/** A log of twelve segments, more than stay open, whose files are opened as they are needed. */
function reopened(bench: Bench, timestampOf: (offset: number) => number): PartitionLog {
  const log = bench.open()
  for (let i = 0; i < 12; i++) append(log, batch({ timestamp: timestampOf(i) }))
  bench.flush(log)
  return bench.open(log.close())
}

describe('TimeLookup.readBatch', () => {
  test('opens the segment anew, when the search behind it closed the file', () => {
    const bench = new Bench({ ...SMALL_SEGMENTS, flushMessages: 1 })
    const log = reopened(bench, (i) => 1000 - i)
    // The newest record lies above the high watermark: every segment below it is searched for the
    // next newest, which is in the first.
    append(log, batch({ timestamp: 2000 }))
    assert.deepEqual([log.segmentCount, log.highWatermark], [13, 12])
    const found = log.batchOfMaxTimestamp('highWatermark')
    assert.equal(found?.maxTimestamp, 1000)
    assert.deepEqual(offsetsIn(log.readBatch(found)), [{ base: 0, last: 0 }])
  })

  test('gives the batch that was found, when other segments were read meanwhile', () => {
    const bench = new Bench(SMALL_SEGMENTS)
    const log = reopened(bench, (i) => 1000 + i)
    const found = Array.from({ length: 12 }, (_, i) => log.batchForTimestamp(1000 + i, 'logEnd'))
    for (const [i, one] of found.entries()) {
      assert.deepEqual(offsetsIn(log.readBatch(one!)), [{ base: i, last: i }])
    }
  })
})

describe('TimeIndex.decode', () => {
  test('refuses an empty file of a segment with batches, and takes that of an empty one', () => {
    assert.equal(TimeIndex.decode(new Uint8Array(0), 1), null)
    assert.equal(TimeIndex.decode(new Uint8Array(0), 0)?.count, 0)
  })
})

describe('TimeLookup.batchForTimestamp', () => {
  test('finds a batch of every segment, when the time indexes were lost to zero bytes', () => {
    const bench = new Bench({ segmentBytes: 400, indexIntervalBytes: 50 })
    let log = bench.open()
    for (let i = 0; i < 20; i++) append(log, batch({ timestamp: 1000 + i }))
    assert(log.segmentCount > 3)
    const hint = log.close()
    for (const path of bench.files.paths()) {
      if (path.endsWith('.timeindex')) bench.files.tamper(path, new Uint8Array(0))
    }
    log = bench.open(hint)
    for (let i = 0; i < 20; i++) {
      assert.equal(log.batchForTimestamp(1000 + i, 'logEnd')?.baseOffset, i)
    }
    assert.equal(log.batchOfMaxTimestamp('logEnd')?.baseOffset, 19)
    assert(bench.warnings.some((warning) => warning.includes('are damaged: rebuilt')))
  })
})
