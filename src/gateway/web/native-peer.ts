import { isUtf8 } from 'node:buffer'
import type { RequestFrame } from '../../broker/request-frame.ts'
import type { NativeTransport } from '../native-transport.ts'
import type { ReceiveMemory } from '../receive-memory.ts'
import type { TransportOwner } from '../transport.ts'
import { closeReason, isSendable } from './close-reason.ts'
import { encodeHead, Opcode } from './frame-head.ts'
import { LifeSigns } from './life-signs.ts'
import { MessageReceiver } from './message-receiver.ts'
import { type MessageSink, ViolationCode } from './message-sink.ts'
import type { Unmask } from './unmask.ts'
import type { WebSocketHandler, WebSocketParts, WebSocketPeer } from './web-server.ts'

/**
 * One WebSocket connection on the addon's sockets, from its upgrade on. Messages are received into
 * the ingress arena; while that has no room the socket is not read. Runs on main.
 *
 *   open ── end, violation, client's close frame ──► closed for the handler
 *        end: our close frame is sent, frames are read until the client's
 *        then: the sending half is ended, what comes is dropped, until the client hangs up
 *   Each of the two takes at most CLOSE_TIMEOUT_MS, and a lost connection ends both.
 */
export interface NativePeerParts {
  readonly transport: NativeTransport
  readonly memory: ReceiveMemory
  readonly unmask: Unmask
  readonly webSocket: WebSocketParts
  /** Peers that have stopped reading: to be tried again when memory came back. */
  readonly waiting: Set<NativePeer>
  /** The connection is gone. */
  readonly onClosed: (peer: NativePeer) => void
}

/** How long a client may take to answer our close frame, and then to hang up. */
const CLOSE_TIMEOUT_MS = 10_000
/** A message that is under way for so long, while others wait for its memory, ends its client. */
const SLOW_SENDER_MS = 5_000

/** Up to here a copy costs less than sending from two places. */
const SMALL_BYTES = 512

const NO_STATUS = 1005
const NOT_UTF8 = 1007
const HOARDING = 1008
const NOTHING = (): void => {}

