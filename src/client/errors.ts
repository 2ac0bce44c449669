/**
 * What the client library throws: one small hierarchy. `code` is Kafka's number and `codeName` its
 * name, `retriable` says whether the same call may succeed later. Browser-safe.
 */
import { ErrorCode, errorInfo } from '../errors/error-code.ts'
import type { LeaderHint } from '../wire/websocket/messages.ts'

export interface MillraceErrorOptions {
  readonly cause?: unknown
  /** Default: what Kafka's table says of the code. */
  readonly retriable?: boolean
  /** Default: the table's. */
  readonly codeName?: string
}

/** Every error of the library is one of these, but TypeError and RangeError for wrong arguments. */
export class MillraceError extends Error {
  /** Kafka's error code; −1 where Kafka has none. */
  readonly code: number
  /** Kafka's name of the code, such as `UNKNOWN_TOPIC_OR_PARTITION`. */
  readonly codeName: string
  /** Whether the same call may succeed later. */
  readonly retriable: boolean

  constructor(code: number, message: string, options: MillraceErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    const info = errorInfo(code)
    this.name = new.target.name
    this.code = code
    this.codeName = options.codeName ?? info.name
    this.retriable = options.retriable ?? info.retriable
  }
}

/** The server answered with an error. */
export class ServerError extends MillraceError {
  /** Who is to be asked instead: node, leader epoch, URL. Null: nobody, or it was not said. */
  readonly leader: LeaderHint | null

  constructor(
    code: number,
    message: string,
    options: MillraceErrorOptions & { readonly leader?: LeaderHint | undefined } = {},
  ) {
    super(code, message, options)
    this.leader = options.leader ?? null
  }
}

/** There is no connection, or it was lost before the answer: what was asked may have happened. */
export class ConnectionError extends MillraceError {
  constructor(message: string, cause?: unknown) {
    super(ErrorCode.NETWORK_EXCEPTION, message, { cause, retriable: true })
  }
}

/** The time that was given is over. */
export class TimeoutError extends MillraceError {
  constructor(message: string, cause?: unknown) {
    super(ErrorCode.REQUEST_TIMED_OUT, message, { cause, retriable: true })
  }
}

/** The application closed the client, producer or consumer. */
export class ClosedError extends MillraceError {
  constructor(what: string) {
    super(ErrorCode.UNKNOWN_SERVER_ERROR, `the ${what} is closed`, {
      retriable: false,
      codeName: 'CLOSED',
    })
  }
}

/** `produce` was called although the buffer is full: wait for `ready()`. */
export class BufferFullError extends MillraceError {
  constructor(bufferBytes: number) {
    super(
      ErrorCode.UNKNOWN_SERVER_ERROR,
      `the producer holds ${bufferBytes} bytes that are not acknowledged: wait for ready()`,
      { retriable: true, codeName: 'BUFFER_FULL' },
    )
  }
}

/** An event was not delivered, or nobody knows whether it was. */
export class DeliveryError extends MillraceError {
  readonly topic: string
  readonly partition: number
  /** True: it may be in the log all the same. False: it certainly is not. */
  readonly inDoubt: boolean

  constructor(where: { topic: string; partition: number; inDoubt: boolean }, cause: MillraceError) {
    const doubt = where.inDoubt ? ' (it may have been stored)' : ''
    super(cause.code, `${where.topic}-${where.partition}: ${cause.message}${doubt}`, {
      cause,
      // Sending it again is safe only when it is certainly not there.
      retriable: cause.retriable && !where.inDoubt,
      codeName: cause.codeName,
    })
    this.topic = where.topic
    this.partition = where.partition
    this.inDoubt = where.inDoubt
  }
}

/** The error for a code that stands in an answer; null for 0. */
export function errorOfCode(code: number, message: string | null): ServerError | null {
  if (code === ErrorCode.NONE) return null
  return new ServerError(code, message ?? errorInfo(code).message)
}
