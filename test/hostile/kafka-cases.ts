/**
 * What a hostile or broken client says in the place of a right request: every length and count a
 * lie, every prefix, texts that are no UTF-8 or no topic name, tags, keys and versions that do not
 * exist. Derived from the schemas, so that a new API or version is covered when it is declared.
 */
import {
  bytesOf,
  CORRELATION_ID,
  int,
  type Piece,
  type SampleRequest,
  uvarint,
} from './kafka-message.ts'

export interface HostileCase {
  /** What is wrong: `Produce v9: topicData count says -1`. */
  readonly label: string
  /** Header and body; without the frame's size. */
  readonly body: Buffer
}

const EDGES = [0, -1, -2, 1, 0x7fff_ffff, -0x8000_0000, 0x7fff_fffe, 1_000_000]
const EDGES_16 = [0, -1, -2, 1, 0x7fff, -0x8000]

/** Varints that are wrong by themselves. */
const BROKEN_VARINTS: readonly (readonly [string, Uint8Array])[] = [
  ['a varint of 33 bits', Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x1f)],
  ['a varint of ten bytes', Uint8Array.of(...new Array(9).fill(0xff), 1)],
  ['a varint without an end', new Uint8Array(16).fill(0x80)],
  ['a zero in five bytes', Uint8Array.of(0x80, 0x80, 0x80, 0x80, 0)],
]

const BROKEN_TEXTS: readonly (readonly [string, Uint8Array])[] = [
  ['invalid UTF-8', Uint8Array.of(0xff, 0xfe, 0xc0, 0x80)],
  ['a cut-off character', Uint8Array.of(0xf0, 0x9f, 0x98)],
  ['a surrogate', Uint8Array.of(0xed, 0xa0, 0x80)],
  ['a NUL', Uint8Array.of(0x61, 0, 0x62)],
]

/** Names that no topic may have, or that would be one file on a careless disk. */
export const BAD_TOPIC_NAMES: readonly string[] = [
  '',
  '.',
  '..',
  '../../etc/passwd',
  '/etc/passwd',
  'a/b',
  'a\\b',
  'a\0b',
  'a b',
  '%2e%2e%2f',
  'C:\\x',
  'é',
  'x'.repeat(250),
  'x'.repeat(32_767),
  '__proto__/x',
]

/** Every way to lie about one length or count. */
export function* lengthLies(sample: SampleRequest): Generator<HostileCase> {
  for (const [index, piece] of sample.pieces.entries()) {
    if (piece.number === undefined) continue
    const truth = piece.number
    const edges = piece.kind === 'int16' ? EDGES_16 : EDGES
    for (const lie of new Set([...edges, truth - 1, truth + 1])) {
      if (lie === truth || (piece.kind === 'uvarint' && lie < -1)) continue
      const bytes =
        piece.kind === 'uvarint' ? uvarint(lie + 1) : int(piece.kind === 'int16' ? 2 : 4, lie)
      yield replaced(sample, index, bytes, `says ${lie}, is ${truth}`)
    }
    if (piece.kind !== 'uvarint') continue
    for (const [what, bytes] of BROKEN_VARINTS) yield replaced(sample, index, bytes, what)
  }
}

const EDGES_64 = [2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n, 2n ** 53n - 1n, -1n, 0n, 1n]

/** Numbers and ids that mean something else: requests that decode; a handler must judge them. */
export function* valueLies(sample: SampleRequest): Generator<HostileCase> {
  for (const [index, piece] of sample.pieces.entries()) {
    const size = piece.bytes.length
    if (piece.kind !== 'value' || index < 3) continue
    if (size === 16) {
      for (const fill of [0, 0xff]) {
        yield replaced(sample, index, new Uint8Array(16).fill(fill), `all ${fill}`)
      }
    }
    if (size === 1 || size === 2 || size === 4) {
      const max = 2 ** (size * 8 - 1) - 1
      for (const value of [0, -1, 1, 2, -2, max, -max - 1]) {
        yield replaced(sample, index, int(size, value), `is ${value}`)
      }
    }
    if (size === 8) {
      for (const value of EDGES_64) yield replaced(sample, index, int(8, value), `is ${value}`)
    }
  }
}

/** Texts of the right length in bytes that are wrong inside, and names that are no topic's. */
export function* textLies(sample: SampleRequest): Generator<HostileCase> {
  for (const [index, piece] of sample.pieces.entries()) {
    if (piece.kind !== 'text') continue
    const others: (readonly [string, Uint8Array])[] = [
      ...BROKEN_TEXTS,
      ...BAD_TOPIC_NAMES.map((name) => {
        return [`is ${JSON.stringify(name.slice(0, 20))}`, Buffer.from(name)] as const
      }),
    ]
    for (const [what, bytes] of others) yield resized(sample, index, bytes, what)
  }
}

