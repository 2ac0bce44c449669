/**
 * Every client writes, every client reads: the same bytes, keys, headers, timestamps, at the
 * expected offsets. Works on any broker: ours in `client-matrix.test.ts`, Apache Kafka in
 * `clients.manual.ts`.
 */
import assert from 'node:assert/strict'
import { Random } from '../../../src/base/random.ts'
import type {
  ClientLimits,
  Compression,
  Header,
  KafkaClient,
  ReceivedRecord,
  RecordToSend,
} from './client.ts'

const BASE_TIME_MS = 1_700_000_000_000
const BIG_BYTES = 100_000
const SMALL_RECORDS = 40

/** What a reader should see; `timestamp` −1: whatever the writer's clock said. */
interface ExpectedRecord extends ReceivedRecord {
  readonly compression: Compression
}

/** One topic, written by one client in all its compressions, to several partitions. */
export interface WrittenTopic {
  readonly bootstrap: string
  readonly topic: string
  readonly writer: KafkaClient
  /** By partition, in the order of offsets from 0. */
  readonly expected: readonly (readonly ExpectedRecord[])[]
  /** When the first record was sent and the last acknowledged, with a second to spare. */
  readonly fromMs: number
  readonly untilMs: number
}

/**
 * Records that reach the corners of the format, as far as the writer can express them: null and
 * empty keys and values, all byte values, large and compressible, Unicode, repeated header names.
 */
export function sampleRecords(limits: ClientLimits, seed: number): RecordToSend[] {
  const random = new Random(seed)
  const text = (value: string): Uint8Array => Buffer.from(value)
  const allBytes = Uint8Array.from({ length: 256 }, (_, i) => i)
  const empty = new Uint8Array(0)
  const headers: Header[] = [
    { key: 'trace', value: text('1') },
    { key: 'other', value: text('a=b,c') },
    { key: 'trace', value: text('2') },
    { key: 'empty', value: empty },
    { key: 'größe', value: text('日本 🚆') },
  ]
  const plain: Omit<RecordToSend, 'timestamp'>[] = [
    { key: text('key'), value: text('value'), headers: [] },
    { key: null, value: text('no key'), headers: [] },
    { key: text('tombstone'), value: null, headers: [] },
    { key: text('empty value'), value: empty, headers: [] },
    { key: empty, value: text('empty key'), headers: [] },
    { key: allBytes, value: allBytes, headers: [] },
    { key: text('clé 钥匙'), value: text('Grüße, 世界 🌍 \u0000 \n'), headers: [] },
    { key: text('headers'), value: text('with headers'), headers },
    { key: text('big'), value: random.bytes(BIG_BYTES), headers: [] },
    { key: text('dull'), value: new Uint8Array(BIG_BYTES).fill(120), headers: [] },
  ]
  if (limits.mixedEmpties) {
    plain.push({ key: null, value: empty, headers: [] }, { key: empty, value: null, headers: [] })
  }
  if (limits.nullRecords) plain.push({ key: null, value: null, headers: [] })
  if (limits.nullHeaders) {
    plain.push({ key: null, value: text('h'), headers: [{ key: 'none', value: null }] })
  }
  if (limits.binaryHeaders) {
    plain.push({ key: null, value: text('h'), headers: [{ key: 'binary', value: allBytes }] })
  }
  for (let i = 0; i < SMALL_RECORDS; i++) {
    plain.push({ key: text(`k${i}`), value: random.bytes(random.below(200)), headers: [] })
  }
  // Out of order, as CreateTime allows.
  return plain.map((record) => ({ ...record, timestamp: BASE_TIME_MS + random.below(10_000) }))
}

/** Writes to each of the topic's `partitions` in each compression that `writer` has. */
export async function writeTopic(
  writer: KafkaClient,
  target: { bootstrap: string; topic: string; partitions: number },
  seed: number,
): Promise<WrittenTopic> {
  const { bootstrap, topic, partitions } = target
  const expected = Array.from({ length: partitions }, (): ExpectedRecord[] => [])
  const fromMs = Date.now() - 1000
  for (const [round, compression] of writer.limits.compressions.entries()) {
    const records: RecordToSend[] = []
    for (const [partition, log] of expected.entries()) {
      for (const sample of sampleRecords(writer.limits, seed + round * partitions + partition)) {
        records.push({ ...sample, partition })
        const timestamp = writer.limits.timestamps ? (sample.timestamp ?? -1) : -1
        log.push({ ...sample, partition, offset: log.length, timestamp, compression })
      }
    }
    const sent = await writer.produce({ bootstrap, topic, compression, records })
    if (writer.limits.acknowledges) checkSent(sent, records, expected)
  }
  return { bootstrap, topic, writer, expected, fromMs, untilMs: Date.now() + 1000 }
}

