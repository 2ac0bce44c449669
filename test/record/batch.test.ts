import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { viewOf, writeInt64 } from '../../src/base/bytes.ts'
import { Random } from '../../src/base/random.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import {
  batchBaseOffset,
  batchBytes,
  batchLastOffset,
  batchMaxTimestamp,
  batchProducerId,
  batchRecordsCount,
  decodeBatch,
  decodeBatchSync,
  decodeHeader,
} from '../../src/record/batch.ts'
import { BatchBuilder, recordBytesMax } from '../../src/record/batch-builder.ts'
import {
  ATTRIBUTES,
  BASE_OFFSET,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH,
  CRC,
  LAST_OFFSET_DELTA,
  MAGIC,
  RECORDS_COUNT,
} from '../../src/record/batch-layout.ts'
import { type CompressionCode, compress } from '../../src/record/compression.ts'
import { crc32c } from '../../src/record/crc32c.ts'
import { RecordError } from '../../src/record/record-error.ts'
import type { BatchRecord } from '../../src/record/record-reader.ts'
import { type RecordInput, recordInput, recordInputs, seed } from './support.ts'

const BYTES_MAX = 1024 * 1024
const options = { recordsBytesMax: BYTES_MAX }
const code: fc.Arbitrary<CompressionCode> = fc.constantFrom(0, 1, 2, 3, 4)

function fill(inputs: readonly RecordInput[]): BatchBuilder {
  const builder = new BatchBuilder(100)
  for (const { timestamp, key, value, headers } of inputs) {
    builder.append(timestamp, key, value, headers)
  }
  return builder
}

/** Views and Buffers as plain arrays, so that contents compare. */
function plain(record: BatchRecord): unknown {
  const array = (bytes: Uint8Array | null) => (bytes === null ? null : Array.from(bytes))
  const headers = record.headers.map(({ key, value }) => ({ key, value: array(value) }))
  return { ...record, key: array(record.key), value: array(record.value), headers }
}

/** Writes a right CRC after a test has bent the batch. */
function reseal(bytes: Uint8Array): Uint8Array {
  viewOf(bytes).setUint32(CRC, crc32c(bytes, ATTRIBUTES, bytes.length))
  return bytes
}

function codeOf(error: unknown): number {
  assert.ok(error instanceof RecordError, String(error))
  return error.code
}

test('decodeBatch returns what BatchBuilder was given, for every codec', async () => {
  const property = fc.asyncProperty(recordInputs, code, async (inputs, compression) => {
    const builder = fill(inputs)
    const estimate = builder.bytesEstimate
    const baseOffset = 2 ** 40 + 3
    const bytes = await builder.build({ compression, baseOffset, leaderEpoch: 9 })
    if (compression === 0) assert.equal(bytes.length, estimate)
    const shifted = Buffer.concat([Buffer.alloc(5), bytes, Buffer.alloc(7)])
    const batch = await decodeBatch(shifted, 5, options)
    const expected = inputs.map((input, i) => plain({ ...input, offset: baseOffset + i }))
    assert.deepEqual([...batch].map(plain), expected)
    assert.deepEqual([...batch].map(plain), expected) // A second pass reads the same.
    assert.equal(batch.header.recordsCount, inputs.length)
    assert.equal(batch.header.maxTimestamp, Math.max(...inputs.map((r) => r.timestamp)))
    assert.equal(batch.header.leaderEpoch, 9)
    assert.equal(batch.header.bytes, bytes.length)
    const view = viewOf(shifted)
    assert.equal(batchBytes(view, 5), bytes.length)
    assert.equal(batchBaseOffset(view, 5), baseOffset)
    assert.equal(batchLastOffset(view, 5), baseOffset + inputs.length - 1)
    assert.equal(batchMaxTimestamp(view, 5), batch.header.maxTimestamp)
    assert.equal(batchRecordsCount(view, 5), inputs.length)
  })
  await fc.assert(property, { seed, numRuns: 150 })
})

test('decodeBatchSync equals decodeBatch, and refuses zstd', async () => {
  const inputs: RecordInput[] = [{ timestamp: 5, key: null, value: null, headers: [] }]
  for (const compression of [0, 1, 2, 3] as const) {
    const bytes = fill(inputs).buildSync({ compression })
    const expected = [...(await decodeBatch(bytes, 0, options))].map(plain)
    assert.deepEqual([...decodeBatchSync(bytes, 0, options)].map(plain), expected)
  }
  const zstd = await fill(inputs).build({ compression: 4 })
  assert.throws(
    () => decodeBatchSync(zstd, 0, options),
    (error) => codeOf(error) === ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
  )
})

