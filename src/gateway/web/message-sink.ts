import type { RequestFrame } from '../../broker/request-frame.ts'

/** Who a `MessageReceiver` tells what it has found in a client's bytes. */
export interface MessageSink {
  /**
   * A whole binary message, valid during the call; longer for who holds `frame`, the extent that it
   * lies in. Null: it lies in memory of the transport.
   */
  onMessage(bytes: Uint8Array, frame: RequestFrame | null): void
  /** A whole control frame; `payload` is valid during the call. */
  onControl(opcode: number, payload: Uint8Array): void
  /** The client broke the protocol, or a limit. Nothing more is accepted. */
  onViolation(code: number, reason: string): void
}

export const ViolationCode = { PROTOCOL: 1002, UNSUPPORTED: 1003, TOO_LARGE: 1009 } as const
