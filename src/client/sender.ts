/**
 * Sends what the queues of a producer have, in turn, while the connection has room for it; finds
 * producer ids for them, and looks after them when their time comes. One for each producer.
 */
import type { Connection } from './connection.ts'
import { MillraceError } from './errors.ts'
import type { Link, LinkUser } from './link.ts'
import type { PartitionQueue } from './partition-queue.ts'
import type { ProduceBatch, ProducerIdentity } from './produce-batch.ts'
import {
  ProduceRequest,
  REQUEST_BYTES,
  REQUEST_PARTITIONS_MAX,
  tooLarge,
} from './produce-request.ts'
import type { CreditWaiter } from './produce-turns.ts'
import type { ProducerSettings } from './producer-options.ts'
import { backoffMs, sleep } from './wait.ts'

/** Batches do not get smaller than this, however small the window is. */
const BATCH_BYTES_MIN = 1024
/** What a message with one batch takes beyond the batch: the longest topic, three bytes each. */
const ENVELOPE_ROOM = 1024

export interface SenderEvents {
  /** Before anything is sent: events that wait may go into batches. */
  admit(): void
  /** What waits outside of the queues may be past its time. */
  expire(nowMs: number): void
}

export class Sender implements LinkUser, CreditWaiter {
  readonly #link: Link
  readonly #settings: ProducerSettings
  readonly #events: SenderEvents
  /** Queues that hold something. */
  readonly #active = new Set<PartitionQueue>()
  /** Queues that may have something to send, in turn. */
  readonly #ready = new Set<PartitionQueue>()
  #identity: ProducerIdentity | null = null
  #isIdentifying = false
  #isPumpQueued = false
  #wakeAtMs = Number.POSITIVE_INFINITY
  #cancelWake: (() => void) | null = null
  readonly #ended = new AbortController()

  constructor(link: Link, settings: ProducerSettings, events: SenderEvents) {
    this.#link = link
    this.#settings = settings
    this.#events = events
    link.attach(this)
  }

  /** Queues that hold something; some may have become empty meanwhile. */
  get active(): ReadonlySet<PartitionQueue> {
    return this.#active
  }

