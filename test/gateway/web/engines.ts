/**
 * Runs every test of this folder on every server. Where uWebSockets.js or the addon does not load
 * the tests on it are skipped and say so; in CI they fail.
 */
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { loadNative, nativeLoadError } from '../../../src/base/native.ts'
import { SPILL_BYTES } from '../../../src/gateway/native-events.ts'
import { NativeSockets } from '../../../src/gateway/native-sockets.ts'
import { ReceiveMemory } from '../../../src/gateway/receive-memory.ts'
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
import { Arena } from '../../../src/ring/arena.ts'
import { allocateArena } from '../../../src/ring/arena-layout.ts'

/** A test that hangs ends by this; nothing is measured with it. */
export const HANG_MS = 60_000

export function onEveryEngine(
  name: string,
  define: (engine: WebEngine) => void,
  options: { readonly concurrency?: number } = {},
): void {
  const timeout = 2 * HANG_MS
  const uws = skipped('uWebSockets.js', loadUws() !== null, uwsLoadError)
  const native = skipped('the addon', loadNative() !== null, nativeLoadError)
  // Tests that run side by side wait a lot: so do their engines then.
  describe(name, { concurrency: options.concurrency === undefined ? 1 : 3 }, () => {
    describe(`${name}, node:http`, { timeout, ...options }, () => define('node'))
    describe(`${name}, uWebSockets.js`, { timeout, skip: uws, ...options }, () => define('uws'))
    describe(`${name}, native`, { timeout, skip: native, ...options }, () => define('native'))
  })
}

function skipped(what: string, isThere: boolean, why: () => string | null): string | false {
  if (isThere) return false
  if (process.env.CI) throw new Error(`${what}: ${why()}`)
  return `SKIPPED: ${what}: ${why()}`
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
  /** Kind and reason of each. */
  readonly complaints: string[]
  /** What the native engine receives into; null for the others. */
  readonly memory: ReceiveMemory | null
  /** A server on the same engine, to be closed by the test. */
  openAnother(parts: WebServerParts): Promise<WebServer>
}

export interface TestOptions {
  readonly onRequest?: WebServerParts['onRequest']
  readonly webSocket?: Partial<WebSocketParts>
  readonly limits?: Partial<WebLimits>
  /** By default what comes back is a Recorder. */
  readonly makeHandler?: (peer: WebSocketPeer) => WebSocketHandler | null
  /** What the native engine receives into. */
  readonly arenaBytes?: number
}

export const MESSAGE_BYTES_MAX = 200_000
export const BACKPRESSURE_BYTES_MAX = 256 * 1024
const ARENA_BYTES = 16 * 1024 * 1024

/** Runs `use` with a server that is closed afterwards. */
export async function withServer(
  engine: WebEngine,
  options: TestOptions,
  use: (test: TestServer) => Promise<void>,
): Promise<void> {
  const accepted: Recorder[] = []
  const waiting: ((recorder: Recorder) => void)[] = []
  const errors: unknown[] = []
  const complaints: string[] = []
  const accept = (peer: WebSocketPeer): WebSocketHandler | null => {
    if (options.makeHandler !== undefined) return options.makeHandler(peer)
    const recorder = new Recorder(peer)
    const wake = waiting.shift()
    if (wake === undefined) accepted.push(recorder)
    else wake(recorder)
    return recorder
  }
  const receiving = engine === 'native' ? openReceiving(options.arenaBytes ?? ARENA_BYTES) : null
  const parts: WebServerParts = {
    host: '127.0.0.1',
    port: 0,
    onRequest: options.onRequest ?? (() => jsonResponse(200, { ok: true })),
    onError: (error) => errors.push(error),
    onComplaint: (_address, reason, kind) => complaints.push(`${kind}: ${reason}`),
    webSocket: {
      path: '/ws',
      protocol: 'millrace.v1',
      messageBytesMax: MESSAGE_BYTES_MAX,
      backpressureBytesMax: BACKPRESSURE_BYTES_MAX,
      idleTimeoutMs: HANG_MS,
      pingIntervalMs: HANG_MS,
      allowedOrigins: [],
      isLocal: false,
      accept,
      ...options.webSocket,
    },
    limits: {
      connectionsMax: 10_000,
      connectionsPerAddressMax: Number.POSITIVE_INFINITY,
      bodyBytesMax: 100_000,
      bodiesBytesMax: 1_000_000,
      requestTimeoutMs: HANG_MS,
      ...options.limits,
    },
  }
  const server = await openWebServer(engine, parts, receiving)
  const port = await server.listen()
  const nextPeer = (): Promise<Recorder> => {
    const recorder = accepted.shift()
    if (recorder !== undefined) return Promise.resolve(recorder)
    return new Promise((resolve) => waiting.push(resolve))
  }
  try {
    const openAnother = (other: WebServerParts): Promise<WebServer> =>
      openWebServer(engine, other, receiving)
    const memory = receiving?.memory ?? null
    await use({ server, port, nextPeer, errors, complaints, memory, openAnother })
  } finally {
    await server.close()
    receiving?.sockets.close()
  }
  if (receiving !== null) {
    const { bytesInUse } = receiving.memory.arena
    assert.equal(bytesInUse, SPILL_BYTES, 'a closed connection owns no memory')
  }
}

/** The addon's sockets, and an arena where a late reader of freed memory is found. */
function openReceiving(arenaBytes: number): { sockets: NativeSockets; memory: ReceiveMemory } {
  const arena = new Arena(allocateArena(arenaBytes), { poison: true })
  const sockets = new NativeSockets(loadNative()!, () => {})
  sockets.useArena(arena)
  return { sockets, memory: new ReceiveMemory(arena, () => performance.now()) }
}
