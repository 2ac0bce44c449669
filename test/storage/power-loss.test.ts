/**
 * What recovery and a clean close may call durable, shown by the power loss that follows. The
 * simulated disk knows durable names of directories and pages that a failed flush called clean; the
 * disk in memory lets a test choose the moment at which the kernel writes back unasked.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import type { LogHint } from '../../src/storage/log.ts'
import {
  append,
  Bench,
  batch,
  concat,
  DIRECTORY,
  readAll,
  rerun,
  SEED,
  stage,
} from './support/fixture.ts'
import { Machine } from './support/machine.ts'
import { fault } from './support/memory-files.ts'

const SEEDS = 60

describe('Recovery before a power loss', () => {
  test('makes the names durable that a kill before the first flush left behind', () => {
    for (let seed = SEED; seed < SEED + SEEDS; seed++) {
      const machine = new Machine(seed)
      append(machine.open(null), batch({ records: 2 }))
      machine.kill()
      const recovered = machine.open(null)
      assert.equal(recovered.recoveryPoint, 2)
      machine.losePower()
      assert.equal(machine.open(null).logEndOffset, 2, rerun(seed))
    }
  })

  test('keeps exactly what it found, when a failed flush had called lost pages clean', () => {
    let lost = 0
    for (let seed = SEED; seed < SEED + SEEDS; seed++) {
      const machine = new Machine(seed)
      const log = machine.open(null)
      append(log, batch({ fill: 1 }))
      machine.flush(log)
      append(log, batch({ fill: 2, records: 4 }))
      machine.disk.flushFailChance = 1
      machine.flush(log)
      assert.equal(log.failed, true)
      machine.kill()

      const recovered = machine.open(null)
      const found = readAll(recovered, 0)
      const hint = recovered.checkpoint()
      assert.equal(hint.recoveryPoint, recovered.logEndOffset)
      assert(recovered.logEndOffset >= 1, rerun(seed))
      if (recovered.logEndOffset === 1) lost++
      machine.losePower()

      const last = machine.open(hint)
      assert.deepEqual(readAll(last, 0), found, rerun(seed))
      assert.deepEqual(last.verify().problems, [], rerun(seed))
    }
    assert(lost > 0, 'the disk loses no page: the test shows nothing')
  })
})

describe('PartitionLog.close after a write that was refused', () => {
  /** A log of one batch, closed in order, in a bench where new batches roll or do not. */
  function closed(segmentBytes: number): { bench: Bench; hint: LogHint; content: Uint8Array } {
    const bench = new Bench({ segmentBytes })
    const log = bench.open()
    append(log, batch())
    const content = readAll(log, 0)
    return { bench, hint: log.close(), content }
  }

  /** The kernel makes all of the log durable just before the operation `kind` of the roll-back. */
  function refuseAndWriteBack(bench: Bench, kind: 'remove' | 'truncate'): () => number {
    const { files } = bench
    let count = 0
    let writes = 0
    files.writeBytesMax = 40
    files.onOperation = (operation, path) => {
      if (operation === 'write' && ++writes > 1) throw fault('ENOSPC', operation)
      if (operation !== kind || !path.endsWith('.log')) return
      count++
      files.onOperation = () => {}
      const file = files.open(path, 'read')
      files.flushNow(file)
      files.close(file)
      files.syncDirectory(DIRECTORY)
    }
    return () => count
  }

  for (const [kind, segmentBytes] of [
    ['remove', 100],
    ['truncate', 4096],
  ] as const) {
    test(`makes the ${kind} of its roll-back durable before it vouches for the log`, () => {
      for (let seed = SEED; seed < SEED + SEEDS; seed++) {
        const { bench, hint, content } = closed(segmentBytes)
        let log = bench.open(hint)
        assert.equal(log.producers.count, 0) // Awake, and nothing written in this life.
        const written = refuseAndWriteBack(bench, kind)
        stage(log, batch({ fill: 2 }))
        assert.throws(() => log.writeStaged(), /write/)
        assert.equal(written(), 1)
        const after = log.close()
        assert.equal(after.clean, true)
        bench.files.losePower(new Random(seed))

        log = bench.open(after)
        const next = batch({ fill: 3 })
        assert.equal(append(log, next).baseOffset, 1, rerun(seed))
        assert.deepEqual(log.verify().problems, [], rerun(seed))
        assert.deepEqual(readAll(log, 0), concat([content, readAll(log, 1)]), rerun(seed))
      }
    })
  }
})