export class NativePeer implements WebSocketPeer, TransportOwner, MessageSink {
  readonly receiver: MessageReceiver
  readonly #parts: NativePeerParts
  readonly #transport: NativeTransport
  readonly #lifeSigns: LifeSigns
  readonly #onLeft = (): void => this.#drained()
  #handler: WebSocketHandler | null = null
  /** What the handler has been told, or would have been; null while the connection is open. */
  #closeCode: number | null = null
  /** When bytes last arrived, monotonic. */
  #heardMs: number
  #isHeard = false
  /** Received bytes are being offered to the receiver. */
  #isOffering = false
  /** Answers to pings that came in one go. */
  #pongs: Uint8Array[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(parts: NativePeerParts) {
    this.#parts = parts
    this.#transport = parts.transport
    const { messageBytesMax } = parts.webSocket
    const options = { messageBytesMax, unmask: parts.unmask }
    this.receiver = new MessageReceiver(parts.memory, this, options)
    this.#heardMs = performance.now()
    this.#lifeSigns = new LifeSigns(parts.webSocket, this.#heardMs)
  }

  get remoteAddress(): string {
    return this.#transport.remoteAddress
  }

  get bufferedBytes(): number {
    return this.#closeCode === null ? this.#transport.queuedBytes : 0
  }

  send(chunks: readonly Uint8Array[], onSent: () => void = NOTHING): boolean {
    if (this.#closeCode !== null || this.#isFlooded()) {
      if (this.#closeCode === null) this.terminate()
      onSent()
      return false
    }
    let bytes = 0
    let isShared = false
    for (const chunk of chunks) {
      bytes += chunk.length
      isShared ||= !(chunk.buffer instanceof ArrayBuffer)
    }
    if (bytes <= SMALL_BYTES) {
      this.#transmit([encodeSmall(bytes, chunks)])
      onSent()
      return this.#closeCode === null
    }
    const framed = [encodeHead(Opcode.BINARY, bytes), ...chunks]
    if (isShared) this.#transport.sendOrCopy(framed, onSent, this.#onLeft)
    else this.#transmit(framed, onSent)
    return this.#closeCode === null
  }

  end(code: number, reason: string): void {
    const text = closeReason(code, reason)
    if (this.#closeCode !== null) return
    this.#sendClose(code, text)
    this.#closed(code)
    this.#limitTime()
  }

  terminate(): void {
    this.#transport.destroy()
  }

  /** Hands the connection to the protocol above; `rest` came behind the upgrade. */
  open(rest: Uint8Array): void {
    if (this.#transport.isClosed) return
    const handler = this.#parts.webSocket.accept(this)
    if (handler === null) {
      this.end(1013, 'this broker takes no WebSocket connections now')
    } else if (this.#closeCode !== null) {
      handler.onClose(this.#closeCode) // It was closed inside `accept`.
    } else {
      this.#handler = handler
    }
    this.#transport.prepend(rest)
    this.updateReading()
  }

  /** Pings a client that is silent, and closes one that stays so. */
  tick(nowMs: number): void {
    if (this.#closeCode !== null) return
    // Who is not read cannot be heard.
    const sign = this.#lifeSigns.look(this.#isHeard || this.receiver.stalled, nowMs)
    this.#isHeard = false
    if (sign === 'ping') this.#transmit([encodeHead(Opcode.PING, 0)])
    else if (sign === 'dead') this.terminate()
  }

  /** Closes it when it holds memory that others wait for and does not go on with its message. */
  endHoarding(nowMs: number): void {
    const { memory } = this.#parts
    const { receiver } = this
    if (memory.holder === null) return
    const isSilent = nowMs - this.#heardMs > SLOW_SENDER_MS
    const holdsLong = memory.holder === receiver && nowMs - memory.heldSinceMs > SLOW_SENDER_MS
    if (!holdsLong && !(receiver.heldBytes > 0 && !receiver.stalled && isSilent)) return
    this.#fail(HOARDING, 'a message is not finished and memory is short')
  }

  // —— from the transport ——

  onReceived(): void {
    this.#isHeard = true
    this.#heardMs = performance.now()
    if (this.#pongs.length > 0) this.#sendPongs()
    this.updateReading()
  }

  onClosed(_reason: Error | null): void {
    clearTimeout(this.#timer)
    this.receiver.close()
    this.#parts.waiting.delete(this)
    this.#closed(1006)
    this.#parts.onClosed(this)
  }

  /** Memory came back: goes on with what was received, then reading, while it may. */
  updateReading(): void {
    const transport = this.#transport
    if (transport.isClosed || this.#isOffering) return
    this.#isOffering = true
    while (transport.hasUntaken && this.receiver.retry()) transport.drainReceived()
    this.#isOffering = false
    if (transport.isClosed) return
    if (transport.hasUntaken || !this.receiver.retry()) {
      this.#parts.waiting.add(this)
      transport.pause()
    } else {
      this.#parts.waiting.delete(this)
      transport.resume()
    }
  }

  // —— from the receiver ——

  onMessage(bytes: Uint8Array, frame: RequestFrame | null): void {
    this.#handler?.onMessage(bytes, frame)
  }

  onControl(opcode: number, payload: Uint8Array): void {
    if (opcode === Opcode.CLOSE) {
      this.#onClose(payload)
    } else if (opcode === Opcode.PING && this.#closeCode === null) {
      this.#pongs.push(encodeHead(Opcode.PONG, payload.length), new Uint8Array(payload))
    }
  }

  onViolation(code: number, reason: string): void {
    this.#fail(code, reason)
  }

  #onClose(payload: Uint8Array): void {
    const code =
      payload.length === 0 ? NO_STATUS : ((payload[0] as number) << 8) | (payload[1] ?? 0)
    if (payload.length === 1 || (payload.length > 1 && !isSendable(code))) {
      this.#fail(ViolationCode.PROTOCOL, 'a close frame with a code that is none')
    } else if (!isUtf8(new Uint8Array(payload.subarray(2)))) {
      this.#fail(NOT_UTF8, 'the reason of a close frame is not UTF-8')
    } else {
      if (this.#closeCode === null) {
        this.#sendClose(code, '')
        this.#closed(code)
      }
      this.#hangUp()
    }
  }

  /** Says why, and listens no more. */
  #fail(code: number, reason: string): void {
    if (this.#closeCode === null) {
      this.#sendClose(code, reason)
      this.#closed(code)
    }
    this.#hangUp()
  }

  #sendClose(code: number, reason: string): void {
    if (this.#pongs.length > 0) this.#sendPongs()
    const payload = code === NO_STATUS ? Buffer.alloc(0) : Buffer.from(`\0\0${reason}`)
    if (code !== NO_STATUS) payload.writeUInt16BE(code)
    this.#transmit([encodeHead(Opcode.CLOSE, payload.length), payload])
  }

  /**
   * Nothing is sent any more, and what comes is dropped: closing with bytes unread would reset the
   * connection, and the client could lose our close frame by it.
   */
  #hangUp(): void {
    this.receiver.close()
    this.#transport.shutDown()
    this.#limitTime()
    this.updateReading()
  }

  #limitTime(): void {
    clearTimeout(this.#timer)
    if (this.#transport.isClosed) return
    this.#timer = setTimeout(() => this.#transport.destroy(), CLOSE_TIMEOUT_MS)
    this.#timer.unref()
  }

  /** A client that pings and never reads must not fill memory with the answers. */
  #sendPongs(): void {
    const pongs = this.#pongs
    this.#pongs = []
    if (this.#closeCode !== null) return
    if (this.#isFlooded()) this.terminate()
    else this.#transmit([Buffer.concat(pongs)])
  }

  /** Sends, and tells the handler when what could not leave at once has left. */
  #transmit(chunks: Uint8Array[], onSent = NOTHING): void {
    let isNow = true
    this.#transport.send(chunks, () => {
      onSent()
      if (!isNow) this.#drained()
    })
    isNow = false
  }

  #isFlooded(): boolean {
    return this.#transport.queuedBytes > this.#parts.webSocket.backpressureBytesMax
  }

  #drained(): void {
    if (!this.#transport.isClosed) this.#handler?.onDrain()
  }

  #closed(code: number): void {
    if (this.#closeCode !== null) return
    this.#closeCode = code
    const handler = this.#handler
    this.#handler = null
    handler?.onClose(code)
  }
}

/** A whole message in one piece. */
function encodeSmall(bytes: number, chunks: readonly Uint8Array[]): Uint8Array {
  const head = encodeHead(Opcode.BINARY, bytes)
  const frame = new Uint8Array(head.length + bytes)
  frame.set(head)
  let at = head.length
  for (const chunk of chunks) {
    frame.set(chunk, at)
    at += chunk.length
  }
  return frame
}
