import { STATUS_CODES } from 'node:http'
import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { ComplaintKind } from '../complaints.ts'
import { AddressTally } from './address-tally.ts'
import { BodyMemory } from './body-memory.ts'
import { handle, IncomingRequest, type RequestHead, refuseHead } from './incoming-request.ts'
import { startTicking } from './life-signs.ts'
import { plainAddress } from './plain-address.ts'
import { type BodyOutlet, pour, spill } from './pour.ts'
import { tooManyConnections, tooManyFromAddress } from './responses.ts'
import { refuseUpgrade } from './upgrade-rules.ts'
import {
  EXCLUSIVE_PORT,
  type UwsApp,
  type UwsBehavior,
  type UwsLibrary,
  type UwsRequest,
  type UwsResponse,
  type UwsSocket,
} from './uws-library.ts'
import { UwsPeer } from './uws-peer.ts'
import {
  ANSWER_TIMEOUT_MS,
  type BodyChunk,
  type WebResponse,
  type WebServer,
  type WebServerParts,
} from './web-server.ts'

/** The library looks every four seconds, and what runs out in between runs out then. */
const IDLE_SLACK_MS = 8000

/**
 * The server on uWebSockets.js. What the library hands out lives as briefly as its callback: a
 * request until the handler returns, a response until it is ended or aborted, message bytes during
 * the call. Nothing here touches one later. The README lists what the library decides by itself.
 */
export class UwsServer implements WebServer {
  readonly engine = 'uws'
  readonly #library: UwsLibrary
  readonly #parts: WebServerParts
  readonly #app: UwsApp
  readonly #peers = new Set<UwsPeer>()
  readonly #tally: AddressTally
  readonly #bodies: BodyMemory
  /** HTTP and WebSocket connections; the library does not count an upgraded one down. */
  #connections = 0
  #listenSocket: object | null = null
  #ticker: NodeJS.Timeout | undefined

  constructor(library: UwsLibrary, parts: WebServerParts) {
    this.#library = library
    this.#parts = parts
    this.#tally = new AddressTally(parts.limits.connectionsPerAddressMax)
    this.#bodies = new BodyMemory(parts.limits)
    this.#app = library.App()
    this.#app.filter((response, count) => this.#onConnection(response, count))
    this.#app.any('/*', (response, request) => this.#onRequest(response, request))
    this.#app.ws(parts.webSocket.path, this.#behavior() as unknown as UwsBehavior)
  }

  get connectionCount(): number {
    return this.#connections
  }

