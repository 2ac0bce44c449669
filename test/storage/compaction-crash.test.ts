/**
 * Random histories of keyed records, tombstones, producers and transactions, compacted while they
 * grow, with a crash inside every call that changes the disk: afterwards the log opens, the latest
 * value of every key is what it was, and what survived has the offset that it had.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import { buildMarkerBatch } from '../../src/record/control-batch.ts'
import {
  type LogHint,
  type LogOptions,
  newAppendResult,
  type PartitionLog,
} from '../../src/storage/log.ts'
import { SimCrash } from '../simulation/sim-disk.ts'
import { compactNow, type KeyedRecord, recordsIn } from './support/compaction.ts'
import { rerun, SEED } from './support/fixture.ts'
import { Machine } from './support/machine.ts'

const SEEDS = 4
const CALLS_MAX = 400
const RETENTION_MS = 1000
const PRODUCERS = 3

interface Written {
  readonly key: string
  readonly value: string | null
  /** Of whoever wrote it in a transaction; −1 for nobody. */
  readonly producer: number
  end: 'open' | 'committed' | 'aborted'
}

/** What was written, by offset, and how it is to be read. */
class History {
  readonly written = new Map<number, Written>()
  readonly #random: Random
  readonly #sequences = new Array<number>(PRODUCERS).fill(0)
  readonly #open = new Set<number>()

  constructor(random: Random) {
    this.#random = random
  }

  append(log: PartitionLog, nowMs: number): void {
    const random = this.#random
    const producer = random.chance(0.5) ? random.below(PRODUCERS) : -1
    const isTransactional = producer === 0
    if (isTransactional && this.#open.has(0) && random.chance(0.4)) {
      this.#end(log, random.chance(0.5), nowMs)
      return
    }
    const builder = new BatchBuilder()
    const records = random.between(1, 4)
    const pairs: Written[] = []
    for (let i = 0; i < records; i++) {
      const key = `k${random.below(8)}`
      const value = random.chance(0.3) ? null : `v${random.below(1000)}`
      builder.append(nowMs - random.below(50), key, value)
      const end = isTransactional ? 'open' : 'committed'
      pairs.push({ key, value, producer: isTransactional ? producer : -1, end })
    }
    const compression = random.pick([0, 0, 1, 3] as const)
    const base = this.#put(
      log,
      builder.buildSync(
        producer < 0
          ? { compression }
          : {
              compression,
              producerId: 100 + producer,
              producerEpoch: 0,
              baseSequence: this.#sequences[producer] as number,
              transactional: isTransactional,
            },
      ),
    )
    if (producer >= 0) this.#sequences[producer] = (this.#sequences[producer] as number) + records
    if (isTransactional) this.#open.add(producer)
    for (const [i, pair] of pairs.entries()) this.written.set(base + i, pair)
  }

  endTransactions(log: PartitionLog, nowMs: number): void {
    if (this.#open.has(0)) this.#end(log, true, nowMs)
  }

  #end(log: PartitionLog, committed: boolean, timestampMs: number): void {
    const marker = { producerId: 100, producerEpoch: 0, coordinatorEpoch: 1 }
    this.#put(log, buildMarkerBatch({ ...marker, committed, timestampMs }))
    this.#open.delete(0)
    for (const one of this.written.values()) {
      if (one.producer === 0 && one.end === 'open') one.end = committed ? 'committed' : 'aborted'
    }
  }

  #put(log: PartitionLog, run: Uint8Array): number {
    const out = newAppendResult()
    log.append({ bytes: run, offset: 0, length: run.length }, 0, out, true)
    assert.equal(out.errorCode, 0, out.errorMessage ?? '')
    log.writeStaged()
    return out.baseOffset
  }

  /** Key → its last value, as whoever reads committed records from `records` would find it. */
  latest(records: Iterable<readonly [number, Written]>): Map<string, string> {
    const latest = new Map<string, string>()
    for (const [, { key, value, end }] of records) {
      if (end !== 'committed') continue
      if (value === null) latest.delete(key)
      else latest.set(key, value)
    }
    return latest
  }

  /** What is in the log is what was written there, and the latest values are all there. */
  check(log: PartitionLog, message: string): void {
    const there: [number, Written][] = []
    for (const record of recordsIn(log)) {
      const known = this.written.get(record.offset)
      assert(known !== undefined, `nothing was at ${record.offset}, ${message}`)
      assert.deepEqual([record.key, record.value], [known.key, known.value], message)
      there.push([record.offset, known])
    }
    const due = [...this.written].filter(([offset]) => offset < log.logEndOffset)
    assert.deepEqual(sorted(this.latest(there)), sorted(this.latest(due)), message)
    assert.deepEqual(log.verify().problems, [], message)
  }
}

