/** What lies on a disk and may be damaged: segments, indexes, snapshots, checkpoints, metadata. */
import assert from 'node:assert/strict'
import { viewOf } from '../../../src/base/bytes.ts'
import { loadNative } from '../../../src/base/native.ts'
import { uuidFromHex } from '../../../src/base/uuid.ts'
import { BrokerError } from '../../../src/errors/broker-error.ts'
import { decodeMetadataRecord, encodeMetadataRecord } from '../../../src/metadata/record-schema.ts'
import type { MetadataRecord } from '../../../src/metadata/records.ts'
import type { BatchEngine } from '../../../src/record/batch-engine.ts'
import { jsBatchEngine } from '../../../src/record/batch-engine-js.ts'
import { nativeBatchEngine } from '../../../src/record/batch-engine-native.ts'
import { crc32c } from '../../../src/record/crc32c.ts'
import {
  readCheckpoints,
  removeCleanMarks,
  writeCheckpoint,
} from '../../../src/storage/checkpoint.ts'
import { type LogHint, newAppendResult, PartitionLog } from '../../../src/storage/log.ts'
import { OffsetIndex } from '../../../src/storage/offset-index.ts'
import {
  decodeProducerSnapshot,
  encodeProducerSnapshot,
} from '../../../src/storage/producer-snapshot.ts'
import { ProducerState } from '../../../src/storage/producer-state.ts'
import { TimeIndex } from '../../../src/storage/time-index.ts'
import { DecodeError } from '../../../src/wire/kafka/api.ts'
import { int } from '../../hostile/kafka-message.ts'
import {
  append,
  Bench,
  batch,
  concat,
  DIRECTORY,
  offsetsIn,
  readAll,
  START_MS,
  stage,
} from '../../storage/support/fixture.ts'
import { MemoryFiles } from '../../storage/support/memory-files.ts'
import { EDGE_INTEGERS, join } from '../mutate.ts'
import { type FuzzTarget, tolerate } from '../target.ts'
import { repairCrcs, sampleBatches } from './record-targets.ts'

const isBrokerError = (error: unknown): boolean => error instanceof BrokerError
const INTEGERS = EDGE_INTEGERS.flatMap((value) => [int(4, value), int(8, value)])
const FIRST = '00000000000000000000'
const SMALL = { indexIntervalBytes: 100 }

/** A log of a few batches in one segment, closed in order. */
function closedLog(): { bench: Bench; hint: LogHint; content: Uint8Array } {
  const bench = new Bench(SMALL)
  const log = bench.open()
  for (let i = 0; i < 12; i++) {
    const producer = { producerId: 3, producerEpoch: 0, baseSequence: i * 2 }
    append(log, batch({ records: 2, timestamp: START_MS + i * 10, fill: i, ...producer }), 1)
  }
  const hint = log.close()
  return { bench, hint, content: bench.files.contentOf(bench.path(`${FIRST}.log`)) }
}

const CLOSED = closedLog()

/** Another disk with the same log and one file of it replaced. */
function tampered(name: string, content: Uint8Array): Bench {
  const bench = new Bench(SMALL)
  bench.files = CLOSED.bench.files.clone()
  bench.files.tamper(bench.path(name), content)
  return bench
}

/**
 * The bytes are the only segment of a log of which nothing else is known; the first byte chooses
 * whether CRCs are made right. What recovery leaves is a prefix, is sound, takes appends, and a
 * second recovery leaves it as it is.
 */
export const segmentRecovery: FuzzTarget = {
  name: 'segment-recovery',
  bytesMax: 1500,
  seeds: () =>
    [
      CLOSED.content,
      concat(sampleBatches().slice(0, 2)),
      join(CLOSED.content, new Uint8Array(99)),
    ].flatMap((content) => [0, 1].map((flag) => join(Uint8Array.of(flag), content))),
  dictionary: INTEGERS,
  run(input) {
    const content = input.slice(1)
    if (((input[0] ?? 0) & 1) !== 0) repairCrcs(content)
    const bench = new Bench(SMALL)
    bench.files.tamper(bench.path(`${FIRST}.log`), content)
    const log = tolerate(isBrokerError, () => bench.open())
    if (log === null) return
    const left = bench.files.contentOf(bench.path(`${FIRST}.log`))
    assert.deepEqual(left, content.slice(0, left.length), 'recovery wrote something else')
    checkSound(log)
    // Not with the code that recovery itself looks with.
    const right = left.slice()
    repairCrcs(right)
    assert.deepEqual(left, right, 'recovery kept a batch whose CRC is wrong')
    const ends = endsOf(log)
    bench.files.kill()
    const again = bench.open()
    assert.deepEqual(endsOf(again), ends, 'a second recovery differs')
    assert.deepEqual(bench.files.contentOf(bench.path(`${FIRST}.log`)), left)
    stage(again, batch(), Math.max(again.latestEpoch, 0))
    again.writeStaged()
    checkSound(again)
  },
}

