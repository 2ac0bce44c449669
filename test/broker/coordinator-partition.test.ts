/** The runtime of coordinators over a log that is the test's: what it appends, and how it loads. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { CoordinatorPartition } from '../../src/broker/coordinator-partition.ts'
import type { InternalLog } from '../../src/broker/internal-log.ts'
import { Slices } from '../../src/broker/slices.ts'
import { EffectsBuilder } from '../../src/coordinator/effects.ts'
import { BrokerError } from '../../src/errors/broker-error.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { decodeBatchSync } from '../../src/record/batch.ts'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import { DecodeError } from '../../src/wire/kafka/api.ts'

const BATCH_BYTES_MAX = 2000
const LOAD_PATIENCE_MS = 50
const NOTHING = new Uint8Array(0)

/** A machine that keeps what it is told: its records are texts. */
class Notes {
  nextDeadlineMs = Infinity
  readonly effects = new EffectsBuilder<string>()
  readonly known: string[] = []

  note(texts: readonly string[], reply: (count: number) => void): void {
    for (const text of texts) {
      this.known.push(text)
      this.effects.write(text)
    }
    this.effects.answer(reply, this.known.length)
  }

  take() {
    return this.effects.take()
  }

  onTime(): void {
    this.known.push('due')
    this.nextDeadlineMs = Infinity
  }

  onLoaded(): void {}

  replay(text: string): void {
    this.known.push(text)
  }
}

/** Batches in memory, of which the first ones may be gone. */
class FakeLog {
  readonly name = 'notes-0'
  readonly batches: { offset: number; texts: string[]; bytes: Uint8Array }[] = []
  logStart = 0
  end = 0
  highWatermarkOffset = Infinity
  /** How often there is no memory yet. */
  busy = 0
  appendError: BrokerError | null = null

  async append(bytes: Uint8Array): Promise<boolean> {
    if (this.appendError !== null) {
      const error = this.appendError
      this.appendError = null
      throw error
    }
    if (this.busy > 0) {
      this.busy--
      return false
    }
    this.add(bytes)
    return true
  }

  add(bytes: Uint8Array): void {
    const records = [...decodeBatchSync(bytes, 0, { recordsBytesMax: 1_000_000 })]
    const texts = records.map(({ value }) => Buffer.from(value as Uint8Array).toString())
    new DataView(bytes.buffer, bytes.byteOffset).setBigInt64(0, BigInt(this.end))
    this.batches.push({ offset: this.end, texts, bytes })
    this.end += texts.length
  }

  async logStartOffset(): Promise<number> {
    return this.logStart
  }

  async highWatermark(): Promise<number> {
    return this.highWatermarkOffset
  }

  async read(offset: number): Promise<Uint8Array> {
    if (offset < this.logStart) throw new BrokerError(ErrorCode.OFFSET_OUT_OF_RANGE, 'read notes-0')
    return this.batches.find((batch) => batch.offset >= offset)?.bytes ?? NOTHING
  }
}

function open(
  log: FakeLog,
  lines: string[] = [],
  slices = new Slices(() => performance.now()),
  onDecode = (): unknown => undefined,
): CoordinatorPartition<Notes, string> {
  const note = (_fields: object, message: string): number => lines.push(message)
  return new CoordinatorPartition<Notes, string>({
    log: log as unknown as InternalLog,
    batchBytesMax: BATCH_BYTES_MAX,
    clock: { wallMs: () => 0, monotonicMs: () => performance.now() },
    logger: { debug: note, info: note, warn: note, error: note },
    slices,
    loadPatienceMs: LOAD_PATIENCE_MS,
    kind: {
      create: () => new Notes(),
      encode: (text) => ({ key: NOTHING, value: Buffer.from(text) }),
      decode: (_key, value) => {
        onDecode()
        const text = Buffer.from(value as Uint8Array).toString()
        if (text === 'damaged') throw new DecodeError('it is damaged', 'notes')
        return text
      },
    },
  })
}

function noted(
  partition: CoordinatorPartition<Notes, string>,
  texts: readonly string[],
): Promise<number> {
  return partition.ask<number>(
    (machine, _now, reply) => machine.note(texts, reply),
    (code) => -code,
  )
}

/** What is waited for here waits on timers that keep no process alive. */
let alive: NodeJS.Timeout

before(() => {
  alive = setInterval(() => undefined, 1000)
})

after(() => clearInterval(alive))

