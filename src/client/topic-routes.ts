/**
 * The topics that a producer sends to: how many partitions they have, a queue for each, and the
 * events that wait until that is known. Asks the server for what is missing, and from time to time
 * for new partitions.
 */
import { ErrorCode } from '../errors/error-code.ts'
import { MillraceError } from './errors.ts'
import { Fifo } from './fifo.ts'
import type { Link } from './link.ts'
import type { PartitionQueue } from './partition-queue.ts'
import type { PartitionChoice } from './partitioner.ts'
import type { ProduceBatch } from './produce-batch.ts'
import { askTopicCounts, type TopicCount } from './topic-counts.ts'
import { type BackoffOptions, backoffMs, sleep } from './wait.ts'
import type { WaitingRecord } from './waiting-record.ts'

/** A server that may create topics and still does not know one refuses: asked so often. */
const UNKNOWN_TRIES = 3

export interface TopicRoute {
  readonly topic: string
  /** By partition; none: it is not known yet how many there are. */
  readonly queues: PartitionQueue[]
  readonly choice: PartitionChoice
  /** The batch that events without a key went to last. */
  stickyBatch: ProduceBatch | null
  /** Events that wait for partitions to be known; a known topic has some that name a new one. */
  readonly waiting: Fifo<WaitingRecord>
  unknownTries: number
}

export interface RoutesOptions {
  readonly retry: BackoffOptions
  readonly refreshMs: number
  readonly create: boolean
}

export interface RoutesEvents {
  makeQueue(topic: string, partition: number): PartitionQueue
  makeChoice(): PartitionChoice
  /** The route's partitions have been asked for: its waiting events may go on, or fail. */
  learned(route: TopicRoute): void
  /** There is no such topic, or none for us. */
  refused(route: TopicRoute, error: MillraceError): void
}

export class TopicRoutes {
  readonly #link: Link
  readonly #options: RoutesOptions
  readonly #events: RoutesEvents
  readonly #routes = new Map<string, TopicRoute>()
  readonly #ended = new AbortController()
  /** Routes to ask for. */
  readonly #wanted = new Set<TopicRoute>()
  #isAsking = false
  #cancelRefresh: (() => void) | null = null

  constructor(link: Link, options: RoutesOptions, events: RoutesEvents) {
    this.#link = link
    this.#options = options
    this.#events = events
  }

  /** The topic's route, made when it is new. */
  of(topic: string): TopicRoute {
    let route = this.#routes.get(topic)
    if (route === undefined) {
      const choice = this.#events.makeChoice()
      route = { topic, queues: [], choice, stickyBatch: null, waiting: new Fifo(), unknownTries: 0 }
      this.#routes.set(topic, route)
      this.#cancelRefresh ??= this.#scheduleRefresh()
    }
    return route
  }

  values(): IterableIterator<TopicRoute> {
    return this.#routes.values()
  }

  /** Asks how many partitions the route has, soon. */
  ask(route: TopicRoute): void {
    this.#wanted.add(route)
    if (!this.#isAsking) void this.#askAll()
  }

  close(): void {
    this.#cancelRefresh?.()
    this.#ended.abort()
  }

  #scheduleRefresh(): () => void {
    return this.#link.platform.timers.after(this.#options.refreshMs, () => {
      for (const route of this.#routes.values()) this.ask(route)
      this.#cancelRefresh = this.#scheduleRefresh()
    })
  }

  async #askAll(): Promise<void> {
    this.#isAsking = true
    // Those whose topics are asked for in the same turn go together.
    await null
    for (let failures = 0; this.#wanted.size > 0 && !this.#ended.signal.aborted; ) {
      const routes = [...this.#wanted]
      this.#wanted.clear()
      try {
        await this.#askOnce(routes)
      } catch (error) {
        if (!(error instanceof MillraceError)) break
        this.#answer(routes, () => error)
      }
      if (this.#wanted.size === 0) break
      const { platform } = this.#link
      const delayMs = backoffMs(failures++, this.#options.retry, platform.random())
      await sleep(platform.timers, delayMs, this.#ended.signal).catch(() => {})
    }
    this.#isAsking = false
  }

  async #askOnce(routes: readonly TopicRoute[]): Promise<void> {
    const counts = await askTopicCounts(
      this.#link,
      routes.map((route) => route.topic),
      { create: this.#options.create, signal: this.#ended.signal },
    )
    this.#answer(routes, (topic) => counts.get(topic) as TopicCount)
  }

  #answer(routes: readonly TopicRoute[], countOf: (topic: string) => TopicCount): void {
    for (const route of routes) {
      const count = countOf(route.topic)
      if (typeof count === 'number') {
        route.unknownTries = 0
        for (let partition = route.queues.length; partition < count; partition++) {
          route.queues.push(this.#events.makeQueue(route.topic, partition))
        }
        this.#events.learned(route)
      } else if (route.queues.length === 0 && route.waiting.length > 0) this.#missed(route, count)
    }
  }

  #missed(route: TopicRoute, error: MillraceError): void {
    const isUnknown = error.code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    if (isUnknown) route.unknownTries++
    const tries = this.#options.create ? UNKNOWN_TRIES : 1
    if (error.retriable && !(isUnknown && route.unknownTries >= tries)) {
      this.#wanted.add(route)
      return
    }
    route.unknownTries = 0
    this.#events.refused(route, error)
  }
}
