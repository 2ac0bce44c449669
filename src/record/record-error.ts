import type { ErrorCode } from '../errors/error-code.ts'

/**
 * Bytes that claim to be a batch and are not a good one. The fault is the sender's (or the disk's),
 * never ours: whoever decodes answers with `code` or reports corruption.
 */
export class RecordError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'RecordError'
    this.code = code
  }
}
