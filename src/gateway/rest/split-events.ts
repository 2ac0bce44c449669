import { nameOf, stringEnd } from './check-json.ts'

/**
 * A body with events in parts that can be parsed one by one, with others let through in between:
 * JSON.parse of 4 MiB may take seconds. Strings and brackets are looked at; what else is wrong is
 * found when the parts are parsed. Pure.
 */
export interface EventTexts {
  /** The body with an empty list of events. */
  readonly rest: string
  readonly events: readonly string[]
}

const QUOTE = 0x22
const COLON = 0x3a
const COMMA = 0x2c
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d

/** At most `max` events, and one more where there are more; null where there is no such list. */
export function splitEvents(text: string, max: number): EventTexts | null {
  let depth = 0
  let isName = false
  for (let at = 0; at < text.length; ) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) {
      const end = stringEnd(text, at)
      if (isName && nameOf(text, at, end) === 'events') {
        const colon = skipSpace(text, end)
        const open = skipSpace(text, colon + 1)
        const isList = text.charCodeAt(colon) === COLON && text.charCodeAt(open) === OPEN_BRACKET
        return isList ? splitList(text, open, max) : null
      }
      isName = false
      at = end
      continue
    }
    if (code === OPEN_BRACE || code === OPEN_BRACKET) isName = ++depth === 1 && code === OPEN_BRACE
    else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) depth--
    else if (code === COMMA) isName = depth === 1
    at++
  }
  return null
}

/** `open` is the list's bracket. */
function splitList(text: string, open: number, max: number): EventTexts | null {
  const events: string[] = []
  let depth = 0
  let start = open + 1
  for (let at = start; at < text.length; ) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) {
      at = stringEnd(text, at)
      continue
    }
    if (depth === 0 && (code === COMMA || code === CLOSE_BRACKET)) {
      const event = text.slice(start, at)
      const isEmptyList = code === CLOSE_BRACKET && events.length === 0 && event.trim() === ''
      if (!isEmptyList) events.push(event)
      if (code === CLOSE_BRACKET || events.length > max) {
        return { rest: `${text.slice(0, open)}[]${text.slice(at + 1)}`, events }
      }
      start = at + 1
    } else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      depth++
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      depth--
    }
    at++
  }
  return null
}

function skipSpace(text: string, start: number): number {
  let at = start
  while (/[ \t\r\n]/.test(text.charAt(at))) at++
  return at
}
