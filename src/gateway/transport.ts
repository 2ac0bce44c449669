import type { FrameReceiver } from './frame-receiver.ts'

/**
 * One accepted byte stream, as the protocol code sees it: `node:net` and the addon's sockets both
 * implement it. Runs on main.
 */
export interface Transport {
  readonly remoteAddress: string
  /** Bytes handed to `send` and not yet taken by the system. */
  readonly queuedBytes: number
  /** Stops and resumes reading; idempotent. */
  pause(): void
  resume(): void
  /** True while received bytes wait that the receiver has not taken: nothing may be read then. */
  readonly hasUntaken: boolean
  /** Offers those bytes to the receiver again. */
  drainReceived(): void
  /**
   * Queues chunks in order. `onSent` runs once, when the system has taken all of them or the stream
   * is destroyed: from then on their memory may be reused.
   */
  send(chunks: Uint8Array[], onSent: () => void): void
  /** Closes at once; what is queued is dropped. `onClosed` of the owner follows. */
  destroy(): void
  /** Closes after what is queued has been sent. */
  end(): void
}

/** What owns a transport: it receives the bytes and learns of the end. */
export interface TransportOwner {
  readonly receiver: FrameReceiver
  /** The receiver has taken what it could; it may be stalled. */
  onReceived(): void
  onClosed(reason: Error | null): void
}

export interface TransportListener {
  readonly host: string
  /** The bound port, also when 0 was asked for. */
  readonly port: number
  readonly kind: 'node:net' | 'native'
  /** Stops accepting; existing streams live on. */
  close(): Promise<void>
}

export type AcceptHandler = (transport: Transport) => TransportOwner | null
