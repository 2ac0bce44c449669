/**
 * Runs every test of this folder on both servers. Where uWebSockets.js does not load its tests are
 * skipped and say so; in CI they fail.
 */
import { describe } from 'node:test'
import { openWebServer } from '../../../src/gateway/web/open-web-server.ts'
import { jsonResponse } from '../../../src/gateway/web/responses.ts'
import { loadUws, uwsLoadError } from '../../../src/gateway/web/uws-library.ts'
import type {
  WebEngine,
  WebLimits,
  WebServer,
  WebServerParts,
  WebSocketHandler,
  WebSocketParts,
  WebSocketPeer,
} from '../../../src/gateway/web/web-server.ts'

/** A test that hangs ends by this; nothing is measured with it. */
export const HANG_MS = 60_000

export function onBothEngines(
  name: string,
  define: (engine: WebEngine) => void,
  options: { readonly concurrency?: number } = {},
): void {
  const timeout = 2 * HANG_MS
  describe(`${name}, node:http`, { timeout, ...options }, () => define('node'))
  const isMissing = loadUws() === null
  if (isMissing && process.env.CI) throw new Error(`uWebSockets.js: ${uwsLoadError()}`)
  const skip = isMissing ? `SKIPPED: uWebSockets.js: ${uwsLoadError()}` : false
  describe(`${name}, uWebSockets.js`, { timeout, skip, ...options }, () => define('uws'))
}

/** What happened to one accepted peer, in order. */
export class Recorder implements WebSocketHandler {
  readonly peer: WebSocketPeer
  readonly messages: Buffer[] = []
  drains = 0
  /** Every code that `onClose` was called with: one, in the end. */
  readonly closes: number[] = []
  /** Resolves with the code when the peer is closed. */
  readonly closed: Promise<number>
  #onClosed: (code: number) => void = () => {}
  #wake: (() => void)[] = []

  constructor(peer: WebSocketPeer) {
    this.peer = peer
    this.closed = new Promise((resolve) => {
      this.#onClosed = resolve
    })
  }

  onMessage(bytes: Uint8Array): void {
    this.messages.push(Buffer.from(bytes))
    this.#changed()
  }

  onDrain(): void {
    this.drains++
    this.#changed()
  }

  onClose(code: number): void {
    this.closes.push(code)
    this.#onClosed(code)
    this.#changed()
  }

  /** Resolves when `isTrue`, looked at after each event, or when the peer is closed. */
  async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue() && this.closes.length === 0) {
      await new Promise<void>((resolve) => this.#wake.push(resolve))
    }
  }

  #changed(): void {
    for (const wake of this.#wake.splice(0)) wake()
  }
}

export interface TestServer {
  readonly server: WebServer
  readonly port: number
  /** The next peer that is accepted, or one that nobody has asked for yet. */
  nextPeer(): Promise<Recorder>
  readonly errors: unknown[]
}

export interface TestOptions {
  readonly onRequest?: WebServerParts['onRequest']
  readonly webSocket?: Partial<WebSocketParts>
  readonly limits?: Partial<WebLimits>
  /** By default what comes back is a Recorder. */
  readonly makeHandler?: (peer: WebSocketPeer) => WebSocketHandler | null
}

export const MESSAGE_BYTES_MAX = 200_000
export const BACKPRESSURE_BYTES_MAX = 256 * 1024

/** Runs `use` with a server that is closed afterwards. */
export async function withServer(
  engine: WebEngine,
  options: TestOptions,
  use: (test: TestServer) => Promise<void>,
): Promise<void> {
  const accepted: Recorder[] = []
  const waiting: ((recorder: Recorder) => void)[] = []
  const errors: unknown[] = []
  const accept = (peer: WebSocketPeer): WebSocketHandler | null => {
    if (options.makeHandler !== undefined) return options.makeHandler(peer)
    const recorder = new Recorder(peer)
    const wake = waiting.shift()
    if (wake === undefined) accepted.push(recorder)
    else wake(recorder)
    return recorder
  }
  const server = await openWebServer(engine, {
    host: '127.0.0.1',
    port: 0,
    onRequest: options.onRequest ?? (() => jsonResponse(200, { ok: true })),
    onError: (error) => errors.push(error),
    webSocket: {
      path: '/ws',
      protocol: 'millrace.v1',
      messageBytesMax: MESSAGE_BYTES_MAX,
      backpressureBytesMax: BACKPRESSURE_BYTES_MAX,
      idleTimeoutMs: HANG_MS,
      pingIntervalMs: HANG_MS,
      allowedOrigins: [],
      accept,
      ...options.webSocket,
    },
    limits: {
      connectionsMax: 10_000,
      connectionsPerAddressMax: Number.POSITIVE_INFINITY,
      bodyBytesMax: 100_000,
      requestTimeoutMs: HANG_MS,
      ...options.limits,
    },
  })
  const port = await server.listen()
  const nextPeer = (): Promise<Recorder> => {
    const recorder = accepted.shift()
    if (recorder !== undefined) return Promise.resolve(recorder)
    return new Promise((resolve) => waiting.push(resolve))
  }
  try {
    await use({ server, port, nextPeer, errors })
  } finally {
    await server.close()
  }
}
