import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { type LogHint, PartitionLog } from '../../src/storage/log.ts'
import { rangeName } from '../../src/storage/segment-names.ts'
import {
  append,
  Bench,
  batch,
  concat,
  DIRECTORY,
  offsetsIn,
  readAll,
  rerun,
  SEED,
  stage,
} from './support/fixture.ts'

const FIRST = '00000000000000000000.log'

function ends(log: PartitionLog): number[] {
  return [log.logStartOffset, log.logEndOffset, log.highWatermark, log.recoveryPoint]
}

/** A log of `count` batches that was killed: what a checkpoint knew is returned. */
function killed(bench: Bench, count: number): LogHint {
  const log = bench.open()
  for (let i = 0; i < count; i++) append(log, batch({ records: 2, fill: i }), 1)
  const hint = log.checkpoint()
  bench.files.kill()
  return hint
}

describe('recovery of a torn tail', () => {
  test('a tail cut at every byte of the last batch ends at the last whole batch', () => {
    const bench = new Bench()
    const hint = killed(bench, 3)
    const whole = bench.files.contentOf(bench.path(FIRST))
    const last = whole.length / 3
    for (let cut = whole.length - last; cut <= whole.length; cut++) {
      const torn = new Bench()
      torn.files = bench.files.clone()
      torn.files.tamper(bench.path(FIRST), whole.slice(0, cut))
      const log = torn.open(hint)
      const expected = cut === whole.length ? 6 : 4
      assert.deepEqual(ends(log), [0, expected, expected, expected], `cut at ${cut}`)
      const kept = whole.slice(0, expected === 6 ? whole.length : whole.length - last)
      assert.deepEqual(readAll(log, 0), kept)
      assert.deepEqual(torn.files.contentOf(torn.path(FIRST)), kept)
      assert.deepEqual(append(log, batch(), 1).baseOffset, expected)
      assert.deepEqual(log.verify().problems, [])
      assert.equal(torn.warnings.length, cut === whole.length || cut === kept.length ? 0 : 1)
    }
  })

  test('a bit flipped anywhere in the last batch is found, whatever it hits', () => {
    const bench = new Bench()
    const hint = killed(bench, 3)
    const whole = bench.files.contentOf(bench.path(FIRST))
    const last = whole.length - whole.length / 3
    // Bytes 12–15 hold the leader epoch, which no CRC covers: only a smaller one can be noticed.
    for (let at = last; at < whole.length; at++) {
      if (at >= last + 12 && at < last + 16) continue
      for (let bit = 0; bit < 8; bit++) {
        const flipped = whole.slice()
        flipped[at]! ^= 1 << bit
        const torn = new Bench()
        torn.files = bench.files.clone()
        torn.files.tamper(bench.path(FIRST), flipped)
        const log = torn.open(hint)
        assert.equal(log.logEndOffset, 4, `byte ${at - last}, bit ${bit}`)
        assert.equal(torn.warnings.length, 1)
      }
    }
  })

  test('an append that was under way is not lost; what else is cut may be, and is marked', () => {
    const bench = new Bench()
    const hint = killed(bench, 3)
    const whole = bench.files.contentOf(bench.path(FIRST))
    const open = (content: Uint8Array, isReplicated = true): [boolean, boolean] => {
      const torn = new Bench()
      torn.files = bench.files.clone()
      torn.files.tamper(bench.path(FIRST), content)
      const { context, options } = torn
      const log = PartitionLog.open(context, { directory: DIRECTORY, options, hint, isReplicated })
      torn.files.kill()
      return [log.hasLost, torn.files.exists('/data/records-lost')]
    }
    const flipped = whole.slice()
    flipped[whole.length - 1]! ^= 1
    assert.deepEqual(open(whole), [false, false])
    assert.deepEqual(open(whole.slice(0, -1)), [false, false])
    assert.deepEqual(open(concat([whole, new Uint8Array(100)])), [true, true], 'pages of zeros')
    assert.deepEqual(open(flipped), [true, true])
    assert.deepEqual(open(flipped, false), [false, false], 'nobody else has it')
  })

  test('a preallocated or half-written tail of zeros is cut', () => {
    const bench = new Bench()
    const hint = killed(bench, 3)
    const whole = bench.files.contentOf(bench.path(FIRST))
    bench.files.tamper(bench.path(FIRST), concat([whole, new Uint8Array(5000)]))
    const log = bench.open(hint)
    assert.deepEqual(ends(log), [0, 6, 6, 6])
    assert.deepEqual(bench.files.contentOf(bench.path(FIRST)), whole)
  })

  test('segments behind a damaged one go with it', () => {
    const bench = new Bench({ segmentBytes: 260 })
    const hint = killed(bench, 9)
    const logs = bench.files.paths().filter((path) => path.endsWith('.log'))
    assert(logs.length >= 4)
    const second = logs[1]!
    const content = bench.files.contentOf(second)
    content[content.length - 1]! ^= 1
    bench.files.tamper(second, content)
    const log = bench.open({ ...hint, recoveryPoint: 0 })
    assert.equal(log.logEndOffset, offsetsIn(content).at(-1)!.base)
    assert.deepEqual(
      bench.files.paths().filter((path) => path.endsWith('.log')),
      logs.slice(0, 2),
    )
    assert.deepEqual(append(log, batch(), 1).baseOffset, log.logEndOffset - 1)
    assert.deepEqual(log.verify().problems, [])
  })

  test('an old epoch behind a newer one is a leftover of a truncation', () => {
    const bench = new Bench()
    let log = bench.open()
    append(log, batch(), 3)
    append(log, batch(), 5)
    append(log, batch(), 5)
    const content = bench.files.contentOf(bench.path(FIRST))
    content[(content.length / 3) * 2 + 15] = 4
    bench.files.kill()
    bench.files.tamper(bench.path(FIRST), content)
    log = bench.open()
    assert.equal(log.logEndOffset, 2)
  })
})