function checkSent(
  sent: readonly { partition: number; offset: number }[],
  records: readonly RecordToSend[],
  expected: readonly (readonly ExpectedRecord[])[],
): void {
  assert.equal(sent.length, records.length)
  const perPartition = records.length / expected.length
  for (const [index, { partition, offset }] of sent.entries()) {
    const total = expected[partition]?.length ?? 0
    assert.equal(partition, records[index]?.partition)
    assert.equal(offset, total - perPartition + (index % perPartition))
  }
}

/**
 * Reads with `reader` what it can of the topic, and compares. Returns how many records it compared.
 */
export async function checkTopic(reader: KafkaClient, written: WrittenTopic): Promise<number> {
  const { bootstrap, topic, expected } = written
  let compared = 0
  for (const [partition, log] of expected.entries()) {
    for (const run of readableRuns(reader.limits, log)) {
      const from = run[0]?.offset ?? 0
      const count = run.length
      const got = await reader.consume({ bootstrap, topic, partition, fromOffset: from, count })
      assert.equal(got.length, count)
      for (const [index, record] of run.entries()) {
        compare(got[index] as ReceivedRecord, record, { reader, written })
        compared++
      }
      // From the middle of a batch, too.
      const fromOffset = from + count - 3
      const tail = await reader.consume({ bootstrap, topic, partition, fromOffset, count: 3 })
      assert.deepEqual(
        tail.map((record) => record.offset),
        [fromOffset, fromOffset + 1, fromOffset + 2],
      )
    }
  }
  return compared
}

/** The log without what the reader cannot decompress: what is left, in pieces without a gap. */
function readableRuns(
  { readsCompressions }: ClientLimits,
  log: readonly ExpectedRecord[],
): readonly (readonly ExpectedRecord[])[] {
  const runs: ExpectedRecord[][] = []
  for (const record of log) {
    if (readsCompressions?.includes(record.compression) === false) continue
    const last = runs.at(-1)
    if (last?.at(-1)?.offset === record.offset - 1) last.push(record)
    else runs.push([record])
  }
  return runs
}

function compare(
  got: ReceivedRecord,
  expected: ExpectedRecord,
  context: { reader: KafkaClient; written: WrittenTopic },
): void {
  const { reader, written } = context
  const key = expected.key && Buffer.from(expected.key).toString().slice(0, 20)
  const why =
    `${written.writer.name} → ${reader.name}, ${expected.compression}, ` +
    `partition ${expected.partition}, offset ${expected.offset}, key ${key}`
  assert.equal(got.partition, expected.partition, why)
  assert.equal(got.offset, expected.offset, why)
  assert.ok(sameBytes(got.key, expected.key), `key: ${why}`)
  assert.ok(sameBytes(got.value, expected.value), `value: ${why}`)
  const keepsOrder = reader.limits.headerOrder && written.writer.limits.headerOrder
  const headers = keepsOrder ? expected.headers : grouped(expected.headers)
  assert.deepEqual(got.headers.map(plainHeader), headers.map(plainHeader), why)
  if (expected.timestamp >= 0) {
    assert.equal(got.timestamp, expected.timestamp, why)
  } else {
    const { fromMs, untilMs } = written
    assert.ok(got.timestamp >= fromMs && got.timestamp <= untilMs, `timestamp: ${why}`)
  }
}

function plainHeader({ key, value }: Header): unknown {
  return { key, value: value && Buffer.from(value).toString('hex') }
}

/** Equal names together, names in the order of their first appearance. */
function grouped(headers: readonly Header[]): Header[] {
  const names = new Set(headers.map(({ key }) => key))
  return [...names].flatMap((name) => headers.filter(({ key }) => key === name))
}

function sameBytes(left: Uint8Array | null, right: Uint8Array | null): boolean {
  if (left === null || right === null) return left === right
  return Buffer.compare(left, right) === 0
}
