import type { BodyMemory } from './body-memory.ts'

/** Why a request's body cannot be read: `no-room` when BodyMemory has none for the address now. */
export type BodyFailure = 'too-large' | 'aborted' | 'no-room'

export class BodyError extends Error {
  readonly kind: BodyFailure

  constructor(kind: BodyFailure, message: string) {
    super(message)
    this.name = 'BodyError'
    this.kind = kind
  }
}

interface Reader {
  readonly bytesMax: number
  resolve(bytes: Uint8Array): void
  reject(error: BodyError): void
}

const NONE = new Uint8Array(0)

/**
 * The body of one request while it arrives. It is collected from the start, since both engines lose
 * what nobody listens to, and never holds more than its bound. What it takes of the memory of all
 * bodies it gives back when the request is done with, not when the body is read: what was made of
 * it takes memory as well.
 */
export class IncomingBody {
  readonly #bytesMax: number
  readonly #memory: BodyMemory
  readonly #address: string
  #chunks: Uint8Array[] = []
  #bytes = 0
  #takenBytes = 0
  #state: 'open' | 'complete' | BodyFailure = 'open'
  #reader: Reader | null = null
  #isRead = false

  constructor(bytesMax: number, memory: BodyMemory, address: string) {
    this.#bytesMax = bytesMax
    this.#memory = memory
    this.#address = address
  }

  /** Whether the client has sent all of it, read or not. */
  get isComplete(): boolean {
    return this.#state === 'complete'
  }

  /** Keeps `chunk`: the caller has copied what does not last. */
  push(chunk: Uint8Array): void {
    if (this.#state !== 'open') return
    this.#bytes += chunk.length
    if (this.#bytes > (this.#reader?.bytesMax ?? this.#bytesMax)) {
      this.#stop('too-large')
    } else if (this.#memory.tryTake(this.#address, chunk.length)) {
      this.#takenBytes += chunk.length
      this.#chunks.push(chunk)
    } else {
      this.#stop('no-room')
    }
  }

  /** The request is done with: nothing is kept of what still arrives. */
  release(): void {
    this.abort()
    this.#chunks = []
    this.#memory.give(this.#address, this.#takenBytes)
    this.#takenBytes = 0
  }

  complete(): void {
    if (this.#state !== 'open') return
    this.#state = 'complete'
    this.#settle()
  }

  abort(): void {
    // What has arrived whole can still be read: the handler may have work to do with it.
    if (this.#state === 'open') this.#stop('aborted')
  }

  read(bytesMax: number): Promise<Uint8Array> {
    if (this.#isRead) return Promise.reject(new Error('the body of a request is read once'))
    this.#isRead = true
    const limit = Math.min(bytesMax, this.#bytesMax)
    return new Promise((resolve, reject) => {
      this.#reader = { bytesMax: limit, resolve, reject }
      const isRefused = this.#state === 'aborted' || this.#state === 'no-room'
      if (this.#bytes > limit && !isRefused) this.#stop('too-large')
      else this.#settle()
    })
  }

  #stop(state: BodyFailure): void {
    this.#state = state
    this.#chunks = []
    this.#settle()
  }

  #settle(): void {
    const reader = this.#reader
    if (reader === null || this.#state === 'open') return
    this.#reader = null
    if (this.#state === 'too-large') {
      const message = `The body is larger than ${reader.bytesMax} bytes`
      reader.reject(new BodyError('too-large', message))
    } else if (this.#state === 'no-room') {
      reader.reject(new BodyError('no-room', 'The bodies under way fill their memory'))
    } else if (this.#state === 'aborted') {
      reader.reject(new BodyError('aborted', 'The client is gone'))
    } else {
      const chunks = this.#chunks
      this.#chunks = []
      const [only = NONE] = chunks
      reader.resolve(chunks.length <= 1 ? only : Buffer.concat(chunks, this.#bytes))
    }
  }
}
