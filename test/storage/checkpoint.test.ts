import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  type CheckpointEntry,
  checkpointKey,
  merge,
  pruneCheckpoints,
  readCheckpoints,
  removeCleanMarks,
  writeCheckpoint,
} from '../../src/storage/checkpoint.ts'
import type { LogHint } from '../../src/storage/log.ts'
import { SEED } from './support/fixture.ts'
import { MemoryFiles } from './support/memory-files.ts'

const LOG_DIRECTORY = '/data'
const TOPIC = 'AAECAwQFBgcICQoLDA0ODw'
const OTHER = 'ZmZmZmZmZmZmZmZmZmZmZg'

const hint = (change: Partial<LogHint> = {}): LogHint => ({
  clean: false,
  recoveryPoint: 10,
  logStartOffset: 0,
  logEndOffset: 20,
  truncations: 0,
  bytes: 1000,
  ...change,
})

function disk(): MemoryFiles {
  const files = new MemoryFiles()
  files.makeDirectory(LOG_DIRECTORY)
  return files
}

function write(
  files: MemoryFiles,
  shard: number,
  clean: boolean,
  entries: CheckpointEntry[],
): void {
  // An orderly stop has closed its logs.
  const closed = entries.map((one) => ({ ...one, hint: { ...one.hint, clean: true } }))
  const table = { logDirectory: LOG_DIRECTORY, shard, clean, entries: clean ? closed : entries }
  writeCheckpoint(files, table)
}

const entry = (topicId: string, partition: number, of: LogHint): CheckpointEntry => ({
  topicId,
  partition,
  hint: of,
})

const hints = (files: MemoryFiles): Record<string, LogHint> =>
  Object.fromEntries(readCheckpoints(files, LOG_DIRECTORY))

