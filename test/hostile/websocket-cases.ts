/**
 * Messages of `millrace.v1` as they should not be: every value of every field replaced by every
 * kind of value, fields left out and invented, lengths of MessagePack and of the envelope that lie,
 * depth, extensions, prefixes. Derived from one right message of each type.
 */
import { Packr } from 'msgpackr'
import { SAMPLE_MESSAGES } from './websocket-message.ts'

export interface HostileMessage {
  readonly label: string
  /** The whole message: length, envelope, payload. */
  readonly bytes: Buffer
}

const packr = new Packr({ useRecords: false, variableMapSize: true })

const VALUES: readonly (readonly [string, unknown])[] = [
  ['null', null],
  ['true', true],
  ['a fraction', 0.5],
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ...[0, -1, -2, -3, 2 ** 31 - 1, 2 ** 31, -(2 ** 31) - 1, 2 ** 32, 2 ** 53].map((n) => {
    return [String(n), n] as const
  }),
  ['2^63 − 1', 2n ** 63n - 1n],
  ['an empty text', ''],
  ['a path', '../../etc/passwd'],
  ['a long text', 'x'.repeat(1001)],
  ['a text with NUL', 'a\0b'],
  ['a lone surrogate', '\ud800'],
  ['bytes', Buffer.from('bytes')],
  ['an empty list', []],
  ['a list of nulls', [null, null, null, null]],
  ['an empty map', {}],
  ['a list of 10,001', new Array(10_001).fill(0)],
]

/** `envelope` with its own length in front. */
export function messageOf(envelope: unknown, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  return framed(packr.pack(envelope), payload)
}

function framed(packed: Uint8Array, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(packed.length)
  return Buffer.concat([length, packed, payload])
}

/** Every way to put another value in the place of one, at any depth. */
function* replacements(value: unknown, path: string): Generator<[path: string, value: unknown]> {
  for (const [name, other] of VALUES) yield [`${path} is ${name}`, other]
  if (Array.isArray(value)) {
    for (const [index, one] of value.entries()) {
      for (const [where, inner] of replacements(one, `${path}[${index}]`)) {
        yield [where, value.with(index, inner)]
      }
    }
    yield [`${path} has one more`, [...value, value[0]]]
    yield [`${path} has one less`, value.slice(1)]
    yield [`${path} is said 3000 times`, new Array(3000).fill(value[0])]
  } else if (typeof value === 'object' && value !== null && !Buffer.isBuffer(value)) {
    const map = value as Readonly<Record<string, unknown>>
    for (const [name, one] of Object.entries(map)) {
      for (const [where, inner] of replacements(one, `${path}.${name}`)) {
        yield [where, { ...map, [name]: inner }]
      }
      const { [name]: _, ...others } = map
      yield [`${path} without ${name}`, others]
    }
    yield [`${path} with an unknown field`, { ...map, unheardOf: [1, { a: 2 }] }]
  }
}

export function* valueLies(): Generator<HostileMessage> {
  for (const [type, message] of Object.entries(SAMPLE_MESSAGES)) {
    for (const [label, envelope] of replacements(message, type)) {
      yield { label, bytes: messageOf(envelope) }
    }
  }
}

/** Where each length of a packed value stands: [from, to, what it says, how it is widest]. */
function* lengthsIn(
  packed: Buffer,
): Generator<[from: number, to: number, n: number, wide: number]> {
  for (let at = 0; at < packed.length; ) {
    const code = packed[at]!
    const start = at
    if (code >= 0x80 && code <= 0x8f) yield [start, ++at, code & 15, 0xdf]
    else if (code >= 0x90 && code <= 0x9f) yield [start, ++at, code & 15, 0xdd]
    else if (code >= 0xa0 && code <= 0xbf) {
      at += 1 + (code & 31)
      yield [start, start + 1, code & 31, 0xdb]
    } else if (code === 0xc4) {
      at += 2 + packed[at + 1]!
      yield [start, start + 2, packed[start + 1]!, 0xc6]
    } else at += 1 + (FIXED[code] ?? 0)
  }
}

/** Bytes behind the code of a value of fixed size; samples hold no other. */
const FIXED: Readonly<Record<number, number>> = {
  202: 4,
  203: 8,
  204: 1,
  205: 2,
  206: 4,
  207: 8,
  208: 1,
  209: 2,
  210: 4,
  211: 8,
}

export function* lengthLies(): Generator<HostileMessage> {
  for (const [type, message] of Object.entries(SAMPLE_MESSAGES)) {
    const packed = Buffer.from(packr.pack(message))
    for (const [from, to, n, wide] of lengthsIn(packed)) {
      for (const lie of [0, n - 1, n + 1, 1000, 0x7fff_ffff, 0xffff_ffff]) {
        if (lie < 0) continue
        const head = Buffer.alloc(5)
        head[0] = wide
        head.writeUInt32BE(lie, 1)
        const bytes = framed(Buffer.concat([packed.subarray(0, from), head, packed.subarray(to)]))
        yield { label: `${type}: the length at ${from} says ${lie}, is ${n}`, bytes }
      }
    }
    const whole = framed(packed)
    for (const lie of [0, 1, packed.length - 1, packed.length + 1, 0x7fff_ffff, 0xffff_ffff]) {
      const bytes = Buffer.from(whole)
      bytes.writeUInt32BE(lie)
      yield { label: `${type}: an envelope of ${lie} bytes, is ${packed.length}`, bytes }
    }
    for (let length = 0; length < whole.length; length++) {
      yield { label: `${type}: the first ${length} bytes`, bytes: whole.subarray(0, length) }
    }
  }
}

/** MessagePack that is none of ours, or that costs whoever reads it. */
export function* strangers(): Generator<HostileMessage> {
  const deep = (code: number): Buffer => Buffer.alloc(10_000, code)
  const others: readonly (readonly [string, Uint8Array])[] = [
    ['lists 10,000 deep', deep(0x91)],
    ['maps 10,000 deep', Buffer.from('81a161'.repeat(10_000), 'hex')],
    ['an extension', Buffer.from('81a474797065d60100000000', 'hex')],
    ['a time', Buffer.from('81a474797065d6ff65000000', 'hex')],
    ['a record of the library', Buffer.from('d4724093a16101', 'hex')],
    ['the code that is never used', Buffer.from('81a474797065c1', 'hex')],
    ['a key that is a number', Buffer.from('8101a161', 'hex')],
    ['a key that is a list', Buffer.from('8190a161', 'hex')],
    ['__proto__', packr.pack(new Map([['__proto__', { type: 'ping', id: 1 }]]))],
    ['a type that every object has', packr.pack({ type: 'constructor', id: 1 })],
    ['a type of the server', packr.pack({ type: 'hello', versions: [1, 1] })],
    ['a text', packr.pack('ping')],
    ['a list', packr.pack(['ping', 1])],
    ['the same key twice', Buffer.from('82a474797065a470696e67a474797065a0', 'hex')],
    ['invalid UTF-8', Buffer.from('81a474797065a2c080', 'hex')],
    ['bytes behind the value', Buffer.concat([packr.pack({ type: 'ping', id: 1 }), deep(0)])],
  ]
  for (const [label, packed] of others) yield { label, bytes: framed(packed) }
}

export function* hostileMessages(): Generator<HostileMessage> {
  yield* valueLies()
  yield* lengthLies()
  yield* strangers()
}
