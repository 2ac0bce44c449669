import { ErrorCode, type ErrorName, errorInfo } from '../../errors/error-code.ts'
import { jsonResponse } from '../web/responses.ts'
import type { WebResponse } from '../web/web-server.ts'

/**
 * How this door says no: always `{"error", "code", "message"}` with a status. Names and codes are
 * Kafka's where Kafka has them; what HTTP itself refuses has the status for a code.
 */
export class RestError extends Error {
  readonly status: number
  readonly error: string
  readonly code: number
  readonly headers: Readonly<Record<string, string>>
  /** Beside error, code and message. */
  readonly details: Readonly<Record<string, number>>

  constructor(
    refusal: { readonly status: number; readonly error: string; readonly code?: number },
    message: string,
    extra: {
      readonly headers?: Readonly<Record<string, string>>
      readonly details?: Readonly<Record<string, number>>
    } = {},
  ) {
    super(message)
    this.name = 'RestError'
    this.status = refusal.status
    this.error = refusal.error
    this.code = refusal.code ?? refusal.status
    this.headers = extra.headers ?? {}
    this.details = extra.details ?? {}
  }

  toResponse(): WebResponse {
    return jsonResponse(this.status, this.toBody(), this.headers)
  }

  toBody(): Readonly<Record<string, string | number>> {
    const { error, code, message, details } = this
    return { error, code, message, ...details }
  }
}

/** Of what is not here: 503 where the same request may succeed later, else 400. */
const STATUS: Readonly<Partial<Record<ErrorName, number>>> = {
  UNKNOWN_SERVER_ERROR: 500,
  OFFSET_OUT_OF_RANGE: 416,
  CORRUPT_MESSAGE: 422,
  UNSUPPORTED_COMPRESSION_TYPE: 422,
  UNKNOWN_TOPIC_OR_PARTITION: 404,
  UNKNOWN_TOPIC_ID: 404,
  MESSAGE_TOO_LARGE: 413,
  RECORD_LIST_TOO_LARGE: 413,
  TOPIC_ALREADY_EXISTS: 409,
  TOPIC_DELETION_DISABLED: 403,
  TOPIC_AUTHORIZATION_FAILED: 403,
  CLUSTER_AUTHORIZATION_FAILED: 403,
  POLICY_VIOLATION: 403,
  BROKER_NOT_AVAILABLE: 503,
  THROTTLING_QUOTA_EXCEEDED: 429,
  GROUP_ID_NOT_FOUND: 404,
  UNKNOWN_MEMBER_ID: 404,
  ILLEGAL_GENERATION: 409,
  NON_EMPTY_GROUP: 409,
  INCONSISTENT_GROUP_PROTOCOL: 409,
  GROUP_MAX_SIZE_REACHED: 409,
}

/** What a client can do about it, where that is not in the message. */
const NEXT: Readonly<Partial<Record<ErrorName, string>>> = {
  UNKNOWN_TOPIC_OR_PARTITION: 'GET /topics lists what there is',
  TOPIC_ALREADY_EXISTS: 'PATCH changes it',
  MESSAGE_TOO_LARGE: 'Send smaller events, or raise max.message.bytes with PATCH',
  INVALID_TIMESTAMP: 'message.timestamp.before.max.ms and …after.max.ms say which are taken',
  TOPIC_DELETION_DISABLED: 'delete.topic.enable=true allows it',
  BROKER_NOT_AVAILABLE: 'Try again in a second',
  GROUP_ID_NOT_FOUND: 'GET /consumer-groups lists what there is',
  UNKNOWN_MEMBER_ID: 'Subscribe again; its partitions are for the others',
  NON_EMPTY_GROUP: 'Stop its members first; a reset can be forced',
  ILLEGAL_GENERATION: 'Poll, and commit what it has now',
  THROTTLING_QUOTA_EXCEEDED: 'Try again in a second',
  KAFKA_STORAGE_ERROR: "Look at the disk and at the broker's log",
}

export function statusOf(errorCode: number): number {
  const { name, retriable } = errorInfo(errorCode)
  return STATUS[name] ?? (retriable ? 503 : 400)
}

/** What Kafka's protocol would answer with this code; `message` says more than its table does. */
export function kafkaError(
  errorCode: number,
  message: string | null = null,
  details: Readonly<Record<string, number>> = {},
): RestError {
  const { name, code } = errorInfo(errorCode)
  const status = statusOf(errorCode)
  const headers: Record<string, string> = {}
  if (status === 503 || status === 429) headers['retry-after'] = '1'
  return new RestError({ status, error: name, code }, errorText(errorCode, message), {
    headers,
    details,
  })
}

/** What is wrong, and what to do next. */
export function errorText(errorCode: number, message: string | null = null): string {
  const info = errorInfo(errorCode)
  const next = NEXT[info.name]
  const what = message === null || message === '' ? info.message : message
  return next === undefined ? what : `${what}. ${next}`
}

export function badRequest(message: string): RestError {
  return kafkaError(ErrorCode.INVALID_REQUEST, message)
}
