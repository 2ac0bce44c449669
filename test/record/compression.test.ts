import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import snappy from 'snappy'
import { Random } from '../../src/base/random.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import {
  COMPRESSION_GZIP,
  COMPRESSION_LZ4,
  COMPRESSION_NAMES,
  COMPRESSION_SNAPPY,
  COMPRESSION_ZSTD,
  type CompressionCode,
  compress,
  decompress,
} from '../../src/record/compression.ts'
import { RecordError } from '../../src/record/record-error.ts'
import { checkZstd } from '../../src/record/zstd-frame.ts'
import { filter, hasProgram, sameBytes, seed } from './support.ts'

const CODES: readonly CompressionCode[] = [0, 1, 2, 3, 4]
const KIB = 1024
const MIB = 1024 * KIB

/** Inputs that reach different paths of the codecs: empty, tiny, dull, noisy, mixed, repetitive. */
function samples(): Uint8Array[] {
  const random = new Random(seed)
  const words = ['event', 'stream', ' ', '"id":', 'ü', '{', '}', '1234']
  const text = Array.from({ length: 60_000 }, () => random.pick(words)).join('')
  const mixed = Buffer.concat(
    Array.from({ length: 60 }, (_, i) =>
      i % 3 === 0 ? random.bytes(random.between(1, 9000)) : Buffer.alloc(random.below(20_000), i),
    ),
  )
  return [
    new Uint8Array(0),
    Uint8Array.of(1),
    Buffer.from('hello hello hello'),
    new Uint8Array(32 * KIB),
    new Uint8Array(32 * KIB + 1),
    random.bytes(70_000),
    new Uint8Array(MIB),
    Buffer.from(text),
    mixed,
  ]
}

async function refusal(code: CompressionCode, bytes: Uint8Array, bytesMax: number) {
  try {
    await decompress(code, bytes, bytesMax)
  } catch (error) {
    assert.ok(error instanceof RecordError, String(error))
    return error.code
  }
  return ErrorCode.NONE
}

for (const code of CODES) {
  const name = COMPRESSION_NAMES[code]

  test(`${name} round-trips and is bounded at exactly its size`, async () => {
    for (const [index, input] of samples().entries()) {
      const packed = await compress(code, input)
      const back = await decompress(code, packed, input.length)
      assert.ok(sameBytes(back, input), `sample ${index}, seed ${seed}`)
      if (input.length === 0) continue
      const refused = await refusal(code, packed, input.length - 1)
      assert.equal(refused, ErrorCode.MESSAGE_TOO_LARGE, `sample ${index}, seed ${seed}`)
    }
  })

  test(`${name} reads from shared memory`, async () => {
    const input = Buffer.from('shared '.repeat(1000))
    const packed = await compress(code, input)
    const shared = new Uint8Array(new SharedArrayBuffer(packed.length + 20), 10, packed.length)
    shared.set(packed)
    assert.ok(sameBytes(await decompress(code, shared, input.length), input))
  })

  test(`${name} refuses or survives mutated bytes`, async () => {
    const random = new Random(seed)
    for (const input of samples().slice(1, 8)) {
      const packed = await compress(code, input)
      for (let round = 0; round < 40; round++) {
        const mutated = mutate(packed, random)
        const bytesMax = input.length
        try {
          const out = await decompress(code, mutated, bytesMax)
          assert.ok(out.length <= bytesMax)
        } catch (error) {
          assert.ok(error instanceof RecordError, `${error}, seed ${seed}`)
        }
      }
    }
  })

  test(`${name} refuses or survives arbitrary bytes`, async () => {
    const property = fc.asyncProperty(fc.uint8Array({ maxLength: 80 }), async (input) => {
      const outcome = await refusal(code, input, 1000)
      assert.notEqual(outcome, ErrorCode.UNKNOWN_SERVER_ERROR)
    })
    await fc.assert(property, { seed, numRuns: 300 })
  })
}

function mutate(packed: Uint8Array, random: Random): Uint8Array {
  const out = packed.slice()
  if (random.chance(0.2)) return out.subarray(0, random.below(out.length))
  for (let i = random.between(1, 3); i > 0; i--) out[random.below(out.length)] = random.u32()
  return out
}

test('decompress refuses a bomb of 64 MiB without inflating it', async () => {
  const zeros = new Uint8Array(64 * MIB)
  for (const code of CODES.slice(1)) {
    const packed = await compress(code, zeros)
    const before = process.memoryUsage().rss
    assert.equal(await refusal(code, packed, MIB), ErrorCode.MESSAGE_TOO_LARGE)
    const grown = process.memoryUsage().rss - before
    assert.ok(grown < 16 * MIB, `${COMPRESSION_NAMES[code]} grew by ${grown} bytes`)
  }
})