describe('recovery and what a checkpoint says', () => {
  test('below the recovery point damage is reported and nothing is cut', () => {
    const bench = new Bench()
    const log = bench.open()
    for (let i = 0; i < 4; i++) append(log, batch(), 1)
    bench.flush(log)
    const hint = log.checkpoint()
    append(log, batch(), 1)
    bench.files.kill()
    const content = bench.files.contentOf(bench.path(FIRST))
    content[16] = 0
    bench.files.tamper(bench.path(FIRST), content)
    assert.throws(() => bench.open(hint), /below its recovery point 4/)
    assert.deepEqual(bench.files.contentOf(bench.path(FIRST)), content)
    // The way out for an operator: forget the checkpoint, keep what is sound.
    assert.equal(bench.open(null).logEndOffset, 0)
  })

  test('only what lies past the recovery point is read, with progress', () => {
    const bench = new Bench({ segmentBytes: 20_000 })
    const log = bench.open()
    for (let i = 0; i < 50; i++) append(log, batch({ valueBytes: 5000 }), 1)
    bench.flush(log)
    const hint = log.checkpoint()
    append(log, batch({ valueBytes: 5000 }), 1)
    bench.files.kill()
    const reads = bench.files.counters.reads
    assert.equal(bench.open(hint).logEndOffset, 51)
    assert(bench.files.counters.reads - reads < 20)
    const [done, total] = bench.progress.at(-1)!
    assert.equal(done, total)
    assert(total < 25_000)
  })

  test('a recovery point past the end is not trusted, and not believed later either', () => {
    const bench = new Bench()
    const stale = { ...killed(bench, 5), recoveryPoint: 1000, logEndOffset: 1000 }
    let log = bench.open(stale)
    assert.deepEqual(ends(log), [0, 10, 10, 10])
    assert(bench.warnings.some((warning) => warning.includes('not trusted')))
    assert.equal(log.checkpoint().truncations, stale.truncations + 1)
    // The stale table still exists; the log grows past its recovery point, unflushed and torn.
    for (let i = 0; i < 600; i++) append(log, batch({ records: 2 }), 1)
    bench.files.kill()
    const content = bench.files.contentOf(bench.path(FIRST))
    const size = content.length / 605
    content[size * 100] = 1 // Offset 200, far below 1000.
    bench.files.tamper(bench.path(FIRST), content)
    log = bench.open(stale)
    assert.equal(log.logEndOffset, 200)
  })

  test('a clean hint that the files contradict is not trusted', () => {
    const bench = new Bench()
    let log = bench.open()
    append(log, batch())
    const early = log.close()
    log = bench.open(early)
    for (let i = 0; i < 3; i++) append(log, batch())
    log.close()
    log = bench.open(early)
    assert.equal(log.logEndOffset, 1)
    const out = stage(log, batch())
    assert.match(out.errorMessage!, /clean-shutdown checkpoint says/)
    assert.equal(log.hasStaged, false)
    assert.equal(bench.open({ ...early, logStartOffset: 5, logEndOffset: 5 }).logEndOffset, 5)
    bench.files.remove(bench.path(FIRST))
    assert.equal(bench.open(early).logEndOffset, 0)
  })

  test('a truncation outlives a crash: no checkpoint from before it counts above the cut', () => {
    const bench = new Bench()
    let log = bench.open()
    for (let i = 0; i < 10; i++) append(log, batch({ fill: 1 }), 1)
    bench.flush(log)
    const before = log.checkpoint()
    assert.equal(before.recoveryPoint, 10)
    log.truncateTo(4)
    for (let i = 0; i < 10; i++) append(log, batch({ fill: 2 }), 2)
    bench.files.kill()
    const content = bench.files.contentOf(bench.path(FIRST))
    content[(content.length / 14) * 6] = 1 // Offset 6: below the recovery point of `before`.
    bench.files.tamper(bench.path(FIRST), content)
    log = bench.open(before)
    assert.equal(log.logEndOffset, 6)
    assert.deepEqual(log.endOffsetForEpoch(1), { epoch: 1, endOffset: 4 })
  })
})

