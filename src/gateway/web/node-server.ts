import {
  createServer,
  type IncomingMessage,
  type Server,
  ServerResponse,
  STATUS_CODES,
} from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { ComplaintKind } from '../complaints.ts'
import { BodyMemory } from './body-memory.ts'
import { ConnectionPlaces, type Place } from './connection-places.ts'
import { handle, IncomingRequest, type RequestHead, refuseHead } from './incoming-request.ts'
import { plainAddress } from './plain-address.ts'
import { type BodyOutlet, pour, spill } from './pour.ts'
import { errorResponse, headersTooLarge } from './responses.ts'
import { refuseUpgrade } from './upgrade-rules.ts'
import type { Upgrades } from './upgrades.ts'
import {
  ANSWER_TIMEOUT_MS,
  type BodyChunk,
  HEADER_BYTES_MAX,
  HEADERS_TIMEOUT_MS,
  KEEP_ALIVE_TIMEOUT_MS,
  type WebEngine,
  type WebResponse,
  type WebServer,
  type WebServerParts,
} from './web-server.ts'

/** How often node looks for requests that take too long. */
const TIMEOUT_CHECK_MS = 1000

/** Requests of one connection that are not answered yet. Node takes any number: 10 KiB each. */
const OPEN_REQUESTS_MAX = 200
/** Those behind the first one of their connection, of all connections. */
const PIPELINED_REQUESTS_MAX = 10_000

/** The server on node:http; its WebSockets are somebody else's. */
export class NodeServer implements WebServer {
  readonly engine: WebEngine
  readonly #parts: WebServerParts
  readonly #server: Server
  readonly #upgrades: Upgrades
  readonly #places: ConnectionPlaces
  readonly #bodies: BodyMemory
  readonly #placeOf = new WeakMap<Duplex, Place>()
  /** By connection, the answers that are not all sent. */
  readonly #openOn = new WeakMap<Duplex, Set<ServerResponse>>()
  #pipelinedCount = 0

