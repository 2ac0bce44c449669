/**
 * A WebSocket that speaks `millrace.v1`, for load: messages that were framed once go out as they
 * are, and messages that arrive are handed on where they lie. Answers pings by itself.
 */
import { createHash, randomBytes } from 'node:crypto'
import { SUBPROTOCOL } from '../../wire/websocket/messages.ts'
import { LoadError } from '../load-error.ts'
import { LoadSocket } from '../load-socket.ts'
import { ReceiveBuffer } from '../receive-buffer.ts'
import {
  type FrameHead,
  maskedFrame,
  OPCODE_BINARY,
  OPCODE_CLOSE,
  OPCODE_CONTINUATION,
  OPCODE_PING,
  OPCODE_PONG,
  readFrame,
} from './frames.ts'

export interface MessageEvents {
  /** One message, valid until this returns. */
  message(bytes: Buffer): void
  broke(reason: string): void
}

const HANDSHAKE_BYTES_MAX = 64 * 1024
const HANDSHAKE_MS = 10_000
/** RFC 6455, 1.3. */
const ACCEPT_SUFFIX = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

export class MessageSocket {
  readonly #url: URL
  readonly #events: MessageEvents
  readonly #key = randomBytes(16).toString('base64')
  #socket: LoadSocket | null = null
  #isOpen = false
  #isOver = false
  #settle: ((error: LoadError | null) => void) | null = null
  readonly #received = new ReceiveBuffer((bytes, start, end) => this.#take(bytes, start, end))
  readonly #head: FrameHead = { opcode: 0, isLast: true, start: 0, end: 0 }
  /** A message in fragments as far as it has come; the memory is used again for the next one. */
  #gathered: Buffer = Buffer.alloc(0)
  #gatheredBytes = 0

  private constructor(url: URL, events: MessageEvents) {
    this.#url = url
    this.#events = events
  }

  /** Throws LoadError when nobody is there, or who is there speaks something else. */
  static async open(
    url: string,
    events: MessageEvents,
    receiveBytes?: number,
  ): Promise<MessageSocket> {
    const socket = new MessageSocket(new URL(url), events)
    await socket.#connect(receiveBytes)
    return socket
  }

  /** Sends a frame that `maskedFrame` made; it must not change until it is sent. */
  write(frame: Uint8Array, onSent?: () => void): void {
    this.#socket?.write(frame, onSent)
  }

  close(): void {
    this.#isOver = true
    this.#socket?.close()
    this.#socket = null
  }

  async #connect(receiveBytes: number | undefined): Promise<void> {
    const { protocol, hostname, port, host, pathname, search } = this.#url
    const isTls = protocol === 'wss:'
    this.#socket = await LoadSocket.open(
      {
        host: hostname.replace(/^\[|\]$/g, ''),
        port: Number(port) || (isTls ? 443 : 80),
        tls: isTls,
        ...(receiveBytes === undefined ? {} : { receiveBytes }),
      },
      {
        received: (bytes, length) => this.#received.push(bytes, length),
        ended: (reason) => this.#fail(reason),
      },
    )
    const lines = [
      `GET ${pathname}${search} HTTP/1.1`,
      `Host: ${host}`,
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${this.#key}`,
      `Sec-WebSocket-Protocol: ${SUBPROTOCOL}`,
    ]
    const timer = setTimeout(() => {
      this.#fail(`no answer to the handshake within ${HANDSHAKE_MS} ms`)
    }, HANDSHAKE_MS)
    try {
      await new Promise<void>((resolve, reject) => {
        this.#settle = (error) => (error === null ? resolve() : reject(error))
        this.#socket?.write(Buffer.from(`${lines.join('\r\n')}\r\n\r\n`))
      })
    } finally {
      clearTimeout(timer)
    }
  }

  #fail(reason: string): void {
    if (this.#isOver) return
    this.close()
    const settle = this.#settle
    this.#settle = null
    if (settle === null) this.#events.broke(reason)
    else settle(new LoadError(`no WebSocket at ${this.#url.href}: ${reason}`))
  }

  #take(bytes: Buffer, start: number, end: number): number {
    let at = start
    if (!this.#isOpen) {
      at = this.#greet(bytes, start, end)
      if (at === start) return 0
    }
    while (!this.#isOver && readFrame(bytes, at, end, this.#head)) {
      const { opcode, isLast, start: from, end: to } = this.#head
      at = to
      this.#frame(opcode, isLast, bytes.subarray(from, to))
    }
    return at - start
  }

  /** Returns where the answer to the handshake ends, or `start` if it is not there yet. */
  #greet(bytes: Buffer, start: number, end: number): number {
    const text = bytes.toString('latin1', start, Math.min(end, start + HANDSHAKE_BYTES_MAX))
    const length = text.indexOf('\r\n\r\n')
    if (length < 0) {
      if (end - start >= HANDSHAKE_BYTES_MAX) this.#fail('what answers is no HTTP server')
      return start
    }
    const head = text.slice(0, length)
    const accept = createHash('sha1').update(`${this.#key}${ACCEPT_SUFFIX}`).digest('base64')
    if (!/^HTTP\/1\.1 101\b/.test(head) || !head.includes(accept)) {
      this.#fail(`the answer was ${head.split('\r\n')[0]}`)
      return start
    }
    this.#isOpen = true
    const settle = this.#settle
    this.#settle = null
    settle?.(null)
    return start + length + 4
  }

  #frame(opcode: number, isLast: boolean, payload: Buffer): void {
    switch (opcode) {
      case OPCODE_BINARY:
      case OPCODE_CONTINUATION:
        if (isLast && this.#gatheredBytes === 0) this.#events.message(payload)
        else this.#fragment(payload, isLast)
        return
      case OPCODE_PING:
        this.write(maskedFrame(OPCODE_PONG, payload))
        return
      case OPCODE_CLOSE: {
        const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005
        this.#fail(`the broker closed it: ${code} ${payload.toString('utf8', 2)}`.trim())
        return
      }
      default: // Pongs.
    }
  }

  #fragment(payload: Buffer, isLast: boolean): void {
    const bytes = this.#gatheredBytes + payload.length
    if (bytes > this.#gathered.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(bytes, this.#gathered.length * 2))
      this.#gathered.copy(grown, 0, 0, this.#gatheredBytes)
      this.#gathered = grown
    }
    payload.copy(this.#gathered, this.#gatheredBytes)
    this.#gatheredBytes = bytes
    if (!isLast) return
    this.#gatheredBytes = 0
    this.#events.message(this.#gathered.subarray(0, bytes))
  }
}
