/**
 * One batch on its way to a partition: the records as they are encoded, who waits for them, and
 * what is known of its fate. `partition-queue.ts` decides; this file only holds and settles.
 */
import { assert } from '../base/assert.ts'
import {
  type BatchDraft,
  BatchWriter,
  draftRecords,
  finishBatch,
  type RecordContent,
} from '../record/batch-writer.ts'
import { COMPRESSION_NONE, type CompressionCode } from '../record/compression-code.ts'
import type { Platform } from './platform.ts'

/** Where an event is kept. */
export interface RecordMetadata {
  readonly topic: string
  readonly partition: number
  /** −1 when the server does not say: `acks` 0, or a batch that it had already and forgot where. */
  readonly offset: number
  /** Milliseconds since the Unix epoch: the event's, or the append's where the topic wants that. */
  readonly timestamp: number
}

export type Resolve = (metadata: RecordMetadata) => void
export type Reject = (error: unknown) => void

/** Who the batches of a producer are from (KIP-98). */
export interface ProducerIdentity {
  readonly producerId: number
  readonly producerEpoch: number
}

/** Somebody who waits until all batches it is noted on are settled. */
export interface FlushWaiter {
  /** Batches and waiting events that are not settled yet. */
  remaining: number
  done(): void
}

/** A record and who waits for it; no `resolve`: nobody does. */
export interface Entry {
  readonly content: RecordContent
  readonly timestamp: number
  readonly resolve: Resolve | undefined
  readonly reject: Reject | undefined
}

export interface BatchOptions {
  readonly topic: string
  readonly partition: number
  readonly createdMs: number
  /** Monotonic; when it is to be sent, full or not. */
  readonly dueMs: number
  /** Monotonic; when its events fail. */
  readonly deadlineMs: number
  /** A first guess at its size, bytes. */
  readonly capacity: number
}

export class ProduceBatch {
  readonly topic: string
  readonly partition: number
  readonly createdMs: number
  dueMs: number
  readonly deadlineMs: number
  /** What the producer's buffer counts for it, bytes. */
  reservedBytes = 0
  /** Whether it is under way; else it waits for its first or next time. */
  inFlight = false
  /** Times that it was sent. */
  attempts = 0
  /** True: an attempt had no answer, or one that leaves open whether the batch was stored. */
  inDoubt = false
  /** True: a later batch was stored while this one was not settled. */
  overtaken = false
  settled = false
  baseSequence = -1
  /** Its place among the batches that were sent to the partition; −1 before. */
  ordinal = -1
  readonly flushes: FlushWaiter[] = []
  #writer: BatchWriter | null
  #draft: BatchDraft | null = null
  #compression: CompressionCode = COMPRESSION_NONE
  #packed: Uint8Array | null = null
  #packing = false
  #packError: unknown = null
  /** The batch as it is sent, also again. */
  #bytes: Uint8Array | null = null
  readonly #timestamps: number[] = []
  readonly #resolves: (Resolve | undefined)[] = []
  readonly #rejects: (Reject | undefined)[] = []

  constructor(options: BatchOptions) {
    this.topic = options.topic
    this.partition = options.partition
    this.createdMs = options.createdMs
    this.dueMs = options.dueMs
    this.deadlineMs = options.deadlineMs
    this.#writer = new BatchWriter(options.capacity)
  }

  get recordsCount(): number {
    return this.#timestamps.length
  }

  /** Events that nobody waits for one by one. */
  get uncollectedCount(): number {
    let count = 0
    for (const resolve of this.#resolves) if (resolve === undefined) count++
    return count
  }

  /** The whole batch in bytes, as it stands; exact once it is sealed and not being compressed. */
  get bytes(): number {
    if (this.#writer !== null) return this.#writer.bytesEstimate
    const draft = this.#draft as BatchDraft
    if (this.#packed === null) return draft.end
    return this.#packed.length + draft.end - draftRecords(draft).length
  }

  /** Whether compression is still at work on it. */
  get isPacking(): boolean {
    return this.#packing
  }

  /** What compression failed with, or null. */
  get packError(): unknown {
    return this.#packError
  }

  /** Encodes a record behind the others. */
  append(entry: Entry, bytes: number): void {
    assert(this.#writer !== null)
    const { content, timestamp } = entry
    this.#writer.append(timestamp, content.key, content.value, content.headers)
    this.#timestamps.push(timestamp)
    this.#resolves.push(entry.resolve)
    this.#rejects.push(entry.reject)
    this.reservedBytes += bytes
  }

  /** No record more. `packed` is called when compression is done, unless it is done at once. */
  seal(compression: CompressionCode, platform: Platform, packed: () => void): void {
    assert(this.#writer !== null)
    this.#draft = this.#writer.take()
    this.#writer = null
    this.#compression = compression
    if (compression === COMPRESSION_NONE) return
    try {
      const result = platform.compress(compression, draftRecords(this.#draft))
      if (result instanceof Uint8Array) {
        this.#packed = result
        return
      }
      this.#packing = true
      result.then(
        (bytes) => {
          this.#packing = false
          this.#packed = bytes
          packed()
        },
        (error: unknown) => {
          this.#packing = false
          this.#packError = error
          packed()
        },
      )
    } catch (error) {
      this.#packError = error
    }
  }

  /** Gives it its place among the batches of its partition; null: it is not idempotent. */
  number(identity: ProducerIdentity | null, baseSequence: number, platform: Platform): void {
    assert(this.#draft !== null && !this.#packing)
    this.baseSequence = baseSequence
    const idempotence = identity === null ? {} : { ...identity, baseSequence }
    const options = { compression: this.#compression, ...idempotence }
    this.#bytes = finishBatch(this.#draft, options, platform.crc32c, this.#packed)
  }

  get isNumbered(): boolean {
    return this.#bytes !== null
  }

  /** Takes its number back: it was certainly not stored under it. */
  unnumber(): void {
    assert(!this.inDoubt && !this.inFlight)
    this.#bytes = null
    this.baseSequence = -1
  }

  /** The very same bytes for every attempt. */
  get encoded(): Uint8Array {
    assert(this.#bytes !== null)
    return this.#bytes
  }

  /** Every event is stored: from `baseOffset` on, −1 where that is not known. */
  resolve(baseOffset: number, appendTimeMs: number): void {
    assert(!this.settled)
    this.settled = true
    const { topic, partition } = this
    for (let i = 0; i < this.#resolves.length; i++) {
      const resolve = this.#resolves[i]
      if (resolve === undefined) continue
      const timestamp = appendTimeMs >= 0 ? appendTimeMs : (this.#timestamps[i] as number)
      resolve({ topic, partition, offset: baseOffset < 0 ? -1 : baseOffset + i, timestamp })
    }
    this.#release()
  }

  /** No event is known to be stored. */
  reject(error: unknown): void {
    assert(!this.settled)
    this.settled = true
    for (const reject of this.#rejects) reject?.(error)
    this.#release()
  }

  #release(): void {
    this.#writer = null
    this.#packed = null
    this.#bytes = null
    for (const flush of this.flushes.splice(0)) if (--flush.remaining === 0) flush.done()
  }
}
