/**
 * One connection to a broker that speaks Kafka's protocol, for administration: requests are
 * answered in the order in which they were sent, each within a time limit. Versions are agreed
 * once, when the connection opens. Not made for throughput: a response is copied out of the
 * socket's chunks.
 */
import { connect as connectSocket, type Socket } from 'node:net'
import { ErrorCode } from '../errors/error-code.ts'
import {
  ApiKey,
  apiName,
  DecodeError,
  decodeResponse,
  decodeResponseHeader,
  encodeRequest,
  Reader,
  type RequestInit,
  type ResponseOf,
  SUPPORTED_APIS,
  type SupportedApiKey,
} from '../wire/kafka/api.ts'
import { checkFrameSize, FRAME_SIZE_BYTES } from '../wire/kafka/framing.ts'

/** A larger answer than this is no answer of a broker. */
const RESPONSE_BYTES_MAX = 256 * 1024 * 1024
const RESPONSE_BYTES_MIN = 4

/** The broker cannot be reached, does not answer, or says what no broker says. */
export class ConnectionError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'ConnectionError'
  }
}

export interface ConnectOptions {
  readonly host: string
  readonly port: number
  readonly clientId: string
  /** For connecting, and for each request. */
  readonly timeoutMs: number
}

export interface Answer<K extends SupportedApiKey> {
  readonly body: ResponseOf<K>
  readonly frame: Uint8Array
}

interface VersionRange {
  readonly min: number
  readonly max: number
}

interface Waiting {
  readonly correlationId: number
  resolve(frame: Buffer): void
  reject(error: Error): void
}

export class KafkaConnection {
  readonly #socket: Socket
  readonly #options: ConnectOptions
  readonly #waiting: Waiting[] = []
  readonly #versions = new Map<number, VersionRange>()
  #chunks: Buffer[] = []
  #bytes = 0
  #correlationId = 0
  #failure: Error | null = null

  private constructor(socket: Socket, options: ConnectOptions) {
    this.#socket = socket
    this.#options = options
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => this.#fail(new Error('the broker closed the connection')))
  }

  /** Connects and agrees on versions. Throws a ConnectionError. */
  static async open(options: ConnectOptions): Promise<KafkaConnection> {
    const socket = await openSocket(options)
    const connection = new KafkaConnection(socket, options)
    try {
      await connection.#agreeOnVersions()
    } catch (error) {
      connection.close()
      throw error
    }
    return connection
  }

  get isOpen(): boolean {
    return this.#failure === null
  }

  /** True when there is a version of it that both sides know. */
  serves(apiKey: SupportedApiKey): boolean {
    const own = SUPPORTED_APIS.find((api) => api.apiKey === apiKey)
    const theirs = this.#versions.get(apiKey)
    if (own === undefined || theirs === undefined) return false
    return Math.min(own.maxVersion, theirs.max) >= Math.max(own.minVersion, theirs.min)
  }

  /**
   * Sends one request at the highest version that both sides know, at most `versionMax`, which
   * `bodyAt` is told. Throws a ConnectionError.
   */
  async request<K extends SupportedApiKey>(
    apiKey: K,
    bodyAt: (version: number) => RequestInit<K>,
    versionMax = Number.POSITIVE_INFINITY,
  ): Promise<ResponseOf<K>> {
    return (await this.requestFrame(apiKey, bodyAt, versionMax)).body
  }

  /** The same, and the bytes that the positions of `records` fields in the answer refer to. */
  async requestFrame<K extends SupportedApiKey>(
    apiKey: K,
    bodyAt: (version: number) => RequestInit<K>,
    versionMax = Number.POSITIVE_INFINITY,
  ): Promise<Answer<K>> {
    const own = SUPPORTED_APIS.find((api) => api.apiKey === apiKey)
    const theirs = this.#versions.get(apiKey)
    if (own === undefined || theirs === undefined) {
      throw new ConnectionError(`the broker at ${this.#address} does not serve ${apiName(apiKey)}`)
    }
    const version = Math.min(own.maxVersion, theirs.max, versionMax)
    if (version < Math.max(own.minVersion, theirs.min)) {
      throw new ConnectionError(
        `the broker at ${this.#address} serves ${apiName(apiKey)} in versions ` +
          `${theirs.min}–${theirs.max}, this client in ${own.minVersion}–${own.maxVersion}`,
      )
    }
    return await this.#exchange(apiKey, version, bodyAt(version))
  }

  close(): void {
    this.#socket.destroy()
  }

