/**
 * Reads partitions by assignment: what the server pushes for each (`consumer-partition.ts`), as one
 * stream of events, the partitions in turn. Credits go back only when the application asks for
 * more: an application that is slow is pushed to slowly, and nobody else is.
 */
import { ErrorCode } from '../errors/error-code.ts'
import { ConsumerLanes } from './consumer-lanes.ts'
import {
  type Assignment,
  type ConsumerBatch,
  type ConsumerOptions,
  type ConsumerRecord,
  type ConsumerSettings,
  checkStart,
  consumerSettings,
  type StartOffset,
} from './consumer-options.ts'
import { ConsumerPartition } from './consumer-partition.ts'
import { MillraceError } from './errors.ts'
import type { Link, WaitOptions } from './link.ts'
import { askTopicCounts } from './topic-counts.ts'
import { abortable, backoffMs, type Deferred, deferred, sleep } from './wait.ts'

/**
 * Made by `client.consumer()`. Iterate it for events, or `batches()` for arrays of them; leaving
 * the loop closes it. One loop at a time.
 */
export class Consumer implements AsyncIterable<ConsumerRecord>, AsyncDisposable {
  readonly #link: Link
  readonly #settings: ConsumerSettings
  readonly #signal: AbortSignal | undefined
  readonly #onClosed: () => void
  readonly #partitions = new Map<string, ConsumerPartition>()
  /** Partitions with something to take, in turn. */
  readonly #available = new Set<ConsumerPartition>()
  /** The partition that events are taken from. */
  #current: ConsumerPartition | null = null
  #errors: MillraceError[] = []
  #waiter: Deferred<void> | null = null
  readonly #lanes: ConsumerLanes
  /** Calls of `next` that are not settled; they are served one after the other. */
  #turns: Promise<unknown> = Promise.resolve()
  #turnsCount = 0
  #closing: Promise<void> | null = null
  /** Settles when the credits of partitions that were taken away are home. */
  #gone: Promise<unknown> = Promise.resolve()
  readonly #ended = new AbortController()

  /** Throws TypeError or RangeError for wrong options. */
  constructor(link: Link, options: ConsumerOptions, onClosed: () => void) {
    this.#link = link
    this.#settings = consumerSettings(options)
    this.#signal = options.signal
    this.#onClosed = onClosed
    const { bufferBytes } = this.#settings
    this.#lanes = new ConsumerLanes(link, bufferBytes, (error) => this.#failed(error))
    for (const { topic, partition, offset } of options.assignments ?? []) {
      this.#lanes.await([this.#add(topic, partition, offset ?? this.#settings.from)])
    }
    this.#lanes.start()
    if (options.topics !== undefined && options.topics.length > 0) void this.#watch(options.topics)
  }

  // —— what the application calls ——

