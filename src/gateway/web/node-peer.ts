import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import { closeReason } from './close-reason.ts'
import { LifeSigns } from './life-signs.ts'
import { plainAddress } from './plain-address.ts'
import type { WebSocketHandler, WebSocketParts, WebSocketPeer } from './web-server.ts'

/**
 * One WebSocket connection of ws. The socket reads a chunk's memory until its write is done, so
 * that `onSent` waits for it; shared memory is copied, because others wait for it and a client that
 * does not read would hold it. The handler hears of an end at once, as it does with uws.
 */
export class NodePeer implements WebSocketPeer {
  readonly remoteAddress: string
  readonly #socket: Socket
  readonly #webSocket: WebSocket
  readonly #parts: WebSocketParts
  /** Messages whose memory the system may still read. */
  readonly #unsent = new Set<() => void>()
  #handler: WebSocketHandler | null = null
  #closeCode: number | null = null
  readonly #lifeSigns: LifeSigns
  /** What `Socket.bytesRead` was at the last look: bytes count, not only messages. */
  #heardBytes = 0

  constructor(webSocket: WebSocket, socket: Socket, parts: WebSocketParts) {
    this.remoteAddress = plainAddress(socket.remoteAddress)
    this.#webSocket = webSocket
    this.#socket = socket
    this.#parts = parts
    this.#lifeSigns = new LifeSigns(parts, performance.now())
    webSocket.on('message', (data, isBinary) => this.#onMessage(data as Buffer, isBinary))
    webSocket.on('ping', (data) => this.#onPing(data))
    webSocket.on('close', (code) => this.#closed(code))
    webSocket.on('error', (error: NodeJS.ErrnoException) => this.#onError(error))
    socket.on('drain', () => this.#handler?.onDrain())
    socket.on('close', () => this.#settleAll())
  }

  get bufferedBytes(): number {
    return this.#closeCode === null ? this.#webSocket.bufferedAmount : 0
  }

  send(chunks: readonly Uint8Array[], onSent: () => void = () => {}): boolean {
    const isClosed = this.#closeCode !== null
    if (isClosed || this.#webSocket.bufferedAmount > this.#parts.backpressureBytesMax) {
      if (!isClosed) this.terminate()
      onSent()
      return false
    }
    if (chunks.some(isShared)) {
      this.#write(chunks.map((chunk) => new Uint8Array(chunk)))
      onSent()
      return true
    }
    const settle = (): void => {
      if (this.#unsent.delete(settle)) onSent()
    }
    this.#unsent.add(settle)
    this.#write(chunks, settle)
    return true
  }

  /** One message without joining its chunks in memory first: a fragment each. */
  #write(chunks: readonly Uint8Array[], settle?: () => void): void {
    this.#socket.cork()
    const last = Math.max(0, chunks.length - 1)
    for (let i = 0; i < last; i++) this.#webSocket.send(chunks[i] as Uint8Array, FRAGMENT)
    let isTaken = false
    this.#webSocket.send(chunks[last] ?? EMPTY, LAST_FRAGMENT, () => {
      settle?.()
      // The socket's own 'drain' does not come for what is less than its high-water mark.
      if (!isTaken) this.#handler?.onDrain()
    })
    this.#socket.uncork()
    isTaken = this.bufferedBytes === 0
  }

  end(code: number, reason: string): void {
    const text = closeReason(code, reason)
    if (this.#closeCode !== null) return
    this.#webSocket.close(code, text)
    this.#closed(code)
  }

  terminate(): void {
    this.#webSocket.terminate()
    this.#closed(1006)
  }

  /** Hands the connection to the protocol above. */
  open(): void {
    const handler = this.#parts.accept(this)
    if (handler === null) {
      this.end(1013, 'this broker takes no WebSocket connections now')
    } else if (this.#closeCode !== null) {
      handler.onClose(this.#closeCode) // It was closed inside `accept`.
    } else {
      this.#handler = handler
    }
  }

  /** Pings a client that is silent, and closes one that stays so. */
  tick(nowMs: number): void {
    if (this.#closeCode !== null) return
    const { bytesRead } = this.#socket
    const sign = this.#lifeSigns.look(bytesRead !== this.#heardBytes, nowMs)
    this.#heardBytes = bytesRead
    if (sign === 'ping') this.#webSocket.ping()
    else if (sign === 'dead') this.terminate()
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    if (this.#closeCode !== null) return
    if (isBinary) this.#handler?.onMessage(data, null)
    else this.end(1003, 'only binary messages are understood')
  }

  /** By hand, since ws answers without a bound: a peer that pings and never reads fills memory. */
  #onPing(data: Buffer): void {
    if (this.#closeCode !== null) return
    if (this.bufferedBytes > this.#parts.backpressureBytesMax) this.terminate()
    else this.#webSocket.pong(data)
  }

  /** ws closes the connection by itself. */
  #onError(error: NodeJS.ErrnoException): void {
    const code = error.code ?? ''
    this.#closed(ERROR_CLOSE_CODES[code] ?? (code.startsWith('WS_ERR_') ? 1002 : 1006))
  }

  #closed(code: number): void {
    if (this.#closeCode !== null) return
    this.#closeCode = code
    const handler = this.#handler
    this.#handler = null
    handler?.onClose(code)
  }

  /** Nothing reads the memory any more: the socket is closed. */
  #settleAll(): void {
    for (const settle of [...this.#unsent]) settle()
  }
}

const FRAGMENT = { binary: true, fin: false } as const
const LAST_FRAGMENT = { binary: true, fin: true } as const

const EMPTY = new Uint8Array(0)

function isShared(chunk: Uint8Array): boolean {
  return !(chunk.buffer instanceof ArrayBuffer)
}

/** Close codes for what ws finds wrong with a client, by the code of its error. */
const ERROR_CLOSE_CODES: Readonly<Record<string, number>> = {
  WS_ERR_INVALID_UTF8: 1007,
  WS_ERR_TOO_MANY_BUFFERED_PARTS: 1008,
  WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH: 1009,
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 1009,
}
