/**
 * A client that says exactly what a test wants to say: any API in any version, pipelined, raw
 * bytes, and a socket that can be left unread. Answers must come in the order of the requests; the
 * first that does not ends the connection and fails whoever waits.
 */
import { connect, type Socket } from 'node:net'
import {
  decodeResponse,
  decodeResponseHeader,
  encodeRequest,
  Reader,
  type RequestInit,
  type ResponseOf,
  type SupportedApiKey,
} from '../../src/wire/kafka/api.ts'

const REQUEST_TIMEOUT_MS = 60_000
const SIZE_BYTES = 4

/** A response and the bytes that its record ranges point into. */
export interface Answer<K extends SupportedApiKey> {
  readonly body: ResponseOf<K>
  readonly frame: Buffer
}

interface Waiting {
  readonly correlationId: number
  resolve(frame: Buffer): void
  reject(error: Error): void
}

export class RawClient {
  readonly socket: Socket
  /** Resolves when the connection is gone, whoever closed it. */
  readonly closed: Promise<void>
  readonly #waiting: Waiting[] = []
  #chunks: Buffer[] = []
  #buffered = 0
  #correlationId = 1
  #failure: Error | null = null

  private constructor(socket: Socket) {
    this.socket = socket
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#fail(new Error('the broker closed the connection'))
        resolve()
      })
    })
    socket.on('error', (error) => this.#fail(error))
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
  }

  static open(port: number): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, noDelay: true })
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new RawClient(socket))
      })
    })
  }

  get isClosed(): boolean {
    return this.#failure !== null
  }

  get inFlight(): number {
    return this.#waiting.length
  }

  /** Sends at once, without waiting for earlier answers. */
  async exchange<K extends SupportedApiKey>(
    apiKey: K,
    version: number,
    body: RequestInit<K>,
  ): Promise<Answer<K>> {
    const frame = await this.#send(this.encode(apiKey, version, body))
    const reader = new Reader(frame)
    decodeResponseHeader(apiKey, version, reader)
    return { body: decodeResponse(apiKey, version, reader), frame }
  }

  async request<K extends SupportedApiKey>(
    apiKey: K,
    version: number,
    body: RequestInit<K>,
  ): Promise<ResponseOf<K>> {
    return (await this.exchange(apiKey, version, body)).body
  }

  /** Sends a request that gets no answer (Produce with acks=0). */
  sendOnly<K extends SupportedApiKey>(apiKey: K, version: number, body: RequestInit<K>): void {
    this.socket.write(this.encode(apiKey, version, body).bytes)
  }

  /** Bytes as they are; no answer is expected. */
  sendBytes(bytes: Uint8Array): void {
    this.socket.write(bytes)
  }

  /** Sends a frame with a header of its own; the answer's frame comes back undecoded. */
  sendFrame(correlationId: number, bytes: Uint8Array): Promise<Buffer> {
    return this.#send({ correlationId, bytes })
  }

  /** A whole frame, size included. */
  encode<K extends SupportedApiKey>(
    apiKey: K,
    version: number,
    body: RequestInit<K>,
  ): { correlationId: number; bytes: Buffer } {
    const correlationId = this.#correlationId++
    const header = { correlationId, clientId: 'test' }
    return { correlationId, bytes: Buffer.concat(encodeRequest(apiKey, version, header, body)) }
  }

  close(): void {
    this.socket.destroy()
  }

  #send(request: { correlationId: number; bytes: Uint8Array }): Promise<Buffer> {
    if (this.#failure !== null) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#fail(new Error(`no answer to request ${request.correlationId} in time`))
        this.close()
      }, REQUEST_TIMEOUT_MS)
      this.#waiting.push({
        correlationId: request.correlationId,
        resolve: (frame) => {
          clearTimeout(timer)
          resolve(frame)
        },
        reject: (error) => {
          clearTimeout(timer)
          reject(error)
        },
      })
      this.socket.write(request.bytes)
    })
  }

  #receive(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#buffered += chunk.length
    while (this.#buffered >= SIZE_BYTES) {
      if ((this.#chunks[0] as Buffer).length < SIZE_BYTES) this.#join()
      const end = SIZE_BYTES + (this.#chunks[0] as Buffer).readInt32BE(0)
      if (this.#buffered < end) return
      this.#join()
      const all = this.#chunks[0] as Buffer
      this.#chunks = all.length === end ? [] : [all.subarray(end)]
      this.#buffered -= end
      this.#answer(all.subarray(SIZE_BYTES, end))
    }
  }

  #join(): void {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)]
  }

  #answer(frame: Buffer): void {
    const next = this.#waiting.shift()
    const correlationId = frame.readInt32BE(0)
    if (next?.correlationId === correlationId) {
      next.resolve(frame)
      return
    }
    const expected = next?.correlationId ?? 'none'
    const error = new Error(`an answer to request ${correlationId}, but ${expected} is next`)
    next?.reject(error)
    this.#fail(error)
    this.close()
  }

  #fail(error: Error): void {
    this.#failure ??= error
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure)
  }
}
