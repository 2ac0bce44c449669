import fc from 'fast-check'
import { MessageCodecs } from '../../src/wire/kafka/codec/codecs.ts'
import { defaultOf, isArray, layoutOf, type Slot } from '../../src/wire/kafka/codec/layout.ts'
import { Reader } from '../../src/wire/kafka/reader.ts'
import { API_SCHEMAS, CLUSTER_SCHEMAS } from '../../src/wire/kafka/schema/catalog.ts'
import type { ElementType, Fields, MessageSchema } from '../../src/wire/kafka/schema/definition.ts'
import { requestHeader, responseHeader } from '../../src/wire/kafka/schema/headers.ts'
import { inVersions, parseVersions } from '../../src/wire/kafka/schema/version-range.ts'
import { Writer } from '../../src/wire/kafka/writer.ts'

/**
 * Random messages derived from the schema, and what decoding them must give: the expectation is
 * computed from the schema's data alone, not by the codec under test.
 */
export type Message = { [name: string]: unknown }

export const SCHEMAS: readonly MessageSchema[] = [
  requestHeader,
  responseHeader,
  ...Object.values({ ...API_SCHEMAS, ...CLUSTER_SCHEMAS }).flatMap(({ request, response }) => [
    request,
    response,
  ]),
]

export interface Variant {
  readonly label: string
  readonly schema: MessageSchema
  readonly version: number
  readonly flexible: boolean
}

/** Every (message, version) there is. */
export const VARIANTS: readonly Variant[] = SCHEMAS.flatMap((schema) => {
  const { min, max } = parseVersions(schema.versions)
  return Array.from({ length: max - min + 1 }, (_, index) => {
    const version = min + index
    const flexible = inVersions(schema.flexible, version)
    return { label: `${schema.name} v${version}`, schema, version, flexible }
  })
})

const SEED = Number(process.env.MILLRACE_SEED ?? 20_260_801)

/** Runs a property with the suite's seed; a failure tells how to run it again. */
export function check<T>(arbitrary: fc.Arbitrary<T>, runs: number, property: (value: T) => void) {
  const details = fc.check(fc.property(arbitrary, property), { seed: SEED, numRuns: runs })
  if (!details.failed) return
  const rerun = `MILLRACE_SEED=${SEED} node --test ${process.argv[1]}`
  const cause = details.errorInstance
  throw new Error(`again: ${rerun}\n${fc.defaultReportMessage(details)}`, { cause })
}

export function messageArbitrary({ schema, version, flexible }: Variant): fc.Arbitrary<Message> {
  return fieldsArbitrary(schema.fields, { number: version, flexible })
}

interface VersionOf {
  readonly number: number
  readonly flexible: boolean
}

function fieldsArbitrary(fields: Fields, version: VersionOf): fc.Arbitrary<Message> {
  const { slots } = layoutOf(fields, version, '')
  const carried = slots.filter((slot) => slot.inline || slot.tagged)
  const arbitraries = carried.map((slot) => [slot.name, slotArbitrary(slot, version)])
  // Tagged fields are sometimes left out, so that their defaults are seen too.
  const requiredKeys = carried.filter((slot) => !slot.tagged).map((slot) => slot.name)
  return fc.record(Object.fromEntries(arbitraries), { requiredKeys, noNullPrototype: true })
}

function slotArbitrary(slot: Slot, version: VersionOf): fc.Arbitrary<unknown> {
  const value = isArray(slot.type)
    ? fc.array(elementArbitrary(slot.type[0], version), { maxLength: 3 })
    : elementArbitrary(slot.type, version)
  return slot.nullable ? fc.option(value, { freq: 4 }) : value
}

const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 20 }) },
  { weight: 2, arbitrary: fc.string({ unit: 'grapheme', maxLength: 20 }) },
  { weight: 1, arbitrary: fc.string({ minLength: 60, maxLength: 300 }) },
)
const chunk = fc.uint8Array({ maxLength: 30 })

