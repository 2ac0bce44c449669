import type { ReplicaLink, ReplicaLinkSink } from '../broker/cluster/replica-link.ts'
import { RequestFrame } from '../broker/request-frame.ts'
import { FrameReceiver, type FrameSink } from './frame-receiver.ts'
import type { ReceiveMemory } from './receive-memory.ts'
import type { Connect, Transport, TransportOwner } from './transport.ts'

/**
 * A connection to a leader, over which a follower fetches: frames of answers lie in the ingress
 * arena, as requests of clients do, and wait for its memory as they do. Runs on main.
 */
export function openReplicaLink(
  { memory, connect }: { readonly memory: ReceiveMemory; readonly connect: Connect },
  at: { readonly host: string; readonly port: number },
  sink: ReplicaLinkSink,
): ReplicaLink {
  const connection = new ReplicaConnection(memory, sink)
  const socket = connect(
    at,
    (transport) => connection.opened(transport),
    (error) => connection.onClosed(error),
  )
  connection.whenClosing(() => socket.destroy())
  return connection
}

/** Larger than what a fetch may carry: the first batch comes whole. */
const FRAME_BYTES_SHARE = 1 / 8

class ReplicaConnection implements ReplicaLink, TransportOwner, FrameSink {
  readonly receiver: FrameReceiver
  readonly #memory: ReceiveMemory
  readonly #sink: ReplicaLinkSink
  #transport: Transport | null = null
  #isClosed = false
  /** Nobody wants to hear of it any more. */
  #isForgotten = false
  /** Something has arrived since somebody asked. */
  #hasProgress = false
  /** Received bytes are being offered to the receiver. */
  #isOffering = false
  #closeSocket: (() => void) | null = null
  readonly #stopWaiting: () => void

  constructor(memory: ReceiveMemory, sink: ReplicaLinkSink) {
    this.#memory = memory
    this.#sink = sink
    const frameBytesMax = memory.arena.bytesTotal * FRAME_BYTES_SHARE
    this.receiver = new FrameReceiver(memory, this, frameBytesMax)
    this.#stopWaiting = memory.onFreed(() => this.#goOn())
  }

  opened(transport: Transport): TransportOwner | null {
    if (this.#isClosed) return null
    this.#transport = transport
    // After the caller has made it known.
    queueMicrotask(() => {
      if (!this.#isClosed) this.#sink.onOpen()
    })
    return this
  }

  whenClosing(close: () => void): void {
    this.#closeSocket = close
  }

  send(chunks: Uint8Array[]): void {
    this.#transport?.send(chunks, () => undefined)
  }

  takeProgress(): boolean {
    const hasProgress = this.#hasProgress || this.receiver.stalled
    this.#hasProgress = false
    return hasProgress
  }

  close(): void {
    this.#isForgotten = true
    if (this.#isClosed) return
    this.#end()
    if (this.#transport === null) this.#closeSocket?.()
    else this.#transport.destroy()
  }

  mayTake(): boolean {
    return true
  }

  onFrame(offset: number, length: number, generation: number): void {
    const frame = new RequestFrame(this.#memory.arena, { offset, length, generation })
    if (!this.#isClosed) this.#sink.onFrame(frame)
    frame.release()
  }

  onFramingError(declaredBytes: number): void {
    this.onClosed(new Error(`it sent an answer of ${declaredBytes} bytes`))
    this.#transport?.destroy()
  }

  onReceived(): void {
    this.#hasProgress = true
    this.#goOn()
  }

  onClosed(reason: Error | null): void {
    if (this.#isClosed) return
    this.#end()
    // Later: the addon's sockets notice it while the sink sends, and it is in the middle of that.
    queueMicrotask(() => {
      if (!this.#isForgotten) this.#sink.onClosed(reason?.message ?? 'it closed the connection')
    })
  }

  /** Goes on when memory has come back. */
  #goOn(): void {
    const transport = this.#transport
    if (transport === null || this.#isClosed || this.#isOffering) return
    this.#isOffering = true
    while (transport.hasUntaken && (!this.receiver.stalled || this.receiver.retry())) {
      transport.drainReceived()
    }
    this.#isOffering = false
    if (this.#isClosed) return
    if (transport.hasUntaken) transport.pause()
    else transport.resume()
  }

  #end(): void {
    this.#isClosed = true
    this.#stopWaiting()
    this.receiver.close()
    // What it held may be what others wait for.
    setImmediate(() => this.#memory.freed())
  }
}
