import { once } from 'node:events'
import { WebSocket } from 'ws'
import { decodeServerMessage, encodeEnvelope } from '../../src/wire/websocket/envelope.ts'
import {
  type ClientMessage,
  type ServerMessage,
  type ServerMessages,
  type ServerMessageType,
  SUBPROTOCOL,
} from '../../src/wire/websocket/messages.ts'

/** A client of `millrace.v1` that does what a test says, also what no client should. */
export interface Received {
  readonly message: ServerMessage
  readonly payload: Uint8Array
}

export class WebSocketTestClient {
  readonly socket: WebSocket
  readonly hello: ServerMessages['hello']
  /** What has come and was not taken yet. */
  readonly inbox: Received[] = []
  readonly closed: Promise<number>
  #wake: (() => void)[] = []
  #isClosed = false
  #nextId = 1

  private constructor(socket: WebSocket, inbox: Received[], hello: ServerMessages['hello']) {
    this.socket = socket
    this.hello = hello
    this.inbox.push(...inbox)
    socket.removeAllListeners('message')
    socket.on('message', (data: Buffer) => {
      this.inbox.push(decode(data))
      this.#notify()
    })
    this.closed = once(socket, 'close').then(([code]) => {
      this.#isClosed = true
      this.#notify()
      return code as number
    })
    socket.on('error', () => {})
  }

  static async open(httpUrl: string, subprotocol = SUBPROTOCOL): Promise<WebSocketTestClient> {
    const url = `${httpUrl.replace(/^http/, 'ws')}/ws`
    const socket = new WebSocket(url, subprotocol, { perMessageDeflate: false })
    const first: Received[] = []
    const hello = new Promise<void>((resolve, reject) => {
      socket.on('message', (data: Buffer) => {
        first.push(decode(data))
        resolve()
      })
      socket.once('error', reject)
      socket.once('close', () => reject(new Error('closed before a hello')))
    })
    await hello
    const [greeting, ...rest] = first
    if (greeting?.message.type !== 'hello') throw new Error('the first message is no hello')
    return new WebSocketTestClient(socket, rest, greeting.message)
  }

  nextId(): number {
    return this.#nextId++
  }

  send(message: ClientMessage, ...payload: Uint8Array[]): void {
    this.socket.send(Buffer.concat([encodeEnvelope(message), ...payload]))
  }

  /** The next message that `test` likes, whatever else comes before it. */
  async take(test: (received: Received) => boolean): Promise<Received> {
    for (;;) {
      const at = this.inbox.findIndex(test)
      if (at >= 0) return this.inbox.splice(at, 1)[0] as Received
      if (this.#isClosed) throw new Error('the connection is closed')
      await new Promise<void>((resolve) => this.#wake.push(resolve))
    }
  }

  async takeType<T extends ServerMessageType>(
    type: T,
  ): Promise<{ message: ServerMessages[T]; payload: Uint8Array }> {
    const received = await this.take(({ message }) => message.type === type)
    return received as { message: ServerMessages[T]; payload: Uint8Array }
  }

  /** Sends a request and waits for its answer, of `type` or an error. */
  async ask<T extends ServerMessageType>(
    type: T,
    message: Exclude<
      ClientMessage,
      { type: 'hello' | 'flow' | 'released' | 'requestCredits' | 'yieldCredits' }
    >,
    ...payload: Uint8Array[]
  ): Promise<ServerMessages[T] & { payload: Uint8Array }> {
    this.send(message, ...payload)
    const received = await this.take((one) => 'id' in one.message && one.message.id === message.id)
    if (received.message.type !== type) {
      throw new Error(`${message.type}: ${JSON.stringify(received.message)}`)
    }
    return { ...(received.message as ServerMessages[T]), payload: received.payload }
  }

  async close(): Promise<void> {
    this.socket.close()
    await this.closed
  }

  #notify(): void {
    for (const resolve of this.#wake.splice(0)) resolve()
  }
}

function decode(data: Buffer): Received {
  const { envelope, payloadStart } = decodeServerMessage(data, 64 * 1024 * 1024)
  return { message: envelope, payload: Uint8Array.from(data.subarray(payloadStart)) }
}
