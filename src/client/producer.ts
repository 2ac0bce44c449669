/**
 * Sends events: chooses the partition, encodes each event once into the batch of its partition
 * (`partition-queue.ts`), sends batches while there are credits. From `send` to the encoded bytes
 * there is one call chain, and one promise for each event; everything behind works by batches.
 */
import { ErrorCode } from '../errors/error-code.ts'
import { type RecordContent, recordBytesMax } from '../record/batch-writer.ts'
import { BufferFullError, ClosedError, MillraceError, ServerError, TimeoutError } from './errors.ts'
import { Fifo } from './fifo.ts'
import type { Link, WaitOptions } from './link.ts'
import { PartitionQueue } from './partition-queue.ts'
import { keyBytes, PartitionChoice } from './partitioner.ts'
import type { FlushWaiter, ProduceBatch, RecordMetadata, Reject, Resolve } from './produce-batch.ts'
import {
  type ProducerOptions,
  type ProducerSettings,
  producerSettings,
} from './producer-options.ts'
import type { ProducerRecord } from './producer-record.ts'
import { Sender } from './sender.ts'
import { type TopicRoute, TopicRoutes } from './topic-routes.ts'
import { abortable, type Deferred, deferred } from './wait.ts'
import { releaseFlushes, type WaitingRecord } from './waiting-record.ts'

/** The promise's functions without a closure for each event: the executor runs at once. */
let capturedResolve: Resolve
let capturedReject: Reject
function capture(resolve: Resolve, reject: Reject): void {
  capturedResolve = resolve
  capturedReject = reject
}

/**
 * Made by `client.producer()`. Close it: what is not sent yet is sent then.
 */
export class Producer implements AsyncDisposable {
  readonly #link: Link
  readonly #settings: ProducerSettings
  readonly #routes: TopicRoutes
  readonly #onClosed: () => void
  readonly #sender: Sender
  /** Events of known topics for which the buffer has no room. */
  readonly #blocked = new Fifo<WaitingRecord>()
  /** Bytes in batches, and of events that wait. */
  #bufferedBytes = 0
  #waitingBytes = 0
  readonly #readyWaiters: Deferred<void>[] = []
  /** The first failure of an event that nobody waits for, and how many there were. */
  #uncollected: MillraceError | null = null
  #uncollectedCount = 0
  #closing: Promise<void> | null = null

