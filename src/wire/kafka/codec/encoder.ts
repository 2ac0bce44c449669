import { assert } from '../../../base/assert.ts'
import { ZERO_UUID } from '../../../base/uuid.ts'
import type { ElementType, Field, Fields, MessageSchema } from '../schema/definition.ts'
import { inVersions } from '../schema/version-range.ts'
import type { Writer } from '../writer.ts'
import {
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
 * Compiles the encoder of one version of one message: a function per struct, straight-line. Absent
 * fields take their defaults. A value that the version cannot carry is dropped from a response (the
 * client chose the version) and is a bug of ours in a request, unless the field is ignorable; null
 * where the version does not allow it is always a bug.
 */
export type Encode = (writer: Writer, message: unknown) => void

interface Context {
  readonly source: Source
  readonly version: Version
  readonly strict: boolean
}

export function compileEncoder(schema: MessageSchema, versionNumber: number): Encode {
  const version = {
    number: versionNumber,
    flexible: inVersions(schema.flexible, versionNumber),
  }
  const source = new Source()
  source.constants.push(refuseNull, refuseField, writeRecords)
  const context = { source, version, strict: schema.kind === 'request' }
  const entry = addStruct(context, schema.fields, '')
  return source.compile(entry) as Encode
}

// The first three constants of every encoder, called as c[0] … c[2].
function refuseNull(path: string, version: number): never {
  assert(false, `${path} must not be null in version ${version}`)
}

function refuseField(path: string, version: number): never {
  assert(false, `${path} cannot be sent in version ${version}`)
}

function writeRecords(w: Writer, chunks: Uint8Array | readonly Uint8Array[], compact: boolean) {
  let bytes = 0
  if (chunks instanceof Uint8Array) bytes = chunks.length
  else for (const chunk of chunks) bytes += chunk.length
  if (compact) w.uvarint(bytes + 1)
  else w.int32(bytes)
  if (chunks instanceof Uint8Array) w.external(chunks)
  else for (const chunk of chunks) w.external(chunk)
}

function addStruct(context: Context, fields: Fields, path: string): string {
  const { source, version } = context
  const layout = layoutOf(fields, version, path)
  const lines = ['let p = 0, x']
  let run: Slot[] = []
  const flush = () => {
    if (run.length > 0) lines.push(...writeRun(context, run))
    run = []
  }
  for (const slot of layout.inline) {
    if (fixedBytes(slot.type) > 0) {
      run.push(slot)
    } else {
      flush()
      lines.push(`x = ${fieldValue(context, slot)}`, ...writeSlot(context, slot))
    }
  }
  flush()
  if (context.strict) lines.push(...refuseAbsent(context, layout))
  if (layout.flexible) lines.push(...writeTags(context, layout))
  const name = source.name('encode')
  source.addFunction(`function ${name}(w, v) {\n${lines.join('\n')}\n}`)
  return name
}

/** The field's value, or its default when it is absent. */
function fieldValue({ source }: Context, slot: Slot): string {
  const value = `v.${slot.name}`
  const fallback = source.literal(defaultOf(slot.field))
  // Where null means nothing else, `??` is one comparison; a refused null would be lost, though.
  return slot.field.nullable === undefined
    ? `(${value} ?? ${fallback})`
    : `(${value} === undefined ? ${fallback} : ${value})`
}

function writeRun(context: Context, run: readonly Slot[]): string[] {
  const bytes = run.reduce((sum, slot) => sum + fixedBytes(slot.type), 0)
  const lines = [`p = w.reserve(${bytes})`]
  let offset = 0
  for (const slot of run) {
    lines.push(writeFixed(slot.type as string, `p + ${offset}`, fieldValue(context, slot)))
    offset += fixedBytes(slot.type)
  }
  return lines
}

function writeFixed(type: string, at: string, value: string): string {
  switch (type) {
    case 'bool':
      return `w.view.setInt8(${at}, ${value} ? 1 : 0)`
    case 'int8':
      return `w.view.setInt8(${at}, ${value})`
    case 'int16':
      return `w.view.setInt16(${at}, ${value})`
    case 'uint16':
      return `w.view.setUint16(${at}, ${value})`
    case 'int32':
      return `w.view.setInt32(${at}, ${value})`
    case 'uint32':
      return `w.view.setUint32(${at}, ${value})`
    case 'float64':
      return `w.view.setFloat64(${at}, ${value})`
    case 'int64':
      return `w.int64At(${at}, ${value})`
    default:
      return `w.uuidAt(${at}, ${value})`
  }
}

/** Writes the value that stands in `x`. */
function writeSlot(context: Context, slot: Slot): string[] {
  const { type, nullable, compact } = slot
  const isStruct = typeof type === 'object' && !isArray(type)
  if (type === 'string') {
    if (nullable) return [`w.${compact ? 'compactNullableString' : 'nullableString'}(x)`]
    return [...refuseNullIn(context, slot), `w.${compact ? 'compactString' : 'string'}(x)`]
  }
  if (fixedBytes(type) > 0) {
    return [`p = w.reserve(${fixedBytes(type)})`, writeFixed(type as string, 'p', 'x')]
  }
  const body = writePresent(context, slot)
  if (!nullable) return [...refuseNullIn(context, slot), ...body]
  const none = isStruct ? 'w.int8(-1)' : compact ? 'w.uvarint(0)' : 'w.int32(-1)'
  return [`if (x === null) ${none}`, 'else {', ...(isStruct ? ['w.int8(1)'] : []), ...body, '}']
}

function refuseNullIn({ version }: Context, slot: Slot): string[] {
  const canBeNull = slot.field.nullable !== undefined || slot.type === 'records'
  if (!canBeNull) return []
  return [`if (x === null) c[0](${quote(slot.path)}, ${version.number})`]
}

function writePresent(context: Context, slot: Slot): string[] {
  const { type, compact } = slot
  if (type === 'records') {
    // The content of a tagged field may move in the slab, and external chunks would not follow.
    assert(!slot.tagged, `${slot.path} is a tagged records field`)
    return [`c[2](w, x, ${compact})`]
  }
  const count = compact ? 'w.uvarint(x.length + 1)' : 'w.int32(x.length)'
  if (type === 'bytes') return [count, 'w.raw(x)']
  if (!isArray(type)) return [`${addStruct(context, type as Fields, slot.path)}(w, x)`]
  const [element] = type
  return [count, `for (let i = 0; i < x.length; i++) ${writeElement(context, slot, element)}`]
}

function writeElement(context: Context, slot: Slot, element: ElementType): string {
  if (typeof element === 'object') return `${addStruct(context, element, slot.path)}(w, x[i])`
  const bytes = fixedBytes(element)
  if (bytes > 0) return `{ p = w.reserve(${bytes}); ${writeFixed(element, 'p', 'x[i]')} }`
  assert(element === 'string', `arrays of ${element}`)
  return `w.${slot.compact ? 'compactString' : 'string'}(x[i])`
}

/** Tagged fields are sent only when they differ from their defaults. */
function writeTags(context: Context, { tagged }: Layout): string[] {
  if (tagged.length === 0) return ['w.uvarint(0)']
  const tests = tagged.map((slot, index) => {
    return `const s${index} = ${differs(context, slot.field, `v.${slot.name}`)}`
  })
  const writes = tagged.flatMap((slot, index) => [
    `if (s${index}) {`,
    `const t = w.openTag(${slot.field.tag})`,
    `x = v.${slot.name}`,
    ...writeSlot(context, slot),
    'w.closeTag(t)',
    '}',
  ])
  const sum = tagged.map((_, index) => `(s${index} ? 1 : 0)`).join(' + ')
  return [...tests, `w.uvarint(${sum})`, ...writes]
}

/** A condition: `value` is there and is not the field's default. */
function differs(context: Context, field: Field, value: string): string {
  const { type } = field
  if (field.default === null) return `(${value} !== undefined && ${value} !== null)`
  if (isArray(type) || type === 'bytes') {
    return `(${value} !== undefined && (${value} === null || ${value}.length !== 0))`
  }
  if (type === 'records') return `(${value} !== undefined && ${value} !== null)`
  if (typeof type === 'object') {
    const fields = Object.entries(type)
    const inner = fields.map(([name, child]) => differs(context, child, `${value}.${name}`))
    const nonNull = inner.length === 0 ? 'false' : inner.join(' || ')
    return `(${value} !== undefined && (${value} === null || ${nonNull}))`
  }
  const fallback = type === 'uuid' ? ZERO_UUID : defaultOf(field)
  return `(${value} !== undefined && ${value} !== ${context.source.literal(fallback)})`
}

/** In a request, a value that this version drops although the field matters is our own bug. */
function refuseAbsent(context: Context, layout: Layout): string[] {
  return layout.slots
    .filter((slot) => !slot.inline && !slot.tagged && slot.field.ignorable !== true)
    .map((slot) => {
      const test = differs(context, slot.field, `v.${slot.name}`)
      return `if ${test} c[1](${quote(slot.path)}, ${context.version.number})`
    })
}

function quote(text: string): string {
  return JSON.stringify(text)
}