/** Worked out by hand from the format; what real clients write is in foreign-batches.test.ts. */
test('BatchBuilder writes the very bytes of the format', () => {
  const builder = new BatchBuilder()
  builder.append(1000, Buffer.from('k'), Buffer.from('v'), [{ key: 'h', value: Buffer.from('x') }])
  builder.append(1001, null, null)
  const bytes = builder.buildSync({ producerId: 7, producerEpoch: 2, baseSequence: 3 })
  const header = [
    '0000000000000000', // baseOffset
    '00000045', // batchLength: 81 − 12
    'ffffffff', // partitionLeaderEpoch
    '02', // magic
    Buffer.from(bytes.subarray(CRC, CRC + 4)).toString('hex'),
    '0000', // attributes
    '00000001', // lastOffsetDelta
    '00000000000003e8', // baseTimestamp
    '00000000000003e9', // maxTimestamp
    '0000000000000007', // producerId
    '0002', // producerEpoch
    '00000003', // baseSequence
    '00000002', // recordsCount
  ]
  const first = ['18', '00', '00', '00', '02', '6b', '02', '76', '02', '02', '68', '02', '78']
  const second = ['0c', '00', '02', '02', '01', '01', '00']
  const expected = [...header, first.join(''), second.join('')].join('')
  assert.equal(Buffer.from(bytes).toString('hex'), expected)
  assert.equal(batchProducerId(viewOf(bytes), 0), 7)
})

test('decodeBatch gives every record the append time, when LogAppendTime is set', async () => {
  const builder = fill([
    { timestamp: 10, key: null, value: null, headers: [] },
    { timestamp: 90, key: null, value: null, headers: [] },
  ])
  const batch = await decodeBatch(builder.buildSync({ appendTimeMs: 777 }), 0, options)
  assert.deepEqual(
    [...batch].map((record) => record.timestamp),
    [777, 777],
  )
  assert.equal(batch.header.baseTimestamp, 10)
  assert.equal(batch.header.isLogAppendTime, true)
})

test('decodeBatch accepts the gaps that compaction leaves', async () => {
  const bytes = fill([
    { timestamp: 10, key: null, value: null, headers: [] },
    { timestamp: 11, key: null, value: null, headers: [] },
  ]).buildSync({ baseOffset: 100 })
  viewOf(bytes).setInt32(LAST_OFFSET_DELTA, 9)
  const batch = await decodeBatch(reseal(bytes), 0, options)
  assert.deepEqual(
    [...batch].map((record) => record.offset),
    [100, 101],
  )
})

const BENT: readonly (readonly [string, (view: DataView) => void, number])[] = [
  ['a longer length', (v) => v.setInt32(BATCH_LENGTH, v.byteLength), ErrorCode.CORRUPT_MESSAGE],
  ['a negative length', (v) => v.setInt32(BATCH_LENGTH, -1), ErrorCode.CORRUPT_MESSAGE],
  ['a length of 48', (v) => v.setInt32(BATCH_LENGTH, 48), ErrorCode.CORRUPT_MESSAGE],
  ['magic 1', (v) => v.setInt8(MAGIC, 1), ErrorCode.CORRUPT_MESSAGE],
  ['codec 5', (v) => v.setInt16(ATTRIBUTES, 5), ErrorCode.UNSUPPORTED_COMPRESSION_TYPE],
  ['a negative offset', (v) => writeInt64(v, BASE_OFFSET, -1), ErrorCode.CORRUPT_MESSAGE],
  ['an offset of 2^62', (v) => v.setInt32(BASE_OFFSET, 2 ** 30), ErrorCode.CORRUPT_MESSAGE],
  ['more records than offsets', (v) => v.setInt32(RECORDS_COUNT, 9), ErrorCode.CORRUPT_MESSAGE],
  ['−1 records', (v) => v.setInt32(RECORDS_COUNT, -1), ErrorCode.CORRUPT_MESSAGE],
]
for (const [name, bend, expected] of BENT) {
  test(`decodeBatch refuses ${name}`, async () => {
    const input: RecordInput = { timestamp: 1, key: null, value: Buffer.from('v'), headers: [] }
    const bytes = fill([input, input]).buildSync()
    bend(viewOf(bytes))
    await assert.rejects(
      decodeBatch(reseal(bytes), 0, options),
      (error) => codeOf(error) === expected,
    )
  })
}

