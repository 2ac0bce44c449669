/**
 * What an option is: a type, a default, a rule for its text, and a sentence about it. Options are
 * data; everything that reads, checks, describes or documents them works from the tables in
 * `options.ts` and `topic-options.ts`.
 *
 * A value exists as text (what a file or a client says, and what DescribeConfigs answers) and as a
 * typed value. Kafka's "no limit", Long.MAX_VALUE, is `Infinity` here, because it is not a safe
 * integer; −1 stays −1, since what it means depends on the option.
 */

/** Type codes of DescribeConfigs (KIP-569). */
export const ConfigType = {
  BOOLEAN: 1,
  STRING: 2,
  INT: 3,
  SHORT: 4,
  LONG: 5,
  DOUBLE: 6,
  LIST: 7,
  CLASS: 8,
  PASSWORD: 9,
} as const
export type ConfigType = (typeof ConfigType)[keyof typeof ConfigType]

export type OptionValue = boolean | number | string | readonly string[] | null

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  /** `expected` completes the sentence "expected …". */
  | { readonly ok: false; readonly expected: string }

export interface Option<T extends OptionValue = OptionValue> {
  readonly type: ConfigType
  /** Null: not set, which the option's doc explains. */
  readonly defaultText: string | null
  readonly doc: string
  /** What is accepted, completes "expected …"; '' where that is any text, or told by an example. */
  readonly values: string
  /** Its value is shown to nobody: not in a message, a log line or a DescribeConfigs answer. */
  readonly isSecret?: boolean
  readonly parse: (text: string) => Parsed<T>
}

/** Both inclusive. */
export interface Limits {
  readonly min?: number
  readonly max?: number
}

const INT_MAX = 2 ** 31 - 1
const LONG_MAX = 2n ** 63n - 1n

function textOf(value: number | null): string | null {
  if (value === null) return null
  return value === Number.POSITIVE_INFINITY ? String(LONG_MAX) : String(value)
}

function expectedNumber(kind: string, { min, max }: Limits): string {
  if (min !== undefined && max !== undefined) return `${kind} from ${min} to ${max}`
  if (min !== undefined) return `${kind} of at least ${min}`
  if (max !== undefined) return `${kind} of at most ${max}`
  return kind
}

function parseWhole(text: string, limits: Limits, bits: 32 | 64): Parsed<number> {
  const expected = expectedNumber('a whole number', limits)
  if (!/^[+-]?\d{1,19}$/.test(text)) return { ok: false, expected }
  const exact = BigInt(text.replace('+', ''))
  const max = bits === 32 ? BigInt(INT_MAX) : LONG_MAX
  if (exact > max || exact < -max - 1n) {
    return { ok: false, expected: `${expected} that fits ${bits} bits` }
  }
  // Beyond 2^53 nothing that is counted here can ever get: it means "no limit".
  const near = Number(exact)
  const value = Number.isSafeInteger(near) ? near : near * Number.POSITIVE_INFINITY
  const { min = Number.NEGATIVE_INFINITY, max: most = Number.POSITIVE_INFINITY } = limits
  return value >= min && value <= most ? { ok: true, value } : { ok: false, expected }
}

/** A 32-bit whole number. A default of null makes it optional. */
export function int<D extends number | null>(
  defaultValue: D,
  doc: string,
  limits: Limits = {},
): Option<number | D> {
  const parse = (text: string): Parsed<number> => parseWhole(text, limits, 32)
  const values = expectedNumber('a whole number', limits)
  return { type: ConfigType.INT, defaultText: textOf(defaultValue), doc, values, parse }
}

/** A 64-bit whole number; Infinity for Long.MAX_VALUE and everything else beyond 2^53. */
export function long<D extends number | null>(
  defaultValue: D,
  doc: string,
  limits: Limits = {},
): Option<number | D> {
  const parse = (text: string): Parsed<number> => parseWhole(text, limits, 64)
  const values = expectedNumber('a whole number', limits)
  return { type: ConfigType.LONG, defaultText: textOf(defaultValue), doc, values, parse }
}

/** A fraction, both limits inclusive. */
export function double(defaultValue: number, doc: string, limits: Limits = {}): Option<number> {
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = limits
  const values = expectedNumber('a number', limits)
  const parse = (text: string): Parsed<number> => {
    const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN
    if (value >= min && value <= max) return { ok: true, value }
    return { ok: false, expected: values }
  }
  return { type: ConfigType.DOUBLE, defaultText: String(defaultValue), doc, values, parse }
}

export function boolean(defaultValue: boolean, doc: string): Option<boolean> {
  const values = 'true or false'
  const parse = (text: string): Parsed<boolean> => {
    const lower = text.toLowerCase()
    if (lower === 'true') return { ok: true, value: true }
    return lower === 'false' ? { ok: true, value: false } : { ok: false, expected: values }
  }
  return { type: ConfigType.BOOLEAN, defaultText: String(defaultValue), doc, values, parse }
}

/** Any text, checked by `check` (which returns what was expected, or null). */
export function text<D extends string | null>(
  defaultValue: D,
  doc: string,
  check: (text: string) => string | null = () => null,
): Option<string | D> {
  const parse = (value: string): Parsed<string> => {
    const expected = check(value)
    return expected === null ? { ok: true, value } : { ok: false, expected }
  }
  return { type: ConfigType.STRING, defaultText: defaultValue, doc, values: '', parse }
}

/** A text that is never shown again, such as a password. */
export function secret(doc: string): Option<string | null> {
  const parse = (value: string): Parsed<string> => ({ ok: true, value })
  return { type: ConfigType.PASSWORD, defaultText: null, doc, values: '', isSecret: true, parse }
}

/** How a value may be shown; null stays null. */
export function shownText<T extends string | null>(option: Option, text: T): T | '(hidden)' {
  return option.isSecret === true && text !== null ? '(hidden)' : text
}

/** One of a few words. */
export function oneOf<const W extends string>(
  words: readonly W[],
  defaultValue: W,
  doc: string,
): Option<W> {
  const values = `one of ${words.join(', ')}`
  const parse = (value: string): Parsed<W> => {
    const word = words.find((candidate) => candidate === value)
    if (word !== undefined) return { ok: true, value: word }
    return { ok: false, expected: values }
  }
  return { type: ConfigType.STRING, defaultText: defaultValue, doc, values, parse }
}

/** Comma-separated words without blanks around them; `check` sees the list. */
export function list<D extends string | null>(
  defaultValue: D,
  doc: string,
  check: (items: readonly string[]) => string | null = () => null,
): Option<readonly string[] | (D extends null ? null : never)> {
  const parse = (value: string): Parsed<readonly string[]> => {
    const items = value.trim() === '' ? [] : value.split(',').map((item) => item.trim())
    const expected = items.includes('') ? 'a list without empty items' : check(items)
    return expected === null ? { ok: true, value: items } : { ok: false, expected }
  }
  return { type: ConfigType.LIST, defaultText: defaultValue, doc, values: '', parse }
}

/** The value of an option's own default. */
export function defaultValue<T extends OptionValue>(option: Option<T>): T | null {
  if (option.defaultText === null) return null
  const parsed = option.parse(option.defaultText)
  return parsed.ok ? parsed.value : null
}
