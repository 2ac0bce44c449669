/**
 * A producer of the client source where our library does not speak the protocol: encodes events one
 * by one into batches, sends a batch when it is full or has lingered, a few of them at a time.
 */
import { assert } from '../base/assert.ts'
import { BATCH_HEADER_BYTES } from '../record/batch-layout.ts'
import { recordBytesMax } from '../record/batch-writer.ts'
import { partitionOfKey } from '../record/murmur2.ts'
import type {
  Lane,
  LaneSink,
  LoadRecord,
  PreparedRequest,
  RequestConnection,
  RequestDriver,
} from './driver.ts'
import type { Payload } from './payload.ts'

export interface BatchingOptions {
  readonly index: number
  readonly inFlight: number
  readonly batchBytes: number
  readonly lingerMs: number
  /** By topic: the places of its partitions, in order. */
  readonly topics: readonly (readonly number[])[]
  /** The slots that are this lane's on its connection: `firstSlot` and so on. */
  readonly firstSlot: number
}

/** Events of one place that are not sent yet. */
interface OpenBatch {
  readonly place: number
  readonly records: LoadRecord[]
  readonly intendedMs: number[]
  readonly startedMs: number[]
  bytes: number
  /** When it goes even if it is not full. */
  readonly lingersUntilMs: number
}

interface Sent {
  readonly batch: OpenBatch
  request: PreparedRequest | null
}

export class BatchingLane implements Lane {
  readonly #options: BatchingOptions
  readonly #driver: RequestDriver
  readonly #payload: Payload
  readonly #sink: LaneSink
  #connection: RequestConnection | null = null
  readonly #free: number[]
  readonly #sent = new Map<number, Sent>()
  /** By place. */
  readonly #open = new Map<number, OpenBatch>()
  /** By topic: the partition that events without a key go to until its batch is full. */
  readonly #sticky: number[]
  #record: LoadRecord | null = null
  #topicTurn: number
  #timer: NodeJS.Timeout | null = null
  #isFlushing = false
  pending = 0

  constructor(
    options: BatchingOptions,
    parts: { driver: RequestDriver; payload: Payload; sink: LaneSink },
  ) {
    const { inFlight, firstSlot, topics, index } = options
    this.#options = options
    this.#driver = parts.driver
    this.#payload = parts.payload
    this.#sink = parts.sink
    this.#free = Array.from({ length: inFlight }, (_, i) => firstSlot + i)
    this.#sticky = topics.map((places) => index % places.length)
    this.#topicTurn = index % topics.length
  }

  attach(connection: RequestConnection): void {
    this.#connection = connection
  }

