/**
 * The exact size a compressed zstd block decompresses to (RFC 8878, 3.1.1.3), without decompressing
 * it: the literals' size stands in their header, and the match lengths come from the sequences,
 * whose three symbols (literal length LL, offset OF, match length ML) are entropy-coded (FSE) in a
 * bit stream that is read backwards. Literals themselves are skipped.
 *
 * A meter carries the tables from block to block of one frame, as "repeat" modes need. Cold path:
 * only data near its bound gets here.
 */
import { ErrorCode } from '../errors/error-code.ts'
import { BackwardBits, type FseTable, fseFromCounts, readFseTable, rleTable } from './fse.ts'
import { RecordError } from './record-error.ts'

const BLOCK_BYTES_MAX = 128 * 1024
const LITERALS_RLE = 1
const LITERALS_COMPRESSED = 2
const MODE_PREDEFINED = 0
const MODE_RLE = 1
const MODE_FSE = 2
const MATCH_BYTES_MIN = 3

interface SymbolKind {
  readonly symbolMax: number
  readonly accuracyLogMax: number
  readonly predefined: FseTable
}

const LITERAL_LENGTH: SymbolKind = {
  symbolMax: 35,
  accuracyLogMax: 9,
  predefined: fseFromCounts(
    [
      4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1,
      1, -1, -1, -1, -1,
    ],
    6,
  ),
}
const OFFSET: SymbolKind = {
  symbolMax: 31,
  accuracyLogMax: 8,
  predefined: fseFromCounts(
    [1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1],
    5,
  ),
}
const MATCH_LENGTH: SymbolKind = {
  symbolMax: 52,
  accuracyLogMax: 9,
  predefined: fseFromCounts(
    [
      1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
      1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
    ],
    6,
  ),
}

