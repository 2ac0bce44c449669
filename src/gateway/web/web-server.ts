import type { RequestFrame } from '../../broker/request-frame.ts'
import type { ComplaintKind } from '../complaints.ts'

/**
 * The HTTP and WebSocket server as the rest of the gateway sees it. There are three, which one test
 * suite holds alike: `native`, node:http with WebSockets on the addon's sockets; `uws`,
 * uWebSockets.js; `node`, node:http and ws. All run on main. Who is sent more than he takes is
 * closed.
 */
export type WebEngine = 'native' | 'uws' | 'node'

/** What people are told about an engine. */
export const ENGINE_NAMES: Readonly<Record<WebEngine, string>> = {
  native: 'native',
  uws: 'uWebSockets.js',
  node: 'node:http',
}

export interface WebServer {
  readonly engine: WebEngine
  /** Open connections, WebSockets included. */
  readonly connectionCount: number
  /** Resolves to the bound port; rejects with a BrokerError. */
  listen(): Promise<number>
  /** Accepts nothing any more and closes every connection; WebSockets are told 1001. */
  close(): Promise<void>
}

export interface WebRequest {
  /** As it was sent: 'GET'. */
  readonly method: string
  /** Without the query, not decoded. */
  readonly path: string
  /** What follows '?', not decoded; '' for none. */
  readonly query: string
  readonly remoteAddress: string
  /** Aborts when the client is gone before it has its answer: nobody reads one then. */
  readonly signal: AbortSignal
  /** `name` in lower case. */
  header(name: string): string | undefined
  /**
   * The whole body. Rejects with a BodyError when it is larger, or when the client is gone. A
   * handler need not catch it: the server answers 413 by itself. To be called once.
   */
  body(bytesMax: number): Promise<Uint8Array>
}

export type BodyChunk = string | Uint8Array

export interface WebResponse {
  readonly status: number
  /** Names in lower case, without content-length, which the server knows. */
  readonly headers: Readonly<Record<string, string>>
  /**
   * Whole, or in pieces that are made while the client takes them: none is asked for before the one
   * in front of it has been taken, and `return` is called when the client is gone. The request's
   * signal ends a wait inside. Pieces are not empty.
   */
  readonly body: BodyChunk | AsyncIterable<BodyChunk>
}

/** One accepted WebSocket connection. `onClose` may run inside each of its methods. */
export interface WebSocketPeer {
  readonly remoteAddress: string
  /** Sent, and not yet taken by the system; 0 when the connection is gone. */
  readonly bufferedBytes: number
  /**
   * Sends one binary message: the chunks in order, which may be views of shared memory. `onSent`
   * runs exactly once, when their memory may be used again: at once or later. False when the
   * message will not arrive, because the connection is closed or, for too much backpressure, is
   * being closed now.
   */
  send(chunks: readonly Uint8Array[], onSent?: () => void): boolean
  /** Closes with a code that an endpoint may send; what is buffered is sent before. */
  end(code: number, reason: string): void
  /** Closes at once; what is buffered is dropped. */
  terminate(): void
}

/** What the protocol above a connection does. Nothing is called after `onClose`. */
export interface WebSocketHandler {
  /**
   * A binary message. `bytes`, which may be shared memory, are valid during the call, and longer
   * only for who holds `frame`: the extent of the ingress arena that they lie in, null for none.
   */
  onMessage(bytes: Uint8Array, frame: RequestFrame | null): void
  /** `bufferedBytes` has fallen, not necessarily to 0. */
  onDrain(): void
  /** Runs exactly once. 1006 when there was no orderly close, else the code of who closed first. */
  onClose(code: number): void
}

export interface WebSocketParts {
  readonly path: string
  /** The subprotocol that a client must offer. */
  readonly protocol: string
  /** A larger message closes its connection before it is buffered. */
  readonly messageBytesMax: number
  /** A `send` while more than this is buffered closes the connection. */
  readonly backpressureBytesMax: number
  /** A client that was silent for so long, pings included, is closed. */
  readonly idleTimeoutMs: number
  /** A client that was silent for so long is pinged. */
  readonly pingIntervalMs: number
  /** Origins of pages that may connect, besides this server's own and loopback; '*' for all. */
  readonly allowedOrigins: readonly string[]
  /** The server is bound to loopback: it answers to its own machine's names only. */
  readonly isLocal: boolean
  /** Null refuses the connection (1013, "try again later"). */
  readonly accept: (peer: WebSocketPeer) => WebSocketHandler | null
}

export interface WebLimits {
  /** HTTP and WebSocket connections together. */
  readonly connectionsMax: number
  readonly connectionsPerAddressMax: number
  /** The most that any `body` may ask for: a request that declares more is refused unseen. */
  readonly bodyBytesMax: number
  /** Of all bodies that have arrived, in part or whole, and are still worked on; see BodyMemory. */
  readonly bodiesBytesMax: number
  /** From the first byte of a request to the last of its body. */
  readonly requestTimeoutMs: number
}

export interface WebServerParts {
  /** '' binds every interface. */
  readonly host: string
  /** 0 takes any free port. */
  readonly port: number
  readonly onRequest: (request: WebRequest) => WebResponse | Promise<WebResponse>
  /** `onRequest` failed, and the client was answered 500. */
  readonly onError: (error: unknown) => void
  /** An HTTP connection is closed, or about to be, for what its client did. */
  readonly onComplaint: (address: string, reason: string, kind: ComplaintKind) => void
  readonly webSocket: WebSocketParts
  readonly limits: WebLimits
}

/** All headers of a request. One number for the process: uWebSockets.js reads it when loaded. */
export const HEADER_BYTES_MAX = 16 * 1024

/** Headers that take longer close the connection. Fixed in uWebSockets.js, where it is 12 s. */
export const HEADERS_TIMEOUT_MS = 10_000

/** A client that takes nothing of its answer for so long is closed. */
export const ANSWER_TIMEOUT_MS = 10_000

/** A connection without a request is closed after this. The same there. */
export const KEEP_ALIVE_TIMEOUT_MS = 10_000
