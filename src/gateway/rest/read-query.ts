import { z } from 'zod'
import { badRequest } from './rest-error.ts'
import { checkShape } from './validate.ts'

/**
 * A URL's query as the object that a shape declares: numbers and booleans where it wants some, and
 * a list where a name may come more than once. Throws RestError.
 */
export class QueryReader {
  readonly #shape: z.ZodObject
  readonly #kinds: ReadonlyMap<string, Kind>

  constructor(shape: z.ZodObject) {
    this.#shape = shape
    const { properties = {} } = z.toJSONSchema(shape)
    this.#kinds = new Map(
      Object.entries(properties).map(([name, schema]) => [name, kindOf(schema as JsonSchema)]),
    )
  }

  read(query: string): object {
    return checkShape(this.#shape, this.#parse(query), 'query')
  }

  #parse(query: string): Record<string, unknown> {
    const values: Record<string, unknown> = {}
    if (query === '') return values
    for (const part of query.split('&')) {
      if (part === '') continue
      const equals = part.indexOf('=')
      const name = decode(equals === -1 ? part : part.slice(0, equals))
      const text = decode(equals === -1 ? '' : part.slice(equals + 1))
      const kind = this.#kinds.get(name)
      if (kind === 'list') {
        const list = (values[name] ?? []) as string[]
        list.push(text)
        values[name] = list
      } else if (name === '__proto__') {
        throw badRequest('query: __proto__ is no name of anything')
      } else if (Object.hasOwn(values, name)) {
        throw badRequest(`query: ${name} appears twice; once is enough`)
      } else {
        values[name] = kind === undefined ? text : convert(text, kind)
      }
    }
    return values
  }
}

type Kind = 'text' | 'number' | 'boolean' | 'list'

interface JsonSchema {
  readonly type?: string
  readonly anyOf?: readonly JsonSchema[]
}

function kindOf({ type, anyOf = [] }: JsonSchema): Kind {
  if (type === 'array') return 'list'
  if (type === 'boolean') return 'boolean'
  const isNumber = type === 'integer' || anyOf.some((one) => one.type === 'integer')
  return isNumber ? 'number' : 'text'
}

/** What does not fit stays text, and the shape says what it wants instead. */
function convert(text: string, kind: Kind): unknown {
  if (kind === 'number' && /^-?\d{1,20}$/.test(text)) return Number(text)
  if (kind === 'boolean' && (text === 'true' || text === 'false')) return text === 'true'
  return text
}

/** A part of a URL, decoded; '+' is a space in a query only. */
function decode(text: string): string {
  return decodePart(text.includes('+') ? text.replaceAll('+', ' ') : text)
}

export function decodePart(text: string): string {
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch {
    throw badRequest(
      `The URL holds "${text.slice(0, 80)}": a % stands before two hex digits of UTF-8`,
    )
  }
}