  /** Nothing is sent any more; what the queues hold fails with `error`. */
  close(error: MillraceError): void {
    this.#ended.abort()
    this.#link.detach(this)
    this.#link.connection?.forget(this)
    for (const queue of [...this.#active]) queue.abandon(error)
    this.#cancelWake?.()
  }

  /** The queue has begun a batch. */
  began(queue: PartitionQueue, batch: ProduceBatch, nowMs: number): void {
    this.#active.add(queue)
    if (batch.dueMs <= nowMs) this.touch(queue)
    this.schedule(batch.dueMs > nowMs ? batch.dueMs : batch.deadlineMs)
  }

  connected(connection: Connection): void {
    this.#fitBatches(connection)
    for (const queue of this.#active) this.touch(queue)
  }

  disconnected(): void {}

  sendMore(): void {
    this.#pump()
  }

  /** It may have something to send. */
  touch(queue: PartitionQueue): void {
    this.#ready.add(queue)
    this.queuePump()
  }

  /** Once for everything that happens in the same turn. */
  queuePump(): void {
    if (this.#isPumpQueued) return
    this.#isPumpQueued = true
    queueMicrotask(() => {
      this.#isPumpQueued = false
      this.#events.admit()
      this.#pump()
    })
  }

  #pump(): void {
    const connection = this.#link.connection
    if (connection?.isOpen) this.#fitBatches(connection)
    while (this.#ready.size > 0 && connection?.isOpen) {
      if (!this.#sendOne(connection)) break
    }
    if (connection?.isOpen) return
    // What waits for a connection still has its time.
    const nowMs = this.#link.platform.timers.monotonicMs()
    for (const queue of this.#ready) this.schedule(queue.wakeMs(nowMs))
  }

  /**
   * Batches become no larger than the connection can carry: one that exceeds the credits which the
   * server has to give would wait until its time is over. They grow again with the window.
   */
  #fitBatches(connection: Connection): void {
    const { batchBytes, rules } = this.#settings
    const most = Math.min(connection.produceBytesMax, connection.hello.limits.batchBytes)
    rules.batchBytes = Math.min(batchBytes, Math.max(BATCH_BYTES_MIN, most - ENVELOPE_ROOM))
  }

  /** Sends one message; false when there is nothing that may be sent now. */
  #sendOne(connection: Connection): boolean {
    const nowMs = this.#link.platform.timers.monotonicMs()
    const request = new ProduceRequest(this.#settings.acks, this.#link.platform)
    const chosen: PartitionQueue[] = []
    for (const queue of this.#ready) {
      const batch = this.#peek(queue, connection, nowMs)
      this.schedule(queue.wakeMs(nowMs))
      if (batch === null) {
        this.#ready.delete(queue)
        if (queue.isEmpty) this.#active.delete(queue)
        continue
      }
      const bytes = request.bytesWith(batch)
      if (request.count === 0) {
        if (!connection.mayProduce(this, bytes)) return false
      } else if (bytes > Math.min(REQUEST_BYTES, connection.produceBytesLeft)) break
      else if (request.envelopeBytesWith(batch) > connection.hello.limits.envelopeBytes) break
      request.add(queue, batch)
      chosen.push(queue)
      if (request.count === REQUEST_PARTITIONS_MAX) break
    }
    if (request.count === 0) return false
    // To the end: every partition gets its turn.
    for (const queue of chosen) this.#ready.delete(queue)
    request.send(connection)
    for (const queue of chosen) this.#ready.add(queue)
    return true
  }

  /** What `queue` may send now and the connection can carry. */
  #peek(queue: PartitionQueue, connection: Connection, nowMs: number): ProduceBatch | null {
    for (;;) {
      const batch = queue.peek(nowMs)
      if (batch === null) {
        if (!queue.wantsIdentity || !this.#identify(queue)) return null
        continue
      }
      const error = tooLarge(batch, connection.hello.limits.messageBytes)
      if (error === null) return batch
      // One that may have been stored keeps its place until its time is over.
      if (batch.isNumbered) return null
      queue.rejectUnsent(batch, error)
    }
  }

  /** Gives the queue a producer id that it has not used; false: one is being asked for. */
  #identify(queue: PartitionQueue): boolean {
    if (this.#identity !== null && this.#identity !== queue.identity) {
      queue.identify(this.#identity)
      return true
    }
    if (!this.#isIdentifying) void this.#askIdentity()
    return false
  }

  async #askIdentity(): Promise<void> {
    this.#isIdentifying = true
    const { platform } = this.#link
    for (let failures = 0; !this.#ended.signal.aborted; failures++) {
      try {
        const signal = this.#ended.signal
        const options = { repeat: true, signal }
        const answer = await this.#link.request({ type: 'initProducer' }, 'producer', options)
        const { producerId, producerEpoch } = answer
        this.#identity = { producerId, producerEpoch }
        break
      } catch (error) {
        if (!(error instanceof MillraceError)) break
        if (!error.retriable) {
          for (const queue of this.#active) if (queue.wantsIdentity) queue.abandon(error)
          break
        }
        this.#publish(error)
        const delayMs = backoffMs(failures, this.#settings.rules.retry, platform.random())
        await sleep(platform.timers, delayMs, this.#ended.signal).catch(() => {})
      }
    }
    this.#isIdentifying = false
    for (const queue of this.#active) this.touch(queue)
  }

  /** What is worked around is told to those who listen. */
  #publish(error: MillraceError): void {
    const channel = this.#link.platform.events?.error
    if (channel?.hasSubscribers) channel.publish({ error })
  }

  // —— time ——

  /** Looks after everything at `atMs` (monotonic) or before. */
  schedule(atMs: number): void {
    if (atMs >= this.#wakeAtMs) return
    this.#cancelWake?.()
    this.#wakeAtMs = atMs
    const { timers } = this.#link.platform
    const delayMs = Math.max(0, Math.ceil(atMs - timers.monotonicMs()))
    this.#cancelWake = timers.after(delayMs, () => this.#wake())
  }

  #wake(): void {
    this.#wakeAtMs = Number.POSITIVE_INFINITY
    const nowMs = this.#link.platform.timers.monotonicMs()
    this.#events.expire(nowMs)
    for (const queue of this.#active) {
      queue.expire(nowMs)
      this.#ready.add(queue)
    }
    this.#events.admit()
    this.#pump()
    for (const queue of this.#active) this.schedule(queue.wakeMs(nowMs))
  }
}