test('decompress refuses a size that the data does not have', async () => {
  const lie = Buffer.from(snappy.compressSync(Buffer.from('short')))
  const bomb = Buffer.concat([Buffer.of(0xff, 0xff, 0xff, 0xff, 0x0f), lie.subarray(1)])
  assert.equal(await refusal(COMPRESSION_SNAPPY, bomb, MIB), ErrorCode.MESSAGE_TOO_LARGE)
  lie[0] = 200
  assert.equal(await refusal(COMPRESSION_SNAPPY, lie, MIB), ErrorCode.CORRUPT_MESSAGE)
  // A frame that declares its content size, with one block of 100,000 equal bytes.
  const frame = (declared: number): Buffer => {
    const out = Buffer.from('28b52ffd80500000000000000000', 'hex')
    out.writeUInt32LE(declared, 6)
    out.writeUIntLE((100_000 << 3) | 0b011, 10, 3)
    return out
  }
  assert.equal((await decompress(COMPRESSION_ZSTD, frame(100_000), 100_000)).length, 100_000)
  assert.equal(await refusal(COMPRESSION_ZSTD, frame(10), MIB), ErrorCode.CORRUPT_MESSAGE)
  assert.equal(await refusal(COMPRESSION_ZSTD, frame(10), 20), ErrorCode.MESSAGE_TOO_LARGE)
  assert.equal(await refusal(COMPRESSION_ZSTD, frame(2 ** 31), MIB), ErrorCode.MESSAGE_TOO_LARGE)
})

test('decompress reads snappy in both forms', async () => {
  const input = Buffer.from('raw or framed '.repeat(10_000))
  const raw = snappy.compressSync(input)
  assert.ok(sameBytes(await decompress(COMPRESSION_SNAPPY, raw, input.length), input))
  const framed = await compress(COMPRESSION_SNAPPY, input)
  assert.equal(Buffer.from(framed).toString('latin1', 1, 7), 'SNAPPY')
  assert.deepEqual([...framed.subarray(7, 16)], [0, 0, 0, 0, 1, 0, 0, 0, 1])
  assert.equal(await refusal(COMPRESSION_SNAPPY, raw, 100), ErrorCode.MESSAGE_TOO_LARGE)
})

test('decompress reads gzip of several members', async () => {
  const packed = Buffer.concat([gzipSync('one '), gzipSync('two')])
  const out = await decompress(COMPRESSION_GZIP, packed, 7)
  assert.equal(Buffer.from(out).toString(), 'one two')
  assert.equal(await refusal(COMPRESSION_GZIP, packed, 6), ErrorCode.MESSAGE_TOO_LARGE)
})

const LZ4_OPTIONS = [['-1'], ['-9'], ['-BD', '-B4'], ['-BX', '-B5'], ['--content-size', '-B7']]
test('lz4 agrees with the reference program', { skip: !hasProgram('lz4') }, async () => {
  for (const [index, input] of samples().entries()) {
    for (const options of LZ4_OPTIONS) {
      const foreign = filter('lz4', ['-c', '-z', '--no-frame-crc', ...options], input)
      const back = await decompress(COMPRESSION_LZ4, foreign, input.length)
      assert.ok(sameBytes(back, input), `sample ${index}, ${options}, seed ${seed}`)
    }
    const packed = await compress(COMPRESSION_LZ4, input)
    assert.ok(sameBytes(filter('lz4', ['-d', '-c'], packed), input), `sample ${index}`)
  }
})

const ZSTD_OPTIONS = [['--fast=5'], ['-1'], ['-3'], ['-12'], ['-19']]
test('zstd agrees with the reference program at any level', {
  skip: !hasProgram('zstd'),
}, async () => {
  for (const [index, input] of samples().entries()) {
    for (const options of ZSTD_OPTIONS) {
      // Through a pipe: no content size in the header, a window of the level's own.
      const foreign = filter('zstd', ['-c', '-q', ...options], input)
      const why = `sample ${index}, ${options}, seed ${seed}`
      assert.ok(sameBytes(await decompress(COMPRESSION_ZSTD, foreign, input.length), input), why)
      if (input.length === 0) continue
      // Accepted at its size and refused one below, before the library sees it: the measure is
      // exact.
      checkZstd(foreign, input.length)
      assert.throws(() => checkZstd(foreign, input.length - 1), RecordError, why)
    }
    const packed = await compress(COMPRESSION_ZSTD, input)
    assert.ok(sameBytes(filter('zstd', ['-d', '-c', '-q'], packed), input), `sample ${index}`)
  }
})

test('zstd reads several frames, and skips skippable ones', async () => {
  const one = await compress(COMPRESSION_ZSTD, Buffer.from('one '))
  const two = await compress(COMPRESSION_ZSTD, Buffer.from('two'))
  const skippable = Buffer.from([0x55, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3])
  const out = await decompress(COMPRESSION_ZSTD, Buffer.concat([one, skippable, two]), 7)
  assert.equal(Buffer.from(out).toString(), 'one two')
})

test('zstd refuses a huge window only if the content needs it', {
  skip: !hasProgram('zstd'),
}, async () => {
  const input = Buffer.from('a window of 2 GiB')
  const packed = filter('zstd', ['-c', '-q', '--long=31'], input)
  assert.ok(sameBytes(await decompress(COMPRESSION_ZSTD, packed, MIB), input))
})