  offer(intendedMs: number, nowMs: number): boolean {
    if (this.#connection === null) return false
    // An event that found no room is the next one all the same.
    this.#record ??= this.#payload.next()
    const record = this.#record
    const place = this.#placeFor(record)
    const bytes = recordBytesMax(record)
    let batch = this.#open.get(place)
    if (batch !== undefined && batch.bytes + bytes > this.#options.batchBytes) {
      if (!this.#send(batch)) return false
      batch = undefined
    }
    // Every open batch holds memory: no new one while those that are full cannot go.
    if (batch === undefined && this.#free.length === 0 && this.#isFull()) return false
    batch ??= this.#begin(place, nowMs)
    batch.records.push(record)
    batch.intendedMs.push(intendedMs)
    batch.startedMs.push(nowMs)
    batch.bytes += bytes
    this.pending++
    this.#record = null
    this.#topicTurn = (this.#topicTurn + 1) % this.#options.topics.length
    if (this.#options.lingerMs === 0 || batch.bytes >= this.#options.batchBytes) this.#send(batch)
    return true
  }

  flush(): void {
    this.#isFlushing = true
    this.#sendDue(performance.now())
  }

  abandon(nowMs: number): void {
    const left = [...this.#open.values(), ...[...this.#sent.values()].map(({ batch }) => batch)]
    for (const intendedMs of left.flatMap((batch) => batch.intendedMs)) {
      this.#sink.unanswered(intendedMs, nowMs)
    }
    this.#open.clear()
    this.#sent.clear()
    this.pending = 0
    this.#detach()
  }

  // —— what the connection says ——

  answered(slot: number, baseOffset: number, refusal: string | null): void {
    const sent = this.#sent.get(slot)
    const request = sent?.request ?? null
    if (sent === undefined || request === null) {
      this.broke('it answered a request that was not made')
      return
    }
    this.#sent.delete(slot)
    this.#free.push(slot)
    const { intendedMs, startedMs } = sent.batch
    this.pending -= intendedMs.length
    if (refusal === null) {
      const nowMs = performance.now()
      for (const [i, atMs] of intendedMs.entries()) {
        this.#sink.sample(atMs, startedMs[i] as number, nowMs)
      }
      const { place, events, batchBytes: bytes } = request
      this.#sink.acknowledged({ place, events, bytes, baseOffset }, intendedMs)
    } else {
      this.#sink.refused(refusal)
    }
    this.room()
  }

  room(): void {
    this.#sendDue(performance.now())
    this.#sink.room(this.#options.index)
  }

  broke(reason: string): void {
    if (this.#connection === null) return
    this.#detach()
    this.#sink.broke(this.#options.index, reason)
  }

  // —— batches ——

  /** Where the next event goes: topics in turn, then Kafka's rule for keys. */
  #placeFor({ key }: LoadRecord): number {
    const topic = this.#topicTurn
    const places = this.#options.topics[topic] as readonly number[]
    const partition =
      key === null ? (this.#sticky[topic] as number) : partitionOfKey(key, places.length)
    return places[partition] as number
  }

  #isFull(): boolean {
    return this.#open.size > this.#options.inFlight
  }

  #begin(place: number, nowMs: number): OpenBatch {
    const { lingerMs } = this.#options
    const batch = {
      place,
      records: [],
      intendedMs: [],
      startedMs: [],
      bytes: BATCH_HEADER_BYTES,
      lingersUntilMs: nowMs + lingerMs,
    }
    this.#open.set(place, batch)
    this.#timer ??= setTimeout(() => this.#lingered(), lingerMs)
    return batch
  }

  #lingered(): void {
    this.#timer = null
    this.#sendDue(performance.now())
    // What found no slot goes when one is free, also without a timer.
    const [next] = this.#open.values()
    if (next === undefined || this.#connection === null) return
    const waitMs = Math.max(1, next.lingersUntilMs - performance.now())
    this.#timer ??= setTimeout(() => this.#lingered(), waitMs)
  }

  /** Batches lie in the order in which they were begun. */
  #sendDue(nowMs: number): void {
    for (const batch of [...this.#open.values()]) {
      const isFull = batch.bytes >= this.#options.batchBytes
      if (!isFull && !this.#isFlushing && batch.lingersUntilMs > nowMs) continue
      if (!this.#send(batch)) return
    }
  }

  /** False: it cannot go now. */
  #send(batch: OpenBatch): boolean {
    const slot = this.#free.at(-1)
    if (slot === undefined || this.#connection?.mayTake(batch.bytes) !== true) return false
    this.#free.pop()
    this.#open.delete(batch.place)
    this.#turnSticky(batch.place)
    const sent: Sent = { batch, request: null }
    this.#sent.set(slot, sent)
    this.#encode(slot, sent).catch((error: unknown) => {
      this.broke(error instanceof Error ? error.message : String(error))
    })
    return true
  }

  async #encode(slot: number, sent: Sent): Promise<void> {
    const { place, records } = sent.batch
    const bytes = await this.#driver.buildBatch(records)
    sent.request = this.#driver.prepare(place, slot, { bytes, events: records.length })
    assert(this.#sent.get(slot) === sent || this.#connection === null)
    this.#connection?.send(slot, sent.request)
  }

  #turnSticky(place: number): void {
    for (const [topic, places] of this.#options.topics.entries()) {
      const sticky = this.#sticky[topic] as number
      if (places[sticky] === place) this.#sticky[topic] = (sticky + 1) % places.length
    }
  }

  #detach(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#connection = null
  }
}
