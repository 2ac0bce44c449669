/** A connection to one broker for requests whose answers are awaited one by one. */
import { KafkaFrames } from '../../src/load/kafka/kafka-frames.ts'
import {
  decodeResponse,
  decodeResponseHeader,
  encodeRequest,
  Reader,
  type RequestInit,
  type ResponseOf,
} from '../../src/wire/kafka/api.ts'
import { sleep } from './children.ts'

export type ProbeKey = 0 | 3 | 19 | 43
const VERSIONS: Readonly<Record<ProbeKey, number>> = { 0: 9, 3: 9, 19: 5, 43: 2 }
const CLIENT_ID = 'millrace-prober'
/** A host that is silent refuses nobody. */
const OPEN_MS_MAX = 500

export interface Place {
  readonly host: string
  readonly port: number
}

interface Waiting {
  readonly key: ProbeKey
  readonly resolve: (body: unknown) => void
  readonly reject: (error: Error) => void
}

/** Requests to one broker, answered by their correlation ids. */
export class ProbeConnection {
  #frames: KafkaFrames | null = null
  #id = 0
  readonly #waiting = new Map<number, Waiting>()

  static async open(place: Place): Promise<ProbeConnection> {
    const connection = new ProbeConnection()
    const opening = KafkaFrames.open(
      place,
      {
        answer: (bytes, start, end) => connection.#answer(bytes, start, end),
        broke: (reason) => connection.#broke(reason),
      },
      { responseBytesMax: 16 * 1024 * 1024 },
    )
    const frames = await Promise.race([opening, sleep(OPEN_MS_MAX)])
    if (frames === undefined) {
      opening.then(
        (late) => late.close(),
        () => undefined,
      )
      throw new Error('no connection in time')
    }
    connection.#frames = frames
    return connection
  }

  get isOpen(): boolean {
    return this.#frames !== null
  }

  /** Rejects when the connection ends, after `timeoutMs`, and when `signal` says so. */
  request<K extends ProbeKey>(
    key: K,
    body: RequestInit<K>,
    { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<ResponseOf<K>> {
    const id = ++this.#id
    const version = VERSIONS[key]
    const chunks = encodeRequest(key, version, { correlationId: id, clientId: CLIENT_ID }, body)
    return new Promise((resolve, reject) => {
      const giveUp = (reason: string): void => {
        if (this.#waiting.delete(id)) settle(reject)(new Error(reason))
      }
      const onAbort = (): void => giveUp(String(signal?.reason))
      // As clients do: what is not answered is asked again elsewhere, on another connection.
      const timer = setTimeout(() => this.#broke('no answer in time'), timeoutMs)
      const settle =
        <T>(run: (value: T) => void) =>
        (value: T) => {
          clearTimeout(timer)
          signal?.removeEventListener('abort', onAbort)
          run(value)
        }
      this.#waiting.set(id, {
        key,
        resolve: settle(resolve as (body: unknown) => void),
        reject: settle(reject),
      })
      signal?.addEventListener('abort', onAbort)
      if (this.#frames === null) this.#broke('closed')
      else this.#frames.write(Buffer.concat(chunks))
    })
  }

  close(): void {
    this.#broke('closed')
  }

  #answer(bytes: Buffer, start: number, end: number): void {
    const id = bytes.readInt32BE(start)
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return
    this.#waiting.delete(id)
    const reader = new Reader(bytes, start, end)
    const version = VERSIONS[waiting.key]
    decodeResponseHeader(waiting.key, version, reader)
    waiting.resolve(decodeResponse(waiting.key, version, reader))
  }

  #broke(reason: string): void {
    this.#frames?.close()
    this.#frames = null
    for (const { reject } of this.#waiting.values()) reject(new Error(reason))
    this.#waiting.clear()
  }
}

/** One connection to each place, opened when it is asked for and again when it has ended. */
export class ProbeConnections {
  readonly #connections = new Map<string, Promise<ProbeConnection>>()

  async to(place: Place): Promise<ProbeConnection> {
    const name = nameOf(place)
    const known = this.#connections.get(name)
    if (known !== undefined && (await known.catch(() => null))?.isOpen === true) return known
    // Whoever else has waited for the old one may have opened another.
    const now = this.#connections.get(name)
    if (now !== undefined && now !== known) return now
    const opening = ProbeConnection.open(place)
    this.#connections.set(name, opening)
    return opening
  }

  /** The next request opens another connection. */
  async drop(place: Place): Promise<void> {
    const known = this.#connections.get(nameOf(place))
    ;(await known?.catch(() => undefined))?.close()
  }

  close(): void {
    for (const connection of this.#connections.values()) {
      connection.then(
        (one) => one.close(),
        () => undefined,
      )
    }
  }
}

function nameOf({ host, port }: Place): string {
  return `${host}:${port}`
}
