import { ErrorCode, errorInfo } from '../errors/error-code.ts'

/** A broker of Kafka's protocol refused. */
export class AdminError extends Error {
  readonly code: number
  /** Kafka's name of the code. */
  readonly codeName: string

  constructor(subject: string, code: number, message: string | null = null) {
    const info = errorInfo(code)
    super(`${subject}: ${message ?? info.message} (${info.name})`)
    this.name = 'AdminError'
    this.code = code
    this.codeName = info.name
  }
}

export function check(subject: string, code: number, message: string | null = null): void {
  if (code !== ErrorCode.NONE) throw new AdminError(subject, code, message)
}

export function missing(name: string): AdminError {
  return new AdminError(name, ErrorCode.UNKNOWN_SERVER_ERROR, 'the answer does not speak of it')
}
