/**
 * A producer of the client source over WebSocket: our own client library, a promise for each event,
 * as applications use it.
 */
import type { Client } from '../client/client.ts'
import type { Producer } from '../client/producer.ts'
import type { Compression, Lane, LaneSink } from './driver.ts'
import type { Payload } from './payload.ts'
import type { Place } from './place.ts'

export interface LibraryOptions {
  readonly index: number
  readonly inFlight: number
  readonly batchBytes: number
  readonly lingerMs: number
  readonly acks: 0 | 1 | -1
  readonly compression: Compression
  readonly topics: readonly string[]
  /** The index of a place by topic and partition. */
  readonly placeOf: (place: Place) => number
  /** Writes the intended time into an event's value: who reads it tells the latency. */
  readonly stamp: ((value: Uint8Array, intendedMs: number) => Uint8Array) | null
}

/** What may be in the library at a time: enough for every partition's batch, little for a queue. */
const BUFFER_BYTES_MIN = 1024 * 1024

export class LibraryLane implements Lane {
  readonly #options: LibraryOptions
  readonly #producer: Producer
  readonly #payload: Payload
  readonly #sink: LaneSink
  readonly #bufferBytes: number
  readonly #underWay = new Set<{ readonly intendedMs: number }>()
  #topicTurn: number
  #isWaiting = false
  #isOver = false

  constructor(
    client: Client,
    options: LibraryOptions,
    parts: { readonly payload: Payload; readonly sink: LaneSink },
  ) {
    this.#options = options
    this.#payload = parts.payload
    this.#sink = parts.sink
    const { acks, batchBytes, lingerMs, inFlight, compression } = options
    this.#bufferBytes = Math.max(BUFFER_BYTES_MIN, 2 * inFlight * batchBytes)
    this.#producer = client.producer({
      acks: acks === -1 ? 'all' : acks,
      batchBytes,
      lingerMs,
      inFlight,
      compression,
      bufferBytes: this.#bufferBytes,
    })
    this.#topicTurn = options.index % options.topics.length
  }

  get pending(): number {
    return this.#underWay.size
  }

  offer(intendedMs: number, nowMs: number): boolean {
    if (this.#isOver) return false
    if (this.#producer.bufferedBytes >= this.#bufferBytes) {
      this.#awaitRoom()
      return false
    }
    const { topics, stamp, placeOf } = this.#options
    const topic = topics[this.#topicTurn] as string
    this.#topicTurn = (this.#topicTurn + 1) % topics.length
    const { key, value: plain } = this.#payload.next()
    const value = stamp === null ? plain : stamp(plain, intendedMs)
    const bytes = (key?.length ?? 0) + value.length
    const one = { intendedMs }
    this.#underWay.add(one)
    this.#producer.send({ topic, key, value }).then(
      ({ partition, offset }) => {
        if (!this.#underWay.delete(one) || this.#isOver) return
        this.#sink.sample(intendedMs, nowMs, performance.now())
        const place = placeOf({ topic, partition })
        this.#sink.acknowledged({ place, events: 1, bytes, baseOffset: offset }, [intendedMs])
      },
      (error: unknown) => {
        if (!this.#underWay.delete(one) || this.#isOver) return
        this.#sink.refused(error instanceof Error ? error.message : String(error))
      },
    )
    return true
  }

  flush(): void {
    this.#producer.flush().catch(() => {}) // Every event tells of itself.
  }

  abandon(nowMs: number): void {
    this.#isOver = true
    for (const { intendedMs } of this.#underWay) this.#sink.unanswered(intendedMs, nowMs)
    this.#underWay.clear()
    this.#producer.close({ signal: AbortSignal.abort() }).catch(() => {})
  }

  #awaitRoom(): void {
    if (this.#isWaiting) return
    this.#isWaiting = true
    this.#producer.ready().then(
      () => {
        this.#isWaiting = false
        this.#sink.room(this.#options.index)
      },
      () => {},
    )
  }
}
