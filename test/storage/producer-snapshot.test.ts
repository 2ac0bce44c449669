import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { viewOf } from '../../src/base/bytes.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { jsBatchEngine } from '../../src/record/batch-engine-js.ts'
import {
  decodeProducerSnapshot,
  encodeProducerSnapshot,
} from '../../src/storage/producer-snapshot.ts'
import {
  LAST_SEEN_WORD,
  newProducerBatch,
  type ProducerBatch,
  ProducerState,
} from '../../src/storage/producer-state.ts'
import { append, Bench, batch, concat, SEED } from './support/fixture.ts'

/** Batches in offset order, with whatever ids, epochs and sequences: a replay checks nothing. */
const batches = fc
  .array(
    fc.record({
      producerId: fc.integer({ min: 0, max: 4 }),
      producerEpoch: fc.integer({ min: 0, max: 2 }),
      baseSequence: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
      lastOffsetDelta: fc.integer({ min: 0, max: 100 }),
      maxTimestamp: fc.integer({ min: -1, max: 2 ** 45 }),
      isTransactional: fc.boolean(),
      isControl: fc.boolean(),
    }),
    { maxLength: 60 },
  )
  .map((all) => {
    let baseOffset = 0
    return all.map((one): ProducerBatch => {
      const placed = { ...newProducerBatch(), ...one, baseOffset }
      baseOffset += one.lastOffsetDelta + 1
      return placed
    })
  })

const plain = (state: ProducerState): unknown =>
  [...state.entries()]
    .map(([id, words]) => [id, [...words].map((word, i) => (i === LAST_SEEN_WORD ? 0 : word))])
    .sort((a, b) => Number(a[0]) - Number(b[0]))

