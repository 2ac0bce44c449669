/**
 * One connection to another broker's cluster listener, made again whenever it is lost: requests
 * with answers, and messages that nobody waits for. Runs on main.
 *
 * Answers come in the order of the requests, so what may take long has a link of its own. A peer
 * that owes an answer for too long is taken for gone: a connection over a path that was cut for a
 * while is dead longer than the path.
 */
import { connect, type Socket } from 'node:net'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { Logger } from '../metrics/logger.ts'
import {
  type AnyApiKey,
  apiName,
  ClusterApi,
  DecodeError,
  decodeResponse,
  decodeResponseHeader,
  encodeRequest,
  Reader,
  type RequestInit,
  type ResponseOf,
} from '../wire/kafka/api.ts'
import { isProof, newNonce, proofOf } from './cluster-proof.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

/** Who calls, and what both ends must agree about. */
export interface LinkIdentity {
  readonly nodeId: number
  readonly directoryId: string
  readonly clusterId: string | null
  readonly secret: string
  /** Where the caller is reached: who is not registered yet is found by it. */
  readonly at?: Address
}

export type PeerHello = ResponseOf<200>

export interface LinkParts {
  readonly peerId: number
  /** Null while nobody knows where the peer is. */
  readonly address: () => Address | null
  readonly identity: () => LinkIdentity
  /** What the peer says of itself, each time a connection is made. */
  readonly onHello?: (hello: PeerHello) => void
  /** The connection is gone, and nobody here has closed it. */
  readonly onLost?: () => void
  /** The peer does not talk to this broker: another cluster, another secret, the same id. */
  readonly onRefused?: (code: ErrorCode, message: string) => void
  readonly logger: Logger
  /** An answer that does not come for so long costs the connection. */
  readonly silenceMsMax: number
}

const RETRY_MS_MIN = 50
const RETRY_MS_MAX = 500
const OPEN_TIMEOUT_MS = 2000
/** Of what the system has not taken: more is not queued, messages are dropped. */
const QUEUED_BYTES_MAX = 32 * 1024 * 1024
const RESPONSE_BYTES_MAX = 64 * 1024 * 1024
/** Before the peer has proved who it is. */
const HANDSHAKE_BYTES_MAX = 64 * 1024
const SIZE_BYTES = 4
/** Between two looks whether an answer is overdue. */
const WATCH_MS = 250
/** Between two complaints about a peer that cannot be reached. */
const COMPLAINT_MS = 10_000

interface Waiting {
  readonly apiKey: AnyApiKey
  readonly correlationId: number
  readonly sinceMs: number
  /** Null: nobody waits for the answer. */
  readonly resolve: ((body: never) => void) | null
  readonly reject: (error: Error) => void
}

export class Link {
  readonly #parts: LinkParts
  #socket: Socket | null = null
  #isUp = false
  #isClosed = false
  #waiting: Waiting[] = []
  #chunks: Buffer[] = []
  #bytes = 0
  #correlationId = 0
  #retryMs = RETRY_MS_MIN
  #retry: NodeJS.Timeout | null = null
  #watch: NodeJS.Timeout | null = null
  #complainedMs = -Infinity
  #opening: (() => void)[] = []

  constructor(parts: LinkParts) {
    this.#parts = parts
  }

  get isUp(): boolean {
    return this.#isUp
  }

