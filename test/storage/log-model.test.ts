/**
 * The log against a naive model: a list of batches. Random appends, reads, truncations, deletions,
 * flushes, orderly restarts, process kills and power losses; after each step what the log says must
 * be what the list says.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Random } from '../../src/base/random.ts'
import type { LogHint, LogOptions, PartitionLog } from '../../src/storage/log.ts'
import { Bench, batch, concat, offsetsIn, readAll, SEED, stage } from './support/fixture.ts'

interface ModelBatch {
  readonly base: number
  readonly last: number
  readonly timestamp: number
  /** As stamped. */
  bytes: Uint8Array
}

type Step =
  | { readonly kind: 'append'; readonly runs: readonly (readonly [number, number])[] }
  | { readonly kind: 'read'; readonly at: number; readonly maxBytes: number }
  | { readonly kind: 'truncate'; readonly at: number }
  | { readonly kind: 'deleteRecords'; readonly at: number }
  | { readonly kind: 'flush' | 'restart' | 'checkpoint' | 'newEpoch' | 'maintain' | 'verify' }
  | { readonly kind: 'kill'; readonly known: 'last' | 'old' | 'nothing' }
  | { readonly kind: 'losePower'; readonly seed: number; readonly known: 'last' | 'old' }

const fraction = fc.double({ min: 0, max: 1, noNaN: true })
const runs = fc.array(fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 120 })), {
  minLength: 1,
  maxLength: 5,
})
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ kind: fc.constant('append' as const), runs }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('read' as const),
      at: fraction,
      maxBytes: fc.integer({ min: 0, max: 600 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('truncate' as const), at: fraction }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('deleteRecords' as const), at: fraction }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'flush' as const,
        'restart' as const,
        'checkpoint' as const,
        'newEpoch' as const,
        'maintain' as const,
        'verify' as const,
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('kill' as const),
      known: fc.constantFrom('last' as const, 'old' as const, 'nothing' as const),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('losePower' as const),
      seed: fc.nat(),
      known: fc.constantFrom('last' as const, 'old' as const),
    }),
  },
)
const options: fc.Arbitrary<Partial<LogOptions>> = fc.record({
  segmentBytes: fc.constantFrom(300, 700, 5000),
  indexIntervalBytes: fc.constantFrom(0, 150, 4096),
  segmentIndexBytes: fc.constantFrom(60, 10_000),
  flushMessages: fc.constantFrom(1, 5, Number.POSITIVE_INFINITY),
  preallocate: fc.boolean(),
})

class Model {
  readonly bench: Bench
  log: PartitionLog
  batches: ModelBatch[] = []
  logStartOffset = 0
  logEndOffset = 0
  epoch = 0
  fill = 0
  lastHint: LogHint | null = null
  oldHint: LogHint | null = null

  constructor(chosen: Partial<LogOptions>) {
    this.bench = new Bench(chosen)
    this.log = this.bench.open()
  }

