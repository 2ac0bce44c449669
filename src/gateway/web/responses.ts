import type { WebResponse } from './web-server.ts'

/** A JSON body, with a line end for terminals. */
export function jsonResponse(
  status: number,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): WebResponse {
  return {
    status,
    headers: { 'content-type': 'application/json', ...headers },
    body: `${JSON.stringify(body)}\n`,
  }
}

/** A refusal: a name for programs, a sentence for people. */
export function errorResponse(
  status: number,
  error: string,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): WebResponse {
  return jsonResponse(status, { error, message }, headers)
}

/** More connections than `millrace.http.max.connections`. */
export function tooManyConnections(): WebResponse {
  const message = 'This broker serves as many HTTP connections as it may; try again later'
  return errorResponse(503, 'TOO_MANY_CONNECTIONS', message, { 'retry-after': '1' })
}

/** More connections than `millrace.http.max.connections.per.ip`. */
export function tooManyFromAddress(): WebResponse {
  const message = 'Your address has as many HTTP connections as it may; close one first'
  return errorResponse(429, 'TOO_MANY_CONNECTIONS', message, { 'retry-after': '1' })
}