  /** Connects, now and whenever the connection is lost. */
  start(): void {
    if (this.#socket === null && this.#retry === null && !this.#isClosed) this.#open()
  }

  /**
   * Sends a request once connected. Rejects with a BrokerError (NETWORK_EXCEPTION) when there is no
   * connection within `timeoutMs`, or the answer does not come: whether the peer has done what was
   * asked is then not known.
   */
  async request<K extends AnyApiKey>(
    apiKey: K,
    body: RequestInit<K>,
    timeoutMs: number,
  ): Promise<ResponseOf<K>> {
    if (!this.#isUp) await this.#whenUp(timeoutMs)
    return new Promise((resolve, reject) => {
      if (!this.#isUp) reject(this.#lost('there is no connection'))
      else this.#send(apiKey, body, { resolve: resolve as (body: never) => void, reject })
    })
  }

  /** Sends what may get lost; false when it was dropped. */
  post<K extends AnyApiKey>(apiKey: K, body: RequestInit<K>): boolean {
    this.start()
    if (!this.#isUp || (this.#socket?.writableLength ?? 0) > QUEUED_BYTES_MAX) return false
    this.#send(apiKey, body, { resolve: null, reject: () => undefined })
    return true
  }

  /** Whoever waits for a connection waits no more; what was sent goes on. */
  failUnsent(): void {
    for (const wake of this.#opening.splice(0)) wake()
  }

  close(): void {
    this.#isClosed = true
    this.failUnsent()
    if (this.#retry !== null) clearTimeout(this.#retry)
    this.#retry = null
    this.#drop('this broker is stopping')
  }

  // —— connecting ——

  #open(): void {
    const address = this.#parts.address()
    if (address === null) {
      this.#retryLater('nobody knows where it is')
      return
    }
    const socket = connect({ host: address.host, port: address.port, noDelay: true })
    this.#socket = socket
    const timer = setTimeout(() => this.#drop('it does not answer', socket), OPEN_TIMEOUT_MS)
    socket.on('error', (error) => this.#drop(error.message, socket))
    socket.on('close', () => this.#drop('it closed the connection', socket))
    socket.on('data', (chunk: Buffer) => this.#receive(socket, chunk))
    socket.on('connect', () => {
      this.#shakeHands().then(
        () => {
          clearTimeout(timer)
          if (this.#socket === socket) this.#becomeUp()
        },
        (error: Error) => {
          clearTimeout(timer)
          this.#drop(error.message, socket)
        },
      )
    })
    socket.once('close', () => clearTimeout(timer))
  }

  async #shakeHands(): Promise<void> {
    const { peerId } = this.#parts
    const { nodeId, directoryId, clusterId, secret, at: own } = this.#parts.identity()
    const nonce = newNonce()
    const caller = { nodeId, directoryId, clusterId, nonce }
    const hello = await this.#ask(ClusterApi.HELLO, { ...caller, ...own })
    const { errorCode, errorMessage } = hello
    if (errorCode !== ErrorCode.NONE) throw this.#refused(errorCode, errorMessage)
    if (hello.nodeId !== peerId) throw new Error(`it is node ${hello.nodeId}, not ${peerId}`)
    const at = {
      callerId: nodeId,
      answererId: peerId,
      callerNonce: nonce,
      answererNonce: hello.nonce,
    }
    if (!isProof(hello.proof, proofOf(secret, 'answerer', at))) {
      const message = `node ${peerId} has another cluster secret (millrace.cluster.secret)`
      throw this.#refused(ErrorCode.CLUSTER_AUTHORIZATION_FAILED, message)
    }
    const proven = await this.#ask(ClusterApi.PROVE, { proof: proofOf(secret, 'caller', at) })
    if (proven.errorCode !== ErrorCode.NONE) {
      throw this.#refused(proven.errorCode, proven.errorMessage)
    }
    this.#parts.onHello?.(hello)
  }

  #refused(errorCode: number, errorMessage: string | null): Error {
    const message = errorMessage ?? `error ${errorCode}`
    this.#parts.onRefused?.(errorCode as ErrorCode, message)
    return new Error(message)
  }

  #ask<K extends AnyApiKey>(apiKey: K, body: RequestInit<K>): Promise<ResponseOf<K>> {
    return new Promise((resolve, reject) => {
      this.#send(apiKey, body, { resolve: resolve as (body: never) => void, reject })
    })
  }

  #becomeUp(): void {
    this.#isUp = true
    this.#retryMs = RETRY_MS_MIN
    for (const wake of this.#opening.splice(0)) wake()
  }

  #whenUp(timeoutMs: number): Promise<void> {
    this.start()
    if (this.#isClosed) return Promise.resolve() // Which is found out at once.
    return new Promise((resolve, reject) => {
      const wake = (): void => {
        clearTimeout(timer)
        resolve()
      }
      const timer = setTimeout(() => {
        const at = this.#opening.indexOf(wake)
        if (at >= 0) this.#opening.splice(at, 1)
        reject(this.#lost('there is no connection'))
      }, timeoutMs)
      this.#opening.push(wake)
    })
  }

  /** For as long as an answer is owed: a link that is at rest costs nothing. */
  #watchForSilence(): void {
    if (this.#watch !== null) return
    this.#watch = setInterval(() => {
      // Where this process was late, an answer that has arrived meanwhile is looked at first.
      if (this.#waiting.length > 0) setImmediate(() => this.#lookForSilence())
      else this.#endWatch()
    }, WATCH_MS)
    this.#watch.unref()
  }

  #endWatch(): void {
    if (this.#watch !== null) clearInterval(this.#watch)
    this.#watch = null
  }

  #lookForSilence(): void {
    const oldest = this.#waiting[0]
    if (oldest === undefined) return
    if (performance.now() - oldest.sinceMs < this.#parts.silenceMsMax) return
    this.#drop(`it does not answer ${apiName(oldest.apiKey)}`)
  }

  /** Ends the connection and everything that waits for it; it is made again later. */
  #drop(reason: string, socket = this.#socket): void {
    if (socket === null || this.#socket !== socket) return
    this.#socket = null
    const wasUp = this.#isUp
    this.#isUp = false
    this.#endWatch()
    this.#chunks = []
    this.#bytes = 0
    socket.destroy()
    for (const { reject } of this.#waiting.splice(0)) reject(this.#lost(reason))
    if (wasUp && !this.#isClosed) this.#parts.onLost?.()
    this.#retryLater(reason)
  }

  #retryLater(reason: string): void {
    if (this.#isClosed) return
    this.#complain(reason)
    const ms = this.#retryMs
    this.#retryMs = Math.min(RETRY_MS_MAX, ms * 2)
    this.#retry = setTimeout(() => {
      this.#retry = null
      this.#open()
    }, ms)
    this.#retry.unref()
  }

  #complain(reason: string): void {
    const { logger, peerId } = this.#parts
    const nowMs = performance.now()
    if (nowMs - this.#complainedMs < COMPLAINT_MS) return
    this.#complainedMs = nowMs
    logger.warn({ peer: peerId, reason }, `no connection to broker ${peerId}: ${reason}`)
  }

  #lost(reason: string): BrokerError {
    const action = `reach broker ${this.#parts.peerId}: ${reason}`
    return new BrokerError(ErrorCode.NETWORK_EXCEPTION, action)
  }

  // —— frames ——

  #send<K extends AnyApiKey>(
    apiKey: K,
    body: RequestInit<K>,
    { resolve, reject }: Pick<Waiting, 'resolve' | 'reject'>,
  ): void {
    const socket = this.#socket
    if (socket === null) {
      reject(this.#lost('there is no connection'))
      return
    }
    const correlationId = this.#correlationId
    this.#correlationId = (correlationId + 1) & 0x7fff_ffff
    const sinceMs = performance.now()
    this.#waiting.push({ apiKey, correlationId, sinceMs, resolve, reject })
    if (this.#isUp) this.#watchForSilence()
    socket.cork()
    for (const chunk of encodeRequest(apiKey, 0, { correlationId, clientId: null }, body)) {
      socket.write(chunk)
    }
    socket.uncork()
  }

  #receive(socket: Socket, chunk: Buffer): void {
    if (this.#socket !== socket) return
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    while (this.#socket === socket && this.#bytes >= SIZE_BYTES) {
      const [first] = this.#chunks as [Buffer]
      if (first.length < SIZE_BYTES) this.#chunks = [Buffer.concat(this.#chunks)]
      const size = (this.#chunks[0] as Buffer).readInt32BE(0)
      if (size < SIZE_BYTES || size > (this.#isUp ? RESPONSE_BYTES_MAX : HANDSHAKE_BYTES_MAX)) {
        this.#drop(`it sent an answer of ${size} bytes`)
        return
      }
      if (this.#bytes < SIZE_BYTES + size) return
      const all =
        this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks)
      this.#chunks = all.length > SIZE_BYTES + size ? [all.subarray(SIZE_BYTES + size)] : []
      this.#bytes -= SIZE_BYTES + size
      this.#answer(all.subarray(SIZE_BYTES, SIZE_BYTES + size))
    }
  }

  #answer(frame: Buffer): void {
    const waiting = this.#waiting.shift()
    if (waiting === undefined) {
      this.#drop('it sent an answer that nobody asked for')
      return
    }
    try {
      const reader = new Reader(frame)
      const correlationId = decodeResponseHeader(waiting.apiKey, 0, reader)
      if (correlationId !== waiting.correlationId) throw new DecodeError('the wrong one', 'answer')
      if (waiting.resolve === null) return
      waiting.resolve(decodeResponse(waiting.apiKey, 0, reader) as never)
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error
      waiting.reject(this.#lost(error.message))
      this.#drop(error.message)
    }
  }
}
