import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { Partition } from '../../src/shard/partition.ts'
import type { LogHint, PartitionLog } from '../../src/storage/log.ts'
import { BATCH_COUNT_WORD } from '../../src/storage/producer-state.ts'
import {
  append,
  Bench,
  batch,
  concat,
  DIRECTORY,
  readAll,
  refused,
  rerun,
  SEED,
  stage,
} from './support/fixture.ts'
import { fault } from './support/memory-files.ts'

/** What must be the same before and after a refused write. */
function shape(log: PartitionLog): unknown {
  const producers = [...log.producers.entries()].map(([id, state]) => [id, [...state]])
  return {
    offsets: [log.logStartOffset, log.logEndOffset, log.highWatermark, log.recoveryPoint],
    bytes: log.bytes,
    segments: log.segmentCount,
    epoch: log.latestEpoch,
    producers,
  }
}

/** One turn: several runs, some idempotent, enough to roll several segments. */
function turn(log: PartitionLog, from: number, epoch: number): void {
  for (let i = from; i < from + 6; i++) {
    const producer = { producerId: 5, producerEpoch: 0, baseSequence: i }
    const run = i % 2 === 0 ? batch(producer) : concat([batch(producer), batch({ records: 2 })])
    assert.equal(stage(log, run, epoch).errorCode, ErrorCode.NONE)
  }
  log.writeStaged()
}

describe('a disk that refuses', () => {
  for (const code of ['ENOSPC', 'EIO']) {
    test(`${code} at every operation of a turn leaves all of it or nothing`, () => {
      for (let at = 1; at < 200; at++) {
        const bench = new Bench({ segmentBytes: 400, indexIntervalBytes: 50 })
        const log = bench.open()
        turn(log, 0, 1)
        const before = shape(log)
        const content = readAll(log, 0)
        bench.files.writeBytesMax = 100
        let count = 0
        bench.files.onOperation = (kind) => {
          // A full disk refuses what needs room; removing and shortening work.
          const isRefused = code === 'EIO' || kind === 'write' || kind === 'create'
          if (++count >= at && isRefused) throw fault(code, kind)
        }
        let error: Error | null = null
        try {
          turn(log, 6, 2)
        } catch (thrown) {
          error = thrown as Error
        }
        bench.files.onOperation = () => {}
        const message = `${code} at operation ${at} of ${count}`
        if (error === null) {
          assert.deepEqual(log.verify().problems, [], message)
          if (count < at) break // The turn needs fewer operations than that.
          continue
        }
        assert.equal(log.hasStaged, false, message)
        assert.equal(log.failed, code !== 'ENOSPC', message)
        if (code === 'ENOSPC') {
          assert.deepEqual(shape(log), before, message)
          assert.deepEqual(log.verify().problems, [], message)
          const killed = new Bench(bench.options)
          killed.files = bench.files.clone()
          assert.equal(killed.open(null).logEndOffset, log.logEndOffset, message)
          turn(log, 6, 2) // Room again: the very same runs are no duplicates.
          assert.deepEqual(log.verify().problems, [], message)
          assert.deepEqual(readAll(log, 0).subarray(0, content.length), content)
          const hint = log.close()
          assert.equal(bench.open(hint).verify().problems.length, 0)
        } else {
          // Only a restart tells: whole batches, of the first turn all.
          bench.files.kill()
          const again = bench.open(null)
          assert(again.logEndOffset >= 9, message)
          assert.deepEqual(again.verify().problems, [], message)
          assert.deepEqual(readAll(again, 0).subarray(0, content.length), content, message)
        }
        assert(at < 199)
      }
    })
  }

  test('short writes of every length write everything, in order', () => {
    const runs = [batch({ records: 3 }), batch({ fill: 2 }), batch({ records: 2, fill: 3 })]
    const memory = concat([new Uint8Array(3), runs[0]!, new Uint8Array(9), runs[1]!, runs[2]!])
    const expected = new Bench().open()
    for (const run of runs) append(expected, run.slice())
    for (let writeBytesMax = 1; writeBytesMax < 250; writeBytesMax++) {
      const bench = new Bench()
      bench.files.writeBytesMax = writeBytesMax
      const log = bench.open()
      const out = stage(log, runs[0]!.slice())
      let at = 3
      for (const [i, run] of runs.entries()) {
        if (i > 0) log.append({ bytes: memory, offset: at, length: run.length }, 0, out)
        at += run.length + (i === 0 ? 9 : 0)
      }
      log.writeStaged()
      assert.deepEqual(readAll(log, 0), readAll(expected, 0), `at most ${writeBytesMax} bytes`)
    }
  })

  test('no room on a roll for index and snapshot costs nothing but a warning', () => {
    const bench = new Bench({ segmentBytes: 300, indexIntervalBytes: 0 })
    let log = bench.open()
    bench.files.onOperation = (kind, path) => {
      if (kind === 'create' && !path.endsWith('.log')) throw fault('ENOSPC', kind)
    }
    for (let i = 0; i < 12; i++) append(log, batch())
    assert(log.segmentCount > 3)
    assert.deepEqual(log.verify().problems, [])
    assert(bench.warnings.length >= 6)
    bench.files.kill()
    log = bench.open()
    assert.deepEqual([log.logEndOffset, log.verify().problems], [12, []])
  })
})

