/**
 * The language in which Kafka's messages are declared: one constant per message, from which the
 * TypeScript types are inferred (here) and the codecs are compiled (`codec/`). Pure data and types.
 *
 * A field's `type` is a primitive name, a nested group of fields (a struct), or a one-element tuple
 * of either (an array). The order of the properties is the order on the wire, so a field name must
 * never look like an integer. Names, types and version ranges are Kafka's; a conformance test
 * compares every declaration with Kafka's own definitions.
 */

/** `3+`, `0-12` or `7`, both ends inclusive. */
export type VersionRange = `${number}+` | `${number}-${number}` | `${number}`

export type Primitive =
  | 'int8'
  | 'int16'
  | 'uint16'
  | 'int32'
  | 'uint32'
  | 'int64'
  | 'float64'
  | 'bool'
  | 'string'
  | 'uuid'
  | 'bytes'
  | 'records'

export type ElementType = Primitive | Fields
export type FieldType = ElementType | readonly [ElementType]

export interface Field {
  readonly type: FieldType
  /** The message versions that carry the field. */
  readonly versions: VersionRange
  /** The versions in which null is a legal value. */
  readonly nullable?: VersionRange
  /**
   * Explicit default; without one it is 0, false, '', the zero uuid, empty, and null for records.
   */
  readonly default?: number | string | boolean | null
  /** Number of a tagged field (KIP-482), and the versions in which it is one. */
  readonly tag?: number
  readonly tagged?: VersionRange
  /** May be dropped silently when a version does not carry it. */
  readonly ignorable?: true
  /** `none` keeps the classic encoding in flexible versions too (the header's client id). */
  readonly flexible?: 'none'
}

export interface Fields {
  readonly [name: string]: Field
}

export interface MessageSchema {
  readonly name: string
  readonly kind: 'request' | 'response' | 'header' | 'record'
  /** −1 for headers and persisted records. */
  readonly apiKey: number
  readonly versions: VersionRange
  readonly flexible: VersionRange | 'none'
  /** The highest version is decodable but not advertised. */
  readonly latestVersionUnstable?: true
  readonly fields: Fields
}

/** Declares a message; an identity function that keeps the literal types. */
export function defineMessage<const M extends MessageSchema>(message: M): M {
  return message
}

/**
 * Where a message's record batches lie: `offset` is an index into the bytes that the reader was
 * given (not relative to its `start`), `length` in bytes. Nothing is copied, so the range is valid
 * only as long as that memory is.
 */
export interface RecordsRange {
  readonly offset: number
  readonly length: number
}

/** What a records field is encoded from: sent as it lies, never copied. */
export type RecordsChunks = Uint8Array | readonly Uint8Array[]

interface Scalars {
  int8: number
  int16: number
  uint16: number
  int32: number
  uint32: number
  int64: number
  float64: number
  bool: boolean
  string: string
  uuid: string
  bytes: Uint8Array
}

type NullOf<F extends Field> = F extends { nullable: string } ? null : never

type DecodedElement<T> = T extends keyof Scalars
  ? Scalars[T]
  : T extends 'records'
    ? RecordsRange
    : T extends Fields
      ? Decoded<T>
      : never

type DecodedField<F extends Field> =
  | (F['type'] extends readonly [infer E]
      ? readonly DecodedElement<E>[]
      : DecodedElement<F['type']>)
  | NullOf<F>

/** A decoded message: every field is there; one that the version does not carry has its default. */
export type Decoded<F extends Fields> = { readonly [K in keyof F]: DecodedField<F[K]> }

type EncodableElement<T, V> = T extends keyof Scalars
  ? Scalars[T]
  : T extends 'records'
    ? RecordsChunks
    : T extends Fields
      ? Encodable<T, V>
      : never

type EncodableField<F extends Field> =
  | (F['type'] extends readonly [infer E]
      ? readonly EncodableElement<E, F['versions']>[]
      : EncodableElement<F['type'], F['versions']>)
  | NullOf<F>

/** Fields without an explicit default that every version of their struct carries. */
type RequiredKeys<F extends Fields, V> = {
  [K in keyof F]: F[K] extends { default: unknown } | { tagged: string } | { ignorable: true }
    ? never
    : F[K]['versions'] extends '0+' | V
      ? K
      : never
}[keyof F]

/**
 * What a message is encoded from: fields with a default, or not in every version, may be absent.
 */
export type Encodable<F extends Fields, V = '0+'> = {
  readonly [K in RequiredKeys<F, V>]: EncodableField<F[K]>
} & {
  readonly [K in Exclude<keyof F, RequiredKeys<F, V>>]?: EncodableField<F[K]> | undefined
}
