import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { Histogram } from '../metrics/histogram.ts'
import type { Arena } from '../ring/arena.ts'
import { isTemporary, systemCode } from '../storage/file-io.ts'
import type { LogContext, PartitionLog } from '../storage/log.ts'
import type { Outbox } from './outbox.ts'
import type { Partition } from './partition.ts'
import { NO_OFFSETS } from './waiting-ack.ts'

/**
 * What a shard owns: its partitions, their open logs, the directories that have failed, the memory
 * for read results. `Shard` and `ControlHandler` work on it in turns of one thread.
 */
/** Between two events that a directory is short of something. */
const SHORT_INTERVAL_MS = 1000

export class ShardState {
  readonly index: number
  readonly context: LogContext
  readonly outbox: Outbox
  readonly egress: Arena
  readonly partitions = new Map<number, Partition>()
  /** Partitions whose log is open: the only ones that have timers. */
  readonly open = new Set<Partition>()
  /** Flushes under way, by token. */
  readonly flushing = new Map<number, Partition>()
  readonly counters = {
    appends: 0,
    appendedRecords: 0,
    appendedBytes: 0,
    followedBytes: 0,
    reads: 0,
    readBytes: 0,
    flushes: 0,
    deletedSegments: 0,
    deletedBytes: 0,
    compactions: 0,
    compactedSegments: 0,
    compactedRecords: 0,
    compactedBytesIn: 0,
    compactedBytesOut: 0,
    compactionMs: 0,
    turns: 0,
    parks: 0,
    recoveredPartitions: 0,
    recoveredBytes: 0,
  }
  /** Turns that did something. */
  readonly turnTimes = new Histogram()
  isShutDown = false
  readonly #failedDirectories = new Set<string>()
  /** When main was last told that a directory is short of something, monotonic. */
  readonly #toldShortMs = new Map<string, number>()
  readonly openLogsMax: number
  #nextFlushToken = 1

  /** When a flush that could not begin is to be tried again, monotonic; maintenance does. */
  retryFlushMs = Infinity

  constructor(parts: {
    index: number
    context: LogContext
    outbox: Outbox
    egress: Arena
    openLogsMax: number
  }) {
    this.openLogsMax = parts.openLogsMax
    this.index = parts.index
    this.context = parts.context
    this.outbox = parts.outbox
    this.egress = parts.egress
  }

