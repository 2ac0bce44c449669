import { ErrorCode, type ErrorName } from '../../errors/error-code.ts'
import { HEADER_BYTES_MAX, type WebResponse } from './web-server.ts'

/** Answers that are made whole: JSON, and the refusals of the servers themselves. Pure. */
export type TextResponse = WebResponse & { readonly body: string }

/** A JSON body, with a line end for terminals. */
export function jsonResponse(
  status: number,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): TextResponse {
  return {
    status,
    headers: { 'content-type': 'application/json', ...headers },
    body: `${JSON.stringify(body)}\n`,
  }
}

/**
 * A refusal: a name and a number for programs, a sentence for people. The number is Kafka's error
 * code where the name is Kafka's, else the status.
 */
export function errorResponse(
  status: number,
  error: string,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): TextResponse {
  const code = Object.hasOwn(ErrorCode, error) ? ErrorCode[error as ErrorName] : status
  return jsonResponse(status, { error, code, message }, headers)
}

/** The bodies of all requests under way, or of one address, are as large as they may be. */
export function tooMuchUnderWay(): WebResponse {
  const message = 'The requests under way fill their memory; send this one again in a second'
  return errorResponse(503, 'TOO_MUCH_UNDER_WAY', message, { 'retry-after': '1' })
}

export function headersTooLarge(): TextResponse {
  const message = `The URL and the headers are larger than ${HEADER_BYTES_MAX} bytes; send less`
  return errorResponse(431, 'HEADERS_TOO_LARGE', message)
}

/** More connections than `millrace.http.max.connections`. */
export function tooManyConnections(): TextResponse {
  const message = 'This broker serves as many HTTP connections as it may; try again later'
  return errorResponse(503, 'TOO_MANY_CONNECTIONS', message, { 'retry-after': '1' })
}

/** More connections than `millrace.http.max.connections.per.ip`. */
export function tooManyFromAddress(): TextResponse {
  const message = 'Your address has as many HTTP connections as it may; close one first'
  return errorResponse(429, 'TOO_MANY_CONNECTIONS', message, { 'retry-after': '1' })
}
