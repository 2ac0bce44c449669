import type { Reader } from '../reader.ts'
import type { ElementType, Fields, MessageSchema } from '../schema/definition.ts'
import { inVersions } from '../schema/version-range.ts'
import {
  bytesMin,
  defaultOf,
  fixedBytes,
  isArray,
  type Layout,
  layoutOf,
  type Slot,
  Source,
  type Version,
} from './layout.ts'

/**
 * Compiles the decoder of one version of one message: a function per struct, straight-line, with
 * one bounds check per run of fixed-size fields. Every version builds its objects with the same
 * properties in the same order, so that all versions share one hidden class.
 */
export type Decode = (reader: Reader) => unknown

export function compileDecoder(schema: MessageSchema, versionNumber: number): Decode {
  const version = {
    number: versionNumber,
    flexible: inVersions(schema.flexible, versionNumber),
  }
  const source = new Source()
  const entry = addStruct(source, schema.fields, version, '')
  return source.compile(entry) as Decode
}

function addStruct(source: Source, fields: Fields, version: Version, path: string): string {
  const layout = layoutOf(fields, version, path)
  const variables = new Map(layout.slots.map((slot, index) => [slot, `f${index}`]))
  const variable = (slot: Slot) => variables.get(slot) as string
  const lines = layout.slots.map((slot) =>
    slot.inline
      ? `let ${variable(slot)}`
      : `let ${variable(slot)} = ${source.literal(defaultOf(slot.field))}`,
  )
  lines.push('const view = r.view', 'let p = 0, n = 0')
  for (const run of runsOf(layout.inline)) {
    const [first] = run
    if (first === undefined) continue
    const bytes = run.reduce((sum, slot) => sum + fixedBytes(slot.type), 0)
    if (bytes === 0) {
      lines.push(...readSlot(source, first, version, variable(first)))
      continue
    }
    lines.push(`p = r.take(${bytes}, ${quote(first.path)})`)
    let offset = 0
    for (const slot of run) {
      lines.push(`${variable(slot)} = ${readFixed(slot.type as string, `p + ${offset}`)}`)
      offset += fixedBytes(slot.type)
    }
  }
  if (layout.flexible) lines.push(...readTags(source, layout, version, { path, variable }))
  const properties = layout.slots.map((slot) => `${slot.name}: ${variable(slot)}`)
  const name = source.name('decode')
  source.addFunction(
    `function ${name}(r) {\n${lines.join('\n')}\nreturn { ${properties.join(', ')} }\n}`,
  )
  return name
}

/** Consecutive fixed-size fields belong together; every other field stands alone. */
function runsOf(slots: readonly Slot[]): Slot[][] {
  const runs: Slot[][] = []
  let open: Slot[] | null = null
  for (const slot of slots) {
    const fixed = fixedBytes(slot.type) > 0
    if (fixed && open !== null) {
      open.push(slot)
    } else {
      const run = [slot]
      runs.push(run)
      open = fixed ? run : null
    }
  }
  return runs
}

function readFixed(type: string, at: string): string {
  switch (type) {
    case 'bool':
      return `view.getInt8(${at}) !== 0`
    case 'int8':
      return `view.getInt8(${at})`
    case 'int16':
      return `view.getInt16(${at})`
    case 'uint16':
      return `view.getUint16(${at})`
    case 'int32':
      return `view.getInt32(${at})`
    case 'uint32':
      return `view.getUint32(${at})`
    case 'float64':
      return `view.getFloat64(${at})`
    case 'int64':
      // Exact within ±2^53, as everywhere (base/bytes.ts).
      return `view.getInt32(${at}) * 4294967296 + view.getUint32(${at} + 4)`
    default:
      return `r.uuidAt(${at})`
  }
}

/** Reads a value of any type into `target`. */
function readSlot(source: Source, slot: Slot, version: Version, target: string): string[] {
  const { type, nullable, compact } = slot
  const path = quote(slot.path)
  if (isArray(type)) return readArray(source, slot, version, target)
  if (typeof type === 'object') {
    const call = `${target} = ${addStruct(source, type, version, slot.path)}(r)`
    if (!nullable) return [call]
    return [`if (r.int8(${path}) < 0) ${target} = null`, `else ${call}`]
  }
  if (fixedBytes(type) > 0) {
    return [`p = r.take(${fixedBytes(type)}, ${path})`, `${target} = ${readFixed(type, 'p')}`]
  }
  if (type === 'string') return [`${target} = r.${stringMethod(nullable, compact)}(${path})`]
  const value =
    type === 'records' ? `{ offset: r.take(n, ${path}), length: n }` : `r.bytesField(n, ${path})`
  return [
    `n = r.${compact ? 'compactLength' : 'length'}(${nullable}, ${path})`,
    `${target} = n < 0 ? null : ${value}`,
  ]
}

function readArray(source: Source, slot: Slot, version: Version, target: string): string[] {
  const [element] = slot.type as readonly [ElementType]
  const path = quote(slot.path)
  const least = bytesMin(element, version)
  const lines = [`n = r.${slot.compact ? 'compactLength' : 'length'}(${slot.nullable}, ${path})`]
  const read: string[] = []
  if (typeof element === 'object') {
    const call = `${addStruct(source, element, version, slot.path)}(r)`
    read.push(`for (; n > 0; n--) a.push(${call})`)
  } else if (fixedBytes(element) > 0) {
    read.push(
      `p = r.take(n * ${least}, ${path})`,
      `for (; n > 0; n--, p += ${least}) a.push(${readFixed(element, 'p')})`,
    )
  } else {
    const call = `r.${stringMethod(false, slot.compact)}(${path})`
    read.push(`for (; n > 0; n--) a.push(${call})`)
  }
  lines.push(
    `if (n < 0) ${target} = null`,
    'else {',
    `r.count(n, ${least}, ${path})`,
    'const a = []',
    ...read,
    `${target} = a`,
    '}',
  )
  return lines
}

interface TagContext {
  readonly path: string
  readonly variable: (slot: Slot) => string
}

function readTags(source: Source, layout: Layout, version: Version, context: TagContext): string[] {
  const path = quote(context.path === '' ? 'tags' : `${context.path}.tags`)
  if (layout.tagged.length === 0) return [`r.skipTags(${path})`]
  const cases = layout.tagged.flatMap((slot) => [
    `case ${slot.field.tag}: {`,
    ...readSlot(source, slot, version, context.variable(slot)),
    'break',
    '}',
  ])
  return [
    `for (let tags = r.tagCount(${path}); tags > 0; tags--) {`,
    `const tag = r.uvarint(${path}), outer = r.enter(${path})`,
    'switch (tag) {',
    ...cases,
    'default: r.position = r.end', // Unknown: a later protocol's.
    '}',
    `r.leave(outer, ${path})`,
    '}',
  ]
}

function stringMethod(nullable: boolean, compact: boolean): string {
  if (compact) return nullable ? 'compactNullableString' : 'compactString'
  return nullable ? 'nullableString' : 'string'
}

function quote(text: string): string {
  return JSON.stringify(text)
}
