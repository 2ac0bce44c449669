/**
 * Changes of an input that find bugs: bits, integers at the edges of their types, pieces copied,
 * moved, dropped and inserted, words of a dictionary, and splices with another input.
 */
import type { Random } from '../../src/base/random.ts'

/** What counts and lengths are when somebody lies. */
export const EDGE_INTEGERS: readonly number[] = [
  0, 1, -1, 2, -2, 3, 4, 7, 8, 15, 16, 48, 49, 50, 60, 61, 62, 127, 128, 255, 256, 257, 4095, 4096,
  32_767, 32_768, -32_768, 65_535, 65_536, 1_000_000, 0x7fff_fffe, 0x7fff_ffff, -0x8000_0000,
]

const EDGE_BYTES = [0, 1, 0x7f, 0x80, 0x81, 0xc0, 0xdf, 0xfe, 0xff]

type Mutation = (input: Uint8Array, random: Random) => Uint8Array

const MUTATIONS: readonly Mutation[] = [
  flipBit,
  flipBit,
  setByte,
  setByte,
  setInteger,
  setInteger,
  addToInteger,
  setVarint,
  dropPiece,
  cut,
  insertBytes,
  copyPiece,
  repeatPiece,
]

export interface MutateParts {
  readonly random: Random
  readonly bytesMax: number
  readonly dictionary: readonly Uint8Array[]
  /** What may be spliced in. */
  readonly corpus: readonly Uint8Array[]
}

/** A changed copy of `input`, at most `bytesMax` long; the input stays as it is. */
export function mutate(input: Uint8Array, parts: MutateParts): Uint8Array {
  const { random, bytesMax, dictionary, corpus } = parts
  let output: Uint8Array = input.slice()
  for (let left = 1 << random.below(4); left > 0; left--) {
    const choice = random.below(MUTATIONS.length + 4)
    if (choice < MUTATIONS.length) output = (MUTATIONS[choice] as Mutation)(output, random)
    else if (choice < MUTATIONS.length + 2 && dictionary.length > 0) {
      output = place(output, random.pick(dictionary), random)
    } else if (choice === MUTATIONS.length + 2 && corpus.length > 0) {
      output = splice(output, random.pick(corpus), random)
    }
  }
  return output.length > bytesMax ? output.slice(0, bytesMax) : output
}

function flipBit(input: Uint8Array, random: Random): Uint8Array {
  if (input.length > 0) input[random.below(input.length)]! ^= 1 << random.below(8)
  return input
}

function setByte(input: Uint8Array, random: Random): Uint8Array {
  if (input.length === 0) return input
  input[random.below(input.length)] = random.chance(0.5) ? random.pick(EDGE_BYTES) : random.u32()
  return input
}

const WIDTHS = [1, 2, 4, 8]

/** Where an integer of some width may stand; −1 when none fits. */
function spot(input: Uint8Array, width: number, random: Random): number {
  return input.length < width ? -1 : random.below(input.length - width + 1)
}

function writeInteger(input: Uint8Array, at: number, width: number, value: number): void {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength)
  if (width === 1) view.setInt8(at, value)
  else if (width === 2) view.setInt16(at, value)
  else if (width === 4) view.setInt32(at, value)
  else view.setBigInt64(at, BigInt(value))
}

function setInteger(input: Uint8Array, random: Random): Uint8Array {
  const width = random.pick(WIDTHS)
  const at = spot(input, width, random)
  if (at < 0) return input
  writeInteger(input, at, width, random.pick(EDGE_INTEGERS))
  if (random.chance(0.3)) input.subarray(at, at + width).reverse() // Little-endian.
  return input
}

function addToInteger(input: Uint8Array, random: Random): Uint8Array {
  const at = spot(input, 4, random)
  if (at < 0) return input
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength)
  view.setInt32(at, view.getInt32(at) + random.between(-9, 9))
  return input
}

function setVarint(input: Uint8Array, random: Random): Uint8Array {
  if (input.length === 0) return input
  const at = random.below(input.length)
  const varint: number[] = []
  let value = random.pick(EDGE_INTEGERS) >>> 0
  while (value > 0x7f) {
    varint.push((value & 0x7f) | 0x80)
    value >>>= 7
  }
  varint.push(value)
  return join(input.subarray(0, at), Uint8Array.from(varint), input.subarray(at + 1))
}

function dropPiece(input: Uint8Array, random: Random): Uint8Array {
  const [from, to] = piece(input, random)
  return join(input.subarray(0, from), input.subarray(to))
}

function cut(input: Uint8Array, random: Random): Uint8Array {
  return input.slice(0, random.below(input.length + 1))
}

function insertBytes(input: Uint8Array, random: Random): Uint8Array {
  const at = random.below(input.length + 1)
  const bytes = random.chance(0.5)
    ? random.bytes(random.between(1, 8))
    : new Uint8Array(random.between(1, 32)).fill(random.pick(EDGE_BYTES))
  return join(input.subarray(0, at), bytes, input.subarray(at))
}

function copyPiece(input: Uint8Array, random: Random): Uint8Array {
  const [from, to] = piece(input, random)
  if (from === to) return input
  input.copyWithin(random.below(input.length), from, to)
  return input
}

function repeatPiece(input: Uint8Array, random: Random): Uint8Array {
  const [from, to] = piece(input, random)
  const one = input.slice(from, to)
  const many = Array.from({ length: random.between(1, 4) }, () => one)
  return join(input.subarray(0, to), ...many, input.subarray(to))
}

/** Either over what is there or in between. */
function place(input: Uint8Array, word: Uint8Array, random: Random): Uint8Array {
  const at = random.below(input.length + 1)
  const rest = random.chance(0.5) ? at : Math.min(input.length, at + word.length)
  return join(input.subarray(0, at), word, input.subarray(rest))
}

function splice(input: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  const head = input.subarray(0, random.below(input.length + 1))
  return join(head, other.subarray(random.below(other.length + 1)))
}

/** Mostly short: [from, to). */
function piece(input: Uint8Array, random: Random): [number, number] {
  const from = random.below(input.length + 1)
  const longest = random.chance(0.8) ? 16 : input.length
  return [from, Math.min(input.length, from + random.below(longest + 1))]
}

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