function elementArbitrary(type: ElementType, version: VersionOf): fc.Arbitrary<unknown> {
  switch (type) {
    case 'int8':
      return fc.integer({ min: -128, max: 127 })
    case 'int16':
      return fc.integer({ min: -32768, max: 32767 })
    case 'uint16':
      return fc.integer({ min: 0, max: 65535 })
    case 'int32':
      return fc.integer()
    case 'uint32':
      return fc.integer({ min: 0, max: 0xffff_ffff })
    case 'int64':
      return fc.oneof(fc.maxSafeInteger(), fc.integer(), fc.constant(2 ** 63))
    case 'float64':
      return fc.double({ noNaN: true })
    case 'bool':
      return fc.boolean()
    case 'string':
      return text
    case 'uuid':
      return fc
        .uint8Array({ minLength: 16, maxLength: 16 })
        .map((bytes) => Buffer.from(bytes).toString('base64url'))
    case 'bytes':
      return chunk
    case 'records':
      return fc.oneof(chunk, fc.array(chunk, { maxLength: 3 }))
    default:
      return fieldsArbitrary(type, version)
  }
}

/** What decoding must give: absent fields filled with defaults, records as plain bytes. */
export function expected(fields: Fields, value: unknown): Message {
  const message = value as Message
  const entries = Object.entries(fields).map(([name, field]) => {
    const given = message[name]
    if (given === undefined) return [name, plain(defaultOf(field))]
    if (given === null) return [name, null]
    if (isArray(field.type)) {
      const [element] = field.type
      return [name, (given as unknown[]).map((item) => expectedElement(element, item))]
    }
    return [name, expectedElement(field.type as ElementType, given)]
  })
  return Object.fromEntries(entries)
}

function expectedElement(type: ElementType, value: unknown): unknown {
  if (typeof type === 'object') return expected(type, value)
  if (type === 'records') return Buffer.concat([value as Uint8Array | Uint8Array[]].flat())
  return plain(value)
}

/** A decoded message with the record ranges replaced by the bytes they point at. */
export function resolved(fields: Fields, value: unknown, bytes: Uint8Array): Message {
  const message = value as Message
  const entries = Object.entries(fields).map(([name, field]) => {
    const given = message[name]
    if (given === null || given === undefined) return [name, given]
    if (field.type === 'records') {
      const { offset, length } = given as { offset: number; length: number }
      return [name, Buffer.from(bytes.slice(offset, offset + length))]
    }
    if (typeof field.type === 'string') return [name, plain(given)]
    if (!isArray(field.type)) return [name, resolved(field.type as Fields, given, bytes)]
    const [element] = field.type
    const items = [...(given as unknown[])]
    if (typeof element === 'string') return [name, items]
    return [name, items.map((item) => resolved(element, item, bytes))]
  })
  return Object.fromEntries(entries)
}

/** Zeros lose their sign on the wire, save in floats, which no message of ours has. */
function plain(value: unknown): unknown {
  if (value === 0) return 0
  return Array.isArray(value) ? [...value] : value
}

const codecs = new Map(SCHEMAS.map((schema) => [schema, new MessageCodecs(schema)]))
const writer = new Writer()

/** The body's bytes: without size prefix and header. */
export function encodeBody({ schema, version }: Variant, message: unknown): Buffer {
  const encode = codecs.get(schema)!.encoder(version)
  writer.start()
  encode(writer, message)
  return Buffer.concat(writer.finish()).subarray(4)
}

/** Decodes bytes[start, end) to the last byte. */
export function decodeBody(variant: Variant, bytes: Uint8Array, start = 0, end = bytes.length) {
  const { schema, version } = variant
  const reader = new Reader(bytes, start, end)
  const message = codecs.get(schema)!.decoder(version)(reader) as Message
  reader.finish(schema.name)
  return message
}