const ADDON = loadNative()
const ENGINES = [jsBatchEngine, ...(ADDON === null ? [] : [nativeBatchEngine(ADDON)])]

/**
 * The bytes are what a leader has sent; the first byte chooses whether CRCs are made right. They
 * are taken as they lie or not at all, both engines say the same, and recovery agrees.
 */
export const leaderRun: FuzzTarget = {
  name: 'leader-run',
  bytesMax: 1500,
  seeds: () => {
    const half = CLOSED.content.slice(0, CLOSED.content.length / 2)
    const holes = [half.slice(0, half.length / 6), half.slice(half.length / 2)]
    return [CLOSED.content, half, concat(holes), half.slice(0, -9), new Uint8Array(9)].flatMap(
      (content) => [0, 1].map((flag) => join(Uint8Array.of(flag), content)),
    )
  },
  dictionary: INTEGERS,
  run(input) {
    const content = input.slice(1)
    if (((input[0] ?? 0) & 1) !== 0) repairCrcs(content)
    const taken = ENGINES.map((engine) => takeRun(content.slice(), engine))
    for (const other of taken.slice(1)) assert.deepEqual(other, taken[0])
  },
}

/** What becomes of an empty follower that is sent `run`. */
function takeRun(run: Uint8Array, engine: BatchEngine): unknown {
  const bench = new Bench(SMALL)
  const setup = { directory: DIRECTORY, options: bench.options, hint: null, isReplicated: true }
  const log = PartitionLog.open({ ...bench.context, engine }, setup)
  const out = newAppendResult()
  const before = run.slice()
  log.appendAsFollower({ bytes: run, offset: 0, length: run.length }, out)
  assert.deepEqual(run, before, 'a run was written to')
  assert.equal(log.hasStaged, out.errorCode === 0 && out.baseOffset >= 0)
  log.writeStaged()
  assert.equal(log.logEndOffset, Math.max(0, out.endOffset))
  const bytes = readAll(log, 0, { upTo: 'logEnd' })
  assert.deepEqual(bytes, run.slice(0, bytes.length), 'something else was written')
  assert.deepEqual(log.verify().problems, [])
  const ends = endsOf(log)
  bench.flush(log)
  bench.files.kill()
  const again = PartitionLog.open({ ...bench.context, engine }, setup)
  assert.equal(again.logEndOffset, log.logEndOffset, 'recovery judges otherwise')
  assert.equal(again.latestEpoch, log.latestEpoch)
  assert.deepEqual(readAll(again, 0, { upTo: 'logEnd' }), bytes)
  return { ...out, ends, bytes }
}

function endsOf(log: PartitionLog): number[] {
  return [log.logStartOffset, log.logEndOffset, log.highWatermark, log.recoveryPoint, log.bytes]
}

function checkSound(log: PartitionLog): void {
  assert.deepEqual(log.verify().problems, [])
  const ranges = offsetsIn(readAll(log, log.logStartOffset))
  let next = log.logStartOffset
  for (const { base, last } of ranges) {
    assert(base >= next && last >= base)
    next = last + 1
  }
  assert.equal(next, log.logEndOffset)
}

/** An entry that lies is found, and rebuilt, by whoever follows it; the records are sound. */
function checkOnlyIndexes(log: PartitionLog): void {
  for (const problem of log.verify().problems) assert.match(problem, /index entry/)
}