describe('ProducerState.refuse', () => {
  const produce = (baseSequence: number, producerEpoch = 0): Uint8Array =>
    batch({ producerId: 9, producerEpoch, baseSequence, records: 2 })

  /** Stages the runs and has the disk refuse them: no space. */
  function refuseWrite(bench: Bench, log: PartitionLog, runs: readonly Uint8Array[]): void {
    for (const run of runs) assert.equal(stage(log, run).errorCode, ErrorCode.NONE)
    bench.files.onOperation = (kind) => {
      if (kind === 'write') throw fault('ENOSPC', kind)
    }
    assert.throws(() => log.writeStaged(), /write/)
    bench.files.onOperation = () => {}
    assert.deepEqual([log.failed, log.producers.count], [false, 0])
  }

  test('holds an unknown producer to the batch that was refused, until its retry', () => {
    // Alone, and with the next batch staged behind it in the same turn.
    for (const runs of [[produce(0)], [produce(0), produce(2)]]) {
      const bench = new Bench()
      const log = bench.open()
      append(log, batch())
      refuseWrite(bench, log, runs)
      assert.equal(refused(log, produce(2)), ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
      assert.equal(refused(log, produce(4)), ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
      assert.equal(append(log, produce(0)).baseOffset, 1)
      assert.equal(append(log, produce(2)).baseOffset, 3)
      assert.equal(stage(log, produce(0)).duplicate, true)
      assert.equal(log.logEndOffset, 5)
    }
  })

  test('holds it when its partition has closed the log in between, also twice', () => {
    const bench = new Bench()
    const identity = { handle: 1, topicId: '', partition: 0, leaderEpoch: 0 }
    const where = { logDirectory: '/data', directory: DIRECTORY, hint: null }
    const partition = new Partition({ ...identity, ...where } as never, bench.options)
    const log = (): PartitionLog => partition.log(bench.context)
    refuseWrite(bench, log(), [produce(0)])
    for (let i = 0; i < 2; i++) {
      partition.close()
      assert.equal(refused(log(), produce(2)), ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    }
    append(log(), produce(0))
    partition.close()
    append(log(), produce(2))
  })

  test('holds it across the wrap of sequences, and not in its next epoch', () => {
    const bench = new Bench()
    const log = bench.open()
    const last = 2 ** 31 - 1
    refuseWrite(bench, log, [produce(last)]) // Sequences 2^31 − 1 and 0.
    assert.equal(refused(log, produce(1)), ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    append(log, produce(last))
    append(log, produce(1))
    const other = new Bench()
    const second = other.open()
    refuseWrite(other, second, [produce(4)]) // KIP-360: it may start anywhere.
    append(second, produce(0, 1))
    append(second, produce(2, 1))
  })

  test('lets it start anywhere, when it expired after its retry', () => {
    const bench = new Bench({ producerIdExpirationMs: 3_600_000 })
    const log = bench.open()
    refuseWrite(bench, log, [produce(0)])
    append(log, produce(0))
    bench.clock.ms = 4_000_000
    log.maintain(bench.clock.ms)
    assert.equal(log.producers.count, 0)
    append(log, produce(77))
  })
})

describe('SegmentList.flushIndexes', () => {
  for (const suffix of ['.index', '.timeindex']) {
    test(`closes each index file once, when the flush of the ${suffix} file fails`, () => {
      const bench = new Bench({ indexIntervalBytes: 0 })
      const log = bench.open()
      for (let i = 0; i < 3; i++) append(log, batch())
      bench.files.onOperation = (kind, path) => {
        if (kind === 'flush' && path.endsWith(suffix)) throw fault('EIO', `flush ${suffix}`)
      }
      assert.throws(() => log.close(), new RegExp(`flush ${suffix}`))
      assert.equal(log.failed, true)
      assert.equal(bench.files.openFiles, 0)
    })
  }
})

describe('power loss', () => {
  test('what was flushed survives, nothing torn is served, retries are deduplicated', () => {
    for (let round = 0; round < 400; round++) {
      const seed = SEED + round
      const random = new Random(seed)
      const bench = new Bench({
        segmentBytes: random.pick([300, 1000, 5000]),
        indexIntervalBytes: random.pick([0, 100, 4096]),
        flushMessages: random.pick([1, 3, Number.POSITIVE_INFINITY]),
      })
      let log = bench.open()
      let hint: LogHint | null = null
      let sequence = 0
      let durable = 0
      let content: Uint8Array = new Uint8Array(0)
      for (let life = 0; life < 4; life++) {
        const steps = random.between(1, 15)
        for (let i = 0; i < steps; i++) {
          const spec = { producerId: 1, producerEpoch: 0, baseSequence: sequence, fill: sequence }
          append(log, batch({ ...spec, valueBytes: random.below(60) }), life)
          sequence++
          if (random.chance(0.3)) bench.flush(log)
          if (random.chance(0.1)) hint = log.checkpoint()
        }
        durable = log.recoveryPoint
        content = readAll(log, 0, { upTo: 'logEnd' })
        bench.files.losePower(random)
        log = bench.open(hint)
        const message = rerun(seed)
        assert(log.logEndOffset >= durable, message)
        const left = readAll(log, 0)
        assert.deepEqual(left, content.subarray(0, left.length), message)
        assert.deepEqual(log.verify().problems, [], message)
        // The producer state is that of what is left, as a full replay would say.
        sequence = log.logEndOffset
        const state = log.producers.get(1)
        assert.equal(state?.[BATCH_COUNT_WORD] ?? 0, Math.min(5, sequence), message)
        if (sequence > 0) {
          const last = batch({ producerId: 1, producerEpoch: 0, baseSequence: sequence - 1 })
          const out = stage(log, last, life)
          assert.deepEqual([out.duplicate, out.baseOffset], [true, sequence - 1], message)
        }
      }
    }
  })
})
