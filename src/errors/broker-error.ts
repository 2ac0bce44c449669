import type { ErrorCode } from './error-code.ts'

/**
 * A failure of the world, not of our code: a disk, a file, a socket. `action` completes the
 * sentence "Cannot …" and says what to do where something can be done. Catch it only where it can
 * be answered.
 */
export class BrokerError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, action: string, cause?: unknown) {
    const reason = cause instanceof Error ? `: ${cause.message}` : ''
    super(`Cannot ${action}${reason}`, { cause })
    this.name = 'BrokerError'
    this.code = code
  }
}
