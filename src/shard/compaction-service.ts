import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { CompactionSummary } from '../storage/compaction/compaction-job.ts'
import { isTemporary } from '../storage/file-io.ts'
import type { PartitionLog } from '../storage/log.ts'
import type { CompactionReport, Compactor, Failure } from './compactor.ts'
import { errorOf } from './compactor.ts'
import type { Partition } from './partition.ts'
import type { ShardState } from './shard-state.ts'

/**
 * Compaction of a shard's partitions: every log.cleaner.backoff.ms a pass over those that have the
 * compact policy; one that is due is given to the compactor, and its segments are swapped in as
 * they come. One log at a time. Part of the shard's turn: it looks at some hundred partitions, or
 * swaps what has arrived.
 */
/** Partitions that a turn looks at, without their logs. */
const PARTITIONS_PER_TURN = 256
/** Between two passes, whatever log.cleaner.backoff.ms says: a shard is to sleep in between. */
const INTERVAL_MS_MIN = 100
/** After a compaction that got nowhere: the disk had no room, or a transaction is open. */
const RETRY_MS = 60_000

interface Running {
  readonly partition: Partition
  readonly log: PartitionLog
  readonly startedMs: number
}

export class CompactionService {
  readonly #state: ShardState
  readonly #compactor: Compactor | null
  readonly #intervalMs: number
  /** NaN before the first turn. */
  #nextPassMs = Number.NaN
  #pass: Iterator<Partition> | null = null
  #current: Running | null = null

  constructor(state: ShardState, compactor: Compactor | null, intervalMs: number) {
    this.#state = state
    this.#compactor = compactor
    this.#intervalMs = Math.max(INTERVAL_MS_MIN, intervalMs)
  }

  /** One turn's share; nothing may be staged. Returns how much was done. */
  run(nowMs: number): number {
    const compactor = this.#compactor
    if (compactor === null) return 0
    if (Number.isNaN(this.#nextPassMs)) this.#nextPassMs = nowMs + this.#intervalMs
    if (this.#current !== null) return compactor.drain(this.#onReport)
    if (this.#pass === null && nowMs >= this.#nextPassMs) {
      this.#nextPassMs = nowMs + this.#intervalMs
      this.#pass = this.#state.partitions.values()
    }
    if (this.#pass === null) return 0
    this.#walk(compactor, this.#pass, nowMs)
    return 1
  }

  /** When `run` has something to do though nobody writes; monotonic. */
  get nextDeadlineMs(): number {
    if (this.#compactor === null || this.#current !== null) return Infinity // It is asked anyway.
    return this.#pass === null ? this.#nextPassMs : 0
  }

  /** Stops the compaction of the partition, or of any (null), and waits until it has ended. */
  stop(partition: Partition | null): void {
    if (this.#current === null) return
    if (partition === null || this.#current.partition === partition) this.#abandon(RETRY_MS)
  }

  #walk(compactor: Compactor, pass: Iterator<Partition>, nowMs: number): void {
    const wallMs = this.#state.context.clock.wallMs()
    for (let i = 0; i < PARTITIONS_PER_TURN; i++) {
      const next = pass.next()
      if (next.done === true) {
        this.#pass = null
        return
      }
      const partition = next.value
      if (!partition.isCompactionDue(nowMs, wallMs)) continue
      if (this.#state.isFailed(partition.logDirectory)) continue
      this.#look(compactor, partition, { nowMs, wallMs })
      return
    }
  }

  /** Starts a compaction if the log is due, and else remembers when it will be. */
  #look(compactor: Compactor, partition: Partition, at: { nowMs: number; wallMs: number }): void {
    const isOpenedToLook = partition.openedLog === null
    const log = this.#state.openLog(partition)
    if (log === null) {
      partition.compactNotBefore(at.nowMs + RETRY_MS)
      return
    }
    try {
      const job = log.startCompaction(at.wallMs)
      if (job !== null) {
        this.#current = { partition, log, startedMs: at.nowMs }
        compactor.start(job)
        return
      }
      partition.noteCompactionDue(log.compactionDueAtMs(at.wallMs))
      if (isOpenedToLook && partition.isIdle) this.#state.rest(partition)
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      partition.compactNotBefore(at.nowMs + RETRY_MS)
      this.#state.refuse(partition, error)
    }
  }

  readonly #onReport = (report: CompactionReport): void => {
    const current = this.#current
    if (current === null) return // Stopped by the report before this one.
    const { partition, log } = current
    try {
      if (report.kind === 'compacted') {
        if (!log.swapCompacted(report.segment)) this.#abandon(0)
        else this.#state.counters.compactedSegments++
      } else if (report.kind === 'failed' && isOutrun(log, report)) {
        this.#abandon(RETRY_MS)
      } else if (report.kind === 'failed') {
        this.#fail(partition, errorOf(report))
      } else {
        this.#finish(current, report.summary)
      }
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      this.#fail(partition, error)
    }
  }

  #finish({ partition, log, startedMs }: Running, summary: CompactionSummary): void {
    this.#current = null
    const { counters, context, outbox } = this.#state
    const nowMs = context.clock.monotonicMs()
    const { bytesRead, bytesWritten, recordsDropped, keys } = summary
    counters.compactions++
    counters.compactedBytesIn += bytesRead
    counters.compactedBytesOut += bytesWritten
    counters.compactedRecords += recordsDropped
    counters.compactionMs += nowMs - startedMs
    // Without a gain, or where the end cannot be written, looking again would do all of it again.
    partition.compactNotBefore(nowMs + RETRY_MS)
    const before = log.compactedOffset
    log.endCompaction(summary.endOffset)
    if (log.compactedOffset > before) partition.compactNotBefore(nowMs)
    const ms = Math.round(nowMs - startedMs)
    const { directory } = partition
    outbox.event({
      kind: 'compaction',
      directory,
      bytesRead,
      bytesWritten,
      recordsDropped,
      keys,
      ms,
    })
  }

  /** What the compaction of one log runs into stops no other. */
  #fail(partition: Partition, error: BrokerError): void {
    const isDamage = error.code === ErrorCode.CORRUPT_MESSAGE
    this.#abandon(isDamage && !isTemporary(error) ? Infinity : RETRY_MS)
    this.#state.refuse(partition, error)
  }

  #abandon(retryMs: number): void {
    const current = this.#current
    if (current === null) return
    const { partition, log } = current
    this.#current = null
    this.#compactor?.stop()
    partition.compactNotBefore(this.#state.context.clock.monotonicMs() + retryMs)
    try {
      log.endCompaction(null)
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      this.#state.refuse(partition, error)
    }
  }
}

/** Segments went under the job: retention deleted them, or the log was truncated. */
function isOutrun(log: PartitionLog, { systemCode }: Failure): boolean {
  return systemCode === 'ENOENT' || log.isCompactionStale
}
