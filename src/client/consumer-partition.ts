/**
 * One partition that a consumer reads: its subscription, over one connection after another, what
 * was pushed and not taken yet, and how much the server may still push.
 *
 *   idle ── connection ──> locating (a timestamp) ──> subscribing ──> active
 *    ▲                          │                         │              │
 *    └── connection lost, refused for now (backoff), ended, seek ◄───────┘       failed: until seek
 *
 * Credits: the server holds `outstanding`; `held` is what it pushed and the application has not
 * taken. The two together are kept at `share`; only the last push may exceed it.
 */
import { ErrorCode } from '../errors/error-code.ts'
import type { LeaderHint, ServerMessage, ServerMessages } from '../wire/websocket/messages.ts'
import { OFFSET_EARLIEST, OFFSET_LATEST } from '../wire/websocket/messages.ts'
import type { Connection, SubscriptionSink } from './connection.ts'
import type { ConsumerRecord, ConsumerSettings, StartOffset } from './consumer-options.ts'
import { ConnectionError, errorOfCode, MillraceError, ServerError } from './errors.ts'
import { Fifo } from './fifo.ts'
import { isMisplaced } from './leaders.ts'
import type { AnswerHandler } from './pending-requests.ts'
import type { Platform } from './platform.ts'
import { decodePushed, type PushedBatch, splitPush } from './pushed-batch.ts'
import { backoffMs } from './wait.ts'

/** The most in one push: it bounds by how much a partition may exceed its share. */
const PUSH_BYTES_MAX = 1024 * 1024
/** So often a leader is asked that does not know the topic yet. */
const LATE_TRIES = 10

export interface PartitionEvents {
  /** There is something to take. */
  available(partition: ConsumerPartition): void
  /** It does not go on by itself. */
  failed(partition: ConsumerPartition, error: MillraceError): void
  /** Somebody else leads it, perhaps who the hint says. */
  misplaced(partition: ConsumerPartition, hint: LeaderHint | null): void
  /** Whether it is read from a broker that was found by asking another one. */
  isElsewhere(partition: ConsumerPartition): boolean
}

/** Events of one batch that are being taken. */
interface Chunk {
  readonly records: readonly ConsumerRecord[]
  /** The next to be taken. */
  index: number
  /** What the batch counts in `#held`, bytes. */
  readonly bytes: number
  /** Inclusive; its last events may be gone by compaction. */
  readonly lastOffset: number
}

export class ConsumerPartition {
  readonly topic: string
  readonly partition: number
  readonly #settings: ConsumerSettings
  readonly #platform: Platform
  readonly #events: PartitionEvents
  #start: StartOffset
  /** The next offset that the application gets; null: not known yet. */
  #position: number | null = null
  /** The next offset that the server pushes; null: `#start` says. */
  #fetchOffset: number | null = null
  readonly #pushed = new Fifo<PushedBatch>()
  #chunk: Chunk | null = null
  #connection: Connection | null = null
  /** The subscription's number; null: there is none, also while it is asked for again. */
  #subscription: number | null = null
  #isActive = false
  /** Rises whenever what was asked before no longer counts. */
  #generation = 0
  #share = 0
  #held = 0
  #outstanding = 0
  #failures = 0
  #cancelRetry: (() => void) | null = null
  #isClosed = false
  isPaused = false

  constructor(
    place: { topic: string; partition: number; start: StartOffset },
    settings: ConsumerSettings,
    context: { platform: Platform; events: PartitionEvents },
  ) {
    this.topic = place.topic
    this.partition = place.partition
    this.#start = place.start
    if (typeof place.start === 'number') {
      this.#position = place.start
      this.#fetchOffset = place.start
    }
    this.#settings = settings
    this.#platform = context.platform
    this.#events = context.events
  }

  /** The next offset that the application gets; null until the server has said where it begins. */
  get position(): number | null {
    return this.#position
  }

  /** Bytes of batches that were pushed and not taken. */
  get heldBytes(): number {
    return this.#held
  }

  /** Credits that the server has, bytes; negative: its last push exceeded them. */
  get outstanding(): number {
    return this.#outstanding
  }

  get hasRecords(): boolean {
    return this.#chunk !== null || this.#pushed.length > 0
  }

  // —— the subscription ——

  /** Reads over this connection. `creditsMax`: the most that the server may be granted at once. */
  attach(connection: Connection, share: number, creditsMax: number): void {
    this.#generation++ // What waits to begin, as a seek does, has nothing to wait for.
    this.#connection = connection
    this.#share = share
    this.#begin(Math.min(share, creditsMax))
  }

  /** Another part of the buffer from now on. */
  set share(bytes: number) {
    this.#share = bytes
    this.#grant()
  }

  /** The connection is gone; what was pushed stays. */
  detach(): void {
    this.#forget()
    this.#connection = null
  }

  /** It is read from somebody else; what was pushed stays. */
  leave(): void {
    void this.#unsubscribe()
    this.detach()
  }

