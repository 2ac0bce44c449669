/** A disk that becomes full at any operation of a log's life, and has room again later. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import { isTemporary } from '../../src/storage/file-io.ts'
import type { PartitionLog } from '../../src/storage/log.ts'
import { compactNow, latestByKey, recordsIn } from './support/compaction.ts'
import { append, Bench, batch, readAll, START_MS } from './support/fixture.ts'
import { fault } from './support/memory-files.ts'

/** What needs room; renaming does where the directory must grow for the name. */
const NEEDS_ROOM = new Set(['write', 'create', 'makeDirectory', 'rename'])

/** The operations of `bench` that need room are refused from the `at`-th on; counts them. */
function fillAt(bench: Bench, at: number, isNew = (_path: string) => true): () => number {
  let count = 0
  bench.files.onOperation = (kind, path) => {
    if (NEEDS_ROOM.has(kind) && isNew(path) && ++count >= at) throw fault('ENOSPC', kind)
  }
  return () => count
}

/** Runs a step that a full disk may refuse; nothing else may come of it. */
function attempt(log: PartitionLog, message: string, step: () => void): boolean {
  try {
    step()
    return true
  } catch (error) {
    assert.ok(isTemporary(error), `${message}: ${error}`)
    assert.equal(log.failed, false, message)
    return false
  }
}

const OPTIONS = { segmentBytes: 300, indexIntervalBytes: 50, retentionBytes: 1500 }

