import { BrokerError } from '../errors/broker-error.ts'
import type { PartitionLog } from '../storage/log.ts'
import type { Partition } from './partition.ts'
import type { ShardState } from './shard-state.ts'

/**
 * Retention of a shard's partitions, a little each turn: every log.retention.check.interval.ms a
 * pass over all of them, and between passes those that a write has made too large, so that a fast
 * writer does not fill the disk before the next pass. Also removes the files of deleted segments
 * when their time is over.
 *
 * What a turn does is bounded: it compares numbers of some hundred partitions, deletes one segment,
 * removes one file. A partition that has nothing to delete costs two comparisons a pass; its log is
 * opened once after a start, to learn how old its oldest segment is, and closed again.
 */
/** Kafka's log.initial.task.delay.ms: a start has enough to do. */
const FIRST_PASS_MS_MAX = 30_000
/** Partitions that a turn looks at, without their logs. */
const PARTITIONS_PER_TURN = 256
/** Between two looks at the partitions that grew too large. */
const GROWN_INTERVAL_MS = 1000
/** Between two events that tell what was deleted. */
const REPORT_INTERVAL_MS = 10_000
/** Removing a large file takes some file systems milliseconds. */
const FILES_PER_TURN = 1

export class RetentionService {
  readonly #state: ShardState
  readonly #checkIntervalMs: number
  /** NaN before the first turn. */
  #nextPassMs = Number.NaN
  /** What the pass under way has not looked at yet; null between passes. */
  #pass: Iterator<Partition> | null = null
  /** The partition whose segments are being deleted, one a turn. */
  #current: Partition | null = null
  /** Its log was opened only to look. */
  #isOpenedToLook = false
  /** Larger than retention.bytes allows since a write. */
  readonly #grown = new Set<Partition>()
  #nextGrownMs = -Infinity
  /** Deleted and not told yet. */
  #segments = 0
  #bytes = 0
  #nextReportMs = -Infinity

  constructor(state: ShardState, checkIntervalMs: number) {
    this.#state = state
    this.#checkIntervalMs = checkIntervalMs
  }

  /** The partition's log was written to. */
  noteWrite(partition: Partition, log: PartitionLog): void {
    if (log.isTooLarge) this.#grown.add(partition)
  }

  /** One turn's share; nothing may be staged. Returns how much was done. */
  run(nowMs: number): number {
    if (Number.isNaN(this.#nextPassMs)) {
      this.#nextPassMs = nowMs + Math.min(FIRST_PASS_MS_MAX, this.#checkIntervalMs)
    }
    let work = this.#state.removeDeletedFiles(nowMs, FILES_PER_TURN)
    if (this.#pass === null && nowMs >= this.#nextPassMs) {
      this.#nextPassMs = nowMs + this.#checkIntervalMs
      this.#pass = this.#state.partitions.values()
    }
    if (this.#current !== null) {
      this.#goOn(this.#current)
      work++
    } else if (this.#pass !== null) {
      this.#walk(this.#pass)
      work++
    } else if (nowMs >= this.#nextGrownMs) {
      work += this.#takeGrown(nowMs)
    }
    if (nowMs >= this.#reportMs) this.#report(nowMs)
    return work
  }

  /** When `run` has something to do though nobody writes; monotonic. */
  get nextDeadlineMs(): number {
    if (this.#pass !== null || this.#current !== null) return 0
    const grownMs = this.#grown.size > 0 ? this.#nextGrownMs : Infinity
    const { nextDueMs } = this.#state.context.deletedFiles
    return Math.min(this.#nextPassMs, grownMs, nextDueMs, this.#reportMs)
  }

  #walk(pass: Iterator<Partition>): void {
    const wallMs = this.#state.context.clock.wallMs()
    for (let i = 0; i < PARTITIONS_PER_TURN; i++) {
      const next = pass.next()
      if (next.done === true) {
        this.#pass = null
        return
      }
      if (!next.value.isRetentionDue(wallMs)) continue
      this.#goOn(next.value)
      return
    }
  }

  #takeGrown(nowMs: number): number {
    for (const partition of this.#grown) {
      this.#grown.delete(partition)
      if (this.#grown.size === 0) this.#nextGrownMs = nowMs + GROWN_INTERVAL_MS
      this.#goOn(partition)
      return 1
    }
    return 0
  }

  /** Deletes the next segment that is due, and remembers that there may be more. */
  #goOn(partition: Partition): void {
    const log = this.#logOf(partition)
    const bytes = log === null ? 0 : this.#retain(partition, log)
    if (bytes > 0) {
      this.#segments++
      this.#bytes += bytes
      this.#state.counters.deletedSegments++
      this.#state.counters.deletedBytes += bytes
      this.#current = partition
      return
    }
    this.#current = null
    if (this.#isOpenedToLook && log !== null && partition.isIdle) this.#rest(partition)
    this.#isOpenedToLook = false
  }

  #logOf(partition: Partition): PartitionLog | null {
    const state = this.#state
    const isKnown = state.partitions.get(partition.handle) === partition // Else it was deleted.
    if (!isKnown || state.isFailed(partition.logDirectory)) return null
    if (partition.openedLog !== null) return partition.openedLog
    this.#isOpenedToLook = true
    return state.openLog(partition)
  }

  #retain(partition: Partition, log: PartitionLog): number {
    try {
      return log.retain(this.#state.context.clock.wallMs())
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      this.#state.refuse(partition, error)
      return 0
    }
  }

  #rest(partition: Partition): void {
    try {
      this.#state.rest(partition)
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      this.#state.refuse(partition, error)
    }
  }

  /** Infinity when there is nothing to tell, or more may come at once. */
  get #reportMs(): number {
    const isBusy = this.#current !== null || this.#pass !== null
    return this.#segments === 0 || isBusy ? Infinity : this.#nextReportMs
  }

  #report(nowMs: number): void {
    this.#state.outbox.event({ kind: 'retention', segments: this.#segments, bytes: this.#bytes })
    this.#segments = 0
    this.#bytes = 0
    this.#nextReportMs = nowMs + REPORT_INTERVAL_MS
  }
}
