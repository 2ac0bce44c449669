/**
 * The batches of one producer for one partition, from the first record to the last answer, and the
 * rules that keep them in order and stored once (KIP-98, KIP-360). No clock, no socket: time and
 * answers are arguments, whoever calls sends what `take` returns.
 *
 *   open ── full, due, flushed ──> sealed ── take ──> sent: in flight ── stored ──> settled
 *                                    ▲                  │  ▲   │
 *                                    │  certainly not   │  └───┘ sent again, the very same bytes
 *                                    └── stored: gets ──┘
 *                                        a new number
 *
 * - Up to `inFlightMax` batches are under way, but one alone until the first under a producer id is
 *   acknowledged, and while something is sent again: a server that does not know the producer takes
 *   any sequence for the first, so that the second of two could be stored where the first failed.
 * - What was refused or lost is sent again when nothing is in flight, in order.
 * - When a sequence can no longer be continued (`#broken`) and nothing is in flight, batches that
 *   are certainly not stored begin again under a new producer id; one in doubt fails, and says so.
 */
import { assert } from '../base/assert.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { CompressionCode } from '../record/compression-code.ts'
import { DeliveryError, MillraceError, TimeoutError } from './errors.ts'
import { Fifo } from './fifo.ts'
import type { Platform } from './platform.ts'
import { type Entry, ProduceBatch, type ProducerIdentity } from './produce-batch.ts'
import { type BackoffOptions, backoffMs } from './wait.ts'

const SEQUENCE_MODULO = 2 ** 31
const CAPACITY_MIN = 1024

/** The server does not go on with the sequence. */
const SEQUENCE_ERRORS: ReadonlySet<number> = new Set([
  ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
  ErrorCode.UNKNOWN_PRODUCER_ID,
  ErrorCode.INVALID_PRODUCER_EPOCH,
  ErrorCode.INVALID_PRODUCER_ID_MAPPING,
  ErrorCode.PRODUCER_FENCED,
])

/** The batch may have been stored all the same. */
const DOUBTFUL_ERRORS: ReadonlySet<number> = new Set([
  ErrorCode.UNKNOWN_SERVER_ERROR,
  ErrorCode.REQUEST_TIMED_OUT,
  ErrorCode.NETWORK_EXCEPTION,
  ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
  ErrorCode.KAFKA_STORAGE_ERROR,
])

export interface QueueRules {
  readonly idempotent: boolean
  /** Batches under way at once, inclusive. */
  readonly inFlightMax: number
  /**
   * A batch is full at this size before compression, inclusive; a larger record goes alone. The
   * sender lowers it where a connection takes no more.
   */
  batchBytes: number
  readonly lingerMs: number
  readonly deliveryTimeoutMs: number
  readonly compression: CompressionCode
  readonly retry: BackoffOptions
}

export interface QueueEvents {
  /** There may be something to send. */
  changed(queue: PartitionQueue): void
  /** The batch is settled: its memory is free. `error`: null when it is stored. */
  settled(batch: ProduceBatch, error: MillraceError | null): void
}

export class PartitionQueue {
  readonly topic: string
  readonly partition: number
  readonly #rules: QueueRules
  readonly #platform: Platform
  readonly #events: QueueEvents
  /** Whoever sent its last batch. */
  sentOver: unknown = null
  #open: ProduceBatch | null = null
  readonly #sealed = new Fifo<ProduceBatch>()
  /** Numbered, in the order of their numbers: in flight, or to be sent again. */
  #sent: ProduceBatch[] = []
  /** Taken out of `#sent` to get new numbers, in order; before everything sealed. */
  #renumbered: ProduceBatch[] = []
  #inFlightCount = 0
  /** Batches sent so far; each counts once. */
  #nextOrdinal = 0
  #identity: ProducerIdentity | null = null
  #nextSequence = 0
  /** Whether the server has acknowledged a batch under `#identity`. */
  #confirmed = false
  /** True: the server will not accept the next sequence, or a batch before it is missing. */
  #broken = false
  #failures = 0
  #retryAtMs = 0
  #lastBytes = CAPACITY_MIN