describe('a log on a disk that becomes full at any operation', () => {
  test('opens after a crash, reads, and does everything again when there is room', () => {
    for (const flushMessages of [1, Infinity]) {
      for (let at = 1; ; at++) {
        const message = `full at operation ${at}, flush.messages ${flushMessages}`
        const bench = new Bench({ ...OPTIONS, flushMessages })
        let log = bench.open()
        for (let i = 0; i < 12; i++) append(log, batch({ fill: i }), 3)
        const content = readAll(log, 0, { upTo: 'logEnd' })
        bench.files.kill()
        bench.restart()

        const count = fillAt(bench, at)
        log = bench.open()
        assert.deepEqual(readAll(log, 0), content, message)
        assert.equal(log.latestEpoch, 3, message)
        let end = 12
        if (attempt(log, message, () => append(log, batch(), 4))) end++
        attempt(log, message, () => bench.flush(log))
        attempt(log, message, () => log.deleteRecordsTo(2))
        attempt(log, message, () => log.retain(bench.clock.wallMs()))
        assert.equal(log.logEndOffset, end, message)
        const isDone = count() < at

        bench.files.onOperation = () => {}
        bench.clock.ms += 5_000
        append(log, batch(), 4)
        bench.flush(log)
        assert.equal(log.recoveryPoint, end + 1, message)
        assert.equal(log.highWatermark, end + 1, message)
        log.deleteRecordsTo(5)
        assert.deepEqual(log.verify().problems, [], message)
        log = bench.open(log.close())
        assert.deepEqual([log.logEndOffset, log.latestEpoch], [end + 1, 4], message)
        if (isDone) break
        assert.ok(at < 500, 'the log needs fewer operations than that')
      }
    }
  })

  const cuts: Record<string, (log: PartitionLog) => void> = {
    'is cut at its end': (log) => log.truncateTo(3),
    'begins anew': (log) => log.truncateFullyAndStartAt(20),
  }
  for (const [what, cut] of Object.entries(cuts)) {
    test(`${what}, or stays as it is until there is room`, () => {
      for (let at = 1; ; at++) {
        const message = `full at operation ${at}`
        const bench = new Bench({ ...OPTIONS, flushMessages: 1 })
        let log = bench.open()
        for (let i = 0; i < 12; i++) {
          append(log, batch({ fill: i }), 1 + Math.floor(i / 4))
          bench.flush(log)
        }
        const content = readAll(log, 0)
        let hasFreed = false
        const count = fillAt(bench, at, () => !hasFreed)
        const refuse = bench.files.onOperation
        bench.files.onOperation = (kind, path) => {
          refuse(kind, path)
          // What goes leaves room for what says so.
          hasFreed ||= path.endsWith('.log') && (kind === 'remove' || kind === 'truncate')
        }
        const isCut = attempt(log, message, () => cut(log))
        const isDone = count() < at
        if (!isCut) assert.deepEqual(readAll(log, 0), content, message)
        bench.files.onOperation = () => {}
        if (!isCut) cut(log)
        const end = log.logEndOffset
        append(log, batch(), 9)
        bench.flush(log)
        assert.deepEqual(log.verify().problems, [], message)
        bench.files.kill()
        log = bench.open()
        assert.deepEqual([log.logEndOffset, log.latestEpoch], [end + 1, 9], message)
        if (isDone) break
        assert.ok(at < 500, 'it needs fewer operations than that')
      }
    })
  }

  test('closes without a clean mark, and loses nothing to the next crash', () => {
    for (let at = 1; ; at++) {
      const message = `full at operation ${at}`
      const bench = new Bench(OPTIONS)
      let log = bench.open()
      for (let i = 0; i < 7; i++) append(log, batch({ fill: i }), 1)
      const content = readAll(log, 0)
      let hint = log.checkpoint()
      const count = fillAt(bench, at)
      const isClosed = attempt(log, message, () => {
        hint = log.close()
      })
      const isDone = count() < at
      assert.equal(hint.clean, isClosed, message)
      bench.files.kill()
      log = bench.open(hint)
      assert.deepEqual(readAll(log, 0), content, message)
      assert.deepEqual(log.verify().problems, [], message)
      if (isDone) break
      assert.ok(at < 500, 'closing needs fewer operations than that')
    }
  })

  test('keeps its recovery point below what a full disk could not make durable', () => {
    const bench = new Bench()
    let log = bench.open()
    append(log, batch(), 7)
    bench.files.kill()
    bench.files.onOperation = (kind, path) => {
      if (kind === 'create' && path.includes('leader-epoch')) throw fault('ENOSPC', kind)
    }
    log = bench.open()
    assert.deepEqual([log.highWatermark, log.recoveryPoint, log.latestEpoch], [1, 0, 7])
    bench.files.kill()
    log = bench.open(log.checkpoint())
    assert.deepEqual([log.highWatermark, log.recoveryPoint, log.latestEpoch], [1, 1, 7])
  })

  test('is not compacted, loses nothing, and is once there is room', () => {
    for (let at = 1; ; at++) {
      const message = `full at operation ${at}`
      const bench = new Bench({ ...OPTIONS, isCompacted: true, minCleanableDirtyRatio: 0 })
      let log = bench.open()
      for (let i = 0; i < 12; i++) append(log, keyed(i), 3)
      bench.flush(log)
      const latest = latestByKey(recordsIn(log))

      // Those that take the place of others find their names there.
      const count = fillAt(bench, at, (path) => !/\.(log|index|timeindex)$/.test(path))
      const parts = { files: bench.files, wallMs: bench.clock.wallMs() }
      attempt(log, message, () => compactNow(log, parts))
      if (log.isCompacting) log.endCompaction(null)
      const isDone = count() < at
      assert.deepEqual(latestByKey(recordsIn(log)), latest, message)

      bench.files.onOperation = () => {}
      append(log, keyed(12), 3)
      bench.flush(log)
      compactNow(log, parts)
      assert.deepEqual(log.verify().problems, [], message)
      log = bench.open(log.close())
      assert.deepEqual(latestByKey(recordsIn(log)), latest.set('k0', 'v12'), message)
      if (isDone) break
      assert.ok(at < 500, 'a compaction needs fewer operations than that')
    }
  })
})

function keyed(i: number): Uint8Array {
  const builder = new BatchBuilder()
  builder.append(START_MS, `k${i % 3}`, `v${i}`)
  return builder.buildSync({})
}