test('decodeBatch refuses a count of records that their bytes do not hold', async () => {
  const input: RecordInput = { timestamp: 1, key: null, value: Buffer.from('v'), headers: [] }
  for (const count of [0, 1, 3, 2 ** 31 - 1]) {
    const bytes = fill([input, input]).buildSync()
    viewOf(bytes).setInt32(RECORDS_COUNT, count)
    viewOf(bytes).setInt32(LAST_OFFSET_DELTA, 2 ** 31 - 2)
    const batch = await decodeBatch(reseal(bytes), 0, options)
    assert.throws(
      () => [...batch],
      (error) => codeOf(error) === ErrorCode.CORRUPT_MESSAGE,
    )
  }
})

test('decodeHeader refuses every cut of a batch and every flipped bit that the CRC covers', () => {
  const bytes = fill([{ timestamp: 1, key: null, value: null, headers: [] }]).buildSync()
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => decodeHeader(bytes.subarray(0, length), 0), RecordError)
  }
  for (let bit = CRC * 8; bit < bytes.length * 8; bit++) {
    const flipped = bytes.slice()
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
    assert.throws(() => decodeHeader(flipped, 0), RecordError, `bit ${bit}`)
  }
})

test('decodeBatch refuses or reads any records section behind a right CRC', async () => {
  const random = new Random(seed)
  const property = fc.asyncProperty(recordInputs, code, async (inputs, compression) => {
    const bytes = fill(inputs).buildSync()
    for (let i = random.between(1, 4); i > 0; i--) {
      bytes[random.between(BATCH_HEADER_BYTES, bytes.length - 1)] = random.u32()
    }
    const packed = await compress(compression, bytes.subarray(BATCH_HEADER_BYTES))
    const whole = Buffer.concat([bytes.subarray(0, BATCH_HEADER_BYTES), packed])
    const view = viewOf(whole)
    view.setInt32(BATCH_LENGTH, whole.length - 12)
    view.setInt16(ATTRIBUTES, compression)
    try {
      const records = [...(await decodeBatch(reseal(whole), 0, options))]
      assert.equal(records.length, inputs.length)
    } catch (error) {
      codeOf(error)
    }
  })
  await fc.assert(property, { seed, numRuns: 300 })
})

test('decodeBatch bounds the records of every codec', async () => {
  const value = new Uint8Array(100_000)
  for (const compression of [0, 1, 2, 3, 4] as const) {
    const builder = fill([{ timestamp: 1, key: null, value, headers: [] }])
    const bytes = await builder.build({ compression })
    await assert.rejects(
      decodeBatch(bytes, 0, { recordsBytesMax: 100_000 }),
      (error) => codeOf(error) === ErrorCode.MESSAGE_TOO_LARGE,
    )
  }
})

test('recordBytesMax bounds what append adds, and isFullFor keeps a batch within its limit', () => {
  const property = fc.property(recordInputs, recordInput, (inputs, last) => {
    const builder = new BatchBuilder()
    for (const input of [...inputs, last]) {
      const before = builder.bytesEstimate
      const isFull = builder.isFullFor(input, 4096)
      builder.append(input.timestamp, input.key, input.value, input.headers)
      assert.ok(builder.bytesEstimate - before <= recordBytesMax(input))
      if (!isFull && builder.recordsCount > 1) assert.ok(builder.bytesEstimate <= 4096)
      if (isFull) builder.buildSync()
    }
  })
  fc.assert(property, { seed, numRuns: 200 })
})

test('BatchBuilder starts over after build and leaves the finished batch alone', () => {
  const builder = fill([{ timestamp: 1, key: null, value: Buffer.from('first'), headers: [] }])
  const first = builder.buildSync()
  const copy = first.slice()
  builder.append(2, null, Buffer.from('second'))
  const second = builder.buildSync()
  assert.deepEqual(first, copy)
  assert.equal([...decodeBatchSync(second, 0, options)][0]?.timestamp, 2)
})
