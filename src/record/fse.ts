/**
 * Finite-state-entropy tables and the backward bit stream of zstd (RFC 8878, 4.1): as much as
 * measuring a block needs. Malformed input makes null or an overrun, which the caller turns into
 * its own error; nothing here reads outside the range it was given.
 */
import { assert } from '../base/assert.ts'

/** A decoding table; each array is indexed by state and has 2^accuracyLog entries. */
export interface FseTable {
  readonly accuracyLog: number
  readonly symbols: Uint8Array
  /** The next state is its baseline plus `bitCounts[state]` bits of the stream. */
  readonly baselines: Uint16Array
  readonly bitCounts: Uint8Array
}

const ACCURACY_LOG_MIN = 5

/** A table of one symbol that takes no bits. */
export function rleTable(symbol: number): FseTable {
  return {
    accuracyLog: 0,
    symbols: Uint8Array.of(symbol),
    baselines: Uint16Array.of(0),
    bitCounts: Uint8Array.of(0),
  }
}

/**
 * Builds a table from how many states each symbol has; −1: less than one, which gets one state at
 * the end of the table. The counts (−1 as 1) add up to 2^accuracyLog.
 */
export function fseFromCounts(counts: readonly number[], accuracyLog: number): FseTable {
  const size = 1 << accuracyLog
  const symbols = new Uint8Array(size)
  const nextIndex = new Uint16Array(counts.length)
  let high = size - 1
  for (const [symbol, count] of counts.entries()) {
    nextIndex[symbol] = count === -1 ? 1 : count
    if (count === -1) symbols[high--] = symbol
  }
  const step = (size >> 1) + (size >> 3) + 3
  let position = 0
  for (const [symbol, count] of counts.entries()) {
    for (let i = 0; i < count; i++) {
      symbols[position] = symbol
      do position = (position + step) & (size - 1)
      while (position > high)
    }
  }
  assert(position === 0, 'the counts of an FSE table must fill it')
  const baselines = new Uint16Array(size)
  const bitCounts = new Uint8Array(size)
  for (let state = 0; state < size; state++) {
    const symbol = symbols[state] as number
    const next = nextIndex[symbol] as number
    nextIndex[symbol] = next + 1
    const bits = accuracyLog - (31 - Math.clz32(next))
    bitCounts[state] = bits
    baselines[state] = (next << bits) - size
  }
  return { accuracyLog, symbols, baselines, bitCounts }
}

/** Reads a table description at `at.position` and moves it behind; null when malformed. */
export function readFseTable(
  bytes: Uint8Array,
  at: { position: number; readonly end: number },
  limits: { readonly symbolMax: number; readonly accuracyLogMax: number },
): FseTable | null {
  const first = at.position * 8
  const bitEnd = at.end * 8
  let bit = first
  const peek = (count: number): number => forwardBits(bytes, bit, count, bitEnd)
  const accuracyLog = peek(4) + ACCURACY_LOG_MIN
  bit += 4
  if (accuracyLog > limits.accuracyLogMax) return null
  const counts: number[] = []
  let remaining = 1 << accuracyLog // States not given to a symbol yet.
  while (remaining > 0) {
    if (counts.length > limits.symbolMax || bit > bitEnd) return null
    // A value of [0, remaining + 1] in as few bits as possible: small ones save a bit.
    const width = 32 - Math.clz32(remaining + 1)
    const shortValues = 2 ** width - 1 - (remaining + 1)
    let value = peek(width - 1)
    if (value < shortValues) {
      bit += width - 1
    } else {
      value = peek(width)
      bit += width
      if (value >= 2 ** (width - 1)) value -= shortValues
    }
    const count = value - 1
    counts.push(count)
    remaining -= Math.abs(count)
    if (count !== 0) continue
    // Two bits say how many more symbols have none; 3 means that two more bits follow.
    for (let zeros = 3; zeros === 3; ) {
      zeros = peek(2)
      bit += 2
      for (let i = 0; i < zeros; i++) counts.push(0)
      if (counts.length > limits.symbolMax + 1 || bit > bitEnd) return null
    }
  }
  if (remaining !== 0 || bit > bitEnd || counts.length > limits.symbolMax + 1) return null
  at.position += Math.ceil((bit - first) / 8)
  return fseFromCounts(counts, accuracyLog)
}

/** Up to 16 bits at a bit position, least significant first; zeros behind the end. */
function forwardBits(bytes: Uint8Array, bit: number, count: number, bitEnd: number): number {
  const index = bit >> 3
  const last = bitEnd >> 3
  let word = 0
  for (let i = 0; i < 3 && index + i < last; i++) word |= (bytes[index + i] as number) << (8 * i)
  return (word >> (bit & 7)) & ((1 << count) - 1)
}

/**
 * Bits read from the end of bytes[start, end) towards its start. The highest set bit of the last
 * byte only marks where the stream begins.
 */
export class BackwardBits {
  readonly #bytes: Uint8Array
  readonly #firstBit: number
  /** Exclusive end of what is unread, in bits from the start of #bytes. */
  #bit: number

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes
    this.#firstBit = start * 8
    const last = end > start ? (bytes[end - 1] as number) : 0
    // Without a mark nothing can be read: the first read overruns.
    this.#bit = last === 0 ? this.#firstBit - 1 : (end - 1) * 8 + (31 - Math.clz32(last))
  }

  /** True once more was read than there is. */
  get isOverrun(): boolean {
    return this.#bit < this.#firstBit
  }

  skip(count: number): void {
    this.#bit -= count
  }

  /** The next `count` ≤ 16 bits as an integer; 0 past the start of the stream. */
  read(count: number): number {
    this.#bit -= count
    if (this.#bit < this.#firstBit) return 0
    const index = this.#bit >> 3
    const word =
      (this.#bytes[index] as number) |
      ((this.#bytes[index + 1] ?? 0) << 8) |
      ((this.#bytes[index + 2] ?? 0) << 16)
    return (word >> (this.#bit & 7)) & ((1 << count) - 1)
  }
}