  listen(): Promise<number> {
    const { host, port } = this.#parts
    return new Promise((resolve, reject) => {
      const done = (listenSocket: object | false): void => {
        if (listenSocket !== false) {
          this.#listenSocket = listenSocket
          this.#ticker = startTicking(this.#peers, this.#parts.webSocket)
          resolve(this.#library.us_socket_local_port(listenSocket))
          return
        }
        const cause = new Error('the address is in use, or not one of this machine')
        const action = `listen on ${host}:${port}`
        reject(new BrokerError(ErrorCode.UNKNOWN_SERVER_ERROR, action, cause))
      }
      if (host === '') this.#app.listen(port, EXCLUSIVE_PORT, done)
      else this.#app.listen(host, port, EXCLUSIVE_PORT, done)
    })
  }

  close(): Promise<void> {
    clearInterval(this.#ticker)
    if (this.#listenSocket !== null) {
      this.#library.us_listen_socket_close(this.#listenSocket)
      this.#listenSocket = null
    }
    for (const peer of [...this.#peers]) peer.end(1001, 'the broker stops')
    this.#app.close() // Runs what still waits for an abort or a close.
    return Promise.resolve()
  }

  #onConnection(response: UwsResponse, count: number): void {
    this.#connections += count
    if (count < 0 || this.#connections <= this.#parts.limits.connectionsMax) return
    const { onComplaint } = this.#parts
    onComplaint(addressOf(response), 'too many connections', 'too_many_connections')
    write(response, tooManyConnections(), { isHead: false, isLast: true })
  }

  #onRequest(response: UwsResponse, rawRequest: UwsRequest): void {
    const { limits, webSocket } = this.#parts
    const head = readHead(response, rawRequest)
    const request = new IncomingRequest(head, limits.bodyBytesMax, this.#bodies)
    const complain = (reason: string, kind: ComplaintKind): void =>
      this.#parts.onComplaint(head.remoteAddress, reason, kind)
    const exchange = new UwsExchange(response, request, { ...this.#parts, complain })
    const refusal =
      refuseHead(head.headers, limits.bodyBytesMax) ??
      (head.path === webSocket.path ? refuseUpgrade(request, webSocket) : null)
    if (refusal !== null) {
      complain(`its request was refused with ${refusal.status}`, 'protocol')
      exchange.refuse(refusal)
      return
    }
    if (!this.#tally.tryTake(head.remoteAddress)) {
      complain('too many requests of its address', 'too_many_connections')
      exchange.refuse(tooManyFromAddress())
      return
    }
    exchange.start(limits.requestTimeoutMs, () => this.#tally.release(head.remoteAddress))
    handle(this.#parts, request, (answer) => exchange.respond(answer))
  }

  #onUpgrade(response: UwsResponse, request: UwsRequest, context: object): void {
    const { webSocket } = this.#parts
    const head = readHead(response, request)
    const header = (name: string): string | undefined => head.headers.get(name)
    const refusal =
      refuseHead(head.headers, 0) ?? refuseUpgrade({ method: 'GET', header }, webSocket)
    const { onComplaint } = this.#parts
    if (refusal !== null) {
      const reason = `its upgrade was refused with ${refusal.status}`
      onComplaint(head.remoteAddress, reason, 'protocol')
      write(response, refusal, { isHead: false, isLast: true })
      return
    }
    if (!this.#tally.tryTake(head.remoteAddress)) {
      const reason = 'too many connections of its address'
      onComplaint(head.remoteAddress, reason, 'too_many_connections')
      write(response, tooManyFromAddress(), { isHead: false, isLast: true })
      return
    }
    const key = header('sec-websocket-key') ?? ''
    const peer = new UwsPeer(head.remoteAddress, webSocket)
    this.#peers.add(peer)
    response.upgrade({ peer }, key, webSocket.protocol, '', context)
  }

  #onClosed(peer: UwsPeer, code: number, reason: ArrayBuffer): void {
    this.#connections--
    this.#peers.delete(peer)
    this.#tally.release(peer.remoteAddress)
    peer.closed(closeCode(code, reason))
  }

  #behavior(): UwsBehavior<UwsSocket & { readonly peer: UwsPeer }> {
    const { webSocket } = this.#parts
    return {
      compression: 0,
      maxPayloadLength: webSocket.messageBytesMax,
      // None of the library's: it would judge each fragment of a message. The peer looks before.
      maxBackpressure: 0,
      closeOnBackpressureLimit: false,
      // Ends connections whose client does not answer a close; the rest is decided by `tick`, whose
      // pings keep it from running out: the library takes what it sends for a sign of life.
      idleTimeout: idleSeconds(2 * webSocket.pingIntervalMs + IDLE_SLACK_MS),
      sendPingsAutomatically: false,
      upgrade: (response, request, context) => this.#onUpgrade(response, request, context),
      open: (socket) => socket.peer.open(socket),
      message: ({ peer }, bytes, isBinary) => peer.message(bytes, isBinary),
      ping: ({ peer }) => peer.ping(),
      pong: ({ peer }) => peer.pong(),
      drain: ({ peer }) => peer.drain(),
      close: ({ peer }, code, reason) => this.#onClosed(peer, code, reason),
    }
  }
}

interface ExchangeParts {
  readonly onError: WebServerParts['onError']
  readonly complain: (reason: string, kind: ComplaintKind) => void
}

/** One request and its answer. The response is dead once it is ended or aborted. */
class UwsExchange implements BodyOutlet {
  readonly #response: UwsResponse
  readonly #request: IncomingRequest
  readonly #onError: WebServerParts['onError']
  readonly #complain: ExchangeParts['complain']
  #isOver = false
  #hasBegun = false
  #timer: NodeJS.Timeout | undefined
  #onOver: () => void = () => {}
  /** Set while the client is waited for. */
  #onRoom: (() => void) | null = null

  constructor(response: UwsResponse, request: IncomingRequest, parts: ExchangeParts) {
    this.#response = response
    this.#request = request
    this.#onError = parts.onError
    this.#complain = parts.complain
    response.onAborted(() => {
      if (this.#isOver) return // It also runs when an answered connection closes.
      this.#finish()
      request.abort()
    })
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Receives the body, within `timeoutMs`; `onOver` runs once when nothing is left to do. */
  start(timeoutMs: number, onOver: () => void): void {
    this.#onOver = onOver
    const { incoming } = this.#request
    if (incoming.isComplete) return
    this.#timer = setTimeout(() => {
      if (this.#isOver) return
      this.#complain('it does not finish its request', 'slow_sender')
      this.#response.close()
    }, timeoutMs)
    this.#response.onData((chunk, isLast) => {
      incoming.push(new Uint8Array(chunk.slice(0)))
      if (!isLast) return
      incoming.complete()
      clearTimeout(this.#timer)
    })
  }

  respond(answer: WebResponse): void {
    const { body } = answer
    if (typeof body === 'string' || body instanceof Uint8Array) {
      // A body that nobody wants any more would be received to its end.
      this.#end({ ...answer, body }, !this.#request.incoming.isComplete)
    } else if (this.#isOver || this.#hasBegun) {
      spill(body)
    } else if (this.#request.method === 'HEAD') {
      spill(body)
      this.#finish()
      const response = this.#response
      response.cork(() => {
        writeHead(response, answer.status, answer.headers)
        response.endWithoutBody()
      })
    } else {
      this.#begin(answer)
      void pour(body, this)
    }
  }

  /** Answers, and closes the connection. */
  refuse(answer: WholeResponse): void {
    this.#request.incoming.release()
    this.#end(answer, true)
  }

  write(chunk: BodyChunk): Promise<void> | null {
    if (this.#isOver || this.#put(chunk)) return null
    this.#timer = setTimeout(() => {
      if (this.#isOver) return
      this.#complain('it does not read its answer', 'slow_reader')
      this.#response.close()
    }, ANSWER_TIMEOUT_MS)
    return new Promise((resolve) => {
      this.#onRoom = resolve
    })
  }

  end(): void {
    if (this.#isOver) return
    this.#finish()
    const isLast = !this.#request.incoming.isComplete
    this.#response.cork(() => this.#response.end('', isLast))
  }

  fail(error: unknown): void {
    if (!this.#isOver) this.#response.close()
    this.#onError(error)
  }

  #begin({ status, headers }: WebResponse): void {
    const response = this.#response
    this.#hasBegun = true
    clearTimeout(this.#timer)
    response.onWritable(() => {
      if (this.#isOver) return true
      if (this.#onRoom !== null) this.#timer?.refresh()
      // The library sends what it keeps when it is given more: nothing at all will do.
      if (!this.#put('')) return false
      this.#goOn()
      return true
    })
    response.cork(() => writeHead(response, status, headers))
  }

  #put(chunk: BodyChunk): boolean {
    let isSent = false
    this.#response.cork(() => {
      isSent = this.#response.write(chunk)
    })
    return isSent
  }

  #goOn(): void {
    clearTimeout(this.#timer)
    const onRoom = this.#onRoom
    this.#onRoom = null
    onRoom?.()
  }

  #end(answer: WholeResponse, isLast: boolean): void {
    if (this.#isOver || this.#hasBegun) return
    this.#finish()
    write(this.#response, answer, { isHead: this.#request.method === 'HEAD', isLast })
  }

  #finish(): void {
    this.#isOver = true
    this.#goOn()
    this.#onOver()
  }
}

type WholeResponse = WebResponse & { readonly body: BodyChunk }

interface WriteOptions {
  readonly isHead: boolean
  /** Closes the connection afterwards. */
  readonly isLast: boolean
}

function write(response: UwsResponse, answer: WholeResponse, how: WriteOptions): void {
  const { isHead, isLast } = how
  response.cork(() => {
    writeHead(response, answer.status, answer.headers)
    if (isHead) {
      // The length as a header of ours: given one, the library waits for a body of that length to
      // be sent, and closes the connection at the next request. Without one it closes when idle.
      response.writeHeader('content-length', String(Buffer.byteLength(answer.body)))
      response.endWithoutBody()
    } else {
      response.end(answer.body, isLast)
    }
  })
}

function writeHead(response: UwsResponse, status: number, headers: WebResponse['headers']): void {
  response.writeStatus(`${status} ${STATUS_CODES[status] ?? ''}`)
  for (const [name, value] of Object.entries(headers)) response.writeHeader(name, value)
}

function readHead(response: UwsResponse, request: UwsRequest): RequestHead {
  const headers = new Map<string, string>()
  request.forEach((name, value) => {
    const before = headers.get(name)
    headers.set(name, before === undefined ? value : `${before}, ${value}`)
  })
  return {
    method: request.getCaseSensitiveMethod(),
    path: request.getUrl(),
    query: request.getQuery() ?? '',
    headers,
    remoteAddress: addressOf(response),
  }
}

function addressOf(response: UwsResponse): string {
  return plainAddress(text(response.getRemoteAddressAsText()))
}

/** The library waits in units of four seconds. */
function idleSeconds(idleTimeoutMs: number): number {
  return Math.min(960, Math.max(8, Math.ceil(idleTimeoutMs / 4000) * 4))
}

/** The library drops the connection for these and says 1006, but says why. */
function closeCode(code: number, reason: ArrayBuffer): number {
  if (code !== 1006) return code
  const why = text(reason)
  if (why === 'Received too big message') return 1009
  return why === 'Received invalid UTF-8' ? 1007 : code
}

function text(bytes: ArrayBuffer): string {
  return Buffer.from(bytes).toString('latin1')
}