function sorted(map: Map<string, string>): [string, string][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Tombstones that must not be gone yet: the newest of their key, not compacted for long enough. */
class Tombstones {
  readonly #seenAtMs = new Map<number, number>()

  /** After a compaction at `nowMs`. */
  check(
    history: History,
    records: readonly KeyedRecord[],
    at: { nowMs: number; end: number },
  ): void {
    const newest = new Map<string, number>()
    for (const [offset, { key, end }] of history.written) {
      if (end === 'committed' && offset < at.end) newest.set(key, offset)
    }
    const there = new Set(records.map(({ offset }) => offset))
    for (const offset of newest.values()) {
      if (history.written.get(offset)?.value !== null) continue
      const sinceMs = this.#seenAtMs.get(offset) ?? at.nowMs
      this.#seenAtMs.set(offset, sinceMs)
      if (at.nowMs - sinceMs < RETENTION_MS) assert(there.has(offset), `the tombstone at ${offset}`)
    }
  }
}

const OPTIONS: Partial<LogOptions> = {
  isCompacted: true,
  segmentBytes: 700,
  indexIntervalBytes: 100,
  minCleanableDirtyRatio: 0,
  deleteRetentionMs: RETENTION_MS,
}

interface Life {
  readonly machine: Machine
  readonly history: History
  readonly log: PartitionLog
  readonly hint: LogHint
}

/** A log that was compacted a few times while it grew, with more to compact. */
function grow(seed: number): Life {
  const machine = new Machine(seed)
  const random = new Random(seed)
  const history = new History(random)
  const tombstones = new Tombstones()
  const log = machine.open(null, OPTIONS)
  const rounds = random.between(1, 4)
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < 25; i++) history.append(log, machine.clock.wallMs())
    machine.flush(log)
    if (round < rounds - 1) {
      compactMeanwhile({ machine, history, log }, random)
      const nowMs = machine.clock.wallMs()
      tombstones.check(history, recordsIn(log), { nowMs, end: log.logEndOffset })
    }
    machine.clock.ms += random.pick([0, 10, RETENTION_MS / 2, RETENTION_MS])
  }
  history.check(log, rerun(seed))
  return { machine, history, log, hint: log.checkpoint() }
}

/** A compaction with appends between its steps. */
function compactMeanwhile(life: Omit<Life, 'hint'>, random: Random): void {
  const { machine, history, log } = life
  let appends = 10
  compactNow(
    log,
    { files: machine.files, wallMs: machine.clock.wallMs() },
    {
      mapBytesMax: random.pick([24 * 7, 1 << 20]),
      between: () => {
        if (appends-- > 0 && random.chance(0.5)) history.append(log, machine.clock.wallMs())
      },
    },
  )
}

test('compaction of random histories keeps the latest value of each key', () => {
  for (let seed = SEED; seed < SEED + SEEDS * 15; seed++) {
    const { machine, history, log } = grow(seed)
    machine.clock.ms += RETENTION_MS * 2
    compactMeanwhile({ machine, history, log }, new Random(seed))
    history.check(log, rerun(seed))
    const hint = log.close()
    history.check(machine.open(hint, OPTIONS), rerun(seed))
  }
})

test('a crash in any call of a compaction loses no key and no tombstone’s effect', () => {
  let crashes = 0
  for (let n = 1; n < CALLS_MAX; n++) {
    let isOver = true
    for (let seed = SEED; seed < SEED + SEEDS; seed++) {
      const { machine, history, log, hint } = grow(seed)
      const durable = log.recoveryPoint
      machine.disk.crashIn = n
      try {
        compactNow(log, { files: machine.files, wallMs: machine.clock.wallMs() })
        continue
      } catch (error) {
        if (!(error instanceof SimCrash)) throw error
      }
      isOver = false
      crashes++
      const isKill = (seed + n) % 5 === 0
      const message = `call ${n}; ${rerun(seed)}`
      const end = log.logEndOffset
      if (isKill) machine.kill()
      else machine.losePower()
      const after = machine.open((seed + n) % 3 === 0 ? null : hint, OPTIONS)
      assert(after.logEndOffset >= (isKill ? end : durable), message)
      for (const offset of history.written.keys()) {
        if (offset >= after.logEndOffset) history.written.delete(offset)
      }
      history.check(after, message)
      machine.clock.ms += RETENTION_MS * 2
      compactNow(after, { files: machine.files, wallMs: machine.clock.wallMs() })
      history.check(after, message)
      const names = machine.files.list(after.directory)
      assert.deepEqual(
        names.filter((name) => /cleaned|swap/.test(name)),
        [],
        message,
      )
    }
    if (isOver) break
  }
  assert(crashes > 50 && crashes < CALLS_MAX * SEEDS, `${crashes} crashes`)
})