  /** Throws TypeError or RangeError for wrong options. */
  constructor(link: Link, options: ProducerOptions, onClosed: () => void) {
    this.#link = link
    this.#settings = producerSettings(options)
    this.#onClosed = onClosed
    const { rules, metadataRefreshMs, createTopics, partitioner } = this.#settings
    const events = {
      changed: (queue: PartitionQueue) => this.#sender.touch(queue),
      settled: (batch: ProduceBatch, error: MillraceError | null) => this.#settled(batch, error),
    }
    const { platform } = link
    this.#sender = new Sender(link, this.#settings, {
      admit: () => this.#admit(),
      expire: (nowMs) => this.#expireWaiting(nowMs),
    })
    this.#routes = new TopicRoutes(
      link,
      { retry: rules.retry, refreshMs: metadataRefreshMs, create: createTopics },
      {
        makeQueue: (topic, partition) =>
          new PartitionQueue({ topic, partition }, rules, { platform, events }),
        makeChoice: () => new PartitionChoice(partitioner, platform.random),
        learned: (route) => this.#learned(route),
        refused: (route, error) => this.#failWaiting(route.waiting, () => error),
      },
    )
  }

  /** Bytes of events that are neither stored nor failed. */
  get bufferedBytes(): number {
    return this.#bufferedBytes + this.#waitingBytes
  }

  /** The part of `bufferedBytes` that waits for room or for its topic, outside of the buffer. */
  get waitingBytes(): number {
    return this.#waitingBytes
  }

  /**
   * Sends an event. Resolves when it is stored as `acks` says; waits for room in the buffer first.
   * Events of one topic and partition are stored in the order of these calls. Rejects with
   * DeliveryError, TimeoutError, ServerError or ClosedError. The signal ends the wait: an event
   * that is in a batch already is sent all the same.
   */
  send(record: ProducerRecord, options?: WaitOptions): Promise<RecordMetadata> {
    const signal = options?.signal
    if (signal?.aborted) return Promise.reject(signal.reason)
    const promise = new Promise<RecordMetadata>(capture)
    const resolve = capturedResolve
    const reject = capturedReject
    try {
      const waiting = this.#submit(record, resolve, reject)
      if (signal !== undefined) return this.#abortable(promise, waiting, signal)
    } catch (error) {
      reject(error)
    }
    return promise
  }

  /**
   * Sends events in order. Resolves with their places when all are stored; rejects with the first
   * failure, once every event is settled.
   */
  async sendMany(
    records: readonly ProducerRecord[],
    options: WaitOptions = {},
  ): Promise<RecordMetadata[]> {
    const results = await Promise.allSettled(records.map((record) => this.send(record, options)))
    return results.map((result) => {
      if (result.status === 'rejected') throw result.reason
      return result.value
    })
  }

  /**
   * Sends an event without a promise: the next `flush` rejects when it fails. Returns whether there
   * is room for another; if not wait for `ready()`. Throws BufferFullError when there was no room,
   * ClosedError, TypeError or RangeError.
   */
  produce(record: ProducerRecord): boolean {
    const { bufferBytes } = this.#settings
    if (this.bufferedBytes >= bufferBytes) throw new BufferFullError(bufferBytes)
    this.#submit(record, undefined, undefined)
    return this.bufferedBytes < bufferBytes
  }

  /** Resolves when `produce` has room. */
  ready(options: WaitOptions = {}): Promise<void> {
    if (this.bufferedBytes < this.#settings.bufferBytes) return Promise.resolve()
    const waiter = deferred<void>()
    this.#readyWaiters.push(waiter)
    return abortable(waiter.promise, options.signal)
  }

  /**
   * Sends what there is without lingering. Resolves when every event given so far is stored or has
   * failed; rejects with the first failure of an event given by `produce`.
   */
  async flush(options: WaitOptions = {}): Promise<void> {
    const waiter = deferred<void>()
    const flush: FlushWaiter = { remaining: 1, done: () => waiter.resolve() }
    const note = (held: { flushes: FlushWaiter[] }) => {
      held.flushes.push(flush)
      flush.remaining++
    }
    for (const queue of this.#sender.active) {
      for (const batch of queue.unsettled()) note(batch)
      queue.hurry()
    }
    for (const waiting of this.#blocked) note(waiting)
    for (const route of this.#routes.values()) for (const waiting of route.waiting) note(waiting)
    if (--flush.remaining === 0) flush.done()
    await abortable(waiter.promise, options.signal)
    const failed = this.#uncollected
    if (failed === null) return
    const count = this.#uncollectedCount
    this.#uncollected = null
    this.#uncollectedCount = 0
    throw new MillraceError(failed.code, `${count} events were not stored: ${failed.message}`, {
      cause: failed,
      retriable: failed.retriable,
      codeName: failed.codeName,
    })
  }

  /**
   * Flushes and ends. The signal ends the wait: what is not stored by then fails with ClosedError.
   * Rejects as `flush` does; the producer is closed all the same.
   */
  close(options: WaitOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options)
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(options: WaitOptions): Promise<void> {
    try {
      await this.flush(options)
    } finally {
      this.#routes.close()
      const error = new ClosedError('producer')
      this.#sender.close(error)
      this.#failWaiting(this.#blocked, () => error)
      for (const route of this.#routes.values()) this.#failWaiting(route.waiting, () => error)
      for (const waiter of this.#readyWaiters.splice(0)) waiter.reject(error)
      this.#onClosed()
    }
  }

  // —— from an event to its batch ——

  /** Returns what waits, or null when the event is in a batch. */
  #submit(
    record: ProducerRecord,
    resolve: Resolve | undefined,
    reject: Reject | undefined,
  ): WaitingRecord | null {
    if (this.#closing !== null) throw new ClosedError('producer')
    const { topic, timestamp } = record
    if (typeof topic !== 'string' || topic === '') throw new TypeError('an event needs a topic')
    if (timestamp !== undefined && !isTimestamp(timestamp)) {
      throw new RangeError(`timestamp is in whole milliseconds from 0, not ${timestamp}`)
    }
    const route = this.#routes.of(topic)
    const content = contentOf(record)
    const bytes = recordBytesMax(content)
    const nowMs = this.#link.platform.timers.monotonicMs()
    const mayGo = route.waiting.length === 0 && this.#blocked.length === 0
    if (mayGo && this.#hasRoom(bytes) && this.#isKnown(route, record)) {
      this.#place(route, { record, content, bytes, resolve, reject }, nowMs)
      return null
    }
    const deadlineMs = nowMs + this.#settings.rules.deliveryTimeoutMs
    const waiting: WaitingRecord = {
      record,
      content,
      bytes,
      resolve,
      reject,
      deadlineMs,
      flushes: [],
      asked: false,
      dropped: false,
    }
    this.#waitingBytes += bytes
    this.#sender.schedule(deadlineMs)
    if (route.waiting.length > 0 || !this.#isKnown(route, record)) this.#holdBack(route, waiting)
    else this.#blocked.push(waiting)
    return waiting
  }

  #hasRoom(bytes: number): boolean {
    return this.#bufferedBytes === 0 || this.#bufferedBytes + bytes <= this.#settings.bufferBytes
  }

  #isKnown(route: TopicRoute, record: ProducerRecord): boolean {
    return route.queues.length > (record.partition ?? 0)
  }

  #holdBack(route: TopicRoute, waiting: WaitingRecord): void {
    route.waiting.push(waiting)
    if (route.waiting.length === 1) this.#routes.ask(route)
  }

  /** Encodes the event into the batch of its partition. */
  #place(
    route: TopicRoute,
    event: Pick<WaitingRecord, 'record' | 'content' | 'bytes' | 'resolve' | 'reject'>,
    nowMs: number,
  ): ProduceBatch {
    const { record, content, bytes, resolve, reject } = event
    const key = keyBytes(record.key)
    const isSticky = record.partition === undefined && route.choice.isSticky(key)
    const queue = isSticky ? this.#stickyQueue(route, bytes) : this.#queueOf(route, record, key)
    const before = queue.open
    const timestamp = record.timestamp ?? this.#link.platform.timers.wallMs()
    const batch = queue.append({ content, timestamp, resolve, reject }, bytes, nowMs)
    if (isSticky) route.stickyBatch = batch
    this.#bufferedBytes += bytes
    if (batch === before) return batch
    this.#sender.began(queue, batch, nowMs)
    return batch
  }

  #queueOf(route: TopicRoute, record: ProducerRecord, key: Uint8Array | null): PartitionQueue {
    const { partition } = record
    const count = route.queues.length
    if (partition === undefined) {
      return route.queues[route.choice.of(record, count, key)] as PartitionQueue
    }
    const queue = route.queues[partition]
    if (queue === undefined) throw new RangeError(`there is no partition ${partition}`)
    return queue
  }

  #stickyQueue(route: TopicRoute, bytes: number): PartitionQueue {
    const count = route.queues.length
    const queue = route.queues[route.choice.sticky(count)] as PartitionQueue
    const isSame = route.stickyBatch === null || queue.open === route.stickyBatch
    if (isSame && queue.fits(bytes)) return queue
    if (isSame) queue.hurry()
    route.choice.moveOn(count)
    return route.queues[route.choice.sticky(count)] as PartitionQueue
  }

  // —— events that wait ——

  #learned(route: TopicRoute): void {
    const held = [...route.waiting]
    route.waiting.filter(() => false)
    for (const waiting of held) {
      if (waiting.dropped) continue
      const isKnown = this.#isKnown(route, waiting.record)
      if (isKnown && route.waiting.length === 0) this.#blocked.push(waiting)
      else if (isKnown || !waiting.asked) this.#holdBack(route, waiting)
      else this.#fail(waiting, noPartition(waiting.record))
      waiting.asked = true
    }
    this.#admit()
  }

  /** Lets events into batches while there is room. */
  #admit(): void {
    const nowMs = this.#link.platform.timers.monotonicMs()
    for (;;) {
      const waiting = this.#blocked.peek()
      if (waiting === undefined) break
      if (!waiting.dropped && !this.#hasRoom(waiting.bytes)) break
      this.#blocked.shift()
      if (!waiting.dropped) this.#letIn(waiting, nowMs)
    }
    if (this.bufferedBytes >= this.#settings.bufferBytes) return
    for (const waiter of this.#readyWaiters.splice(0)) waiter.resolve()
  }

  #letIn(waiting: WaitingRecord, nowMs: number): void {
    const route = this.#routes.of(waiting.record.topic)
    try {
      const batch = this.#place(route, waiting, nowMs)
      this.#waitingBytes -= waiting.bytes
      for (const flush of waiting.flushes) {
        if (batch.flushes.includes(flush)) continue
        batch.flushes.push(flush)
        flush.remaining++
        batch.dueMs = nowMs
      }
      if (waiting.flushes.length > 0) this.#touchBatch(route, batch)
      releaseFlushes(waiting)
    } catch (error) {
      this.#fail(waiting, error)
    }
  }

  #touchBatch(route: TopicRoute, batch: ProduceBatch): void {
    this.#sender.touch(route.queues[batch.partition] as PartitionQueue)
  }

  #fail(waiting: WaitingRecord, error: unknown): void {
    if (waiting.dropped) return
    waiting.dropped = true
    this.#waitingBytes -= waiting.bytes
    if (waiting.reject !== undefined) waiting.reject(error)
    else this.#noteUncollected(error, 1)
    releaseFlushes(waiting)
  }

  #failWaiting(queue: Fifo<WaitingRecord>, errorOf: () => MillraceError): void {
    for (const waiting of queue) this.#fail(waiting, errorOf())
    queue.filter((waiting) => !waiting.dropped)
    this.#sender.queuePump()
  }

  #expireWaiting(nowMs: number): void {
    for (const queue of [this.#blocked, ...[...this.#routes.values()].map((r) => r.waiting)]) {
      for (;;) {
        const waiting = queue.peek()
        if (waiting === undefined) break
        if (!waiting.dropped && waiting.deadlineMs > nowMs) {
          this.#sender.schedule(waiting.deadlineMs)
          break
        }
        queue.shift()
        const what = queue === this.#blocked ? 'room in the buffer' : 'the topic'
        this.#fail(waiting, new TimeoutError(`waited too long for ${what}`))
      }
    }
  }

  #abortable(
    promise: Promise<RecordMetadata>,
    waiting: WaitingRecord | null,
    signal: AbortSignal,
  ): Promise<RecordMetadata> {
    const abort = () => {
      if (waiting !== null && this.#waits(waiting)) this.#fail(waiting, signal.reason)
    }
    signal.addEventListener('abort', abort, { once: true })
    const result = abortable(promise, signal)
    result.catch(() => {}).finally(() => signal.removeEventListener('abort', abort))
    return result
  }

  #waits(waiting: WaitingRecord): boolean {
    if ([...this.#blocked].includes(waiting)) return true
    return [...this.#routes.of(waiting.record.topic).waiting].includes(waiting)
  }

  #settled(batch: ProduceBatch, error: MillraceError | null): void {
    this.#bufferedBytes -= batch.reservedBytes
    if (error !== null) this.#noteUncollected(error, batch.uncollectedCount)
    this.#sender.queuePump()
  }

  #noteUncollected(error: unknown, count: number): void {
    if (count === 0) return
    this.#uncollected ??=
      error instanceof MillraceError
        ? error
        : new MillraceError(ErrorCode.INVALID_REQUEST, String(error), { cause: error })
    this.#uncollectedCount += count
  }
}

function contentOf(record: ProducerRecord): RecordContent {
  const { key = null, value = null, headers } = record
  return headers === undefined ? { key, value } : { key, value, headers }
}

function noPartition(record: ProducerRecord): ServerError {
  const message = `${record.topic} has no partition ${record.partition}`
  return new ServerError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, message, { retriable: false })
}

/** The last moment of a Date: a batch holds times as distances, which must stay exact. */
const TIMESTAMP_MAX = 8_640_000_000_000_000

function isTimestamp(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value <= TIMESTAMP_MAX
}
