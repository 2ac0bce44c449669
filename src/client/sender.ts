/**
 * Sends what the queues of a producer have, each to the broker that leads its partition
 * (`sender-lane.ts`); finds producer ids for them, and looks after them when their time comes. One
 * for each producer.
 */
import type { LeaderHint } from '../wire/websocket/messages.ts'
import { MillraceError } from './errors.ts'
import type { Link } from './link.ts'
import type { PartitionQueue } from './partition-queue.ts'
import type { ProduceBatch, ProducerIdentity } from './produce-batch.ts'
import type { ProducerSettings } from './producer-options.ts'
import { type LaneEvents, SenderLane } from './sender-lane.ts'
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

export class Sender implements LaneEvents {
  readonly #link: Link
  readonly #settings: ProducerSettings
  readonly #events: SenderEvents
  /** Queues that hold something. */
  readonly #active = new Set<PartitionQueue>()
  readonly #main: SenderLane
  readonly #lanes = new Map<Link, SenderLane>()
  readonly #forgetLeaders: () => void
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
    this.#main = new SenderLane(link, settings.acks, this)
    this.#lanes.set(link, this.#main)
    this.#forgetLeaders = link.leaders.onChanged(() => this.#moveAll())
    link.attach(this.#main)
  }

  /** Queues that hold something; some may have become empty meanwhile. */
  get active(): ReadonlySet<PartitionQueue> {
    return this.#active
  }

  /** Nothing is sent any more; what the queues hold fails with `error`. */
  close(error: MillraceError): void {
    this.#ended.abort()
    this.#forgetLeaders()
    for (const lane of this.#lanes.values()) lane.close()
    for (const queue of [...this.#active]) queue.abandon(error)
    this.#cancelWake?.()
  }

  /** The queue has begun a batch. */
  began(queue: PartitionQueue, batch: ProduceBatch, nowMs: number): void {
    this.#active.add(queue)
    if (batch.dueMs <= nowMs) this.touch(queue)
    this.schedule(batch.dueMs > nowMs ? batch.dueMs : batch.deadlineMs)
  }

  /** It may have something to send. */
  touch(queue: PartitionQueue): void {
    this.#laneOf(queue).ready.add(queue)
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
    this.#fitBatches()
    for (const lane of this.#lanes.values()) lane.pump()
  }

  /**
   * Batches become no larger than the connections can carry: one that exceeds the credits which a
   * server has to give would wait until its time is over. They grow again with the windows.
   */
  #fitBatches(): void {
    let most = Number.POSITIVE_INFINITY
    for (const { connection } of this.#lanes.values()) {
      if (connection === null) continue
      most = Math.min(most, connection.produceBytesMax, connection.hello.limits.batchBytes)
    }
    if (most === Number.POSITIVE_INFINITY) return
    const { batchBytes, rules } = this.#settings
    rules.batchBytes = Math.min(batchBytes, Math.max(BATCH_BYTES_MIN, most - ENVELOPE_ROOM))
  }

  // —— who leads ——

  #laneOf(queue: PartitionQueue): SenderLane {
    const link = this.#link.leaders.linkFor(queue.topic, queue.partition)
    const lane = this.#lanes.get(link)
    if (lane !== undefined) return lane
    const opened = new SenderLane(link, this.#settings.acks, this)
    this.#lanes.set(link, opened)
    link.attach(opened)
    return opened
  }

  /** Somebody else may lead. */
  #moveAll(): void {
    const lanes = [...this.#lanes.values()]
    for (const lane of lanes) lane.ready.clear()
    const used = new Set([this.#main])
    for (const queue of this.#active) {
      const lane = this.#laneOf(queue)
      used.add(lane)
      lane.ready.add(queue)
    }
    // Connections that nobody needs are not opened again.
    for (const lane of lanes) {
      if (used.has(lane) || lane.connection !== null) continue
      lane.close()
      this.#lanes.delete(lane.link)
    }
    this.queuePump()
  }

  // —— LaneEvents ——

  connected(lane: SenderLane): void {
    this.#fitBatches()
    for (const queue of this.#active) if (this.#laneOf(queue) === lane) this.touch(queue)
  }

  sendMore(): void {
    this.#pump()
  }

  emptied(queue: PartitionQueue): void {
    this.#active.delete(queue)
  }

  misplaced({ topic, partition }: PartitionQueue, hint: LeaderHint | null): void {
    this.#link.leaders.refused(topic, partition, hint)
  }

  identify(queue: PartitionQueue): boolean {
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
      this.#laneOf(queue).ready.add(queue)
    }
    this.#events.admit()
    this.#pump()
    for (const queue of this.#active) this.schedule(queue.wakeMs(nowMs))
  }
}