  constructor(
    place: { topic: string; partition: number },
    rules: QueueRules,
    context: { platform: Platform; events: QueueEvents },
  ) {
    this.topic = place.topic
    this.partition = place.partition
    this.#rules = rules
    this.#platform = context.platform
    this.#events = context.events
  }

  /** The batch that records are added to; null when the next one begins another. */
  get open(): ProduceBatch | null {
    return this.#open
  }

  get isEmpty(): boolean {
    return this.#open === null && this.#unsentCount === 0 && this.#sent.length === 0
  }

  /** Whether a batch has no answer yet. */
  get hasInFlight(): boolean {
    return this.#inFlightCount > 0
  }

  /** The identity that may not be used any more; null when any will do. */
  get identity(): ProducerIdentity | null {
    return this.#identity
  }

  /** Whether it has something to send and needs a producer id for it, another than `identity`. */
  get wantsIdentity(): boolean {
    if (!this.#rules.idempotent || this.#sent.length > 0) return false
    return (this.#identity === null || this.#broken) && !this.isEmpty
  }

  get #unsentCount(): number {
    return this.#renumbered.length + this.#sealed.length
  }

  /** Encodes a record of at most `bytes` bytes into the open batch. Returns the batch. */
  append(entry: Entry, bytes: number, nowMs: number): ProduceBatch {
    let batch = this.#open
    if (batch !== null && !this.fits(bytes)) {
      this.#seal(batch)
      batch = null
    }
    batch ??= this.#begin(bytes, nowMs)
    batch.append(entry, bytes)
    if (batch.bytes >= this.#rules.batchBytes) this.#seal(batch)
    return batch
  }

  #begin(bytes: number, nowMs: number): ProduceBatch {
    const guess = Math.min(this.#lastBytes, this.#rules.batchBytes) + CAPACITY_MIN
    const batch = new ProduceBatch({
      topic: this.topic,
      partition: this.partition,
      createdMs: nowMs,
      dueMs: nowMs + this.#rules.lingerMs,
      deadlineMs: nowMs + this.#rules.deliveryTimeoutMs,
      capacity: Math.max(guess, bytes),
    })
    this.#open = batch
    return batch
  }

  #seal(batch: ProduceBatch): void {
    assert(batch === this.#open)
    this.#open = null
    this.#lastBytes = batch.bytes
    this.#sealed.push(batch)
    batch.seal(this.#rules.compression, this.#platform, () => this.#events.changed(this))
    this.#events.changed(this)
  }

  /** Whether the open batch, if there is one, has room for a record of at most `bytes`. */
  fits(bytes: number): boolean {
    return this.#open === null || this.#open.bytes + bytes <= this.#rules.batchBytes
  }

  /** What there is goes out without lingering. */
  hurry(): void {
    if (this.#open === null) return
    this.#open.dueMs = Number.NEGATIVE_INFINITY
    this.#events.changed(this)
  }

  /** Every batch that is not settled. */
  *unsettled(): Generator<ProduceBatch, void, void> {
    yield* this.#sent
    yield* this.#renumbered
    yield* this.#sealed
    if (this.#open !== null) yield this.#open
  }

  // —— sending ——

  /** The batch that may be sent now, or null. Seals the open one when its time has come. */
  peek(nowMs: number): ProduceBatch | null {
    this.#repair()
    if (nowMs < this.#retryAtMs) return null
    const first = this.#sent[0]
    const isAgain = first !== undefined && first.attempts > 1
    if (first !== undefined && (isAgain || this.#inFlightCount < this.#sent.length)) {
      // Something is to be sent again, or was: it goes alone, and first.
      return this.#inFlightCount === 0 ? first : null
    }
    if (this.#span >= this.#inFlightMax || this.#broken) return null
    if (this.#rules.idempotent && this.#identity === null) return null
    return this.#nextUnsent(nowMs)
  }

  /**
   * Batches from the first that has no answer to the last that was sent. Answers come in any order,
   * and the broker knows the last five only: counting those in flight would let six be stored
   * behind one whose answer is then lost, and its retry would not be known for what it is.
   */
  get #span(): number {
    const first = this.#sent[0]
    return first === undefined ? 0 : this.#nextOrdinal - first.ordinal
  }

  get #inFlightMax(): number {
    return this.#rules.idempotent && !this.#confirmed ? 1 : this.#rules.inFlightMax
  }

  #nextUnsent(nowMs: number): ProduceBatch | null {
    for (;;) {
      if (this.#unsentCount === 0 && this.#open !== null && this.#open.dueMs <= nowMs) {
        this.#seal(this.#open)
      }
      const batch = this.#renumbered[0] ?? this.#sealed.peek()
      if (batch === undefined || batch.isPacking) return null
      if (batch.packError === null) return batch
      this.#shiftUnsent()
      this.#fail(batch, asMillraceError(batch.packError))
    }
  }

  #shiftUnsent(): void {
    if (this.#renumbered.length > 0) this.#renumbered.shift()
    else this.#sealed.shift()
  }

  /** The batch that `peek` returned leaves: its bytes, numbered. */
  take(batch: ProduceBatch): Uint8Array {
    if (!batch.isNumbered) {
      assert(batch === (this.#renumbered[0] ?? this.#sealed.peek()))
      this.#shiftUnsent()
      const sequence = this.#rules.idempotent ? this.#nextSequence : -1
      batch.number(this.#identity, sequence, this.#platform)
      this.#nextSequence = addSequence(this.#nextSequence, batch.recordsCount)
      batch.ordinal = this.#nextOrdinal++
      this.#sent.push(batch)
    }
    assert(this.#sent.includes(batch) && !batch.inFlight)
    batch.inFlight = true
    batch.attempts++
    this.#inFlightCount++
    return batch.encoded
  }

  /** Begins to number under another identity. Only when `wantsIdentity`. */
  identify(identity: ProducerIdentity, firstSequence = 0): void {
    assert(this.#sent.length === 0)
    this.#identity = identity
    this.#nextSequence = firstSequence
    this.#confirmed = false
    this.#broken = false
    this.#events.changed(this)
  }

  // —— answers ——

  /** The server has it: from `baseOffset` on, −1 when it does not say. */
  stored(batch: ProduceBatch, baseOffset: number, appendTimeMs: number): void {
    if (!this.#landed(batch)) return
    const index = this.#sent.indexOf(batch)
    for (let i = 0; i < index; i++) this.#sent[i]!.overtaken = true
    this.#sent.splice(index, 1)
    this.#confirmed = true
    this.#failures = 0
    batch.resolve(baseOffset, appendTimeMs)
    this.#events.settled(batch, null)
    this.#events.changed(this)
  }

  /** The server refused it, or says that it may not have stored it. */
  refused(batch: ProduceBatch, error: MillraceError, nowMs: number): void {
    if (error.code === ErrorCode.DUPLICATE_SEQUENCE_NUMBER) {
      this.stored(batch, -1, -1)
      return
    }
    if (!this.#landed(batch)) return
    if (this.#rules.idempotent && SEQUENCE_ERRORS.has(error.code)) this.#outOfSequence(batch, error)
    else {
      if (DOUBTFUL_ERRORS.has(error.code)) batch.inDoubt = true
      if (!error.retriable) this.#drop(batch, error)
    }
    if (!batch.settled) this.#backOff(nowMs)
    this.#events.changed(this)
  }

  /**
   * Behind a batch that is not settled or has failed this is only its echo. By itself it says that
   * the server has lost the thread, or that an earlier attempt was stored and forgotten.
   */
  #outOfSequence(batch: ProduceBatch, error: MillraceError): void {
    const isEcho = this.#broken || this.#sent[0] !== batch
    if (isEcho && !batch.overtaken) return
    this.#broken = true
    // A new number would put it behind what is stored already.
    if (batch.inDoubt || batch.overtaken) this.#drop(batch, error)
  }

  /** The connection was lost before the answer. */
  lost(batch: ProduceBatch): void {
    if (!this.#landed(batch)) return
    batch.inDoubt = true
    this.#events.changed(this)
  }

  /** No longer in flight; false when it was given up meanwhile. */
  #landed(batch: ProduceBatch): boolean {
    if (!batch.inFlight) return false
    batch.inFlight = false
    if (batch.settled) return false
    this.#inFlightCount--
    return true
  }

  #backOff(nowMs: number): void {
    if (nowMs < this.#retryAtMs) return // The echoes of one refusal count once.
    const delayMs = backoffMs(this.#failures, this.#rules.retry, this.#platform.random())
    this.#failures++
    this.#retryAtMs = nowMs + delayMs
  }

  /** Once nothing is in flight, a broken sequence is given up, and with it what is in doubt. */
  #repair(): void {
    if (!this.#broken || this.#inFlightCount > 0 || this.#sent.length === 0) return
    const sent = this.#sent
    const again: ProduceBatch[] = []
    this.#sent = []
    for (const batch of sent) {
      if (batch.inDoubt || batch.overtaken) {
        const message = 'a batch before it was not stored'
        this.#fail(batch, new MillraceError(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, message))
      } else {
        batch.unnumber()
        again.push(batch)
      }
    }
    this.#renumbered = [...again, ...this.#renumbered]
  }

  // —— failing ——

  /** Refuses a batch that `peek` returned and that was never sent. */
  rejectUnsent(batch: ProduceBatch, error: MillraceError): void {
    assert(!batch.isNumbered)
    this.#shiftUnsent()
    this.#fail(batch, error)
  }

  /** Fails what is past its time. */
  expire(nowMs: number): void {
    while (this.#sent[0] !== undefined && this.#sent[0].deadlineMs <= nowMs) {
      const batch = this.#sent[0]
      // An answer may still come, and nobody will hear it.
      if (batch.inFlight) {
        batch.inDoubt = true
        this.#inFlightCount--
      }
      this.#drop(batch, this.#late())
    }
    for (;;) {
      const batch = this.#renumbered[0] ?? this.#sealed.peek() ?? this.#open
      if (batch === null || batch.deadlineMs > nowMs) break
      if (batch === this.#open) this.#open = null
      else this.#shiftUnsent()
      this.#fail(batch, this.#late())
    }
    if (this.#broken) this.#events.changed(this)
  }

  #late(): TimeoutError {
    return new TimeoutError(`not delivered within ${this.#rules.deliveryTimeoutMs} ms`)
  }

  /** When to look again though nothing happens; monotonic, infinite: never. */
  wakeMs(nowMs: number): number {
    let wakeMs = Number.POSITIVE_INFINITY
    if (this.#retryAtMs > nowMs) wakeMs = this.#retryAtMs
    if (this.#open !== null && this.#open.dueMs > nowMs) wakeMs = Math.min(wakeMs, this.#open.dueMs)
    for (const batch of this.unsettled()) return Math.min(wakeMs, batch.deadlineMs)
    return wakeMs
  }

  /** Fails everything: the producer ends. */
  abandon(error: MillraceError): void {
    for (const batch of [...this.unsettled()]) {
      if (batch.inFlight) batch.inDoubt = true
      this.#fail(batch, error)
    }
    this.#sent = []
    this.#renumbered = []
    this.#sealed.filter(() => false)
    this.#open = null
    this.#inFlightCount = 0
  }

  /** Fails a sent batch: what comes behind it has a gap before it. */
  #drop(batch: ProduceBatch, error: MillraceError): void {
    this.#sent.splice(this.#sent.indexOf(batch), 1)
    if (this.#rules.idempotent) this.#broken = true
    this.#fail(batch, error)
  }

  #fail(batch: ProduceBatch, cause: MillraceError): void {
    const { topic, partition, inDoubt } = batch
    const error = new DeliveryError({ topic, partition, inDoubt }, cause)
    batch.reject(error)
    this.#events.settled(batch, error)
  }
}

/** Sequences go from 0 to 2^31 − 1, and on with 0. */
function addSequence(sequence: number, count: number): number {
  return (sequence + count) % SEQUENCE_MODULO
}

function asMillraceError(error: unknown): MillraceError {
  if (error instanceof MillraceError) return error
  const message = error instanceof Error ? error.message : String(error)
  return new MillraceError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, message, { cause: error })
}