/** The bytes are the offset index of a sound, cleanly closed log: every read gives the truth. */
export const index: FuzzTarget = {
  name: 'index',
  bytesMax: 200,
  seeds: () => [
    CLOSED.bench.files.contentOf(CLOSED.bench.path(`${FIRST}.index`)),
    new Uint8Array(0),
  ],
  dictionary: INTEGERS,
  run(input) {
    const decoded = OffsetIndex.decode(input, CLOSED.content.length)
    if (decoded !== null) {
      assert.deepEqual(decoded.encode(), input)
      for (let i = 0; i < decoded.count; i++)
        assert.equal(decoded.find(decoded.relativeOffset(i)), i)
    }
    const bench = tampered(`${FIRST}.index`, input)
    const log = bench.open(CLOSED.hint)
    assert.equal(log.logEndOffset, CLOSED.hint.logEndOffset)
    for (let offset = log.logEndOffset - 1; offset >= 0; offset -= 5) {
      const bytes = readAll(log, offset, { maxBytes: 150 })
      const from = CLOSED.content.length - bytes.length
      assert.deepEqual(bytes, CLOSED.content.slice(from), `read from offset ${offset}`)
      assert.equal(offsetsIn(bytes)[0]?.base, offset & ~1)
    }
    append(log, batch(), 1)
    checkOnlyIndexes(log)
  },
}

/** The bytes are its time index: searches end, with a batch of the log or with none. */
export const timeIndex: FuzzTarget = {
  name: 'time-index',
  bytesMax: 200,
  seeds: () => [
    CLOSED.bench.files.contentOf(CLOSED.bench.path(`${FIRST}.timeindex`)),
    new TimeIndex().encode(),
  ],
  dictionary: [...INTEGERS, int(8, START_MS), int(8, START_MS + 60), int(8, 2 ** 53)],
  run(input) {
    const decoded = TimeIndex.decode(input, CLOSED.content.length)
    if (decoded !== null) assert.deepEqual(decoded.encode(), input)
    const log = tampered(`${FIRST}.timeindex`, input).open(CLOSED.hint)
    for (const ms of [0, START_MS + 35, START_MS + 110, 2 ** 52]) {
      const found = tolerate(isBrokerError, () => log.batchForTimestamp(ms, 'logEnd'))
      if (found === null) continue
      assert(found.maxTimestamp >= ms && found.lastOffset < log.logEndOffset)
      assert.equal(offsetsIn(log.readBatch(found))[0]?.base, found.baseOffset)
    }
    tolerate(isBrokerError, () => log.batchOfMaxTimestamp('logEnd'))
    append(log, batch({ timestamp: START_MS + 500 }), 1)
    checkOnlyIndexes(log)
    const hint = log.close()
    assert.equal(hint.logEndOffset, CLOSED.hint.logEndOffset + 1)
  },
}

/**
 * The bytes are a producer snapshot, the first one flags: 1 a right CRC. A snapshot is taken whole
 * or not at all, survives being written again, and never breaks the log that it belongs to.
 */
export const producerSnapshot: FuzzTarget = {
  name: 'producer-snapshot',
  bytesMax: 400,
  seeds: () => {
    const content = CLOSED.bench.files.contentOf(CLOSED.bench.path('00000000000000000024.snapshot'))
    const kafkas = content.slice(0, 56)
    return [content, kafkas, new Uint8Array(10)].map((bytes) => join(Uint8Array.of(1), bytes))
  },
  dictionary: INTEGERS,
  run(input) {
    const bytes = input.slice(1)
    const isRepaired = ((input[0] ?? 0) & 1) !== 0 && bytes.length >= 10
    if (isRepaired) viewOf(bytes).setUint32(2, crc32c(bytes, 6, bytes.length))
    const state = new ProducerState()
    if (decodeProducerSnapshot(bytes, jsBatchEngine, state)) {
      const again = new ProducerState()
      const written = encodeProducerSnapshot(state, jsBatchEngine)
      assert(decodeProducerSnapshot(written, jsBatchEngine, again))
      assert.deepEqual(encodeProducerSnapshot(again, jsBatchEngine), written)
    } else {
      assert.equal(state.count, 0)
    }
    const log = tampered('00000000000000000024.snapshot', bytes).open(CLOSED.hint)
    const producer = { producerId: 3, producerEpoch: 0, baseSequence: 24 }
    for (const spec of [producer, { ...producer, baseSequence: 22, records: 2 }, {}]) {
      tolerate(isBrokerError, () => stage(log, batch(spec), 1))
      log.writeStaged()
    }
    assert.deepEqual(log.verify().problems, [])
  },
}

