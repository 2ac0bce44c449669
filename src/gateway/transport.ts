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

/** Takes the bytes of one stream, some of them where they are to lie. */
export interface StreamReceiver {
  /** Where the bytes of what is under way may be received directly; length 0 when nowhere. */
  readonly directOffset: number
  readonly directLength: number
  /** True when this connection sends so much at a time that little should arrive behind it. */
  readonly sendsLargeFrames: boolean
  /** The most that stands in front of a payload: what `expect` wants to be received elsewhere. */
  readonly headBytes: number
  /**
   * Between frames: takes an extent for the next large one before its head has arrived. True when
   * it has: then receive `headBytes` elsewhere, what follows them at `directOffset`, and call
   * `acceptExpected` at once, whatever came.
   */
  expect(): boolean
  /**
   * After `expect`: `count` bytes have come, the first `headBytes` of them at `bytes[at]`, the
   * others at `directOffset`. Returns a copy of those that it has not taken, for `accept`; null
   * when there are none.
   */
  acceptExpected(bytes: Uint8Array, at: number, count: number): Uint8Array | null
  /** `count` bytes have been received at `directOffset`. */
  advance(count: number): void
  /**
   * Takes bytes[from, to) in order and returns the index of the first byte not taken. The caller
   * keeps the rest and offers it again later.
   */
  accept(bytes: Uint8Array, from: number, to: number): number
}

/** What owns a transport: it receives the bytes and learns of the end. */
export interface TransportOwner {
  readonly receiver: StreamReceiver
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

/** Opens a stream to another broker. One of both callbacks runs, unless it is destroyed before. */
export type Connect = (
  at: { readonly host: string; readonly port: number },
  onOpened: AcceptHandler,
  onRefused: (error: Error) => void,
) => { destroy(): void }
