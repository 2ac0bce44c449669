/** Record batches and their compressed contents. */
import assert from 'node:assert/strict'
import { gzipSync } from 'node:zlib'
import zstd from '@mongodb-js/zstd'
import snappy from 'snappy'
import { viewOf } from '../../../src/base/bytes.ts'
import { loadNative } from '../../../src/base/native.ts'
import { decodeBatchSync } from '../../../src/record/batch.ts'
import { BatchBuilder } from '../../../src/record/batch-builder.ts'
import { STAMP_WORDS } from '../../../src/record/batch-engine.ts'
import { jsBatchEngine } from '../../../src/record/batch-engine-js.ts'
import { nativeBatchEngine } from '../../../src/record/batch-engine-native.ts'
import {
  ATTRIBUTES,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH,
  CRC,
  INFO_WORDS,
  LENGTH_PREFIX_BYTES,
} from '../../../src/record/batch-layout.ts'
import {
  COMPRESSION_GZIP,
  COMPRESSION_LZ4,
  COMPRESSION_SNAPPY,
  COMPRESSION_ZSTD,
  type CompressionCode,
  compressSync,
  decompress,
} from '../../../src/record/compression.ts'
import { crc32c } from '../../../src/record/crc32c.ts'
import { decompressLz4 } from '../../../src/record/lz4-frame.ts'
import { RecordError } from '../../../src/record/record-error.ts'
import { decompressSnappy } from '../../../src/record/snappy-framing.ts'
import { checkZstd } from '../../../src/record/zstd-frame.ts'
import { int } from '../../hostile/kafka-message.ts'
import { EDGE_INTEGERS, join } from '../mutate.ts'
import { type FuzzTarget, tolerate } from '../target.ts'

const SYNC_CODES = [COMPRESSION_GZIP, COMPRESSION_SNAPPY, COMPRESSION_LZ4] as const

const isRecordError = (error: unknown): boolean => error instanceof RecordError

/** Makes every batch's CRC right, as far as the lengths lead: a liar knows how to compute one. */
export function repairCrcs(bytes: Uint8Array): void {
  const view = viewOf(bytes)
  for (let at = 0; at + BATCH_HEADER_BYTES <= bytes.length; ) {
    const size = view.getInt32(at + BATCH_LENGTH) + LENGTH_PREFIX_BYTES
    if (size < BATCH_HEADER_BYTES || at + size > bytes.length) return
    view.setUint32(at + CRC, crc32c(bytes, at + ATTRIBUTES, at + size))
    at += size
  }
}

export function sampleBatches(): Uint8Array[] {
  const build = (records: number, options: object): Uint8Array => {
    const builder = new BatchBuilder()
    for (let i = 0; i < records; i++) {
      const headers = i % 2 === 0 ? [{ key: 'h', value: Buffer.from('v') }] : undefined
      builder.append(1_700_000_000_000 + i, Buffer.from(`key ${i}`), Buffer.from('value'), headers)
    }
    return builder.buildSync(options)
  }
  const plain = build(1, {})
  return [
    plain,
    build(3, { producerId: 5, producerEpoch: 1, baseSequence: 7 }),
    ...SYNC_CODES.map((compression) => {
      return build(3, { compression })
    }),
    join(plain, build(2, {}), plain),
  ]
}

const native = loadNative()
const engines = [jsBatchEngine, ...(native === null ? [] : [nativeBatchEngine(native)])]
const BATCHES_MAX = 8
const RECORDS_BYTES_MAX = 256 * 1024

/**
 * The first byte chooses: 1 right CRCs, 2 LogAppendTime, 4 control batches allowed, 8 a low limit.
 * Both engines must say and write the same; a batch that is taken decodes, or is a RecordError.
 */
