/**
 * Reads as a member of a group: the partitions that the group gives it (`group-membership.ts`),
 * each from where the group has come (`consumer.ts` reads them), and commits what has been
 * processed. An event counts as processed when the application asks for the next one, or when
 * `eachRecord` is done with it: it is committed then and not before, so that every event is
 * processed at least once.
 */
import { ErrorCode } from '../errors/error-code.ts'
import { Consumer } from './consumer.ts'
import type { ConsumerBatch, ConsumerRecord, StartOffset } from './consumer-options.ts'
import { MillraceError } from './errors.ts'
import { type AssignedPartition, GroupMembership } from './group-membership.ts'
import {
  type GroupConsumerOptions,
  type GroupPartition,
  type GroupSettings,
  groupSettings,
  type OffsetToCommit,
  type RebalanceListener,
  type RunOptions,
} from './group-options.ts'
import type { Link } from './link.ts'
import { OwnedPartitions } from './owned-partitions.ts'
import { PartitionWorkers } from './partition-workers.ts'
import { type Deferred, deferred } from './wait.ts'

/**
 * Made by `client.consumer({ group })`. Iterate it for events, `batches()` for arrays of them, or
 * `run` a function for each; one of these at a time. Leaving the loop closes it.
 */
export class GroupConsumer implements AsyncIterable<ConsumerRecord>, AsyncDisposable {
  readonly #link: Link
  readonly #settings: GroupSettings
  readonly #listener: RebalanceListener
  readonly #inner: Consumer
  readonly #membership: GroupMembership
  readonly #onClosed: () => void
  readonly #owned: OwnedPartitions
  #workers: PartitionWorkers | null = null
  /** What must happen one after the other: assignments, revocations. */
  #rebalances: Promise<void> = Promise.resolve()
  /** Rises when partitions are lost: what was going to be done about them is not. */
  #epoch = 0
  /** Somebody waits until the application is done with what it has. */
  #idle: Deferred<void> | null = null
  #wantsToJoin = false
  #cancelTimer: (() => void) | null = null
  #closing: Promise<void> | null = null

