import { connect, createServer, type Server, type Socket } from 'node:net'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type {
  AcceptHandler,
  Connect,
  Transport,
  TransportListener,
  TransportOwner,
} from './transport.ts'

/**
 * The portable transport: `node:net`, one copy from each received chunk into the arena. Runs on
 * main. A chunk that the receiver could not take is kept (64 KB at most) and the socket paused.
 */
export function listenNet(
  host: string,
  port: number,
  onAccept: AcceptHandler,
): Promise<TransportListener> {
  return new Promise((resolve, reject) => {
    const server = createServer({ noDelay: true, pauseOnConnect: true }, (socket) => {
      new NetTransport(socket).start(onAccept)
    })
    server.once('error', (error) => {
      reject(new BrokerError(ErrorCode.UNKNOWN_SERVER_ERROR, `listen on ${host}:${port}`, error))
    })
    server.listen({ host, port, backlog: 1024 }, () => resolve(listener(server, host)))
  })
}

export const connectNet: Connect = (at, onOpened, onRefused) => {
  const socket = connect({ ...at, noDelay: true })
  socket.once('error', onRefused)
  socket.once('connect', () => {
    socket.off('error', onRefused)
    socket.pause()
    new NetTransport(socket).start(onOpened)
  })
  return socket
}

function listener(server: Server, host: string): TransportListener {
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    host,
    port,
    kind: 'node:net',
    close: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

class NetTransport implements Transport {
  readonly remoteAddress: string
  readonly #socket: Socket
  #owner: TransportOwner | null = null
  #left: Buffer | null = null
  #paused = true
  #error: Error | null = null
  /** Receipts of sends whose bytes the system has not taken yet. */
  readonly #unsent = new Set<() => void>()

  constructor(socket: Socket) {
    this.#socket = socket
    this.remoteAddress = socket.remoteAddress ?? 'unknown'
  }

  start(onAccept: AcceptHandler): void {
    this.#socket.on('error', (error) => {
      this.#error = error
    })
    const owner = onAccept(this)
    if (owner === null) {
      this.#socket.destroy()
      return
    }
    this.#owner = owner
    this.#socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    this.#socket.on('close', () => this.#onClose(owner))
    this.resume()
  }

  get queuedBytes(): number {
    return this.#socket.writableLength
  }

  get hasUntaken(): boolean {
    return this.#left !== null
  }

  pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.#socket.pause()
  }

  resume(): void {
    if (!this.#paused || this.#left !== null) return
    this.#paused = false
    this.#socket.resume()
  }

  drainReceived(): void {
    const left = this.#left
    if (left === null) return
    this.#left = null
    this.#onData(left)
  }

  send(chunks: Uint8Array[], onSent: () => void): void {
    if (this.#socket.destroyed || !this.#socket.writable) {
      onSent()
      return
    }
    this.#unsent.add(onSent)
    const last = chunks.length - 1
    this.#socket.cork()
    for (let i = 0; i < last; i++) this.#socket.write(chunks[i] as Uint8Array)
    this.#socket.write(chunks[last] as Uint8Array, () => this.#settle(onSent))
    this.#socket.uncork()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  end(): void {
    this.#socket.end()
  }

  #settle(onSent: () => void): void {
    if (this.#unsent.delete(onSent)) onSent()
  }

  #onData(chunk: Buffer): void {
    const owner = this.#owner
    if (owner === null) return
    const taken = owner.receiver.accept(chunk, 0, chunk.length)
    if (taken < chunk.length && !this.#socket.destroyed) {
      this.#left = chunk.subarray(taken)
      this.pause()
    }
    owner.onReceived()
  }

  #onClose(owner: TransportOwner): void {
    this.#left = null
    for (const onSent of [...this.#unsent]) this.#settle(onSent)
    owner.onClosed(this.#error)
  }
}