  constructor(engine: WebEngine, parts: WebServerParts, upgrades: Upgrades) {
    this.engine = engine
    this.#parts = parts
    this.#upgrades = upgrades
    this.#places = new ConnectionPlaces(parts.limits)
    this.#bodies = new BodyMemory(parts.limits)
    this.#server = createServer({
      headersTimeout: Math.min(HEADERS_TIMEOUT_MS, parts.limits.requestTimeoutMs),
      requestTimeout: parts.limits.requestTimeoutMs,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
      maxHeaderSize: HEADER_BYTES_MAX,
      requireHostHeader: false, // Its refusal would be no JSON.
    })
    this.#server.on('connection', (socket: Socket) => this.#onConnection(socket))
    this.#server.on('request', (request, response) => this.#onRequest(request, response))
    this.#server.on('checkExpectation', (request, response) => this.#onRequest(request, response))
    this.#server.on('timeout', (socket) => this.#onTimeout(socket))
    this.#server.on('clientError', (error, socket) => this.#onBytes(error, socket as Socket))
    this.#server.on('upgrade', (request, socket, head) => this.#onUpgrade(request, socket, head))
  }

  get connectionCount(): number {
    return this.#places.count
  }

  listen(): Promise<number> {
    const { host, port } = this.#parts
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error) => {
        reject(new BrokerError(ErrorCode.UNKNOWN_SERVER_ERROR, `listen on ${host}:${port}`, error))
      })
      this.#server.listen({ port, ...(host === '' ? {} : { host }) }, () => {
        this.#upgrades.start()
        const address = this.#server.address()
        resolve(typeof address === 'object' && address !== null ? address.port : port)
      })
    })
  }

  close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
    })
    this.#server.closeAllConnections()
    this.#upgrades.close()
    return closed
  }

  #onConnection(socket: Socket): void {
    const place = this.#places.take(plainAddress(socket.remoteAddress))
    if (place === null) {
      this.#complain(socket, 'too many connections', 'too_many_connections')
      socket.destroy()
      return
    }
    this.#placeOf.set(socket, place)
    socket.once('close', () => {
      place.leave()
      closeWaiting(this.#openOn.get(socket))
    })
  }

  /** False: the connection has more requests under way than it may, and is closed. */
  #open(socket: Duplex, response: ServerResponse): boolean {
    const open = this.#openOn.get(socket) ?? new Set()
    this.#openOn.set(socket, open)
    const isPipelined = open.size > 0
    if (
      open.size >= OPEN_REQUESTS_MAX ||
      (isPipelined && this.#pipelinedCount >= PIPELINED_REQUESTS_MAX)
    ) {
      this.#complain(socket as Socket, 'too many requests behind one another', 'limit')
      socket.destroy()
      return false
    }
    open.add(response)
    if (isPipelined) this.#pipelinedCount++
    response.once('close', () => {
      open.delete(response)
      if (isPipelined) this.#pipelinedCount--
    })
    return true
  }

  #onRequest(message: IncomingMessage, response: ServerResponse): void {
    const { limits, webSocket } = this.#parts
    if (message.socket.destroyed || !this.#open(message.socket, response)) return
    const head = readHead(message)
    const request = new IncomingRequest(head, limits.bodyBytesMax, this.#bodies)
    const { incoming } = request
    message.on('data', (chunk: Buffer) => incoming.push(chunk))
    message.on('end', () => incoming.complete())
    message.on('error', () => {}) // 'close' follows, which says all.
    response.on('close', () => {
      if (!response.writableFinished) request.abort()
    })
    const refusal =
      this.#placeOf.get(message.socket)?.refusal ??
      refuseHead(head.headers, limits.bodyBytesMax) ??
      refuseProtocol(message) ??
      (head.path === webSocket.path ? refuseUpgrade(request, webSocket) : null)
    const respond = (answer: WebResponse): void => {
      // A body that nobody wants any more would be received to its end.
      if (refusal !== null || !incoming.isComplete) response.shouldKeepAlive = false
      write(response, answer, this.#parts.onError)
    }
    if (refusal === null) {
      handle(this.#parts, request, respond)
    } else {
      this.#complainOfRefusal(message.socket, refusal)
      respond(refusal)
      incoming.release()
    }
  }

  /** A client that takes nothing of its answer; an idle one is closed without a word. */
  #onTimeout(socket: Socket): void {
    if ((this.#openOn.get(socket)?.size ?? 0) > 0) {
      this.#complain(socket, 'it does not read its answer', 'slow_reader')
    }
    socket.destroy()
  }

  #complain(socket: Socket, reason: string, kind: ComplaintKind): void {
    this.#parts.onComplaint(plainAddress(socket.remoteAddress), reason, kind)
  }

  #complainOfRefusal(socket: Socket, { status }: WebResponse): void {
    const kind = status === 503 || status === 429 ? 'too_many_connections' : 'protocol'
    this.#complain(socket, `its request was refused with ${status}`, kind)
  }

  /** What node cannot read as a request: answered like every other refusal, and closed. */
  #onBytes(error: NodeJS.ErrnoException, socket: Socket): void {
    if (
      error.code === 'ECONNRESET' ||
      !socket.writable ||
      (this.#openOn.get(socket)?.size ?? 0) > 0
    ) {
      socket.destroy() // Inside an answer it would be taken for part of it.
      return
    }
    const { status, headers, body } = refusalOf(error.code)
    const isSlow = error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
    const reason = isSlow ? 'it does not finish its request' : `it sends no HTTP (${error.code})`
    this.#complain(socket, reason, isSlow ? 'slow_sender' : 'protocol')
    const lines = Object.entries({ ...headers, connection: 'close', 'content-length': body.length })
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('')
    socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines}\r\n${body}`)
  }

  /** Node calls this for every request with an Upgrade header, and does nothing for it any more. */
  #onUpgrade(message: IncomingMessage, socket: Duplex, rest: Buffer): void {
    const { webSocket } = this.#parts
    socket.on('error', () => socket.destroy())
    const head = readHead(message)
    const header = (name: string): string | undefined => head.headers.get(name)
    if (head.path !== webSocket.path) {
      // Such as HTTP/2 in the clear, which may be declined by answering the request as it stands.
      this.#onRequest(message, plainResponse(message, socket as Socket))
      return
    }
    const place = this.#placeOf.get(socket)
    if (place === undefined) return // It is being destroyed.
    const refusal =
      place.refusal ??
      refuseHead(head.headers, 0) ??
      refuseUpgrade({ method: head.method, header }, webSocket)
    if (refusal !== null) {
      this.#complainOfRefusal(socket as Socket, refusal)
      write(plainResponse(message, socket as Socket), refusal, this.#parts.onError)
      return
    }
    this.#upgrades.accept({ message, socket: socket as Socket, rest, place: place.move() })
  }
}

function readHead(message: IncomingMessage): RequestHead {
  const url = message.url ?? '/'
  const query = url.indexOf('?')
  const headers = new Map<string, string>()
  for (const [name, value] of Object.entries(message.headers)) {
    headers.set(name, Array.isArray(value) ? value.join(', ') : (value ?? ''))
  }
  return {
    method: message.method ?? 'GET',
    path: query === -1 ? url : url.slice(0, query),
    query: query === -1 ? '' : url.slice(query + 1),
    headers,
    remoteAddress: plainAddress(message.socket.remoteAddress),
  }
}

/** What node would refuse by itself, without a word. */
function refuseProtocol({ headers, httpVersion }: IncomingMessage): WebResponse | null {
  if (headers.host === undefined && httpVersion === '1.1') {
    return errorResponse(
      400,
      'INVALID_REQUEST',
      'A request of HTTP/1.1 has a Host header: send one',
    )
  }
  const { expect } = headers
  if (expect === undefined || /^100-continue$/i.test(expect)) return null
  const message = 'Expect can only be 100-continue: send the request without it'
  return errorResponse(417, 'EXPECTATION_FAILED', message)
}

function refusalOf(code: string | undefined): WebResponse & { readonly body: string } {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return headersTooLarge()
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return errorResponse(408, 'REQUEST_TIMED_OUT', 'The request took too long; send it again')
    default:
      return errorResponse(400, 'INVALID_REQUEST', 'This is not a request of HTTP/1.1')
  }
}

/** A response on a socket that node's HTTP has let go of. */
function plainResponse(message: IncomingMessage, socket: Socket): ServerResponse {
  const response = new ServerResponse(message)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  response.on('finish', () => socket.destroySoon())
  socket.once('timeout', () => socket.destroy())
  return response
}

/**
 * The connection is gone. Node says so to the answer that is being sent; those that wait behind it
 * would never hear of it, and would keep what they hold.
 */
function closeWaiting(open: ReadonlySet<ServerResponse> | undefined): void {
  for (const response of [...(open ?? [])]) {
    if (response.socket !== null) continue
    response.destroy()
    response.emit('close')
  }
}

type OnError = WebServerParts['onError']

function write(response: ServerResponse, answer: WebResponse, onError: OnError): void {
  const { body, status, headers } = answer
  const isWhole = typeof body === 'string' || body instanceof Uint8Array
  if (response.destroyed || response.headersSent) {
    if (!isWhole) spill(body)
    return
  }
  const isHead = response.req.method === 'HEAD'
  const length = isWhole ? { 'content-length': Buffer.byteLength(body) } : {}
  response.writeHead(status, { ...headers, ...length })
  if (isWhole || isHead) {
    // Node sets another time for the next request when this one is finished.
    response.socket?.setTimeout(ANSWER_TIMEOUT_MS)
    if (!isWhole) spill(body)
    response.end(isHead || !isWhole ? undefined : body)
    return
  }
  response.flushHeaders()
  void pour(body, new NodeOutlet(response, onError))
}

/** A response in pieces; the time that a client may take for one counts while it is waited for. */
class NodeOutlet implements BodyOutlet {
  readonly #response: ServerResponse
  readonly #onError: OnError

  constructor(response: ServerResponse, onError: OnError) {
    this.#response = response
    this.#onError = onError
  }

  get isOver(): boolean {
    return this.#response.destroyed || this.#response.closed
  }

  write(chunk: BodyChunk): Promise<void> | null {
    const response = this.#response
    if (response.write(chunk)) return null
    response.socket?.setTimeout(ANSWER_TIMEOUT_MS)
    return new Promise((resolve) => {
      const done = (): void => {
        response.off('drain', done)
        response.off('close', done)
        response.socket?.setTimeout(0)
        resolve()
      }
      response.on('drain', done)
      response.on('close', done)
    })
  }

  end(): void {
    this.#response.socket?.setTimeout(ANSWER_TIMEOUT_MS)
    this.#response.end()
  }

  fail(error: unknown): void {
    this.#response.destroy()
    this.#onError(error)
  }
}
