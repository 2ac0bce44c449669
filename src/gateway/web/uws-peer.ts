import { closeReason } from './close-reason.ts'
import { LifeSigns } from './life-signs.ts'
import type { UwsSocket } from './uws-library.ts'
import type { WebSocketHandler, WebSocketParts, WebSocketPeer } from './web-server.ts'

/**
 * One WebSocket connection of uWebSockets.js, from its upgrade on. The library copies what it
 * cannot send at once, so that memory is free again when `send` returns.
 */
export class UwsPeer implements WebSocketPeer {
  readonly remoteAddress: string
  readonly #parts: WebSocketParts
  /** Null before `open` and after the close: the library's object throws then. */
  #socket: UwsSocket | null = null
  #handler: WebSocketHandler | null = null
  #closeCode: number | null = null
  readonly #lifeSigns: LifeSigns
  /** The library tells of whole messages and control frames only. */
  #isHeard = false

  constructor(remoteAddress: string, parts: WebSocketParts) {
    this.remoteAddress = remoteAddress
    this.#parts = parts
    this.#lifeSigns = new LifeSigns(parts, performance.now())
  }

  get bufferedBytes(): number {
    return this.#socket?.getBufferedAmount() ?? 0
  }

  send(chunks: readonly Uint8Array[], onSent?: () => void): boolean {
    const isSent = this.#socket !== null && this.#write(this.#socket, chunks)
    onSent?.()
    return isSent
  }

  end(code: number, reason: string): void {
    const text = closeReason(code, reason)
    this.#socket?.end(code, text) // Calls `closed`.
  }

  terminate(): void {
    this.#socket?.close() // Calls `closed`.
  }

  /** The library has a socket for this peer. */
  open(socket: UwsSocket): void {
    this.#socket = socket
    const handler = this.#parts.accept(this)
    if (handler === null) {
      this.end(1013, 'this broker takes no WebSocket connections now')
    } else if (this.#closeCode !== null) {
      handler.onClose(this.#closeCode) // It was closed inside `accept`.
    } else {
      this.#handler = handler
    }
  }

  message(bytes: ArrayBuffer, isBinary: boolean): void {
    this.#isHeard = true
    if (isBinary) this.#handler?.onMessage(new Uint8Array(bytes), null)
    else this.end(1003, 'only binary messages are understood')
  }

  /** A peer that pings and never reads must not fill memory with pongs. */
  ping(): void {
    this.#isHeard = true
    if (this.bufferedBytes > this.#parts.backpressureBytesMax) this.terminate()
  }

  pong(): void {
    this.#isHeard = true
  }

  /** Pings a client that is silent, and closes one that stays so. */
  tick(nowMs: number): void {
    const sign = this.#lifeSigns.look(this.#isHeard, nowMs)
    this.#isHeard = false
    if (sign === 'ping') this.#socket?.ping()
    else if (sign === 'dead') this.terminate()
  }

  drain(): void {
    this.#handler?.onDrain()
  }

  closed(code: number): void {
    this.#socket = null
    this.#closeCode = code
    const handler = this.#handler
    this.#handler = null
    handler?.onClose(code)
  }

  #write(socket: UwsSocket, chunks: readonly Uint8Array[]): boolean {
    if (socket.getBufferedAmount() > this.#parts.backpressureBytesMax) {
      this.terminate()
      return false
    }
    let isDropped = false
    if (chunks.length <= 1) {
      isDropped = socket.send(chunks[0] ?? EMPTY, true) === DROPPED
    } else {
      socket.cork(() => {
        isDropped = writeFragments(socket, chunks)
      })
    }
    // Half a message has no end: whatever was dropped, nothing can follow it.
    if (isDropped) this.terminate()
    return !isDropped
  }
}

/** One message without joining its chunks in memory first: a fragment each. */
function writeFragments(socket: UwsSocket, chunks: readonly Uint8Array[]): boolean {
  const last = chunks.length - 1
  let isDropped = false
  for (const [i, chunk] of chunks.entries()) {
    if (i === 0) isDropped = socket.sendFirstFragment(chunk, true) === DROPPED
    else if (i < last) isDropped ||= socket.sendFragment(chunk) === DROPPED
    else isDropped ||= socket.sendLastFragment(chunk) === DROPPED
  }
  return isDropped
}

const DROPPED = 2
const EMPTY = new Uint8Array(0)
