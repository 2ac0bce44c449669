import type { WebRequest } from '../web/web-server.ts'
import type { Operation } from './operations.ts'
import { RestError } from './rest-error.ts'

/** Content types: of a body, and of the answer that its reader takes. Throws RestError. Pure. */
export function contentTypeOf(request: WebRequest, { body }: Operation): string {
  if (body === null) return ''
  const said = request.header('content-type') ?? ''
  const type = (said.split(';')[0] ?? '').trim().toLowerCase()
  if (Object.hasOwn(body, type)) {
    const charset = /;\s*charset\s*=\s*"?([^";\s]*)/i.exec(said)?.[1]?.toLowerCase()
    if (charset === undefined || charset === 'utf-8' || charset === 'us-ascii') return type
  }
  const types = Object.keys(body).join(' or ')
  const what = said === '' ? 'There is no content type' : `"${said.slice(0, 80)}" is not taken`
  const message = `${what}: send ${types}, in UTF-8 (curl -H 'content-type: application/json')`
  throw new RestError({ status: 415, error: 'UNSUPPORTED_MEDIA_TYPE' }, message)
}

/** The type to answer with: of those that the reader takes the first that there is. */
export function answerTypeOf(request: WebRequest, { answer }: Operation): string {
  const types = Object.keys(answer)
  const accept = request.header('accept')
  if (accept === undefined || accept.trim() === '') return types[0] as string
  const ranges = accept.split(',').map(readRange)
  let best: { type: string; q: number } | null = null
  for (const type of types) {
    const q = qualityOf(type, ranges)
    if (q > 0 && (best === null || q > best.q)) best = { type, q }
  }
  if (best !== null) return best.type
  const message = `None of "${accept.slice(0, 80)}" is there: accept ${types.join(' or ')}`
  throw new RestError({ status: 406, error: 'NOT_ACCEPTABLE' }, message)
}

interface Range {
  readonly type: string
  readonly q: number
}

function readRange(text: string): Range {
  const [type = '', ...parameters] = text.split(';').map((part) => part.trim().toLowerCase())
  const q = parameters.find((parameter) => parameter.startsWith('q='))
  const value = q === undefined ? 1 : Number(q.slice(2))
  return { type, q: value >= 0 && value <= 1 ? value : 0 }
}

/** The most specific range counts (RFC 9110 §12.5.1). */
function qualityOf(type: string, ranges: readonly Range[]): number {
  const wide = `${type.split('/')[0]}/*`
  for (const name of [type, wide, '*/*']) {
    const range = ranges.find((one) => one.type === name)
    if (range !== undefined) return range.q
  }
  return 0
}
