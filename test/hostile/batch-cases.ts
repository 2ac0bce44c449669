/**
 * Record batches that lie: about lengths, counts, offsets, timestamps, producers and checksums, and
 * compressed contents that are a thousand times what they seem. With a right CRC over the lie, too.
 */
import { gzipSync } from 'node:zlib'
import snappy from 'snappy'
import {
  ATTRIBUTES,
  BASE_OFFSET,
  BASE_SEQUENCE,
  BASE_TIMESTAMP,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH,
  CRC,
  LAST_OFFSET_DELTA,
  LEADER_EPOCH,
  LENGTH_PREFIX_BYTES,
  MAGIC,
  MAX_TIMESTAMP,
  PRODUCER_EPOCH,
  PRODUCER_ID,
  RECORDS_COUNT,
} from '../../src/record/batch-layout.ts'
import {
  COMPRESSION_GZIP,
  COMPRESSION_LZ4,
  COMPRESSION_SNAPPY,
  COMPRESSION_ZSTD,
  type CompressionCode,
  compressSync,
} from '../../src/record/compression.ts'
import { crc32c } from '../../src/record/crc32c.ts'
import { batchOf } from '../support/kafka.ts'
import { int, uvarint } from './kafka-message.ts'

export interface HostileBatch {
  readonly label: string
  readonly bytes: Buffer
}

const FIELDS: readonly (readonly [name: string, at: number, size: 1 | 2 | 4 | 8])[] = [
  ['baseOffset', BASE_OFFSET, 8],
  ['batchLength', BATCH_LENGTH, 4],
  ['partitionLeaderEpoch', LEADER_EPOCH, 4],
  ['magic', MAGIC, 1],
  ['crc', CRC, 4],
  ['attributes', ATTRIBUTES, 2],
  ['lastOffsetDelta', LAST_OFFSET_DELTA, 4],
  ['baseTimestamp', BASE_TIMESTAMP, 8],
  ['maxTimestamp', MAX_TIMESTAMP, 8],
  ['producerId', PRODUCER_ID, 8],
  ['producerEpoch', PRODUCER_EPOCH, 2],
  ['baseSequence', BASE_SEQUENCE, 4],
  ['recordsCount', RECORDS_COUNT, 4],
]

function edgesOf(size: number): bigint[] {
  const max = 2n ** BigInt(size * 8 - 1) - 1n
  return [0n, -1n, -2n, 1n, 2n, max, -max - 1n, max - 1n, ...(size === 8 ? [2n ** 53n] : [])]
}

export function withRightCrc(bytes: Buffer): Buffer {
  bytes.writeUInt32BE(crc32c(bytes, ATTRIBUTES, bytes.length), CRC)
  return bytes
}

/** A batch that claims `recordsCount` records in `section`; the rest of its header is right. */
export function batchAround(
  section: Uint8Array,
  compression: CompressionCode,
  recordsCount = 1,
): Buffer {
  const bytes = Buffer.concat([batchOf().subarray(0, BATCH_HEADER_BYTES), section])
  bytes.writeInt32BE(bytes.length - LENGTH_PREFIX_BYTES, BATCH_LENGTH)
  bytes.writeInt16BE(compression, ATTRIBUTES)
  bytes.writeInt32BE(recordsCount, RECORDS_COUNT)
  bytes.writeInt32BE(recordsCount - 1, LAST_OFFSET_DELTA)
  return withRightCrc(bytes)
}

/** Every field of the header at the edges of its type, the CRC right and wrong. */
export function* headerLies(): Generator<HostileBatch> {
  const plain = Buffer.from(batchOf({ values: ['one', 'two'] }))
  for (const [name, at, size] of FIELDS) {
    const truth = size === 8 ? plain.readBigInt64BE(at) : BigInt(plain.readIntBE(at, size))
    for (const value of new Set([...edgesOf(size), truth - 1n, truth + 1n])) {
      const bytes = Buffer.from(plain)
      if (value >= 2n ** BigInt(size * 8 - 1)) continue
      bytes.set(int(size, value), at)
      yield { label: `${name} is ${value}`, bytes: Buffer.from(bytes) }
      if (name !== 'crc')
        yield { label: `${name} is ${value}, CRC right`, bytes: withRightCrc(bytes) }
    }
  }
}

