import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import { ConnectionPlaces, type Place } from './connection-places.ts'
import { handle, IncomingRequest, type RequestHead, refuseHead } from './incoming-request.ts'
import { plainAddress } from './plain-address.ts'
import { refuseUpgrade } from './upgrade-rules.ts'
import type { Upgrades } from './upgrades.ts'
import {
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

/** A client that takes nothing of its answer for so long is closed, as uWebSockets.js does. */
const ANSWER_TIMEOUT_MS = 10_000

/** The server on node:http; its WebSockets are somebody else's. */
export class NodeServer implements WebServer {
  readonly engine: WebEngine
  readonly #parts: WebServerParts
  readonly #server: Server
  readonly #upgrades: Upgrades
  readonly #places: ConnectionPlaces
  readonly #placeOf = new WeakMap<Duplex, Place>()

  constructor(engine: WebEngine, parts: WebServerParts, upgrades: Upgrades) {
    this.engine = engine
    this.#parts = parts
    this.#upgrades = upgrades
    this.#places = new ConnectionPlaces(parts.limits)
    this.#server = createServer({
      headersTimeout: Math.min(HEADERS_TIMEOUT_MS, parts.limits.requestTimeoutMs),
      requestTimeout: parts.limits.requestTimeoutMs,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
      maxHeaderSize: HEADER_BYTES_MAX,
    })
    this.#server.on('connection', (socket: Socket) => this.#onConnection(socket))
    this.#server.on('request', (request, response) => this.#onRequest(request, response))
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
      socket.destroy()
      return
    }
    this.#placeOf.set(socket, place)
    socket.once('close', () => place.leave())
  }

  #onRequest(message: IncomingMessage, response: ServerResponse): void {
    const { limits, webSocket } = this.#parts
    const head = readHead(message)
    const request = new IncomingRequest(head, limits.bodyBytesMax)
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
      (head.path === webSocket.path ? refuseUpgrade(request, webSocket) : null)
    const respond = (answer: WebResponse): void => {
      // A body that nobody wants any more would be received to its end.
      if (refusal !== null || !incoming.isComplete) response.shouldKeepAlive = false
      write(response, answer)
    }
    if (refusal === null) handle(this.#parts, request, respond)
    else respond(refusal)
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
      write(plainResponse(message, socket as Socket), refusal)
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

/** A response on a socket that node's HTTP has let go of. */
function plainResponse(message: IncomingMessage, socket: Socket): ServerResponse {
  const response = new ServerResponse(message)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  response.on('finish', () => socket.destroySoon())
  socket.once('timeout', () => socket.destroy())
  return response
}

function write(response: ServerResponse, answer: WebResponse): void {
  if (response.destroyed || response.headersSent) return
  const length = Buffer.byteLength(answer.body)
  response.writeHead(answer.status, { ...answer.headers, 'content-length': length })
  // Node sets another time for the next request when this one is finished.
  response.socket?.setTimeout(ANSWER_TIMEOUT_MS)
  if (response.req.method === 'HEAD') response.end()
  else response.end(answer.body)
}