  [Symbol.asyncIterator](): AsyncIterableIterator<ConsumerRecord> {
    return this.#iterator(
      () => this.#takeRecord(),
      () => this.#nextRecord(),
    )
  }

  /**
   * Events as they lie in the log's batches: an array of one partition at a time. `signal` ends a
   * wait with its reason.
   */
  batches(options: WaitOptions = {}): AsyncIterableIterator<ConsumerBatch> {
    return this.#iterator(
      () => null,
      () => this.#nextBatch(options.signal),
    )
  }

  /** Where it reads, and the next offset of each; null: not known yet. */
  assignments(): { topic: string; partition: number; position: number | null }[] {
    return [...this.#partitions.values()].map(({ topic, partition, position }) => {
      return { topic, partition, position }
    })
  }

  /** The next offset that the application gets; null: not known yet. Throws RangeError. */
  position(topic: string, partition: number): number | null {
    return this.#find(topic, partition).position
  }

  /** Reads on from another place; what was fetched before is dropped. Throws RangeError. */
  seek(topic: string, partition: number, offset: StartOffset): void {
    checkStart(offset)
    const found = this.#find(topic, partition)
    found.seek(offset)
    this.#available.delete(found)
  }

  /** Gives no events of the partition until `resume`. Throws RangeError. */
  pause(topic: string, partition: number): void {
    this.#find(topic, partition).isPaused = true
  }

  /** Throws RangeError. */
  resume(topic: string, partition: number): void {
    const found = this.#find(topic, partition)
    found.isPaused = false
    if (found.hasRecords) this.#offer(found)
  }

  /** Ends it, and every loop over it. Resolves when the server knows, or is out of reach. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Bytes of batches that were pushed and not taken. */
  get heldBytes(): number {
    let held = 0
    for (const partition of this.#partitions.values()) held += partition.heldBytes
    return held
  }

  async #close(): Promise<void> {
    this.#ended.abort()
    this.#wake()
    const gone = [...this.#partitions.values()].map((partition) => partition.close())
    await Promise.all(gone)
    this.#lanes.close()
    this.#onClosed()
  }

  #find(topic: string, partition: number): ConsumerPartition {
    const found = this.#partitions.get(keyOf(topic, partition))
    if (found === undefined) throw new RangeError(`${topic}-${partition} is not read here`)
    return found
  }

  // —— for `group-consumer.ts` ——

  /** What is there already; null: ask the iterator. */
  takeNow(): ConsumerRecord | null {
    return this.#turnsCount === 0 ? this.#takeRecord() : null
  }

  /** Reads these as well. */
  assign(assignments: readonly Required<Assignment>[]): void {
    const added = assignments.map((at) => this.#add(at.topic, at.partition, at.offset))
    // Credits that are still under way home would be granted twice.
    void this.#gone.then(() => {
      this.#lanes.begin(added.filter((partition) => this.#reads(partition)))
    })
  }

  /** Reads all that it reads no more; what was fetched and not taken is dropped. */
  unassign(): void {
    const gone = [...this.#partitions.values()].map((partition) => {
      this.#lanes.remove(partition)
      return partition.close()
    })
    this.#partitions.clear()
    this.#available.clear()
    this.#current = null
    this.#gone = Promise.all([this.#gone, ...gone])
  }

  /** Whoever asks for events next is told. */
  raise(error: MillraceError): void {
    this.#failed(error)
  }

  #reads(partition: ConsumerPartition): boolean {
    return this.#partitions.get(keyOf(partition.topic, partition.partition)) === partition
  }

  // —— taking ——

  #iterator<T>(take: () => T | null, next: () => Promise<T | null>): AsyncIterableIterator<T> {
    const end = async (): Promise<IteratorResult<T>> => {
      await this.close()
      return { done: true, value: undefined }
    }
    return {
      [Symbol.asyncIterator]() {
        return this
      },
      next: (): Promise<IteratorResult<T>> => {
        // Without another promise for every event that is there already.
        const value = this.#turnsCount === 0 ? take() : null
        if (value !== null) return Promise.resolve({ done: false, value })
        return this.#inTurn(next)
      },
      return: end,
    }
  }

  async #inTurn<T>(next: () => Promise<T | null>): Promise<IteratorResult<T>> {
    this.#turnsCount++
    const before = this.#turns
    const turn = before.then(next)
    this.#turns = turn.catch(() => {})
    try {
      const value = await turn
      return value === null ? { done: true, value: undefined } : { done: false, value }
    } finally {
      this.#turnsCount--
    }
  }

  #takeRecord(): ConsumerRecord | null {
    if (this.#errors.length > 0 || this.#signal?.aborted || this.#closing !== null) return null
    const current = this.#current
    return current === null || current.isPaused ? null : current.takeRecord()
  }

  async #nextRecord(): Promise<ConsumerRecord | null> {
    for (;;) {
      const record = this.#takeRecord()
      if (record !== null) return record
      if (!(await this.#advance(undefined))) return null
    }
  }

  async #nextBatch(signal: AbortSignal | undefined): Promise<ConsumerBatch | null> {
    for (;;) {
      if (!(await this.#advance(signal))) return null
      const current = this.#current
      const records = current?.takeRecords() ?? []
      if (current !== null && records.length > 0) {
        const { topic, partition } = current
        return { topic, partition, records }
      }
    }
  }

  /**
   * The application wants more: goes on to the next partition that has something, or waits for one.
   * False when the consumer is closed. Rejects with what a partition failed with, each once.
   */
  async #advance(signal: AbortSignal | undefined): Promise<boolean> {
    this.#current?.release()
    for (;;) {
      this.#signal?.throwIfAborted()
      signal?.throwIfAborted()
      if (this.#closing !== null) return false
      const error = this.#errors.shift()
      if (error !== undefined) throw error
      const partition = this.#nextAvailable()
      if (partition === null) {
        await this.#wait(signal)
        continue
      }
      this.#current = partition
      await partition.load()
      if (!this.#reads(partition)) continue
      // To the end of the turn, as long as there is more.
      if (partition.hasRecords) this.#available.add(partition)
      return this.#closing === null
    }
  }

  #nextAvailable(): ConsumerPartition | null {
    for (const partition of this.#available) {
      if (partition.isPaused) continue
      this.#available.delete(partition)
      if (partition.hasRecords) return partition
    }
    return null
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    this.#waiter ??= deferred()
    return abortable(abortable(this.#waiter.promise, signal), this.#signal)
  }

  #wake(): void {
    this.#waiter?.resolve()
    this.#waiter = null
  }

  #offer(partition: ConsumerPartition): void {
    this.#available.add(partition)
    this.#wake()
  }

  // —— partitions ——

  #add(topic: string, partition: number, start: StartOffset): ConsumerPartition {
    const key = keyOf(topic, partition)
    if (this.#partitions.has(key)) throw new TypeError(`${topic}-${partition} is assigned twice`)
    const added = new ConsumerPartition({ topic, partition, start }, this.#settings, {
      platform: this.#link.platform,
      events: {
        available: (one) => this.#offer(one),
        failed: (_, error) => this.#failed(error),
        misplaced: (one, hint) => {
          this.#link.leaders.refused(one.topic, one.partition, hint)
        },
        isElsewhere: (one) => this.#lanes.isElsewhere(one),
      },
    })
    this.#partitions.set(key, added)
    return added
  }

  #failed(error: MillraceError): void {
    this.#errors.push(error)
    this.#wake()
  }

  /** Reads all partitions of these topics, also those that are still to come. */
  async #watch(topics: readonly string[]): Promise<void> {
    const { platform } = this.#link
    const { metadataRefreshMs, retry } = this.#settings
    let start = this.#settings.from
    let failures = 0
    while (!this.#ended.signal.aborted) {
      let delayMs = metadataRefreshMs
      try {
        await this.#discover(topics, start)
        // What appears from now on was empty before: nothing of it is missed.
        start = 'earliest'
        failures = 0
      } catch (error) {
        if (this.#ended.signal.aborted || !(error instanceof MillraceError)) return
        const isGone = error.code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        if (!error.retriable || isGone) this.#failed(error)
        else delayMs = backoffMs(failures++, retry, platform.random())
      }
      await sleep(platform.timers, delayMs, this.#ended.signal).catch(() => {})
    }
  }

  async #discover(topics: readonly string[], start: StartOffset): Promise<void> {
    const { signal } = this.#ended
    const counts = await askTopicCounts(this.#link, topics, { create: false, signal })
    const added: ConsumerPartition[] = []
    let failure: MillraceError | null = null
    for (const [topic, count] of counts) {
      if (typeof count !== 'number') {
        failure ??= count
        continue
      }
      for (let partition = 0; partition < count; partition++) {
        if (this.#partitions.has(keyOf(topic, partition))) continue
        added.push(this.#add(topic, partition, start))
      }
    }
    this.#lanes.begin(added)
    if (failure !== null) throw failure
  }
}

function keyOf(topic: string, partition: number): string {
  return `${partition}:${topic}`
}