/** Cut off after every byte, said twice, with bytes behind; both counts lying together. */
export function* shapeLies(): Generator<HostileBatch> {
  const plain = Buffer.from(batchOf({ values: ['one', 'two'] }))
  for (let length = 0; length < plain.length; length++) {
    yield { label: `the first ${length} bytes`, bytes: plain.subarray(0, length) }
    if (length < BATCH_HEADER_BYTES) continue
    const cut = Buffer.from(plain.subarray(0, length))
    cut.writeInt32BE(length - LENGTH_PREFIX_BYTES, BATCH_LENGTH)
    yield { label: `cut to ${length} bytes, length and CRC right`, bytes: withRightCrc(cut) }
  }
  yield { label: 'twice', bytes: Buffer.concat([plain, plain]) }
  yield { label: 'zeros behind', bytes: Buffer.concat([plain, Buffer.alloc(70)]) }
  yield { label: 'nothing but 0xff', bytes: Buffer.alloc(100, 0xff) }
  for (const count of [3, 1000, 0x7fff_ffff]) {
    const section = plain.subarray(BATCH_HEADER_BYTES)
    yield { label: `${count} records in two`, bytes: batchAround(section, 0, count) }
  }
}

/** Records whose lengths and counts lie, in a batch whose own are right. */
export function* recordLies(): Generator<HostileBatch> {
  const plain = Buffer.from(batchOf({ values: ['one'] })).subarray(BATCH_HEADER_BYTES)
  const lies = [0, 1, 2, 0x7f, 0x80, 0xfffffffe, 0xffffffff].map((value) => uvarint(value))
  for (let at = 0; at < plain.length; at++) {
    for (const [index, lie] of lies.entries()) {
      const section = Buffer.concat([plain.subarray(0, at), lie, plain.subarray(at + 1)])
      yield { label: `record byte ${at}, varint lie ${index}`, bytes: batchAround(section, 0) }
    }
  }
  for (const code of [1, 2, 3, 4, 5, 6, 7]) {
    const bytes = batchAround(plain, code as CompressionCode)
    yield { label: `plain records under compression code ${code}`, bytes }
  }
}

const MIB = 1024 * 1024

export interface Bomb {
  readonly label: string
  readonly code: CompressionCode
  readonly section: Uint8Array
}

/** A few kilobytes that want to be tens of megabytes to gigabytes. */
export function bombs(): Bomb[] {
  const zeros = Buffer.alloc(64 * MIB)
  const gzip = gzipSync(zeros, { level: 9 })
  const lie = Buffer.concat([uvarint(0xffff_ffff), Buffer.of(0)])
  return [
    { label: 'gzip', code: COMPRESSION_GZIP, section: gzip },
    {
      label: 'gzip, many members',
      code: COMPRESSION_GZIP,
      section: Buffer.concat(Array.from({ length: 8 }, () => gzip)),
    },
    {
      label: 'snappy, raw',
      code: COMPRESSION_SNAPPY,
      section: snappy.compressSync(zeros.subarray(0, 16 * MIB)),
    },
    { label: 'snappy, raw, a length that lies', code: COMPRESSION_SNAPPY, section: lie },
    { label: 'snappy, xerial', code: COMPRESSION_SNAPPY, section: xerialBomb() },
    {
      label: 'LZ4',
      code: COMPRESSION_LZ4,
      section: compressSync(COMPRESSION_LZ4, zeros),
    },
    { label: 'zstd, one byte a block', code: COMPRESSION_ZSTD, section: zstdBomb(8192) },
  ]
}

/** Blocks of a stream that each claim two gigabytes. */
function xerialBomb(): Buffer {
  const head = Buffer.from('82534e4150505900000000010000000' + '1', 'hex')
  const block = Buffer.concat([uvarint(0x7fff_ffff), Buffer.of(0, 0x61)])
  const framed = Buffer.concat([int(4, block.length), block])
  return Buffer.concat([head, ...Array.from({ length: 100 }, () => framed)])
}

/** RFC 8878: each block is one byte said 128 Ki times. */
function zstdBomb(blocks: number): Buffer {
  const head = Buffer.from('28b52ffd0088', 'hex') // No content size; a window of 128 MiB.
  const out = [head]
  for (let i = 0; i < blocks; i++) {
    const header = ((128 * 1024) << 3) | (1 << 1) | (i === blocks - 1 ? 1 : 0)
    out.push(Buffer.of(header & 0xff, (header >> 8) & 0xff, header >> 16, 0))
  }
  return Buffer.concat(out)
}