/** Counts of more elements than there are bytes, in tags as well, with bytes to spare behind. */
export function* floods(sample: SampleRequest): Generator<HostileCase> {
  for (const [index, piece] of sample.pieces.entries()) {
    if (piece.number === undefined || piece.kind === 'int16') continue
    const count = 100_000
    const bytes = piece.kind === 'uvarint' ? uvarint(count + 1) : int(4, count)
    const { body } = replaced(sample, index, bytes, '')
    for (const fill of [0, 0xff, 1]) {
      yield {
        label: `${sample.label}: ${piece.path} says ${count}, ${fill}s follow`,
        body: Buffer.concat([body, Buffer.alloc(4096, fill)]),
      }
    }
  }
}

/** The request cut off after every byte, and with bytes behind its end. */
export function* prefixes(sample: SampleRequest): Generator<HostileCase> {
  const whole = bytesOf(sample.pieces)
  for (let length = 1; length < whole.length; length++) {
    yield { label: `${sample.label}: the first ${length} bytes`, body: whole.subarray(0, length) }
  }
  for (const fill of [0, 0xff]) {
    const body = Buffer.concat([whole, Buffer.alloc(3, fill)])
    yield { label: `${sample.label}: with three bytes ${fill} behind`, body }
  }
}

/** Pieces left out, said twice, and exchanged with the next. */
export function* disorders(sample: SampleRequest): Generator<HostileCase> {
  const { pieces, label } = sample
  for (const [index, piece] of pieces.entries()) {
    const before = pieces.slice(0, index)
    const after = pieces.slice(index + 1)
    const next = after[0]
    yield { label: `${label}: without ${piece.path}`, body: bytesOf([...before, ...after]) }
    yield {
      label: `${label}: ${piece.path} twice`,
      body: bytesOf([...before, piece, piece, ...after]),
    }
    if (next === undefined) continue
    const swapped = [...before, next, piece, ...after.slice(1)]
    yield { label: `${label}: ${next.path} before ${piece.path}`, body: bytesOf(swapped) }
  }
}

/** Keys and versions that do not exist. */
export function* strangers(sample: SampleRequest): Generator<HostileCase> {
  const whole = bytesOf(sample.pieces)
  const header = (apiKey: number, version: number): Buffer => {
    const head = Buffer.concat([int(2, apiKey), int(2, version), int(4, CORRELATION_ID)])
    return Buffer.concat([head, whole.subarray(head.length)])
  }
  for (const apiKey of [-1, 4, 9999, 0x7fff, -0x8000]) {
    yield { label: `API key ${apiKey} with ${sample.label}`, body: header(apiKey, sample.version) }
  }
  for (const version of [-1, 0x7fff, -0x8000, 100, sample.version + 1]) {
    const body = header(sample.apiKey, version)
    yield { label: `${sample.label}: version ${version}`, body }
  }
}

/** All of them. */
export function* hostileCases(sample: SampleRequest): Generator<HostileCase> {
  yield* lengthLies(sample)
  yield* valueLies(sample)
  yield* textLies(sample)
  yield* floods(sample)
  yield* prefixes(sample)
  yield* disorders(sample)
  yield* strangers(sample)
}

function replaced(
  sample: SampleRequest,
  index: number,
  bytes: Uint8Array,
  what: string,
): HostileCase {
  const piece = sample.pieces[index] as Piece
  const pieces = sample.pieces.with(index, { kind: piece.kind, path: piece.path, bytes })
  return { label: `${sample.label}: ${piece.path} ${what}`, body: bytesOf(pieces) }
}

/** Another text, with a length in front that tells the truth. */
function resized(
  sample: SampleRequest,
  index: number,
  bytes: Uint8Array,
  what: string,
): HostileCase {
  const lengthPiece = sample.pieces[index - 1] as Piece
  const length = lengthPiece.kind === 'uvarint' ? uvarint(bytes.length + 1) : int(2, bytes.length)
  const pieces = sample.pieces
    .with(index - 1, { ...lengthPiece, bytes: length })
    .with(index, { ...(sample.pieces[index] as Piece), bytes })
  return { label: `${sample.label}: ${sample.pieces[index]?.path} ${what}`, body: bytesOf(pieces) }
}
