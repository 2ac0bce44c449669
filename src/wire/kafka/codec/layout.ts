import { assert } from '../../../base/assert.ts'
import { ZERO_UUID } from '../../../base/uuid.ts'
import type { ElementType, Field, Fields, FieldType, Primitive } from '../schema/definition.ts'
import { inVersions } from '../schema/version-range.ts'

/**
 * One version of one struct, resolved: which fields it carries and how. What the decoder and the
 * encoder compilers have in common. Runs once per codec, never per message.
 */
export interface Slot {
  readonly name: string
  readonly path: string
  readonly field: Field
  readonly type: FieldType
  /** Carried at its place (not tagged) by this version. */
  readonly inline: boolean
  /** Carried as a tagged field by this version. */
  readonly tagged: boolean
  readonly nullable: boolean
  /** Compact encoding of lengths (KIP-482). */
  readonly compact: boolean
}

export interface Layout {
  readonly slots: readonly Slot[]
  /** The slots on the wire, in order. */
  readonly inline: readonly Slot[]
  /** By ascending tag. */
  readonly tagged: readonly Slot[]
  readonly flexible: boolean
}

const FIXED_BYTES: { readonly [type in Primitive]?: number } = {
  bool: 1,
  int8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  float64: 8,
  int64: 8,
  uuid: 16,
}

/** Size of a type that always takes the same number of bytes; else 0. */
export function fixedBytes(type: FieldType): number {
  return typeof type === 'string' ? (FIXED_BYTES[type] ?? 0) : 0
}

export function isArray(type: FieldType): type is readonly [ElementType] {
  return Array.isArray(type)
}

export interface Version {
  readonly number: number
  readonly flexible: boolean
}

export function layoutOf(fields: Fields, version: Version, path: string): Layout {
  const slots = Object.entries(fields).map(([name, field]): Slot => {
    assert(/^[a-z][A-Za-z0-9]*$/.test(name), `field name ${name}`)
    const present = inVersions(field.versions, version.number)
    const tagged = present && version.flexible && inVersions(field.tagged, version.number)
    return {
      name,
      path: path === '' ? name : `${path}.${name}`,
      field,
      type: field.type,
      inline: present && !tagged,
      tagged,
      nullable: inVersions(field.nullable, version.number),
      compact: version.flexible && field.flexible !== 'none',
    }
  })
  return {
    slots,
    inline: slots.filter((slot) => slot.inline),
    tagged: slots
      .filter((slot) => slot.tagged)
      .sort((a, b) => (a.field.tag as number) - (b.field.tag as number)),
    flexible: version.flexible,
  }
}

/** The least number of bytes that a value takes; at least 1, so that counts stay bounded. */
export function bytesMin(type: FieldType, version: Version): number {
  const fixed = fixedBytes(type)
  if (fixed > 0) return fixed
  if (type === 'string') return version.flexible ? 1 : 2
  if (typeof type === 'string' || isArray(type)) return version.flexible ? 1 : 4
  const { inline } = layoutOf(type, version, '')
  const sum = inline.reduce((bytes, slot) => bytes + slotBytesMin(slot, version), 0)
  return Math.max(1, sum + (version.flexible ? 1 : 0))
}

function slotBytesMin(slot: Slot, version: Version): number {
  const isStruct = typeof slot.type === 'object' && !isArray(slot.type)
  return isStruct && slot.nullable ? 1 : bytesMin(slot.type, version)
}

/** The value of a field that is not carried: explicit, or the implicit one of its type. */
export function defaultOf(field: Field): unknown {
  if (field.default !== undefined) return field.default
  const { type } = field
  if (isArray(type)) return Object.freeze([])
  if (typeof type === 'object') return defaultStruct(type)
  if (type === 'string') return ''
  if (type === 'uuid') return ZERO_UUID
  if (type === 'bool') return false
  if (type === 'records') return null
  if (type === 'bytes') return new Uint8Array(0)
  return 0
}

function defaultStruct(fields: Fields): unknown {
  const entries = Object.entries(fields).map(([name, field]) => [name, defaultOf(field)])
  return Object.freeze(Object.fromEntries(entries))
}

/**
 * Source of a function body under construction: lines, numbered local names, and the constants that
 * the code refers to (`c0`, `c1`, …) because they cannot be written as literals.
 */
export class Source {
  readonly constants: unknown[] = []
  readonly #functions: string[] = []
  #names = 0

  name(prefix: string): string {
    return `${prefix}${this.#names++}`
  }

  /** A JavaScript expression for `value`. */
  literal(value: unknown): string {
    if (value === null || typeof value !== 'object') return JSON.stringify(value)
    this.constants.push(value)
    return `c[${this.constants.length - 1}]`
  }

  addFunction(text: string): void {
    this.#functions.push(text)
  }

  /** Builds the functions and returns the one called `entry`. */
  compile(entry: string): unknown {
    const text = `'use strict'\n${this.#functions.join('\n')}\nreturn ${entry}`
    // The text consists of schema constants only, so no input ever reaches this.
    return new Function('c', text)(this.constants)
  }
}
