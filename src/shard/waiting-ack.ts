/**
 * Acknowledgements that wait for an offset: the high watermark, or what counts here. In offset
 * order; bounded by the ingress arena.
 */
export const NO_OFFSETS = { baseOffset: -1, logStartOffset: -1, appendTimeMs: -1 }

/** An append that is in the log and waits for its acknowledgement. */
export interface WaitingAck {
  readonly token: number
  readonly baseOffset: number
  /** Exclusive: acknowledged once what it waits for is at least this. */
  readonly endOffset: number
  readonly appendTimeMs: number
  /** Main has been told that the bytes are written and their memory free. */
  isWrittenReported: boolean
}