const TOPIC_ID = uuidFromHex('00112233445566778899aabbccddeeff')

function checkpointOf(clean: boolean, isReplicated = false): Uint8Array {
  const files = new MemoryFiles()
  files.makeDirectory('/d')
  const entries = [0, 1].map((partition) => ({
    topicId: TOPIC_ID,
    partition,
    hint: {
      ...CLOSED.hint,
      clean,
      truncations: partition,
      ...(isReplicated && partition === 0 ? { highWatermark: 7 } : {}),
    },
  }))
  writeCheckpoint(files, { logDirectory: '/d', shard: 0, clean, entries })
  return files.contentOf(clean ? '/d/clean-checkpoint-0' : '/d/recovery-checkpoint-0')
}

/**
 * The bytes are a table of checkpoints; the first byte chooses: 1 a right CRC, 2 a clean one. What
 * is read stays the same when the marks are taken back; a log opens with it or is a BrokerError.
 */
export const checkpoint: FuzzTarget = {
  name: 'checkpoint',
  bytesMax: 300,
  seeds: () =>
    [1, 3].flatMap((flags) =>
      [false, true].map((isReplicated) =>
        join(Uint8Array.of(flags), checkpointOf(flags === 3, isReplicated)),
      ),
    ),
  dictionary: INTEGERS,
  run(input) {
    const flags = input[0] ?? 0
    const bytes = input.slice(1)
    if ((flags & 1) !== 0 && bytes.length >= 16) {
      viewOf(bytes).setUint32(bytes.length - 4, crc32c(bytes, 0, bytes.length - 4))
    }
    const bench = new Bench(SMALL)
    bench.files = CLOSED.bench.files.clone()
    const clean = (flags & 2) !== 0
    bench.files.tamper(clean ? '/d/clean-checkpoint-0' : '/d/recovery-checkpoint-0', bytes)
    const known = readCheckpoints(bench.files, '/d')
    removeCleanMarks(bench.files, '/d')
    const after = readCheckpoints(bench.files, '/d')
    const unclean = [...known].map(([key, hint]) => [key, { ...hint, clean: false }])
    assert.deepEqual(new Map(after), new Map(unclean as never))
    for (const hint of [...known.values()].slice(0, 3)) useLog(bench, hint)
  },
}

/** A hint that may say anything: the log opens and is sound, or refuses as the world's failure. */
function useLog(source: Bench, hint: LogHint): void {
  const bench = new Bench(SMALL)
  bench.files = source.files.clone()
  tolerate(isBrokerError, () => {
    const log = bench.open(hint)
    readAll(log, log.logStartOffset)
    stage(log, batch(), 1)
    log.writeStaged()
    log.verify()
    log.close()
  })
}

const METADATA_RECORDS: readonly MetadataRecord[] = [
  { type: 'broker-start', brokerId: 1, brokerEpoch: 7, clean: true },
  { type: 'topic', topicId: TOPIC_ID, name: 'events' },
  { type: 'partitions', topicId: TOPIC_ID, firstPartition: 0, directories: [TOPIC_ID, TOPIC_ID] },
  { type: 'config', topicId: TOPIC_ID, name: 'retention.ms', value: null },
  { type: 'remove-topic', topicId: TOPIC_ID },
  { type: 'producer-ids', brokerId: 1, nextProducerId: 1000 },
]

/** A record decodes and survives encoding, or is a DecodeError or a newer broker's. */
export const metadataRecord: FuzzTarget = {
  name: 'metadata-record',
  bytesMax: 300,
  seeds: () => METADATA_RECORDS.map((record) => encodeMetadataRecord(record)),
  dictionary: [Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f), ...INTEGERS],
  run(input) {
    const record = tolerate(
      (error) => error instanceof DecodeError || /a newer broker wrote it/.test(String(error)),
      () => decodeMetadataRecord(input),
    )
    if (record === null) return
    assert.deepEqual(decodeMetadataRecord(encodeMetadataRecord(record)), record)
  },
}