  /** Throws TypeError or RangeError for wrong options. */
  constructor(link: Link, options: GroupConsumerOptions, onClosed: () => void) {
    const { bufferBytes, decompressedBytes, retryMinMs, retryMaxMs, signal } = options
    this.#link = link
    this.#settings = groupSettings(options)
    this.#listener = options.listener ?? {}
    this.#onClosed = onClosed
    const { from } = this.#settings
    const reading = { bufferBytes, decompressedBytes, retryMinMs, retryMaxMs, signal }
    const given = Object.fromEntries(Object.entries(reading).filter(([, value]) => value != null))
    const all = { ...given, assignments: [], from, offsetReset: from } as const
    this.#inner = new Consumer(link, all, () => {})
    this.#owned = new OwnedPartitions(this.#inner)
    this.#membership = new GroupMembership(link, this.#settings, {
      assigned: (partitions) => this.#inTurn((epoch) => this.#assigned(partitions, epoch)),
      revoke: () => this.#inTurn((epoch) => this.#revoke(epoch)),
      lost: () => this.#lost(),
      failed: (error) => this.#inner.raise(error),
      mayJoin: () => !this.#isBusy,
    })
    this.#membership.start()
    this.#setTimer()
  }

  // —— what the application calls ——

  /** As the group calls this member; null: it is none now. */
  get memberId(): string | null {
    return this.#membership.memberId
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<ConsumerRecord> {
    const records = this.#inner[Symbol.asyncIterator]()
    return this.#iterator(
      () => this.#inner.takeNow(),
      () => records.next(),
      (record) => this.#owned.give(record, record.offset + 1),
    )
  }

  /** Events as they lie in the log's batches: an array of one partition at a time. */
  batches(): AsyncIterableIterator<ConsumerBatch> {
    const batches = this.#inner.batches()
    return this.#iterator(
      () => null,
      () => batches.next(),
      (batch) => this.#owned.give(batch, this.#inner.position(batch.topic, batch.partition) ?? 0),
    )
  }

  /**
   * Calls a function for every event: in order within a partition, and for several partitions at
   * the same time. Resolves when the consumer is closed. Rejects with what the function failed
   * with; that event is not committed, the consumer is closed.
   */
  async run(options: RunOptions): Promise<void> {
    this.#workers = new PartitionWorkers(options, this.#inner, this.#owned, () => this.#onIdle())
    try {
      await this.#workers.run()
    } finally {
      await this.close()
    }
  }

  /**
   * Commits: without an argument all that the application was given in a loop, the last event
   * included, or that `run` has processed. Resolves when it is stored. Rejects with MillraceError,
   * such as when the partition is somebody else's by now.
   */
  async commit(offsets?: readonly OffsetToCommit[]): Promise<void> {
    if (offsets === undefined) this.#owned.settleGiven()
    const wanted = offsets ?? this.#owned.toCommit()
    if (wanted.length === 0) return
    await this.#membership.commit(wanted)
    this.#owned.committed(wanted, offsets !== undefined)
  }

  /** What it has, and the next offset of each; null: not known yet. */
  assignments(): { topic: string; partition: number; position: number | null }[] {
    return this.#inner.assignments()
  }

  /** Reads on from another place, and commits from there. Throws RangeError. */
  seek(topic: string, partition: number, offset: StartOffset): void {
    this.#inner.seek(topic, partition, offset)
    this.#owned.forget(topic, partition)
  }

  /** Gives no events of the partition until `resume`, or until it is assigned anew. RangeError. */
  pause(topic: string, partition: number): void {
    this.#owned.pause(topic, partition, true)
  }

  /** Throws RangeError. */
  resume(topic: string, partition: number): void {
    this.#owned.pause(topic, partition, false)
  }

  /** Commits what has been processed, leaves the group and ends every loop. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    this.#cancelTimer?.()
    await this.#workers?.stop()
    await this.#autoCommit()
    this.#epoch++
    this.#idle?.resolve()
    const gone = this.#inner.close()
    await Promise.all([this.#membership.leave(), gone])
    this.#owned.clear()
    this.#onClosed()
  }

  // —— giving ——

  #iterator<T>(
    take: () => T | null,
    next: () => Promise<IteratorResult<T>>,
    give: (value: T) => boolean,
  ): AsyncIterableIterator<T> {
    const slowly = async (): Promise<IteratorResult<T>> => {
      for (;;) {
        try {
          const result = await next()
          // It may have been given back while this waited for its turn.
          if (result.done === true || give(result.value)) return result
        } catch (error) {
          if (!isGoneTopic(error)) throw error
        }
      }
    }
    return {
      [Symbol.asyncIterator]() {
        return this
      },
      next: (): Promise<IteratorResult<T>> => {
        this.#settle()
        const value = take()
        if (value !== null && give(value)) return Promise.resolve({ done: false, value })
        return slowly()
      },
      return: async (): Promise<IteratorResult<T>> => {
        await this.close()
        return { done: true, value: undefined }
      },
    }
  }

  /** The application asks for more: it is done with what it got before. */
  #settle(): void {
    this.#owned.settle()
    this.#onIdle()
  }

  #onIdle(): void {
    if (this.#isBusy) return
    this.#idle?.resolve()
    this.#idle = null
    if (this.#wantsToJoin) {
      this.#wantsToJoin = false
      this.#membership.join()
    }
  }

  get #isBusy(): boolean {
    return this.#owned.isOut || (this.#workers?.isBusy ?? false)
  }

  // —— the group ——

  #inTurn(task: (epoch: number) => Promise<void>): void {
    const epoch = this.#epoch
    this.#rebalances = this.#rebalances.then(async () => {
      if (epoch !== this.#epoch) return
      try {
        await task(epoch)
      } catch (error) {
        this.#inner.raise(asError(error))
      }
    })
  }

  async #assigned(partitions: readonly AssignedPartition[], epoch: number): Promise<void> {
    this.#owned.assign(partitions, this.#settings.from)
    const listened = this.#listener.assigned?.(plain(partitions))
    if (listened === undefined) return
    // It may want to seek first.
    this.#owned.holdAll(true)
    await listened
    if (epoch === this.#epoch) this.#owned.holdAll(false)
  }

  async #revoke(epoch: number): Promise<void> {
    const partitions = this.#owned.list()
    this.#owned.retire()
    if (this.#isBusy) {
      this.#idle = deferred()
      await this.#idle.promise
      if (epoch !== this.#epoch) return
    }
    await this.#listener.revoked?.(partitions)
    await this.#autoCommit()
    if (epoch !== this.#epoch) return
    this.#owned.clear()
    this.#membership.released()
  }

  #lost(): void {
    const partitions = this.#owned.list()
    this.#epoch++
    this.#owned.retire()
    this.#owned.clear()
    this.#idle?.resolve()
    this.#idle = null
    this.#wantsToJoin = true
    this.#inTurn(async () => {
      if (partitions.length > 0) await this.#listener.lost?.(partitions)
      // Who is still busy would keep the others waiting again.
      this.#onIdle()
    })
  }

  // —— committing ——

  #setTimer(): void {
    const { autoCommitMs } = this.#settings
    if (autoCommitMs === 0) return
    this.#cancelTimer = this.#link.platform.timers.after(autoCommitMs, () => {
      this.#setTimer()
      void this.#autoCommit()
    })
  }

  /** What cannot be committed is processed again, by whoever has the partition then. */
  async #autoCommit(): Promise<void> {
    if (this.#settings.autoCommitMs === 0) return
    const offsets = this.#owned.toCommit()
    if (offsets.length === 0) return
    try {
      await this.#membership.commit(offsets)
      this.#owned.committed(offsets, false)
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error
    }
  }
}

/** The group's leader will see it as well, and assign anew. */
function isGoneTopic(error: unknown): boolean {
  return error instanceof MillraceError && error.code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
}

function plain(partitions: readonly GroupPartition[]): GroupPartition[] {
  return partitions.map(({ topic, partition }) => ({ topic, partition }))
}

function asError(error: unknown): MillraceError {
  if (error instanceof MillraceError) return error
  const message = error instanceof Error ? error.message : String(error)
  const text = `the rebalance listener failed: ${message}`
  return new MillraceError(ErrorCode.UNKNOWN_SERVER_ERROR, text, { cause: error, retriable: false })
}