describe('checkpoints', () => {
  test('what is written is read, also numbers above 2^32', () => {
    const files = disk()
    const large = hint({ recoveryPoint: 2 ** 52, logEndOffset: 2 ** 52 + 1, bytes: 2 ** 45 })
    write(files, 0, false, [entry(TOPIC, 3, large), entry(OTHER, 0, hint())])
    write(files, 2, false, [entry(TOPIC, 4, hint({ truncations: 2 ** 32 - 1 }))])
    assert.deepEqual(hints(files), {
      [checkpointKey(TOPIC, 3)]: large,
      [checkpointKey(OTHER, 0)]: hint(),
      [checkpointKey(TOPIC, 4)]: hint({ truncations: 2 ** 32 - 1 }),
    })
    assert.deepEqual(hints(disk()), {})
  })

  test('an unopened partition is clean only in a clean table', () => {
    const files = disk()
    write(files, 0, false, [entry(TOPIC, 0, hint({ clean: true }))])
    assert.equal(hints(files)[checkpointKey(TOPIC, 0)]!.clean, false)
    write(files, 0, true, [entry(TOPIC, 0, hint({ clean: true }))])
    assert.equal(hints(files)[checkpointKey(TOPIC, 0)]!.clean, true)
  })

  test('removed clean marks live on as recovery points', () => {
    const files = disk()
    const closed = hint({ recoveryPoint: 20 })
    write(files, 0, false, [entry(OTHER, 9, hint())])
    write(files, 0, true, [entry(TOPIC, 0, closed)])
    write(files, 1, true, [entry(TOPIC, 1, closed)])
    removeCleanMarks(files, LOG_DIRECTORY)
    assert.deepEqual(hints(files), {
      [checkpointKey(TOPIC, 0)]: closed,
      [checkpointKey(TOPIC, 1)]: closed,
    })
    const paths = files.paths()
    removeCleanMarks(files, LOG_DIRECTORY)
    assert.deepEqual(files.paths(), paths)
    assert.equal(paths.length, 1)
  })

  test('one shard that did not close keeps its partitions from being clean', () => {
    const files = disk()
    write(files, 0, true, [entry(TOPIC, 0, hint({ recoveryPoint: 20 }))])
    write(files, 1, false, [entry(TOPIC, 1, hint())])
    const known = readCheckpoints(files, LOG_DIRECTORY)
    assert.equal(known.get(checkpointKey(TOPIC, 0))!.clean, true)
    assert.equal(known.get(checkpointKey(TOPIC, 1))!.clean, false)
    removeCleanMarks(files, LOG_DIRECTORY)
    assert.equal(Object.keys(hints(files)).length, 2)
  })

  test('a log that could not be closed is not in the clean mark, and keeps its recovery point', () => {
    const files = disk()
    const damaged = hint({ recoveryPoint: 7 })
    const entries = [entry(TOPIC, 0, hint({ clean: true })), entry(TOPIC, 1, damaged)]
    writeCheckpoint(files, { logDirectory: LOG_DIRECTORY, shard: 0, clean: true, entries })
    assert.deepEqual(hints(files), {
      [checkpointKey(TOPIC, 0)]: hint({ clean: true }),
      [checkpointKey(TOPIC, 1)]: damaged,
    })
    removeCleanMarks(files, LOG_DIRECTORY)
    assert.deepEqual(hints(files)[checkpointKey(TOPIC, 1)], damaged)
  })

  test('pruneCheckpoints, a partition that does not exist any more, is forgotten', () => {
    const files = disk()
    write(files, 0, true, [entry(TOPIC, 0, hint()), entry(OTHER, 1, hint())])
    removeCleanMarks(files, LOG_DIRECTORY)
    pruneCheckpoints(files, LOG_DIRECTORY, (topicId) => topicId === TOPIC)
    assert.deepEqual(Object.keys(hints(files)), [checkpointKey(TOPIC, 0)])
  })

  test('a table of an earlier run with other shards never beats a newer statement', () => {
    const files = disk()
    write(files, 2, false, [entry(TOPIC, 0, hint({ recoveryPoint: 100, logStartOffset: 40 }))])
    write(files, 0, false, [
      entry(TOPIC, 0, hint({ recoveryPoint: 50, logStartOffset: 45, truncations: 1 })),
    ])
    assert.equal(hints(files)[checkpointKey(TOPIC, 0)]!.recoveryPoint, 50)
    write(files, 0, false, [entry(TOPIC, 0, hint({ recoveryPoint: 50, logStartOffset: 45 }))])
    const same = hints(files)[checkpointKey(TOPIC, 0)]!
    assert.deepEqual([same.recoveryPoint, same.logStartOffset], [100, 45])
  })

  test('merging does not depend on the order of the tables', () => {
    const any = fc.record({
      clean: fc.constant(false),
      recoveryPoint: fc.nat(5),
      logStartOffset: fc.nat(5),
      logEndOffset: fc.nat(5),
      truncations: fc.nat(2),
      bytes: fc.constant(1),
      highWatermark: fc.nat(5),
    })
    fc.assert(
      fc.property(any, any, any, (a, b, c) => {
        assert.deepEqual(merge(a, b), merge(b, a))
        assert.deepEqual(merge(merge(a, b), c), merge(a, merge(b, c)))
      }),
      { seed: SEED },
    )
  })

  test('high watermarks are kept where logs are replicated, else the table is as it was', () => {
    const files = disk()
    write(files, 0, false, [entry(TOPIC, 0, hint()), entry(OTHER, 0, hint())])
    const path = `${LOG_DIRECTORY}/recovery-checkpoint-0`
    const before = files.contentOf(path)
    assert.deepEqual([before[5], before.length], [1, 12 + 2 * 56 + 4])
    const known = hint({ highWatermark: 17 })
    write(files, 0, false, [entry(TOPIC, 0, known), entry(OTHER, 0, hint())])
    assert.equal(files.contentOf(path)[5], 2)
    assert.deepEqual(hints(files), {
      [checkpointKey(TOPIC, 0)]: known,
      [checkpointKey(OTHER, 0)]: hint(),
    })
    removeCleanMarks(files, LOG_DIRECTORY)
    assert.deepEqual(hints(files)[checkpointKey(TOPIC, 0)], known)
    files.tamper(path, before)
    assert.deepEqual(hints(files)[checkpointKey(TOPIC, 0)], known, 'an older table adds nothing')
  })

  test('of two high watermarks the larger holds, unless the tail was cut in between', () => {
    const low = hint({ highWatermark: 5 })
    const high = hint({ highWatermark: 9 })
    assert.equal(merge(low, high).highWatermark, 9)
    assert.equal(merge(hint(), low).highWatermark, 5)
    assert.equal('highWatermark' in merge(hint(), hint()), false)
    assert.equal(merge(high, { ...low, truncations: 1 }).highWatermark, 5)
  })

  test('a damaged table says nothing, and says so', () => {
    const files = disk()
    write(files, 0, true, [entry(TOPIC, 0, hint())])
    write(files, 1, true, [entry(TOPIC, 1, hint())])
    const path = `${LOG_DIRECTORY}/clean-checkpoint-1`
    const bytes = files.contentOf(path)
    for (let at = 0; at < bytes.length; at++) {
      // Version and reserved bytes included: the CRC covers all of it.
      const damaged = bytes.slice()
      damaged[at]! ^= 4
      files.tamper(path, damaged)
      const warnings: string[] = []
      const known = readCheckpoints(files, LOG_DIRECTORY, (warning) => warnings.push(warning))
      assert.deepEqual([...known.keys()], [checkpointKey(TOPIC, 0)], `byte ${at}`)
      assert.equal(warnings.length, 1)
    }
  })
})
