/**
 * Calls the application's function for every event: one event after the other within a partition,
 * at most `concurrency` partitions at the same time. While a partition is worked on nothing more of
 * it is taken.
 */

import { ErrorCode } from '../errors/error-code.ts'
import type { Consumer } from './consumer.ts'
import type { ConsumerBatch } from './consumer-options.ts'
import { MillraceError } from './errors.ts'
import type { RunOptions } from './group-options.ts'
import type { OwnedPartition, OwnedPartitions } from './owned-partitions.ts'
import { positive } from './producer-options.ts'

export class PartitionWorkers {
  readonly #eachRecord: RunOptions['eachRecord']
  readonly #concurrency: number
  readonly #consumer: Consumer
  readonly #owned: OwnedPartitions
  readonly #onIdle: () => void
  readonly #working = new Set<Promise<void>>()
  readonly #stopped = new AbortController()
  #failure: { readonly error: unknown } | null = null

  /** Throws RangeError for wrong options. `onIdle` is called whenever a worker has ended. */
  constructor(
    { eachRecord, concurrency = 1 }: RunOptions,
    consumer: Consumer,
    owned: OwnedPartitions,
    onIdle: () => void,
  ) {
    this.#eachRecord = eachRecord
    this.#concurrency = positive('concurrency', concurrency)
    this.#consumer = consumer
    this.#owned = owned
    this.#onIdle = onIdle
  }

  get isBusy(): boolean {
    return this.#working.size > 0
  }

  /** Rejects with what the function failed with, once the other workers have ended. */
  async run(): Promise<void> {
    const { signal } = this.#stopped
    const batches = this.#consumer.batches({ signal })
    while (!signal.aborted) {
      if (this.#working.size >= this.#concurrency) {
        await Promise.race(this.#working)
        continue
      }
      const result = await batches.next().catch((error: unknown) => {
        if (signal.aborted || isGoneTopic(error)) return null
        throw error
      })
      if (result?.done === true) break
      if (result !== null) this.#start(result.value)
    }
    await Promise.all(this.#working)
    if (this.#failure !== null) throw this.#failure.error
  }

  /** Ends it; what is being processed is finished. */
  async stop(): Promise<void> {
    this.#stopped.abort()
    await Promise.all(this.#working)
  }

  #start(batch: ConsumerBatch): void {
    const { topic, partition } = batch
    const owned = this.#owned.find(topic, partition)
    if (owned === undefined || owned.isRetired) return
    const end = this.#consumer.position(topic, partition) ?? -1
    owned.isBusy = true
    owned.give(end)
    this.#owned.applyPause(owned)
    const work = this.#work(batch, owned, end).then(() => {
      this.#working.delete(work)
      owned.isBusy = false
      this.#owned.applyPause(owned)
      this.#onIdle()
    })
    this.#working.add(work)
  }

  async #work({ records }: ConsumerBatch, owned: OwnedPartition, end: number): Promise<void> {
    try {
      for (const record of records) {
        if (owned.isRetired || this.#stopped.signal.aborted) return
        await this.#eachRecord(record)
        owned.processed = record.offset + 1
      }
      owned.processed = Math.max(owned.processed, end)
    } catch (error) {
      this.#failure ??= { error }
      this.#stopped.abort()
    }
  }
}

/** The group's leader will see it as well, and assign anew. */
function isGoneTopic(error: unknown): boolean {
  return error instanceof MillraceError && error.code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
}