describe('producer snapshots', () => {
  test('a snapshot and the rest of the log equal a full replay', () => {
    fc.assert(
      fc.property(batches, fc.nat(60), (all, cut) => {
        const full = new ProducerState()
        for (const one of all) full.apply(one, 5)
        const early = new ProducerState()
        for (const one of all.slice(0, cut)) early.apply(one, 5)
        const restored = new ProducerState()
        const bytes = encodeProducerSnapshot(early, jsBatchEngine)
        assert(decodeProducerSnapshot(bytes, jsBatchEngine, restored))
        assert.deepEqual(plain(restored), plain(early))
        for (const one of all.slice(cut)) restored.apply(one, 9)
        assert.deepEqual(plain(restored), plain(full))
        assert.equal(restored.openTransactions, full.openTransactions)
        assert.equal(restored.firstOpenTransactionOffset(), full.firstOpenTransactionOffset())
      }),
      { seed: SEED },
    )
  })

  test('rollback leaves no trace of what was applied since the mark', () => {
    fc.assert(
      fc.property(batches, fc.nat(60), fc.nat(60), (all, first, second) => {
        const state = new ProducerState()
        const expected = new ProducerState()
        for (const one of all.slice(0, first)) {
          state.apply(one, 5)
          expected.apply(one, 5)
        }
        const applyAll = (some: readonly ProducerBatch[]): void => {
          for (const one of some) {
            state.save(one.producerId)
            state.apply(one, 5)
          }
        }
        applyAll(all.slice(0, second))
        const mark = state.mark()
        applyAll(all.slice(first))
        state.rollback(mark)
        state.rollback(0)
        assert.deepEqual(plain(state), plain(expected))
        assert.equal(state.openTransactions, expected.openTransactions)
      }),
      { seed: SEED },
    )
  })

  test('every damaged byte and every cut is refused', () => {
    const state = new ProducerState()
    for (let i = 0; i < 3; i++) {
      state.apply({ ...newProducerBatch(), producerId: i, producerEpoch: 0, baseOffset: i }, 5)
    }
    const bytes = encodeProducerSnapshot(state, jsBatchEngine)
    for (let at = 0; at < bytes.length; at++) {
      const damaged = bytes.slice()
      damaged[at]! ^= 0x10
      const into = new ProducerState()
      assert.equal(decodeProducerSnapshot(damaged, jsBatchEngine, into), false, `byte ${at}`)
      assert.equal(decodeProducerSnapshot(bytes.slice(0, at), jsBatchEngine, into), false)
      assert.equal(into.count, 0)
    }
  })

  test('the array is laid out as Kafka reads it', () => {
    const state = new ProducerState()
    const one = { ...newProducerBatch(), producerId: 77, producerEpoch: 3, baseSequence: 10 }
    state.apply({ ...one, baseOffset: 100, lastOffsetDelta: 4, maxTimestamp: 999 }, 5)
    const view = viewOf(encodeProducerSnapshot(state, jsBatchEngine))
    assert.equal(view.getInt16(0), 1)
    assert.equal(view.getInt32(6), 1)
    assert.equal(view.getBigInt64(10), 77n)
    assert.equal(view.getInt16(18), 3)
    assert.equal(view.getInt32(20), 14)
    assert.equal(view.getBigInt64(24), 104n)
    assert.equal(view.getInt32(32), 4)
    assert.equal(view.getBigInt64(36), 999n)
    assert.equal(view.getInt32(44), -1)
    assert.equal(view.getBigInt64(48), -1n)
  })

  test('state after a crash, a truncation or a clean start equals a full replay', () => {
    const bench = new Bench({ segmentBytes: 500 })
    let log = bench.open()
    const sequences = [0, 0, 0]
    for (let i = 0; i < 40; i++) {
      const next = (id: number): Uint8Array => {
        const baseSequence = sequences[id]!
        sequences[id] = baseSequence + 1 + (i % 3)
        return batch({ producerId: id, producerEpoch: 0, baseSequence, records: 1 + (i % 3) })
      }
      // Runs of several batches roll in the middle of a run.
      append(log, concat([next(i % 3), next((i + 1) % 3), batch(), next(i % 3)]))
    }
    const fullReplay = (): unknown => {
      const copy = new Bench(bench.options)
      copy.files = bench.files.clone()
      for (const path of copy.files.paths()) {
        if (path.endsWith('.snapshot')) copy.files.remove(path)
      }
      return plain(copy.open(null).producers)
    }
    assert.deepEqual(plain(log.producers), fullReplay())
    bench.flush(log)
    const hint = log.checkpoint()
    bench.files.kill()
    log = bench.open(hint)
    assert.deepEqual(plain(log.producers), fullReplay())
    while (log.logEndOffset > 7) {
      log.truncateTo(log.logEndOffset - 7)
      assert.deepEqual(plain(log.producers), fullReplay())
    }
    log = bench.open(log.close())
    assert.deepEqual(plain(log.producers), fullReplay())
  })

  test('one from before the first segment is not used, when newer ones are damaged', () => {
    const bench = new Bench({ segmentBytes: 200 })
    let log = bench.open()
    const early = { producerId: 1, producerEpoch: 0 }
    const late = { producerId: 2, producerEpoch: 0 }
    for (let i = 0; i < 4; i++) append(log, batch({ ...early, baseSequence: i }))
    for (let i = 0; i < 8; i++) append(log, batch({ ...late, baseSequence: i }))
    const before = bench.files.paths().filter((path) => path.endsWith('.snapshot'))
    assert.equal(log.deleteRecordsTo(9), ErrorCode.NONE)
    const first = bench.files.paths().find((path) => path.endsWith('.log')) as string
    const isOld = (path: string): boolean => path.slice(0, -9) < first.slice(0, -4)
    assert(before.some(isOld) && before.some((path) => !isOld(path)))
    bench.files.kill()
    for (const path of before) {
      if (bench.files.exists(path) && !isOld(path)) bench.files.tamper(path, new Uint8Array(20))
    }
    assert(bench.files.paths().some((path) => path.endsWith('.snapshot') && isOld(path)))
    log = bench.open(null)
    assert.deepEqual(
      [...log.producers.entries()].map(([id]) => id),
      [2],
    )
    // The deleted batches are no duplicates any more, and the producer may start anew (KIP-360).
    assert.equal(append(log, batch({ ...early, baseSequence: 3 })).baseOffset, 12)
    append(log, batch({ ...late, baseSequence: 8 }))
  })
})
