/**
 * A closed loop over one TCP connection each: the same request again as soon as it was answered.
 * What the bytes mean is the dialect's business.
 */
import { connect, type Socket } from 'node:net'
import { sleep } from './children.ts'

export interface Dialect {
  /** Written once, in order, each after the last one's answer; makes the stream or topic. */
  readonly setUp: readonly Exchange[]
  /** Written at the start of every connection, without an answer that counts. */
  readonly hello: Buffer
  /** For connection `index`. */
  request(index: number): Buffer
  /**
   * Length of the first whole answer in `bytes`, 0 while there is none. Throws on a refusal.
   * `isAnswer` is false for what the server says by itself.
   */
  answer(bytes: Buffer): { length: number; isAnswer: boolean }
}

export interface Exchange {
  readonly request: Buffer
  readonly isDone: (answer: Buffer) => boolean
}

const SET_UP_TIMEOUT_MS = 20_000
const SETTLE_MS = 2000
const CHUNK_BYTES_MAX = 1 << 20

export class AnswerLoad {
  readonly #port: number
  readonly #dialect: Dialect
  readonly #connections: number
  readonly #sockets: Socket[] = []
  #requests = 0
  #latencies: number[] = []
  #isStopping = false
  #error: Error | null = null

  constructor(port: number, dialect: Dialect, connections: number) {
    this.#port = port
    this.#dialect = dialect
    this.#connections = connections
  }

  async start(): Promise<void> {
    for (const exchange of this.#dialect.setUp) await this.#setUp(exchange)
    // A partition may get its leader only after the topic was reported as made.
    if (this.#dialect.setUp.length > 0) await sleep(SETTLE_MS)
    for (let i = 0; i < this.#connections; i++) await this.#open(i)
  }

  /** What was answered from now on. */
  reset(): void {
    this.#requests = 0
    this.#latencies = []
  }

  /** Throws when a connection failed. */
  stop(): { requests: number; latencies: readonly number[] } {
    this.#isStopping = true
    for (const socket of this.#sockets) socket.destroy()
    if (this.#error !== null) throw this.#error
    return { requests: this.#requests, latencies: this.#latencies }
  }

  async #setUp({ request, isDone }: Exchange): Promise<void> {
    const socket = await opened(this.#port)
    try {
      await new Promise<void>((resolve, reject) => {
        let bytes: Buffer = Buffer.alloc(0)
        const timer = setTimeout(
          () => reject(new Error(`no answer to the set-up: ${bytes.toString('latin1')}`)),
          SET_UP_TIMEOUT_MS,
        )
        socket.on('error', reject)
        socket.on('data', (chunk: Buffer) => {
          bytes = Buffer.concat([bytes, chunk])
          if (!isDone(bytes)) return
          clearTimeout(timer)
          resolve()
        })
        socket.write(this.#dialect.hello)
        socket.write(request)
      })
    } finally {
      socket.destroy()
    }
  }

  async #open(index: number): Promise<void> {
    const socket = await opened(this.#port)
    this.#sockets.push(socket)
    const request = this.#dialect.request(index)
    let rest: Buffer = Buffer.alloc(0)
    let sentMs = performance.now()
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => {
      if (!this.#isStopping) this.#fail(new Error('the broker closed a connection'))
    })
    socket.on('data', (chunk: Buffer) => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      try {
        for (;;) {
          const { length, isAnswer } = this.#dialect.answer(rest)
          if (length === 0) break
          rest = rest.subarray(length)
          if (!isAnswer) continue
          this.#requests++
          this.#latencies.push((performance.now() - sentMs) * 1000)
          if (this.#isStopping) return
          sentMs = performance.now()
          socket.write(request)
        }
        if (rest.length > CHUNK_BYTES_MAX) throw new Error('the broker answers without an end')
      } catch (error) {
        this.#fail(error as Error)
      }
    })
    socket.write(this.#dialect.hello)
    socket.write(request)
  }

  #fail(error: Error): void {
    this.#error ??= error
    this.#isStopping = true
  }
}

function opened(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    socket.once('error', reject)
    socket.once('connect', () => resolve(socket))
  })
}
