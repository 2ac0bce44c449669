import { createRequire } from 'node:module'
import { HEADER_BYTES_MAX } from './web-server.ts'

/**
 * The part of uWebSockets.js that is used, typed here because the package is optional and a build
 * must not need it. Loaded on main only. An object of it is dead after its last callback: a socket
 * or response that is used later throws.
 */
export interface UwsLibrary {
  App(): UwsApp
  us_socket_local_port(listenSocket: object): number
  us_listen_socket_close(listenSocket: object): void
  _cfg(word: string): void
}

export interface UwsApp {
  any(pattern: string, handler: (response: UwsResponse, request: UwsRequest) => void): UwsApp
  ws(pattern: string, behavior: UwsBehavior): UwsApp
  /** `count` is 1 for a connection that is opened, -1 for an HTTP one that is closed. */
  filter(handler: (response: UwsResponse, count: number) => void): UwsApp
  listen(host: string, port: number, options: number, done: OnListening): UwsApp
  listen(port: number, options: number, done: OnListening): UwsApp
  close(): UwsApp
}

type OnListening = (listenSocket: object | false) => void

export interface UwsRequest {
  getCaseSensitiveMethod(): string
  getUrl(): string
  getQuery(): string | undefined
  /** '' for none. */
  getHeader(lowerCaseName: string): string
  forEach(each: (name: string, value: string) => void): void
}

export interface UwsResponse {
  cork(write: () => void): UwsResponse
  writeStatus(status: string): UwsResponse
  writeHeader(name: string, value: string): UwsResponse
  /** False: not all is sent, the rest waits in the library, until `write` is called again. */
  write(chunk: string | Uint8Array): boolean
  /** The handler returns whether all is sent now. */
  onWritable(handler: () => boolean): UwsResponse
  end(body: string | Uint8Array, closeConnection: boolean): UwsResponse
  endWithoutBody(): UwsResponse
  close(): UwsResponse
  onAborted(handler: () => void): UwsResponse
  /** `chunk` is valid during the call only. */
  onData(handler: (chunk: ArrayBuffer, isLast: boolean) => void): UwsResponse
  getRemoteAddressAsText(): ArrayBuffer
  upgrade(
    userData: object,
    key: string,
    protocol: string,
    extensions: string,
    context: object,
  ): void
}

/** 0: some of it waits for the client. 1: all is sent. 2: dropped, for too much backpressure. */
type SendStatus = 0 | 1 | 2

export interface UwsSocket {
  send(message: Uint8Array, isBinary: boolean): SendStatus
  sendFirstFragment(message: Uint8Array, isBinary: boolean): SendStatus
  sendFragment(message: Uint8Array): SendStatus
  sendLastFragment(message: Uint8Array): SendStatus
  ping(): SendStatus
  getBufferedAmount(): number
  cork(write: () => void): UwsSocket
  end(code: number, reason: string): void
  close(): void
}

/** `S` is a socket with the properties of the user data that `upgrade` was given. */
export interface UwsBehavior<S extends UwsSocket = UwsSocket & Record<string, never>> {
  readonly compression: 0
  readonly maxPayloadLength: number
  readonly maxBackpressure: number
  readonly closeOnBackpressureLimit: boolean
  /** Seconds, from 8 to 960. */
  readonly idleTimeout: number
  readonly sendPingsAutomatically: boolean
  upgrade(response: UwsResponse, request: UwsRequest, context: object): void
  open(socket: S): void
  /** `message` is valid during the call only. */
  message(socket: S, message: ArrayBuffer, isBinary: boolean): void
  ping(socket: S): void
  pong(socket: S): void
  drain(socket: S): void
  /** The socket throws from here on. */
  close(socket: S, code: number, message: ArrayBuffer): void
}

/** Refuse a port that another process listens on: without it both would get connections. */
export const EXCLUSIVE_PORT = 1

/** Once a process: what failed to load is not tried again. */
let loaded: { library: UwsLibrary | null; error: string | null } | null = null

/** Null where it is not installed or its binary does not load; `uwsLoadError` then says why. */
export function loadUws(): UwsLibrary | null {
  loaded ??= load()
  return loaded.library
}

/** Why `loadUws` answers null, as half a sentence; null when it does not. */
export function uwsLoadError(): string | null {
  loaded ??= load()
  return loaded.error
}

function load(): { library: UwsLibrary | null; error: string | null } {
  // It reads this once, while its binary is loaded.
  process.env.UWS_HTTP_MAX_HEADERS_SIZE = String(HEADER_BYTES_MAX)
  try {
    const library: UwsLibrary = createRequire(import.meta.url)('uWebSockets.js')
    library._cfg('silent') // No header that names the server.
    return { library, error: null }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'MODULE_NOT_FOUND') return { library: null, error: 'it is not installed' }
    const reason = message.trim().split('\n').at(-1) ?? ''
    return { library: null, error: `its binary does not load: ${reason}` }
  }
}