  /**
   * The partition's log, opened when it was not. Null when its directory has failed: the caller
   * answers KAFKA_STORAGE_ERROR.
   */
  openLog(partition: Partition): PartitionLog | null {
    if (this.#failedDirectories.has(partition.logDirectory)) return null
    partition.isHot = true
    if (partition.openedLog !== null) return partition.openedLog
    try {
      if (this.open.size >= this.openLogsMax) this.#restSomeone()
      if (this.#failedDirectories.has(partition.logDirectory)) return null
      const log = partition.log(this.context)
      this.open.add(partition)
      if (log.hasLost) this.#tellDamaged(partition, true)
      return log
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      this.refuse(partition, error)
      return null
    }
  }

  /**
   * What a failure means: damage and a lack of room are one partition's matter, else the disk's.
   */
  refuse(partition: Partition, error: BrokerError): void {
    const isDamage = error.code === ErrorCode.CORRUPT_MESSAGE
    if (isDamage && partition.isDamageReported) return
    partition.isDamageReported ||= isDamage
    if (isTemporary(error) && partition.openedLog?.failed !== true) {
      this.#tellShort(partition.logDirectory, systemCode(error))
    } else if (isDamage) {
      this.outbox.event({ kind: 'warning', message: `${partition.directory}: ${error.message}` })
      // A mark that is not true says nothing of the log behind it.
      if (partition.openedLog?.isMarkStale !== true) this.#tellDamaged(partition, false)
    } else {
      this.failDirectory(partition.logDirectory, error)
    }
  }

  #tellDamaged({ handle }: Partition, isCut: boolean): void {
    this.outbox.event({ kind: 'replica-damaged', handle, isCut })
  }

  /** A client that tries again and again must not fill the broker's log. */
  #tellShort(logDirectory: string, code: string): void {
    const nowMs = this.context.clock.monotonicMs()
    if (nowMs - (this.#toldShortMs.get(logDirectory) ?? -Infinity) < SHORT_INTERVAL_MS) return
    this.#toldShortMs.set(logDirectory, nowMs)
    this.outbox.event({ kind: 'directory-short', logDirectory, code })
  }

  /**
   * Closes one log that nobody has used lately, so that descriptors do not run out. A log that is
   * in use stays, even if that means one too many.
   */
  #restSomeone(): void {
    let left = this.open.size * 2
    for (const partition of this.open) {
      if (left-- === 0) return
      if (partition.isHot || !partition.isIdle) {
        partition.isHot = false
        this.open.delete(partition)
        this.open.add(partition) // To the end of the queue.
        continue
      }
      try {
        this.rest(partition)
      } catch (error) {
        if (!(error instanceof BrokerError)) throw error
        this.refuse(partition, error)
      }
      return
    }
  }

  /** Takes a log directory offline: a disk that failed once is not trusted again. */
  failDirectory(logDirectory: string, error: Error): void {
    if (this.#failedDirectories.has(logDirectory)) return
    this.#failedDirectories.add(logDirectory)
    this.outbox.event({ kind: 'directory-failed', logDirectory, message: error.message })
    for (const partition of this.partitions.values()) {
      if (partition.logDirectory !== logDirectory) continue
      this.dropWaiters(partition, ErrorCode.KAFKA_STORAGE_ERROR)
    }
  }

  isFailed(logDirectory: string): boolean {
    return this.#failedDirectories.has(logDirectory)
  }

  /** Answers everyone who waits on a partition that can no longer serve them. */
  dropWaiters(partition: Partition, errorCode: number): void {
    for (const ack of partition.waitingAcks) {
      this.outbox.appended(ack.token, errorCode, NO_OFFSETS)
    }
    partition.waitingAcks.length = 0
    partition.replica?.drop(this.outbox, errorCode)
    for (const token of partition.watches.keys()) this.outbox.wake(token)
    partition.watches.clear()
  }

  /** Answers what the log, and the partition's high watermark, now allow. */
  settle(partition: Partition): void {
    const log = partition.openedLog
    if (log === null) return
    if (this.#failedDirectories.has(partition.logDirectory)) {
      this.dropWaiters(partition, ErrorCode.KAFKA_STORAGE_ERROR)
      return
    }
    const { outbox } = this
    partition.replica?.settle(log, outbox, this.context.clock.monotonicMs())
    outbox.acknowledge(partition.waitingAcks, log.highWatermark, log.logStartOffset)
    for (const [token, offset] of partition.watches) {
      if (offset >= log.highWatermark) continue
      partition.watches.delete(token)
      this.outbox.wake(token)
    }
  }

  flushIfDue(partition: Partition, nowMs: number): void {
    const log = partition.openedLog
    if (log === null || log.flushing || !log.flushDue(nowMs)) return
    const token = this.#nextFlushToken
    this.#nextFlushToken = token === 0x7fff_ffff ? 1 : token + 1
    this.counters.flushes++
    try {
      if (log.startFlush(token) > 0) this.flushing.set(token, partition)
      else this.settle(partition)
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      // Some of its files may have been started: their reports still come.
      if (log.flushing) this.flushing.set(token, partition)
      this.refuse(partition, error)
      if (log.failed) this.dropWaiters(partition, ErrorCode.KAFKA_STORAGE_ERROR)
      this.retryFlushMs = Math.min(this.retryFlushMs, log.nextDeadlineMs())
    }
  }

  readonly onFlushed = (token: number, error: Error | null): void => {
    const partition = this.flushing.get(token)
    const log = partition?.openedLog ?? null
    if (partition === undefined || log === null) return // Deleted meanwhile.
    log.onFlushed(token, error)
    if (!log.flushing) this.flushing.delete(token)
    if (error !== null) {
      this.failDirectory(partition.logDirectory, error)
      // Whoever began to wait after the directory had failed is told as well.
      this.dropWaiters(partition, ErrorCode.KAFKA_STORAGE_ERROR)
      return
    }
    this.settle(partition)
    this.flushIfDue(partition, this.context.clock.monotonicMs())
  }

  /** Waits for the flushes under way: before a log is closed, truncated or deleted. */
  awaitFlushes(): void {
    while (this.flushing.size > 0) this.context.files.drainFlushes(this.onFlushed)
  }

  /**
   * Removes files of deleted segments whose time is over at `nowMs`, at most `limit`; returns how
   * many it tried. One that the disk does not remove goes when its log is opened again.
   */
  removeDeletedFiles(nowMs: number, limit: number): number {
    const { deletedFiles } = this.context
    let tried = 0
    for (; tried < limit && deletedFiles.isDue(nowMs); tried++) {
      try {
        deletedFiles.removeDue(nowMs, 1)
      } catch (error) {
        if (!(error instanceof BrokerError)) throw error
        this.outbox.event({ kind: 'warning', message: error.message })
      }
    }
    return tried
  }

  /** Closes an open log in order; the next use opens it again. Throws BrokerError. */
  rest(partition: Partition): void {
    this.open.delete(partition)
    partition.close()
  }

  /**
   * The log of the partition, scanned, whose clean mark has turned out to be stale. Null when the
   * disk refuses, or while reads of it are under way: the client tries again. Null, too, when it
   * was a leader's.
   */
  rescan(partition: Partition, error: string | null): PartitionLog | null {
    if (partition.readsUnderWay > 0) return null
    this.outbox.event({ kind: 'warning', message: error ?? partition.directory })
    this.dropWaiters(partition, ErrorCode.KAFKA_STORAGE_ERROR)
    // What it led is not what is there: somebody else has to, in another epoch.
    const isDeposed = partition.replica?.role === 'leader'
    if (isDeposed) partition.replica?.follow()
    try {
      this.open.delete(partition)
      partition.distrustMark()
    } catch (thrown) {
      if (!(thrown instanceof BrokerError)) throw thrown
      this.refuse(partition, thrown)
      return null
    }
    return isDeposed ? null : this.openLog(partition)
  }

  /** Forgets a partition; its log has been closed or deleted. */
  forget(partition: Partition): void {
    this.partitions.delete(partition.handle)
    this.open.delete(partition)
  }

  /** Puts `bytes` into an egress extent, which main gives back; null when there is no room now. */
  lend(bytes: Uint8Array): { offset: number; length: number; generation: number } | null {
    const offset = this.egress.allocate(bytes.length)
    if (offset < 0) return null
    this.egress.bytes.set(bytes, offset)
    return { offset, length: bytes.length, generation: this.egress.generationOf(offset) }
  }

  /** Bytes in the open logs. */
  logBytes(): number {
    let bytes = 0
    for (const partition of this.open) bytes += partition.openedLog?.bytes ?? 0
    return bytes
  }
}