/** Extra bits behind each LL and ML code. An OF code is its own number of extra bits. */
const LITERAL_LENGTH_BITS = Uint8Array.of(
  ...new Array<number>(16).fill(0),
  ...[1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
)
const MATCH_LENGTH_BITS = Uint8Array.of(
  ...new Array<number>(32).fill(0),
  ...[1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
)
/** The smallest match length of each code: codes follow each other without gaps. */
const MATCH_LENGTH_BASE = baselines(MATCH_LENGTH_BITS, MATCH_BYTES_MIN)

export class ZstdBlockMeter {
  #literalLength: FseTable | null = null
  #offset: FseTable | null = null
  #matchLength: FseTable | null = null

  /** The decompressed size of the compressed block bytes[start, end). Throws RecordError. */
  measure(bytes: Uint8Array, start: number, end: number): number {
    const literals = readLiteralsHeader(bytes, start, end)
    let position = literals.end
    const first = byteAt(bytes, position++, end)
    let count = first
    if (first === 255) {
      count = byteAt(bytes, position, end) + (byteAt(bytes, position + 1, end) << 8) + 0x7f00
      position += 2
    } else if (first >= 128) {
      count = ((first - 128) << 8) + byteAt(bytes, position++, end)
    }
    if (count === 0) return literals.size
    const modes = byteAt(bytes, position++, end)
    const at = { position, end }
    this.#literalLength = readTable(bytes, at, modes >> 6, LITERAL_LENGTH, this.#literalLength)
    this.#offset = readTable(bytes, at, (modes >> 4) & 3, OFFSET, this.#offset)
    this.#matchLength = readTable(bytes, at, (modes >> 2) & 3, MATCH_LENGTH, this.#matchLength)
    const bits = new BackwardBits(bytes, at.position, end)
    const size = literals.size + this.#matches(bits, count)
    if (size > BLOCK_BYTES_MAX) throw corrupt('A zstd block is too large')
    return size
  }

  /** The sum of the match lengths of `count` sequences. */
  #matches(bits: BackwardBits, count: number): number {
    const literalTable = this.#literalLength as FseTable
    const offsetTable = this.#offset as FseTable
    const matchTable = this.#matchLength as FseTable
    let literalState = bits.read(literalTable.accuracyLog)
    let offsetState = bits.read(offsetTable.accuracyLog)
    let matchState = bits.read(matchTable.accuracyLog)
    let total = 0
    for (let left = count; left > 0; left--) {
      const matchCode = matchTable.symbols[matchState] as number
      const literalCode = literalTable.symbols[literalState] as number
      bits.skip(offsetTable.symbols[offsetState] as number)
      total += MATCH_LENGTH_BASE[matchCode] as number
      total += bits.read(MATCH_LENGTH_BITS[matchCode] as number)
      bits.skip(LITERAL_LENGTH_BITS[literalCode] as number)
      if (left === 1) break // The last sequence leaves no states behind.
      literalState = nextState(literalTable, literalState, bits)
      matchState = nextState(matchTable, matchState, bits)
      offsetState = nextState(offsetTable, offsetState, bits)
      if (bits.isOverrun) break
    }
    if (bits.isOverrun) throw corrupt('The sequences of a zstd block are cut off')
    return total
  }
}

function nextState(table: FseTable, state: number, bits: BackwardBits): number {
  return (table.baselines[state] as number) + bits.read(table.bitCounts[state] as number)
}

/** What the literals section makes, and where it ends. */
function readLiteralsHeader(
  bytes: Uint8Array,
  start: number,
  end: number,
): { size: number; end: number } {
  const first = byteAt(bytes, start, end)
  const type = first & 3
  const format = (first >> 2) & 3
  let size: number
  let sectionEnd: number
  if (type < LITERALS_COMPRESSED) {
    const headerBytes = format === 1 ? 2 : format === 3 ? 3 : 1
    size = littleEndian(bytes, start, headerBytes, end) >> (headerBytes === 1 ? 3 : 4)
    sectionEnd = start + headerBytes + (type === LITERALS_RLE ? 1 : size)
  } else {
    const headerBytes = format < 2 ? 3 : format + 2
    const sizeBits = format < 2 ? 10 : 4 * format + 6 // 10, 10, 14, 18.
    // At most 40 bits: division instead of shifts.
    const packed = Math.floor(littleEndian(bytes, start, headerBytes, end) / 16)
    size = packed % 2 ** sizeBits
    sectionEnd = start + headerBytes + Math.floor(packed / 2 ** sizeBits)
  }
  if (sectionEnd > end) throw corrupt('The literals of a zstd block are cut off')
  return { size, end: sectionEnd }
}

function readTable(
  bytes: Uint8Array,
  at: { position: number; end: number },
  mode: number,
  kind: SymbolKind,
  previous: FseTable | null,
): FseTable {
  if (mode === MODE_PREDEFINED) return kind.predefined
  if (mode === MODE_RLE) {
    const symbol = byteAt(bytes, at.position++, at.end)
    if (symbol > kind.symbolMax) throw corrupt('A zstd symbol is not known')
    return rleTable(symbol)
  }
  if (mode === MODE_FSE) {
    const read = readFseTable(bytes, at, kind)
    if (read === null) throw corrupt('An entropy table of zstd is malformed')
    return read
  }
  if (previous === null) throw corrupt('A zstd block repeats a table that is not there')
  return previous
}

function baselines(extraBits: Uint8Array, first: number): Uint32Array {
  const out = new Uint32Array(extraBits.length)
  let base = first
  for (const [code, bits] of extraBits.entries()) {
    out[code] = base
    base += 2 ** bits
  }
  return out
}

function byteAt(bytes: Uint8Array, position: number, end: number): number {
  if (position >= end) throw corrupt('A zstd block is cut off')
  return bytes[position] as number
}

function littleEndian(bytes: Uint8Array, start: number, count: number, end: number): number {
  let value = 0
  for (let i = count - 1; i >= 0; i--) value = value * 256 + byteAt(bytes, start + i, end)
  return value
}

function corrupt(message: string): RecordError {
  return new RecordError(ErrorCode.CORRUPT_MESSAGE, message)
}