  #forget(): void {
    this.#generation++
    this.#cancelRetry?.()
    this.#cancelRetry = null
    this.#subscription = null
    this.#isActive = false
    this.#outstanding = 0
  }

  #begin(creditsMax: number): void {
    const connection = this.#connection
    if (connection === null || !connection.isOpen || this.#isClosed) return
    if (this.#fetchOffset === null && typeof this.#start === 'object') {
      this.#locate(connection, this.#start.timestamp)
      return
    }
    if (!connection.hasSubscriptionLeft) {
      const { subscriptions } = connection.hello.limits
      const message = `the connection has its ${subscriptions} subscriptions already`
      this.#fail(new MillraceError(ErrorCode.POLICY_VIOLATION, message))
      return
    }
    const credits = Math.max(0, Math.min(creditsMax, this.#share - this.#held))
    const early: Parameters<SubscriptionSink['pushed']>[] = []
    const subscription = connection.openSubscription({
      // It may overtake the answer that says where it begins.
      pushed: (message, payload) => {
        if (this.#subscription !== subscription) return
        if (this.#isActive) this.#receive(message, payload)
        else early.push([message, payload])
      },
      ended: (message) => {
        if (this.#subscription === subscription) this.#ended(message)
      },
    })
    this.#subscription = subscription
    this.#outstanding = credits
    const { topic, partition } = this
    const offset =
      this.#fetchOffset ?? (this.#start === 'earliest' ? OFFSET_EARLIEST : OFFSET_LATEST)
    const maxBytes = Math.max(1, Math.min(PUSH_BYTES_MAX, this.#share))
    const place = { subscription, topic, partition, offset, credits, maxBytes }
    connection.send(
      { type: 'subscribe', ...place },
      this.#answer((message) => {
        this.#subscribed(message as ServerMessages['subscribed'])
        for (const [push, payload] of early.splice(0)) this.#receive(push, payload)
      }),
    )
  }

  /** An answer that counts only as long as nothing else has been asked since. */
  #answer(answered: (message: ServerMessage) => void): AnswerHandler {
    const generation = this.#generation
    return {
      answered: (message) => {
        if (generation === this.#generation) answered(message)
      },
      failed: (error) => {
        if (generation === this.#generation) this.#refused(error)
      },
    }
  }

  /** The log's end is asked for first: what is appended in between is then not left out. */
  #locate(connection: Connection, timestamp: number): void {
    this.#ask(connection, OFFSET_LATEST, (end) => {
      this.#ask(connection, timestamp, (found) => {
        this.#fetchOffset = found < 0 ? end : found
        if (!this.hasRecords) this.#position = this.#fetchOffset
        this.#begin(this.#share)
      })
    })
  }

  #ask(connection: Connection, timestamp: number, answered: (offset: number) => void): void {
    const { topic, partition } = this
    connection.send(
      { type: 'listOffsets', partitions: [[topic, partition, timestamp]] },
      this.#answer((message) => {
        const result = message.type === 'offsets' ? message.partitions[0] : undefined
        const [code, offset] = result ?? [ErrorCode.UNKNOWN_SERVER_ERROR, -1]
        const error = errorOfCode(code, null)
        if (error === null) answered(offset)
        else this.#refused(error)
      }),
    )
  }

  #subscribed(message: ServerMessages['subscribed']): void {
    this.#isActive = true
    this.#failures = 0
    this.#fetchOffset ??= message.offset
    if (!this.hasRecords) this.#position ??= message.offset
    this.#grant()
  }

  #receive(message: ServerMessages['batches'], payload: Uint8Array): void {
    this.#outstanding -= message.bytes
    let batches: PushedBatch[]
    try {
      batches = splitPush(payload.subarray(0, message.bytes), this.#fetchOffset as number)
    } catch (error) {
      this.#fail(asMillraceError(error))
      return
    }
    for (const batch of batches) {
      this.#pushed.push(batch)
      this.#held += batch.bytes
      this.#fetchOffset = batch.lastOffset + 1
    }
    if (batches.length > 0) this.#events.available(this)
    this.#grant()
  }

  /** Grants what is free, unless it is too little for a message of its own. */
  #grant(): void {
    if (!this.#isActive || this.#subscription === null) return
    const free = this.#share - this.#held - this.#outstanding
    const isDry = this.#outstanding <= 0 && this.#held === 0
    if (free <= 0 || (free < this.#share / 4 && !isDry)) return
    this.#outstanding += free
    this.#connection?.flow(this.#subscription, free)
  }

  #ended(message: ServerMessages['ended']): void {
    this.#forget()
    const { code, name: codeName, retriable, leader } = message
    this.#refused(new ServerError(code, message.message, { codeName, retriable, leader }))
  }

  #refused(error: MillraceError): void {
    // The next connection begins again where this one ended.
    if (error instanceof ConnectionError) return
    if (this.#subscription !== null) this.#connection?.dropSubscription(this.#subscription)
    this.#forget()
    const { offsetReset, retry } = this.#settings
    if (error.code === ErrorCode.OFFSET_OUT_OF_RANGE && offsetReset !== 'error') {
      this.#start = offsetReset
      this.#fetchOffset = null
      if (!this.hasRecords) this.#position = null
      // A log whose start moves all the time must not make this spin.
      this.#retryLater(retry)
      return
    }
    // A topic that is gone does not come back by waiting; its leader may hear of it last.
    const isGone = error.code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    const isLate = isGone && this.#failures < LATE_TRIES && this.#events.isElsewhere(this)
    if (!error.retriable || (isGone && !isLate)) {
      this.#fail(error)
      return
    }
    this.#retryLater(retry)
    if (!isMisplaced(error.code) && !isLate) return
    this.#events.misplaced(this, error instanceof ServerError ? error.leader : null)
  }

  #retryLater(retry: ConsumerSettings['retry']): void {
    const delayMs = backoffMs(this.#failures++, retry, this.#platform.random())
    this.#cancelRetry = this.#platform.timers.after(delayMs, () => {
      this.#cancelRetry = null
      this.#begin(this.#share)
    })
  }

  #fail(error: MillraceError): void {
    if (this.#subscription !== null) void this.#unsubscribe()
    this.#forget()
    this.#events.failed(this, error)
  }

  /** Resolves when the server has no such subscription any more, or the connection is lost. */
  #unsubscribe(): Promise<void> {
    const connection = this.#connection
    const subscription = this.#subscription
    if (connection === null || subscription === null) return Promise.resolve()
    connection.dropSubscription(subscription)
    const ended = connection.request({ type: 'unsubscribe', subscription }, 'done')
    return ended.then(
      () => {},
      () => {},
    )
  }

  // —— the application ——

  /** Reads on from another place; what was pushed before is dropped. */
  seek(start: StartOffset): void {
    const gone = this.#unsubscribe()
    this.#forget()
    for (const batch of this.#pushed) this.#held -= batch.bytes
    this.#pushed.filter(() => false)
    if (this.#chunk !== null) this.#held -= this.#chunk.bytes
    this.#chunk = null
    this.#start = start
    this.#fetchOffset = typeof start === 'number' ? start : null
    this.#position = this.#fetchOffset
    this.#failures = 0
    // Requests are worked on concurrently: the credits of the one before must be home first.
    const generation = this.#generation
    void gone.then(() => {
      if (generation === this.#generation) this.#begin(this.#share)
    })
  }

  /** Ends it. Resolves when the server knows. */
  close(): Promise<void> {
    this.#isClosed = true
    const gone = this.#unsubscribe()
    this.#forget()
    return gone
  }

  /** The next event of those that are decoded; null: `load` first. */
  takeRecord(): ConsumerRecord | null {
    const chunk = this.#chunk
    if (chunk === null) return null
    const record = chunk.records[chunk.index]
    if (record === undefined) return null
    chunk.index++
    this.#position = record.offset + 1
    return record
  }

  /** All events that are decoded and not taken. */
  takeRecords(): readonly ConsumerRecord[] {
    const chunk = this.#chunk
    if (chunk === null) return []
    const { records, index } = chunk
    chunk.index = records.length
    this.#position = chunk.lastOffset + 1
    return index === 0 ? records : records.slice(index)
  }

  /**
   * Gives back what was taken, and decodes the next batch. Call it when the application asks for
   * more: it is done with what it got before. Rejects with MillraceError when the batch cannot be
   * read: the partition then goes on by `seek` only.
   */
  async load(): Promise<void> {
    this.release()
    if (this.#chunk !== null) return
    const batch = this.#pushed.peek()
    if (batch === undefined) return
    const generation = this.#generation
    const { topic, partition } = this
    const { decompressedBytes } = this.#settings
    try {
      const decoded = decodePushed(batch, { topic, partition, decompressedBytes }, this.#platform)
      const records = Array.isArray(decoded) ? decoded : await decoded
      if (this.#pushed.peek() !== batch) return // Somebody sought meanwhile.
      this.#pushed.shift()
      const { bytes, lastOffset } = batch
      this.#chunk = { records, index: 0, bytes, lastOffset }
      if (records.length === 0) this.release()
    } catch (error) {
      if (this.#pushed.peek() !== batch) return
      if (generation === this.#generation && this.#subscription !== null) void this.#unsubscribe()
      this.#forget()
      throw asMillraceError(error)
    }
  }

  /** Gives back what the application has taken whole. */
  release(): void {
    const chunk = this.#chunk
    if (chunk === null || chunk.index < chunk.records.length) return
    this.#chunk = null
    this.#position = chunk.lastOffset + 1
    this.#held -= chunk.bytes
    this.#grant()
  }
}

function asMillraceError(error: unknown): MillraceError {
  if (error instanceof MillraceError) return error
  const code = (error as { code?: unknown }).code
  const message = error instanceof Error ? error.message : String(error)
  const known = typeof code === 'number' ? code : ErrorCode.UNKNOWN_SERVER_ERROR
  return new MillraceError(known, message, { cause: error, retriable: false })
}
