/**
 * A TCP (or TLS) connection as the load needs it: opened within a time limit, received into one
 * buffer that is used again and again, and ended once with a reason.
 */
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { LoadError } from './load-error.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

export interface SocketOptions extends Address {
  readonly tls?: boolean
  /** Of the buffer that is received into. */
  readonly receiveBytes?: number
}

export interface LoadSocketEvents {
  /** The first `length` bytes of `bytes`, until this returns. */
  received(bytes: Buffer, length: number): void
  /** Once, unless `close` was called before. */
  ended(reason: string): void
}

const CONNECT_MS = 10_000
const RECEIVE_BYTES = 16 * 1024

export class LoadSocket {
  readonly #socket: Socket
  #isOver = false

  private constructor(socket: Socket) {
    this.#socket = socket
  }

  /** Throws LoadError when nobody is there. */
  static open(options: SocketOptions, events: LoadSocketEvents): Promise<LoadSocket> {
    const { host, port, tls = false, receiveBytes = RECEIVE_BYTES } = options
    const buffer = Buffer.allocUnsafeSlow(receiveBytes)
    return new Promise((resolve, reject) => {
      const onread = {
        buffer,
        callback: (length: number): boolean => {
          if (!socket.#isOver) events.received(buffer, length)
          return true
        },
      }
      const at = { host, port, noDelay: true, onread }
      const socket = new LoadSocket(tls ? connectTls({ ...at, servername: host }) : connectTcp(at))
      const raw = socket.#socket
      const fail = (reason: string, cause?: unknown): void => {
        socket.close()
        reject(new LoadError(`cannot connect to ${host}:${port}: ${reason}`, cause))
      }
      const timer = setTimeout(() => fail(`no answer within ${CONNECT_MS} ms`), CONNECT_MS)
      let failure = 'the broker closed the connection'
      raw.on('error', (error: NodeJS.ErrnoException) => {
        failure = reasonOf(error)
      })
      const onEarlyClose = (): void => {
        clearTimeout(timer)
        fail(failure)
      }
      raw.once(tls ? 'secureConnect' : 'connect', () => {
        clearTimeout(timer)
        raw.off('close', onEarlyClose)
        raw.on('close', () => socket.#end(events, failure))
        // Bytes go to `onread`; but only a socket that flows hears that the other side has ended.
        raw.resume()
        resolve(socket)
      })
      raw.once('close', onEarlyClose)
    })
  }

  /** Sends bytes, which must not change until the system has them: then it calls back. */
  write(bytes: Uint8Array, onSent?: () => void): void {
    if (onSent === undefined) this.#socket.write(bytes)
    else this.#socket.write(bytes, () => onSent())
  }

  close(): void {
    this.#isOver = true
    this.#socket.destroy()
  }

  #end(events: LoadSocketEvents, reason: string): void {
    if (this.#isOver) return
    this.#isOver = true
    events.ended(reason)
  }
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'ECONNREFUSED') return 'nothing listens there; is the broker running?'
  if (error.code === 'ENOTFOUND') return 'the host name does not resolve'
  return error.message || error.code || 'unknown reason'
}
