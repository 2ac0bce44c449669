import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Broker } from '../broker/broker.ts'
import { brokerSamples } from '../broker/broker-metrics.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { MetricsRegistry } from '../metrics/registry.ts'

/**
 * The HTTP port: /health/live, /health/ready, /metrics. Runs on main. Requests have no body here,
 * so none is read; headers and time are bounded.
 */
export interface HttpServerParts {
  readonly host: string
  readonly port: number
  readonly metrics: MetricsRegistry
  /** Null until the broker serves, and again once it stops. */
  readonly broker: () => Broker | null
}

const HEADERS_TIMEOUT_MS = 10_000
const REQUEST_TIMEOUT_MS = 10_000
const HEADER_BYTES_MAX = 16 * 1024

export class HttpServer {
  readonly #server: Server
  readonly #parts: HttpServerParts

  constructor(parts: HttpServerParts) {
    this.#parts = parts
    this.#server = createServer(
      {
        headersTimeout: HEADERS_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
        maxHeaderSize: HEADER_BYTES_MAX,
      },
      (request, response) => {
        void this.#handle(request, response)
      },
    )
    this.#server.maxConnections = 1000
  }

  /** Resolves to the bound port. */
  listen(): Promise<number> {
    const { host, port } = this.#parts
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error) => {
        reject(new BrokerError(ErrorCode.UNKNOWN_SERVER_ERROR, `listen on ${host}:${port}`, error))
      })
      this.#server.listen(port, host, () => {
        const address = this.#server.address()
        resolve(typeof address === 'object' && address !== null ? address.port : port)
      })
    })
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.resume()
    const path = (request.url ?? '/').split('?', 1)[0]
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      send(response, 405, { error: 'METHOD_NOT_ALLOWED', message: 'Only GET and HEAD are served' })
      return
    }
    const broker = this.#parts.broker()
    if (path === '/health/live') {
      send(response, 200, { status: 'live' })
    } else if (path === '/health/ready') {
      if (broker === null) send(response, 503, { status: 'starting' })
      else send(response, 200, { status: 'ready' })
    } else if (path === '/metrics') {
      const text = await this.#parts.metrics.text(
        broker === null ? null : () => brokerSamples(broker),
      )
      response.writeHead(200, { 'content-type': this.#parts.metrics.contentType })
      response.end(text)
    } else {
      const message = 'Served here: /health/live, /health/ready, /metrics'
      send(response, 404, { error: 'NOT_FOUND', message })
    }
  }
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(`${JSON.stringify(body)}\n`)
}
