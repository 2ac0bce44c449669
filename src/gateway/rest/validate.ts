import { isUtf8 } from 'node:buffer'
import type { z } from 'zod'
import { checkJson } from './check-json.ts'
import { badRequest } from './rest-error.ts'

/** From bytes to what a shape declares. All throw RestError, which says where and what. */
type Shape<T> = z.ZodType<T>

export function checkShape<T>(shape: Shape<T>, value: unknown, where: string): T {
  const checked = shape.safeParse(value)
  if (checked.success) return checked.data
  throw badRequest(describeIssue(checked.error.issues[0], where))
}

function describeIssue(issue: z.core.$ZodIssue | undefined, where: string): string {
  if (issue === undefined) return `${where}: it has another shape; see /openapi.json`
  const { path, message } = closest(issue)
  const place = path.reduce<string>(
    (before, step) => `${before}${typeof step === 'number' ? `[${step}]` : `.${String(step)}`}`,
    where,
  )
  return `${place}: ${message.slice(0, 300)}. /openapi.json says what is taken`
}

/** Where a value fits none of several shapes: what keeps it from the one that it is most like. */
function closest(issue: z.core.$ZodIssue): { path: readonly PropertyKey[]; message: string } {
  if (issue.code !== 'invalid_union') {
    return { path: issue.path, message: issue.message.replace(/^Invalid input: /, '') }
  }
  const each = issue.errors.flatMap(([first]) => (first === undefined ? [] : [closest(first)]))
  const depth = Math.max(0, ...each.map(({ path }) => path.length))
  const deepest = each.filter(({ path }) => path.length === depth)
  const messages = new Set(deepest.map(({ message }) => message))
  const [{ path = [] } = {}] = deepest
  const isOne = deepest.every((one) => one.path.join() === path.join())
  return isOne && messages.size > 0
    ? { path: [...issue.path, ...path], message: [...messages].join(', or ') }
    : { path: issue.path, message: 'it fits none of the shapes it may have' }
}

/** The text of a body. */
export function readText(bytes: Uint8Array): string {
  if (!isUtf8(bytes)) throw badRequest('body: it is not UTF-8; send bytes as base64')
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8')
}

export function parseJson(text: string, where: string): unknown {
  if (text.trim() === '') throw badRequest(`${where}: there is no JSON in it`)
  const problem = checkJson(text)
  if (problem !== null) throw badRequest(`${where}: ${problem}`)
  try {
    return JSON.parse(text)
  } catch (error) {
    throw badRequest(`${where}: it is not JSON: ${(error as Error).message.slice(0, 200)}`)
  }
}