describe('recovery of what goes with the log', () => {
  test('leftovers of writes, deletions and swaps are cleared', () => {
    const bench = new Bench({ segmentBytes: 260 })
    const hint = killed(bench, 6)
    const content = bench.files.contentOf(bench.path(FIRST))
    bench.files.tamper(bench.path('leader-epoch-checkpoint.tmp'), new Uint8Array(3))
    bench.files.tamper(bench.path('00000000000000000099.snapshot.tmp'), new Uint8Array(3))
    bench.files.tamper(bench.path('00000000000000000001.log.deleted'), new Uint8Array(3))
    const [, second] = bench.files
      .list(DIRECTORY)
      .filter((name) => name.endsWith('.log'))
      .sort()
    const range = { baseOffset: 0, endOffset: Number((second as string).slice(0, 20)) }
    bench.files.tamper(bench.path(rangeName(range, '.swap')), content)
    bench.files.tamper(bench.path(rangeName(range, '.cleaned')), new Uint8Array(3))
    bench.files.tamper(bench.path(rangeName(range, '.index.cleaned')), new Uint8Array(3))
    bench.files.tamper(bench.path(FIRST), new Uint8Array(9))
    const log = bench.open(hint)
    assert.equal(log.logEndOffset, 12)
    assert(!bench.files.paths().some((path) => /tmp|deleted|swap|cleaned/.test(path)))
    assert.deepEqual(log.verify().problems, [])
  })

  test('a swap whose first segment is renamed aside already, leaves none of its indexes', () => {
    const bench = new Bench({ segmentBytes: 260 })
    const before = bench.open()
    for (let i = 0; i < 12; i++) append(before, batch(), 1)
    bench.flush(before)
    const hint = before.checkpoint()
    bench.files.kill()
    const [, second] = bench.files
      .list(DIRECTORY)
      .filter((name) => name.endsWith('.log'))
      .sort()
    const range = { baseOffset: 0, endOffset: Number((second as string).slice(0, 20)) }
    const content = bench.files.contentOf(bench.path(FIRST))
    bench.files.tamper(bench.path(rangeName(range, '.swap')), content)
    bench.files.rename(bench.path(FIRST), bench.path(`${FIRST}.deleted`))
    // Names that were removed before a loss of power may be there again.
    const index = FIRST.replace('.log', '.timeindex')
    bench.files.tamper(bench.path(index), new Uint8Array(12))
    const log = bench.open(hint)
    assert.equal(log.logEndOffset, before.logEndOffset)
    assert(!bench.files.paths().includes(bench.path(index)))
    assert.deepEqual(log.verify().problems, [])
  })

  test('missing and damaged indexes, snapshots and epochs are rebuilt from the batches', () => {
    const bench = new Bench({ segmentBytes: 700, indexIntervalBytes: 100 })
    let log = bench.open()
    for (let i = 0; i < 40; i++) {
      const producerId = i % 3
      const baseSequence = Math.floor(i / 3)
      append(log, batch({ producerId, producerEpoch: 0, baseSequence }), i >> 3)
    }
    const producers = new Map(log.producers.entries())
    bench.flush(log)
    const hint = log.checkpoint()
    bench.files.kill()
    for (const path of bench.files.paths()) {
      if (path.endsWith('index')) bench.files.remove(path)
      if (path.endsWith('.snapshot')) bench.files.tamper(path, new Uint8Array(20))
      if (path.endsWith('leader-epoch-checkpoint')) bench.files.tamper(path, new Uint8Array(5))
    }
    log = bench.open(hint)
    assert.deepEqual(new Map(log.producers.entries()), producers)
    assert.equal(log.latestEpoch, 4)
    assert.deepEqual(log.endOffsetForEpoch(2), { epoch: 2, endOffset: 24 })
    assert.deepEqual(log.verify().problems, [])
  })

  test('deleted records stay deleted, with and without a hint', () => {
    const bench = new Bench({ segmentBytes: 260 })
    let log = bench.open()
    for (let i = 0; i < 12; i++) append(log, batch(), 1)
    const stale = log.checkpoint()
    assert.equal(log.deleteRecordsTo(13), 1)
    assert.equal(log.deleteRecordsTo(7), 0)
    assert.equal(log.logStartOffset, 7)
    bench.files.kill()
    for (const hint of [stale, null]) {
      log = bench.open(hint)
      assert.deepEqual([log.logStartOffset, log.logEndOffset], [7, 12])
      assert.deepEqual(log.endOffsetForEpoch(1), { epoch: 1, endOffset: 12 })
      bench.files.kill()
    }
    log = bench.open(stale)
    assert.equal(log.deleteRecordsTo(12), 0)
    assert.equal(log.segmentCount, 1)
    bench.files.kill()
    for (const path of bench.files.paths()) if (path.endsWith('.log')) bench.files.remove(path)
    log = bench.open(stale)
    // Offsets are never given out twice, though no segment is left.
    assert.deepEqual([log.logStartOffset, log.logEndOffset], [12, 12])
    assert.equal(append(log, batch(), 1).baseOffset, 12)
  })

  test('random damage to side files never harms a log whose batches are whole', () => {
    const random = new Random(SEED)
    const bench = new Bench({ segmentBytes: 700, indexIntervalBytes: 100 })
    const log = bench.open()
    for (let i = 0; i < 40; i++) append(log, batch({ timestamp: 1000 + i, fill: i }), 1)
    bench.flush(log)
    const hint = log.checkpoint()
    const content = readAll(log, 0)
    bench.files.kill()
    for (let round = 0; round < 200; round++) {
      const files = bench.files.clone()
      const sides = files.paths().filter((path) => !path.endsWith('.log'))
      const path = random.pick(sides)
      const bytes = files.contentOf(path)
      if (bytes.length > 0) bytes[random.below(bytes.length)]! ^= 1 << random.below(8)
      files.tamper(path, bytes.subarray(0, random.between(0, bytes.length)))
      const torn = new Bench(bench.options)
      torn.files = files
      const message = `${path}; ${rerun(SEED)}`
      const opened = torn.open(hint)
      assert.equal(opened.logEndOffset, 40, message)
      assert.deepEqual(readAll(opened, 0, { maxBytes: 300 }), content, message)
      for (let offset = 0; offset < 40; offset += 7) {
        assert.equal(offsetsIn(readAll(opened, offset))[0]!.base, offset, message)
      }
    }
  })
})