export const batch: FuzzTarget = {
  name: 'batch',
  bytesMax: 1024,
  seeds: () =>
    sampleBatches().flatMap((bytes) => [0, 1, 3, 5].map((f) => join([f] as never, bytes))),
  dictionary: [...EDGE_INTEGERS.map((value) => int(4, value)), int(8, -1), int(8, 2 ** 52)],
  run(input) {
    const flags = input[0] ?? 0
    const bytes = input.slice(1)
    if ((flags & 1) !== 0) repairCrcs(bytes)
    const stamp = new Float64Array(STAMP_WORDS)
    stamp.set([70, 5, (flags & 2) !== 0 ? 1_700_000_001_000 : -1, (flags & 8) !== 0 ? 100 : 1e6])
    stamp.set([1_700_000_002_000, (flags & 4) !== 0 ? 1 : 0], 4)
    const results = engines.map((engine) => {
      const run = bytes.slice()
      const info = new Float64Array(BATCHES_MAX * INFO_WORDS)
      const answer = engine.validateAndStamp(run, 0, run.length, stamp, info)
      return { answer, run, info: answer > 0 ? info.slice(0, answer * INFO_WORDS) : null }
    })
    const [first, second] = results
    assert(first !== undefined)
    if (second !== undefined) assert.deepEqual(second, first)
    if (first.answer < 0) assert.deepEqual(first.run, bytes, 'a refused run was written to')
    readBatches(first.run)
  },
}

function readBatches(bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    const options = { recordsBytesMax: RECORDS_BYTES_MAX }
    const decoded = tolerate(isRecordError, () => decodeBatchSync(bytes, at, options))
    if (decoded === null) return
    tolerate(isRecordError, () => {
      let count = 0
      for (const { offset } of decoded) {
        assert(offset >= decoded.header.baseOffset)
        count++
      }
      assert.equal(count, decoded.header.recordsCount)
    })
    at += decoded.header.bytes
  }
}

const PLAIN = Buffer.from('some words and some words and some other words '.repeat(20))
const INFLATED_BYTES_MAX = 64 * 1024
const CODES: readonly CompressionCode[] = [
  COMPRESSION_GZIP,
  COMPRESSION_SNAPPY,
  COMPRESSION_LZ4,
  COMPRESSION_ZSTD,
]

/** The libraries alone: what the checks in front of them let through must stay in its bound. */
async function inflateUnbounded(code: CompressionCode, bytes: Uint8Array): Promise<Uint8Array> {
  if (code === COMPRESSION_SNAPPY) return decompressSnappy(bytes, INFLATED_BYTES_MAX)
  if (code === COMPRESSION_LZ4) return decompressLz4(bytes, INFLATED_BYTES_MAX)
  if (code === COMPRESSION_GZIP) return decompress(code, bytes, INFLATED_BYTES_MAX)
  const checked = checkZstd(bytes, INFLATED_BYTES_MAX)
  try {
    return await zstd.decompress(Buffer.from(checked))
  } catch (error) {
    throw new RecordError(2, 'zstd', error)
  }
}

/** The first byte chooses the codec: no result beyond the limit, no error but RecordError. */
export const decompression: FuzzTarget = {
  name: 'decompress',
  bytesMax: 2048,
  seeds: () => [
    ...SYNC_CODES.flatMap((code) => {
      return [PLAIN, Buffer.alloc(100_000)].map((text) => tagged(code, compressSync(code, text)))
    }),
    tagged(COMPRESSION_SNAPPY, snappy.compressSync(PLAIN)),
    tagged(COMPRESSION_GZIP, gzipSync(PLAIN, { level: 0 })),
    ...ZSTD_SEEDS.map((bytes) => tagged(COMPRESSION_ZSTD, bytes)),
  ],
  dictionary: [
    Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd),
    Uint8Array.of(0x50, 0x2a, 0x4d, 0x18),
    Uint8Array.of(0x04, 0x22, 0x4d, 0x18),
    Uint8Array.of(0x1f, 0x8b, 8, 0),
    Uint8Array.of(0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0),
    ...EDGE_INTEGERS.map((value) => int(4, value).reverse()),
  ],
  async run(input) {
    const code = CODES[(input[0] ?? 0) % CODES.length] as CompressionCode
    const bytes = input.slice(1)
    try {
      const inflated = await inflateUnbounded(code, bytes)
      assert(inflated.length <= INFLATED_BYTES_MAX, `${inflated.length} bytes came out`)
    } catch (error) {
      if (!(error instanceof RecordError)) throw error
    }
  },
}

const ZSTD_SEEDS: readonly Uint8Array[] = await Promise.all(
  [PLAIN, Buffer.alloc(100_000), Buffer.from(PLAIN.map((byte, i) => byte ^ (i * 7)))].map((text) =>
    zstd.compress(text),
  ),
)

function tagged(code: CompressionCode, bytes: Uint8Array): Uint8Array {
  return join(Uint8Array.of(CODES.indexOf(code)), bytes)
}