  get #address(): string {
    return `${this.#options.host}:${this.#options.port}`
  }

  async #agreeOnVersions(): Promise<void> {
    const client = { clientSoftwareName: 'millrace', clientSoftwareVersion: '0' }
    const first = await this.#exchange(ApiKey.API_VERSIONS, 3, client).catch((error: unknown) => {
      // A broker that does not know v3 answers in v0 (KIP-511), which does not decode as v3.
      if (error instanceof ConnectionError && error.cause instanceof DecodeError) return null
      throw error
    })
    const isKnown = first !== null && first.body.errorCode !== ErrorCode.UNSUPPORTED_VERSION
    const { body } = isKnown ? first : await this.#exchange(ApiKey.API_VERSIONS, 0, {})
    for (const { apiKey, minVersion, maxVersion } of body.apiKeys) {
      this.#versions.set(apiKey, { min: minVersion, max: maxVersion })
    }
  }

  async #exchange<K extends SupportedApiKey>(
    apiKey: K,
    version: number,
    body: RequestInit<K>,
  ): Promise<Answer<K>> {
    if (this.#failure !== null) throw this.#broken(this.#failure)
    const correlationId = this.#correlationId++
    const { clientId, timeoutMs } = this.#options
    const chunks = encodeRequest(apiKey, version, { correlationId, clientId }, body)
    const answer = new Promise<Buffer>((resolve, reject) => {
      this.#waiting.push({ correlationId, resolve, reject })
    })
    // The writer may use its memory again for the next request: what is queued is a copy.
    this.#socket.write(Buffer.concat(chunks))
    const timer = setTimeout(() => {
      this.#fail(new Error(`no answer to ${apiName(apiKey)} within ${timeoutMs} ms`))
      this.close()
    }, timeoutMs)
    try {
      const frame = await answer
      const reader = new Reader(frame)
      decodeResponseHeader(apiKey, version, reader)
      return { body: decodeResponse(apiKey, version, reader), frame }
    } catch (error) {
      throw this.#broken(error)
    } finally {
      clearTimeout(timer)
    }
  }

  #receive(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    while (this.#bytes >= FRAME_SIZE_BYTES) {
      const first = this.#chunks[0] as Buffer
      if (first.length < FRAME_SIZE_BYTES) this.#chunks = [Buffer.concat(this.#chunks)]
      let size: number
      try {
        const declared = (this.#chunks[0] as Buffer).readInt32BE(0)
        size = checkFrameSize(declared, RESPONSE_BYTES_MAX, RESPONSE_BYTES_MIN)
      } catch (error) {
        this.#fail(error as Error)
        this.close()
        return
      }
      const end = FRAME_SIZE_BYTES + size
      if (this.#bytes < end) return
      const all =
        this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks)
      this.#chunks = all.length === end ? [] : [all.subarray(end)]
      this.#bytes -= end
      this.#answer(all.subarray(FRAME_SIZE_BYTES, end))
    }
  }

  #answer(frame: Buffer): void {
    const next = this.#waiting.shift()
    const correlationId = frame.readInt32BE(0)
    if (next === undefined || next.correlationId !== correlationId) {
      next?.reject(new Error(`an answer to request ${correlationId}, which was not the next one`))
      this.close()
      return
    }
    next.resolve(frame)
  }

  #fail(error: Error): void {
    this.#failure ??= error
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure)
  }

  #broken(error: unknown): ConnectionError {
    const reason = error instanceof Error ? error.message : String(error)
    const hint = error instanceof DecodeError ? ' (is it a Kafka broker that listens there?)' : ''
    return new ConnectionError(`the broker at ${this.#address}: ${reason}${hint}`, error)
  }
}

function openSocket({ host, port, timeoutMs }: ConnectOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connectSocket({ host, port, noDelay: true })
    const fail = (reason: string, cause?: unknown): void => {
      clearTimeout(timer)
      socket.destroy()
      reject(new ConnectionError(`cannot connect to ${host}:${port}: ${reason}`, cause))
    }
    const timer = setTimeout(() => fail(`no answer within ${timeoutMs} ms`), timeoutMs)
    const onError = (error: NodeJS.ErrnoException): void => fail(reasonOf(error), error)
    socket.once('error', onError)
    socket.once('connect', () => {
      clearTimeout(timer)
      socket.off('error', onError)
      resolve(socket)
    })
  })
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'ECONNREFUSED') return 'nothing listens there; is the broker running?'
  if (error.code === 'ENOTFOUND') return 'the host name does not resolve'
  // A host with several addresses fails with one error for each, and no message of its own.
  return error.message || error.code || 'unknown reason'
}