  run(one: Step): void {
    const { bench, log } = this
    switch (one.kind) {
      case 'append':
        this.#append(one.runs)
        break
      case 'read':
        this.#read(one.at, one.maxBytes)
        break
      case 'truncate':
        this.#truncate(this.#pick(one.at))
        break
      case 'deleteRecords': {
        const offset = Math.min(this.#pick(one.at), log.highWatermark)
        assert.equal(log.deleteRecordsTo(offset), 0)
        this.logStartOffset = Math.max(this.logStartOffset, offset)
        break
      }
      case 'flush':
        if (log.recoveryPoint < log.logEndOffset) bench.flush(log)
        assert.equal(log.highWatermark, log.logEndOffset)
        break
      case 'maintain':
        bench.clock.ms += 7 * 24 * 3600_000
        log.maintain(bench.clock.ms)
        break
      case 'newEpoch':
        this.epoch++
        break
      case 'checkpoint':
        this.oldHint = this.lastHint
        this.lastHint = log.checkpoint()
        break
      case 'verify':
        assert.deepEqual(log.verify().problems, [])
        break
      case 'restart': {
        const hint = log.close()
        assert.equal(hint.clean, true)
        assert.equal(bench.files.openFiles, 0)
        this.log = bench.open(hint)
        // At start the mark becomes a recovery point (see removeCleanMarks).
        this.lastHint = { ...hint, clean: false }
        break
      }
      case 'kill':
        bench.files.kill()
        this.log = bench.open(this.#hint(one.known))
        break
      case 'losePower':
        this.#losePower(one.seed, one.known)
        break
    }
    this.check()
  }

  check(): void {
    const { log } = this
    assert.equal(log.logEndOffset, this.logEndOffset)
    assert.equal(log.logStartOffset, this.logStartOffset)
    assert(log.recoveryPoint <= log.logEndOffset && log.highWatermark <= log.logEndOffset)
    const readable = this.batches.filter((b) => b.last >= this.logStartOffset)
    const bytes = readAll(log, this.logStartOffset, { upTo: 'logEnd', maxBytes: 777 })
    assert.equal(Buffer.compare(bytes, concat(readable.map((b) => b.bytes))), 0)
  }

  #append(all: readonly (readonly [number, number])[]): void {
    let runs: Uint8Array[] = []
    const flushRuns = (): void => {
      if (runs.length === 0) return
      const run = concat(runs)
      const out = stage(this.log, run, this.epoch)
      let at = 0
      for (const written of this.batches.slice(-runs.length)) {
        written.bytes = run.subarray(at, at + written.bytes.length)
        at += written.bytes.length
      }
      assert.equal(out.errorCode, 0)
      assert.equal(out.endOffset, this.logEndOffset)
      runs = []
    }
    for (const [records, valueBytes] of all) {
      const timestamp = 1_000_000 + ((this.fill * 7919) % 1000)
      const size = valueBytes % 40
      runs.push(batch({ records, valueBytes: size, fill: this.fill, timestamp }))
      const base = this.logEndOffset
      this.logEndOffset += records
      const last = this.logEndOffset - 1
      const bytes = runs.at(-1)!
      this.batches.push({ base, last, timestamp, bytes })
      this.fill = (this.fill + 1) % 256
      if (valueBytes % 2 === 0) flushRuns()
    }
    flushRuns()
    this.log.writeStaged()
    if (this.bench.options.flushMessages === Number.POSITIVE_INFINITY) {
      assert.equal(this.log.highWatermark, this.logEndOffset)
    }
  }

  #read(at: number, maxBytes: number): void {
    const { log } = this
    const offset = this.#pick(at)
    const upTo = 'highWatermark'
    const location = log.locate(offset, maxBytes, { minOneBatch: true, upTo })
    assert(typeof location === 'object')
    if (offset >= log.highWatermark) {
      assert.equal(location.length, 0)
      return
    }
    const into = new Uint8Array(location.length)
    const got = offsetsIn(into.subarray(0, log.read(location, into, 0)))
    const first = this.batches.findIndex((b) => b.last >= offset)
    assert.deepEqual(
      got,
      this.batches.slice(first, first + got.length).map(({ base, last }) => ({ base, last })),
    )
    assert(got.at(-1)!.last < log.highWatermark)
    const found = log.batchForTimestamp(1_000_000 + offset, 'logEnd')
    const expected = this.batches.find(
      (b) => b.timestamp >= 1_000_000 + offset && b.last >= this.logStartOffset,
    )
    assert.equal(found?.baseOffset, expected?.base)
  }

  #truncate(offset: number): void {
    this.log.truncateTo(offset)
    const cut = this.batches.findIndex((b) => b.last >= offset)
    if (cut >= 0) {
      // What was cut never comes back, whatever happens next.
      assert.equal(this.log.recoveryPoint, this.batches[cut]!.base)
      this.logEndOffset = this.batches[cut]!.base
      this.batches.length = cut
      this.logStartOffset = Math.min(this.logStartOffset, this.logEndOffset)
    }
  }

  /** What was flushed is there; what is there is a prefix of what was written. */
  #losePower(seed: number, known: 'last' | 'old'): void {
    const durable = this.log.recoveryPoint
    this.bench.files.losePower(new Random(seed))
    this.log = this.bench.open(this.#hint(known))
    assert(this.log.logEndOffset >= durable, `${this.log.logEndOffset} of ${durable} survived`)
    while ((this.batches.at(-1)?.last ?? -1) >= this.log.logEndOffset) this.batches.pop()
    this.logEndOffset = Math.max((this.batches.at(-1)?.last ?? -1) + 1, this.logStartOffset)
  }

  #hint(known: 'last' | 'old' | 'nothing'): LogHint | null {
    return known === 'nothing' ? null : known === 'last' ? this.lastHint : this.oldHint
  }

  #pick(at: number): number {
    return this.logStartOffset + Math.floor(at * (this.logEndOffset - this.logStartOffset))
  }
}

test('PartitionLog behaves like a list of batches, whatever happens to it', () => {
  fc.assert(
    fc.property(options, fc.array(step, { minLength: 5, maxLength: 60 }), (chosen, steps) => {
      const model = new Model(chosen)
      for (const one of steps) model.run(one)
      const report = model.log.verify()
      assert.deepEqual(report.problems, [])
      assert.equal(report.bytes, model.log.bytes)
    }),
    { seed: SEED, numRuns: Number(process.env.MILLRACE_RUNS ?? 300) },
  )
})
