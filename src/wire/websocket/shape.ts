/**
 * What an envelope must look like: small checks, composed, from which TypeScript infers the type.
 * They judge decoded MessagePack, which is a client's input: anything may be there. Pure.
 */
export interface Shape<T> {
  /** True when `value` is a `T` within its bounds. */
  is(value: unknown): value is T
  /** In words, for the message that names what was expected. */
  readonly words: string
}

export type ShapeOf<S> = S extends Shape<infer T> ? T : never

function shape<T>(words: string, is: (value: unknown) => boolean): Shape<T> {
  return { words, is: is as (value: unknown) => value is T }
}

/** An integer in [min, max]. */
export function integer(min: number, max: number): Shape<number> {
  return shape(
    `an integer from ${min} to ${max}`,
    (value) => Number.isInteger(value) && (value as number) >= min && (value as number) <= max,
  )
}

export const u32 = integer(0, 0xffff_ffff)
export const i32 = integer(-0x8000_0000, 0x7fff_ffff)
/** An offset or a time, also the negative ones that have a meaning. */
export const int53 = integer(-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)
export const bytesCount = integer(0, 0x7fff_ffff)
export const bool: Shape<boolean> = shape('true or false', (value) => typeof value === 'boolean')
export const anyBytes: Shape<Uint8Array> = shape('binary', (value) => value instanceof Uint8Array)

/** A string of at most `lengthMax` UTF-16 units. */
export function text(lengthMax: number): Shape<string> {
  return shape(
    `a string of at most ${lengthMax} characters`,
    (value) => typeof value === 'string' && value.length <= lengthMax,
  )
}

export function nullable<T>(inner: Shape<T>): Shape<T | null> {
  return shape(`${inner.words}, or null`, (value) => value === null || inner.is(value))
}

export function either<A, B>(a: Shape<A>, b: Shape<B>): Shape<A | B> {
  return shape(`${a.words}, or ${b.words}`, (value) => a.is(value) || b.is(value))
}

/** An array of at most `countMax` elements, and at least `countMin`. */
export function list<T>(inner: Shape<T>, countMax: number, countMin = 0): Shape<T[]> {
  return shape(`a list of ${countMin} to ${countMax} of ${inner.words}`, (value) => {
    if (!Array.isArray(value) || value.length < countMin || value.length > countMax) return false
    for (const element of value) if (!inner.is(element)) return false
    return true
  })
}

type TupleOf<S extends readonly Shape<unknown>[]> = { -readonly [K in keyof S]: ShapeOf<S[K]> }

/** An array of exactly these. */
export function tuple<const S extends readonly Shape<unknown>[]>(...inner: S): Shape<TupleOf<S>> {
  const words = inner.map((one) => one.words).join(', ')
  return shape(`[${words}]`, (value) => {
    if (!Array.isArray(value) || value.length !== inner.length) return false
    for (let i = 0; i < inner.length; i++)
      if (!(inner[i] as Shape<unknown>).is(value[i])) return false
    return true
  })
}

/** A map with any keys, at most `countMax`. */
export function dictionary<T>(inner: Shape<T>, countMax: number): Shape<Record<string, T>> {
  return shape(`a map of at most ${countMax} of ${inner.words}`, (value) => {
    if (!isMap(value)) return false
    const values = Object.values(value)
    return values.length <= countMax && values.every((one) => inner.is(one))
  })
}

export const OPTIONAL: unique symbol = Symbol('optional')

export interface Optional<T> extends Shape<T> {
  readonly [OPTIONAL]: true
}

/** A key that may be absent. */
export function optional<T>(inner: Shape<T>): Optional<T> {
  return { words: inner.words, is: (value): value is T => inner.is(value), [OPTIONAL]: true }
}

export type Fields = Readonly<Record<string, Shape<unknown>>>

type OptionalKeys<F> = { [K in keyof F]: F[K] extends Optional<unknown> ? K : never }[keyof F]

export type FieldsOf<F extends Fields> = {
  [K in Exclude<keyof F, OptionalKeys<F>>]: ShapeOf<F[K]>
} & { [K in OptionalKeys<F>]?: ShapeOf<F[K]> }

/** A map with these keys; others are ignored. */
export function map<const F extends Fields>(fields: F): Shape<FieldsOf<F>> {
  return shape(`a map of ${Object.keys(fields).join(', ')}`, (value) => {
    return isMap(value) && wrongField(fields, value) === null
  })
}

/** The first key whose value does not fit, with what it should be; null when all fit. */
export function wrongField(
  fields: Fields,
  value: Readonly<Record<string, unknown>>,
): string | null {
  for (const name in fields) {
    const inner = fields[name] as Shape<unknown>
    const found = value[name]
    if (found === undefined && OPTIONAL in inner) continue
    if (!inner.is(found)) return `${name} must be ${inner.words}`
  }
  return null
}

export function isMap(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
  )
}
