import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  sizeOfUnsignedVarint,
  sizeOfVarint,
  sizeOfVarlong,
  VARLONG_BYTES_MAX,
  VarintCursor,
  VarintError,
  writeUnsignedVarint,
  writeVarint,
  writeVarlong,
} from '../../src/base/varint.ts'

const seed = Number(process.env.MILLRACE_SEED ?? 1)
const parameters = { seed, numRuns: 2000 }
const bytes = new Uint8Array(16)

/** The definition, in big integers and without a thought for speed. */
function zigzagReference(value: bigint): number[] {
  let rest = value >= 0n ? value * 2n : value * -2n - 1n
  const out: number[] = []
  while (rest > 0x7fn) {
    out.push(Number(rest & 0x7fn) | 0x80)
    rest >>= 7n
  }
  return [...out, Number(rest)]
}

/** Powers of two and their neighbours, where widths change. */
function edges(bitsMax: number): number[] {
  const out = [0]
  for (let bits = 0; bits <= bitsMax; bits++) {
    for (const near of [-2, -1, 0, 1, 2]) out.push(2 ** bits + near, -(2 ** bits) + near)
  }
  return out
}

test('writeVarlong equals the definition and reads back, over all safe integers', () => {
  const check = (value: number): void => {
    const end = writeVarlong(bytes, 0, value)
    assert.deepEqual([...bytes.subarray(0, end)], zigzagReference(BigInt(value)), `${value}`)
    assert.equal(sizeOfVarlong(value), end)
    const cursor = new VarintCursor(bytes, 0, end)
    assert.equal(cursor.readVarlong(), value)
    assert.equal(cursor.position, end)
  }
  for (const value of edges(53)) if (Number.isSafeInteger(value)) check(value)
  fc.assert(fc.property(fc.maxSafeInteger(), check), parameters)
})

test('writeVarint equals the definition and reads back, over all 32-bit integers', () => {
  const check = (value: number): void => {
    const end = writeVarint(bytes, 0, value)
    assert.deepEqual([...bytes.subarray(0, end)], zigzagReference(BigInt(value)), `${value}`)
    assert.equal(sizeOfVarint(value), end)
    const cursor = new VarintCursor(bytes, 0, end)
    assert.equal(cursor.readVarint(), value)
    assert.equal(cursor.position, end)
  }
  for (const value of edges(31)) if (value === (value | 0)) check(value)
  fc.assert(fc.property(fc.integer(), check), parameters)
})

test('writeUnsignedVarint reads back, over all unsigned 32-bit integers', () => {
  const check = (value: number): void => {
    const end = writeUnsignedVarint(bytes, 0, value)
    assert.equal(sizeOfUnsignedVarint(value), end)
    const cursor = new VarintCursor(bytes, 0, end)
    assert.equal(cursor.readUnsignedVarint(), value)
    assert.equal(cursor.position, end)
  }
  for (const value of edges(32)) if (value === value >>> 0) check(value)
  fc.assert(fc.property(fc.nat({ max: 0xffff_ffff }), check), parameters)
})

const REFUSED: readonly (readonly [string, 'readVarint' | 'readVarlong' | 'readInt8', number[]])[] =
  [
    ['nothing', 'readVarint', []],
    ['nothing', 'readInt8', []],
    ['a cut varint', 'readVarint', [0x80, 0x80]],
    ['a varint of 33 bits', 'readVarint', [0xff, 0xff, 0xff, 0xff, 0x1f]],
    ['a varint of 6 bytes', 'readVarint', [0x80, 0x80, 0x80, 0x80, 0x80, 0]],
    ['a cut varlong', 'readVarlong', new Array(9).fill(0x80)],
    ['a varlong of 11 bytes', 'readVarlong', [...new Array(10).fill(0x80), 0]],
    ['2^53', 'readVarlong', zigzagReference(2n ** 53n)],
    ['−2^53', 'readVarlong', zigzagReference(-(2n ** 53n))],
    ['2^62', 'readVarlong', zigzagReference(2n ** 62n)],
    ['the smallest 64-bit integer', 'readVarlong', zigzagReference(-(2n ** 63n))],
  ]
for (const [name, read, input] of REFUSED) {
  test(`VarintCursor.${read} refuses ${name}`, () => {
    const cursor = new VarintCursor(Uint8Array.from(input))
    assert.throws(() => cursor[read](), VarintError)
  })
}

test('VarintCursor reads a padded varlong of 10 bytes', () => {
  const cursor = new VarintCursor(Uint8Array.of(0x82, ...new Array(8).fill(0x80), 0))
  assert.equal(cursor.readVarlong(), 1)
  assert.equal(cursor.position, VARLONG_BYTES_MAX)
})

test('VarintCursor never reads past its end, for any bytes', () => {
  const property = fc.property(fc.uint8Array({ maxLength: 12 }), fc.nat(12), (input, cut) => {
    const end = Math.min(cut, input.length)
    for (const read of ['readVarint', 'readUnsignedVarint', 'readVarlong'] as const) {
      const cursor = new VarintCursor(input, 0, end)
      try {
        assert.ok(Number.isSafeInteger(cursor[read]()))
        assert.ok(cursor.position <= end)
      } catch (error) {
        assert.ok(error instanceof VarintError)
      }
    }
  })
  fc.assert(property, parameters)
})