describe('CoordinatorPartition', () => {
  test('what is due, has happened before the next step', async () => {
    const partition = open(new FakeLog())
    await partition.load()
    const machine = partition.machine as Notes
    machine.nextDeadlineMs = 0 // Long past, and no timer has been set.
    assert.equal(await noted(partition, ['a']), 2)
    assert.deepEqual(machine.known, ['due', 'a'])
  })

  test('what nobody has acknowledged yet, is waited for before anybody is served', async () => {
    const log = new FakeLog()
    log.add(batch(3))
    log.highWatermarkOffset = 1
    const partition = open(log)
    const loaded = partition.load()
    await new Promise((resolve) => setTimeout(resolve, 30))
    const { COORDINATOR_LOAD_IN_PROGRESS, NONE } = ErrorCode
    const asked = (): Promise<ErrorCode> =>
      partition.ask<ErrorCode>(
        (_machine, _now, reply) => reply(NONE),
        (code) => code,
      )
    assert.equal(await asked(), COORDINATOR_LOAD_IN_PROGRESS)
    log.highWatermarkOffset = 3
    assert.equal(await asked(), NONE) // It has waited for the rest of the log.
    await loaded
    assert.deepEqual(partition.machine?.known, ['note', 'note', 'note'])
  })

  test('one that is stopped, waits for nothing more', async () => {
    const log = new FakeLog()
    log.add(batch(1))
    log.highWatermarkOffset = 0
    const partition = open(log)
    const loaded = partition.load()
    const waits = noted(partition, ['x'])
    partition.stop()
    assert.equal(await waits, -ErrorCode.NOT_COORDINATOR)
    await loaded
    assert.equal(partition.machine, null)
  })

  test('steps that come while one is appended, share the next batch, answered in order', async () => {
    const log = new FakeLog()
    const partition = open(log)
    await partition.load()
    const counts = await Promise.all(['a', 'b', 'c'].map((text) => noted(partition, [text])))
    assert.deepEqual(counts, [1, 2, 3])
    assert.deepEqual(
      log.batches.map(({ texts }) => texts),
      [['a'], ['b', 'c']],
    )
  })

  test('a step that is larger than a batch, is appended in several, and answered after the last', async () => {
    const log = new FakeLog()
    const partition = open(log)
    await partition.load()
    const texts = Array.from({ length: 50 }, (_, i) => `${i}`.padEnd(150, '.'))
    assert.equal(await noted(partition, texts), 50)
    assert.deepEqual(
      log.batches.flatMap((batch) => batch.texts),
      texts,
    )
    for (const { bytes } of log.batches) assert(bytes.length <= BATCH_BYTES_MAX + 100)
  })

  test('without memory for a batch, waits for it and tells nobody to come back', async () => {
    const log = new FakeLog()
    const partition = open(log)
    await partition.load()
    log.busy = 3
    assert.equal(await noted(partition, ['late']), 1)
    assert.equal(log.busy, 0)
  })

  test('an append that fails, tells who waits to come back, and reads the log anew', async () => {
    const log = new FakeLog()
    const partition = open(log)
    await partition.load()
    await noted(partition, ['kept'])
    log.appendError = new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, 'write notes-0')
    assert.equal(await noted(partition, ['lost']), -ErrorCode.COORDINATOR_NOT_AVAILABLE)
    assert.equal(await noted(partition, ['early']), -ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
    while (partition.machine === null) await new Promise((resolve) => setTimeout(resolve, 20))
    assert.deepEqual(partition.machine.known, ['kept'])
  })

  test('a log whose first records are deleted, is read from its start', async () => {
    const log = new FakeLog()
    for (const text of ['gone', 'left']) {
      const builder = new BatchBuilder()
      builder.append(0, NOTHING, Buffer.from(text))
      log.add(builder.buildSync())
    }
    log.logStart = 1
    const partition = open(log)
    await partition.load()
    assert.deepEqual(partition.machine?.known, ['left'])
  })

  test('a record that cannot be read, is said, serves nobody and ends nothing', async () => {
    const log = new FakeLog()
    const builder = new BatchBuilder()
    builder.append(0, NOTHING, Buffer.from('damaged'))
    log.add(builder.buildSync())
    const lines: string[] = []
    const partition = open(log, lines)
    void partition.load()
    while (lines.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    assert.match(lines[0] as string, /^notes-0 could not be read: its groups are not served/)
    assert.equal(await noted(partition, ['x']), -ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
    partition.stop()
  })
})

function batch(records: number): Uint8Array {
  const builder = new BatchBuilder()
  for (let i = 0; i < records; i++) builder.append(0, NOTHING, Buffer.from('note'))
  return builder.buildSync()
}

test('many partitions that load at once take turns, and let others run in between', async () => {
  // A record takes a millisecond: time is counted in records that were read.
  let nowMs = 0
  let longestMs = 0
  let sinceMs = 0
  let isOver = false
  const watch = (): void => {
    longestMs = Math.max(longestMs, nowMs - sinceMs)
    sinceMs = nowMs
    if (!isOver) setImmediate(watch)
  }
  const slices = new Slices(() => nowMs)
  const partitions = Array.from({ length: 50 }, () => {
    const log = new FakeLog()
    for (let i = 0; i < 3; i++) log.add(batch(100))
    return open(log, [], slices, () => nowMs++)
  })
  watch()
  await Promise.all(partitions.map((partition) => partition.load()))
  isOver = true
  assert.ok(longestMs > 0 && longestMs < 200, `${longestMs} records in one go`)
  assert.equal(nowMs, 50 * 300)
})
