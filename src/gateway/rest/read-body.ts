import type { z } from 'zod'
import type { WebRequest } from '../web/web-server.ts'
import { badRequest } from './rest-error.ts'
import { checkShape, parseJson, readText } from './validate.ts'

/** A body of JSON as its shape declares it. Throws RestError. */
const BODY_BYTES_MAX = 64 * 1024

export async function readBody<T>(
  { request }: { readonly request: WebRequest },
  shape: z.ZodType<T>,
  bytesMax = BODY_BYTES_MAX,
): Promise<T> {
  const body = parseJson(readText(await request.body(bytesMax)), 'body')
  refuseProto(body)
  return checkShape(shape, body, 'body')
}

/** Zod leaves such a name out of a record, silently. */
function refuseProto(body: unknown): void {
  if (typeof body !== 'object' || body === null) return
  if (Object.hasOwn(body, '__proto__')) throw badRequest('body: __proto__ is no name of anything')
  for (const value of Object.values(body)) refuseProto(value)
}
