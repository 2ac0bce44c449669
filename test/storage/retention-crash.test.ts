/**
 * A crash inside every call that changes the disk while segments are deleted: afterwards the log
 * starts no lower than anybody may have seen, and holds everything from there on that had to last.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LogHint, LogOptions, PartitionLog } from '../../src/storage/log.ts'
import { SimCrash } from '../simulation/sim-disk.ts'
import { append, batch, offsetsIn, readAll, rerun, SEED } from './support/fixture.ts'
import { Machine } from './support/machine.ts'

const SEEDS = 60
const BATCHES = 8
const FLUSHED = 4
const CALLS_MAX = 200

interface Life {
  readonly machine: Machine
  readonly log: PartitionLog
  readonly hint: LogHint
}

/** A log of eight batches in four segments, the first two of them flushed, the others not. */
function begin(seed: number, options: Partial<LogOptions>): Life {
  const machine = new Machine(seed)
  const log = machine.open(null, { ...options, segmentBytes: 2 * batch().length })
  for (let i = 0; i < BATCHES; i++) {
    append(log, batch({ fill: i }))
    if (i === FLUSHED - 1) machine.flush(log)
  }
  return { machine, log, hint: log.checkpoint() }
}

/** Runs `work` with a crash in its n-th call that changes the disk; false when it has fewer. */
function crashesIn(machine: Machine, n: number, work: () => void): boolean {
  machine.disk.crashIn = n
  try {
    work()
    return false
  } catch (error) {
    if (!(error instanceof SimCrash)) throw error
    return true
  }
}

const CASES: readonly {
  readonly name: string
  readonly options: Partial<LogOptions>
  readonly work: (life: Life) => void
  /** Highest log start that it may leave. */
  readonly end: number
}[] = [
  {
    name: 'by size',
    options: { retentionBytes: 2 * batch().length },
    work: ({ machine, log }) => {
      while (log.retain(machine.clock.wallMs()) > 0);
    },
    end: 6,
  },
  {
    name: 'by age, all of it',
    options: { retentionMs: 1000 },
    work: ({ machine, log }) => {
      machine.clock.ms = 5000
      while (log.retain(machine.clock.wallMs()) > 0);
    },
    end: BATCHES,
  },
  {
    name: 'by DeleteRecords',
    options: {},
    work: ({ log }) => {
      log.deleteRecordsTo(3)
      log.deleteRecordsTo(6)
    },
    end: 6,
  },
]

for (const { name, options, work, end } of CASES) {
  test(`a crash in any call of a deletion ${name} takes no visible log start back`, () => {
    let crashes = 0
    for (let n = 1; n < CALLS_MAX; n++) {
      let isOver = true
      for (let seed = SEED; seed < SEED + SEEDS; seed++) {
        const life = begin(seed, options)
        const { machine, log } = life
        if (!crashesIn(machine, n, () => work(life))) continue
        isOver = false
        crashes++
        const visible = log.logStartOffset
        const durable = log.recoveryPoint
        const isKill = seed % 5 === 0
        if (isKill) machine.kill()
        else machine.losePower()
        const message = `call ${n}; ${rerun(seed)}`
        const after = machine.open(seed % 3 === 0 ? null : life.hint)
        assert(after.logStartOffset >= visible, `${after.logStartOffset} < ${visible}, ${message}`)
        assert(after.logStartOffset <= end, `${after.logStartOffset} > ${end}, ${message}`)
        assert(after.logEndOffset >= (isKill ? BATCHES : durable), message)
        const offsets = offsetsIn(readAll(after, after.logStartOffset)).map(({ base }) => base)
        const due = Array.from({ length: BATCHES }, (_, offset) => offset).slice(
          after.logStartOffset,
          after.logEndOffset,
        )
        assert.deepEqual(offsets, due, message)
        assert.deepEqual(after.verify().problems, [], message)
        assert.equal(append(after, batch()).baseOffset, Math.max(visible, after.logEndOffset - 1))
      }
      if (isOver) break
    }
    assert(crashes > SEEDS, 'no call was struck')
  })
}
