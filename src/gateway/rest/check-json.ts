/**
 * What JSON.parse lets pass and this door does not, found in one pass over the text before it is
 * parsed: nesting that is too deep, a name that appears twice in an object (of which JSON.parse
 * keeps the last and others the first), numbers that JavaScript cannot hold, and so many names that
 * JSON.parse, for which each new object of names costs some 10 µs, would keep everybody waiting.
 * Syntax is left to JSON.parse. Pure.
 */
export const JSON_DEPTH_MAX = 64
export const JSON_NAMES_MAX = 10_000

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const MINUS = 0x2d
/** Up to so many characters every number is exact. */
const EXACT_NUMBER_LENGTH = 15
/** More significant digits than these no double keeps. */
const DIGITS_MAX = 17
/** Smaller doubles have fewer digits. */
const MIN_NORMAL = 2 ** -1022

/** One for each depth, used again and again; empty in between. */
const namesAt: Set<string>[] = Array.from({ length: JSON_DEPTH_MAX + 1 }, () => new Set())

/** What is wrong with the text, as a sentence without its full stop; null when nothing is. */
export function checkJson(text: string): string | null {
  try {
    return problemOf(text)
  } finally {
    // Names kept here would keep the text they were cut from.
    for (const names of namesAt) if (names.size > 0) names.clear()
  }
}

function problemOf(text: string): string | null {
  let depth = 0
  let namesCount = 0
  /** The object whose next string is a name; null in an array, or behind a name. */
  let names: Set<string> | null = null
  const isObject: boolean[] = []
  for (let at = 0; at < text.length; ) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) {
      const end = stringEnd(text, at)
      if (names !== null) {
        if (++namesCount > JSON_NAMES_MAX) {
          return `there are more than ${JSON_NAMES_MAX} names in it: send it as text, or in parts`
        }
        const name = nameOf(text, at, end)
        if (names.has(name)) return `the name ${JSON.stringify(name)} appears twice in an object`
        names.add(name)
        names = null
      }
      at = end
    } else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      if (++depth > JSON_DEPTH_MAX) return `it is nested deeper than ${JSON_DEPTH_MAX} levels`
      isObject[depth] = code === OPEN_BRACE
      names = null
      if (code === OPEN_BRACE) {
        names = namesAt[depth] as Set<string>
        names.clear()
      }
      at++
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      depth = Math.max(0, depth - 1)
      names = null
      at++
    } else if (code === COMMA) {
      names = isObject[depth] === true ? (namesAt[depth] as Set<string>) : null
      at++
    } else if (code === MINUS || isDigit(code)) {
      const end = numberEnd(text, at)
      const problem = numberProblem(text, at, end)
      if (problem !== null) return problem
      at = end
    } else {
      at++
    }
  }
  return null
}

/** Behind the closing quote; the text's length when there is none. */
export function stringEnd(text: string, start: number): number {
  for (let at = start + 1; ; at++) {
    at = text.indexOf('"', at)
    if (at === -1) return text.length
    let backslashes = 0
    while (text.charCodeAt(at - 1 - backslashes) === BACKSLASH) backslashes++
    if (backslashes % 2 === 0) return at + 1
  }
}

export function nameOf(text: string, start: number, end: number): string {
  const name = text.slice(start + 1, end - 1)
  if (!name.includes('\\')) return name
  try {
    return JSON.parse(text.slice(start, end))
  } catch {
    return name // JSON.parse of the whole will say so.
  }
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39
}

function numberEnd(text: string, start: number): number {
  let at = start + 1
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at)
    // Digits, and . + - e E.
    if (
      !isDigit(code) &&
      code !== 0x2e &&
      code !== 0x2b &&
      code !== MINUS &&
      (code | 32) !== 0x65
    ) {
      break
    }
  }
  return at
}

function numberProblem(text: string, start: number, end: number): string | null {
  if (end - start <= EXACT_NUMBER_LENGTH && !/[eE]/.test(text.slice(start, end))) return null
  const token = text.slice(start, end)
  const value = Number(token)
  if (Number.isNaN(value)) return null // JSON.parse says what it thinks of it.
  const digits = token
    .replace(/[eE].*$/, '')
    .replace(/[-.]/g, '')
    .replace(/^0+/, '')
    .replace(/0+$/, '')
  const isShort = digits.length <= DIGITS_MAX
  const isExact = Number.isInteger(value)
    ? isShort && Number.isSafeInteger(value) && (value !== 0 || digits === '')
    : isShort && Number.isFinite(value) && (Math.abs(value) >= MIN_NORMAL || token === `${value}`)
  if (isExact) return null
  const shown = token.length <= 40 ? token : `${token.slice(0, 40)}…`
  return `the number ${shown} is not exact in JavaScript: send it as a string, or in another format`
}
