import type { z } from 'zod'
import type { WebRequest } from '../web/web-server.ts'
import { badRequest } from './rest-error.ts'
import { checkShape, parseJson, readText } from './validate.ts'

/** A body of JSON as its shape declares it. Throws RestError. */
const BODY_BYTES_MAX = 64 * 1024
/** Of one object: there are some thirty configurations. */
const NAMES_MAX = 1000

export async function readBody<T>(
  { request }: { readonly request: WebRequest },
  shape: z.ZodType<T>,
  bytesMax = BODY_BYTES_MAX,
): Promise<T> {
  const body = parseJson(readText(await request.body(bytesMax)), 'body')
  checkNames(body)
  return checkShape(shape, body, 'body')
}

/** Zod leaves `__proto__` out of a record, silently, and words what is wrong with each name. */
function checkNames(body: unknown): void {
  if (typeof body !== 'object' || body === null) return
  if (Object.hasOwn(body, '__proto__')) throw badRequest('body: __proto__ is no name of anything')
  const values = Object.values(body)
  if (!Array.isArray(body) && values.length > NAMES_MAX) {
    throw badRequest(`body: there are more than ${NAMES_MAX} names in one object`)
  }
  for (const value of values) checkNames(value)
}
