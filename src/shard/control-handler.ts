import { assert, unreachable } from '../base/assert.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { type CheckpointEntry, writeCheckpoint } from '../storage/checkpoint.ts'
import type { PartitionLog, TimestampedBatch } from '../storage/log.ts'
import { removeReplica } from '../storage/removal.ts'
import type { ControlReply, ControlRequest } from './control.ts'
import { Partition } from './partition.ts'
import type { ReplicaService } from './replica-service.ts'
import type { ShardState } from './shard-state.ts'
import { openRecords, partitionRows, shardStats } from './shard-stats.ts'

/**
 * The rare requests of a shard: opening, recovering, deleting and describing partitions, looking up
 * by time, checkpoints, shutdown. Part of the shard's turn; same rules.
 */
interface Recovery {
  readonly token: number
  readonly queue: Partition[]
}

/** Partitions between two reports of progress. */
const PROGRESS_STEP = 100

export class ControlHandler {
  readonly #shard: ShardState
  readonly #replicas: ReplicaService
  readonly #checkpointIntervalMs: number
  readonly #threadCpuMicros: () => number
  readonly #settleReads: () => void
  readonly #stopCompaction: (partition: Partition | null) => void
  readonly #recoveries: Recovery[] = []
  #nextCheckpointMs = Number.NaN

  constructor(
    shard: ShardState,
    parts: {
      replicas: ReplicaService
      checkpointIntervalMs: number
      threadCpuMicros: () => number
      /** Waits for the reads under way. */
      settleReads: () => void
      /** Of the partition, or of any; waits until it has stopped. */
      stopCompaction: (partition: Partition | null) => void
    },
  ) {
    this.#shard = shard
    this.#replicas = parts.replicas
    this.#checkpointIntervalMs = parts.checkpointIntervalMs
    this.#threadCpuMicros = parts.threadCpuMicros
    this.#settleReads = parts.settleReads
    this.#stopCompaction = parts.stopCompaction
  }

  get isRecovering(): boolean {
    return this.#recoveries.length > 0
  }

  handle(token: number, request: ControlRequest): void {
    if (request.kind === 'open') {
      this.#open(token, request)
      return
    }
    let reply: ControlReply
    try {
      reply = this.#answer(request)
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      reply = { kind: 'failed', errorCode: error.code, message: error.message }
    }
    this.#shard.outbox.reply(token, reply)
  }

  /** Recovers a few of the partitions that wait for it; returns how many. */
  recoverSome(limit: number): number {
    const recovery = this.#recoveries[0]
    if (recovery === undefined) return 0
    for (let i = 0; i < limit; i++) {
      const partition = recovery.queue.pop()
      if (partition === undefined) break
      // Deleted while it waited.
      if (this.#shard.partitions.get(partition.handle) !== partition) continue
      const { counters } = this.#shard
      counters.recoveredBytes += this.#recover(partition)
      if (++counters.recoveredPartitions % PROGRESS_STEP === 0) this.#reportProgress()
    }
    if (recovery.queue.length === 0) {
      this.#reportProgress()
      this.#recoveries.shift()
      this.#shard.outbox.reply(recovery.token, { kind: 'ok' })
    }
    return 1
  }

  /**
   * Opens a log, which recovers it, and closes it again until somebody uses it. Returns its size.
   */
  #recover(partition: Partition): number {
    const log = this.#shard.openLog(partition)
    if (log === null) return 0
    const { bytes } = log
    if (!partition.isIdle) return bytes // Somebody uses it already.
    try {
      this.#shard.rest(partition)
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      this.#shard.refuse(partition, error)
    }
    return bytes
  }

  /** Writes the checkpoint tables when it is time; returns when it is next, monotonic. */
  checkpointIfDue(nowMs: number): number {
    if (Number.isNaN(this.#nextCheckpointMs)) {
      this.#nextCheckpointMs = nowMs + this.#checkpointIntervalMs
    }
    if (nowMs >= this.#nextCheckpointMs) {
      this.#nextCheckpointMs = nowMs + this.#checkpointIntervalMs
      this.#checkpoint(false)
    }
    return this.#nextCheckpointMs
  }

  #open(token: number, request: Extract<ControlRequest, { kind: 'open' }>): void {
    const queue: Partition[] = []
    for (const open of request.partitions) {
      assert(!this.#shard.partitions.has(open.handle), `handle ${open.handle} is opened twice`)
      const partition = new Partition(open, request.options)
      this.#shard.partitions.set(open.handle, partition)
      queue.push(partition)
    }
    if (request.recover && queue.length > 0) {
      queue.reverse()
      this.#recoveries.push({ token, queue })
    } else {
      this.#shard.outbox.reply(token, { kind: 'ok' })
    }
  }

  #answer(request: Exclude<ControlRequest, { kind: 'open' }>): ControlReply {
    switch (request.kind) {
      case 'stats':
        return { kind: 'stats', stats: shardStats(this.#shard, this.#threadCpuMicros()) }
      case 'partition-stats':
        return { kind: 'partition-stats', rows: partitionRows(this.#shard, request.handles) }
      case 'lead':
      case 'follow':
      case 'replica-states':
      case 'truncate':
      case 'restart-at':
      case 'truncate-to':
      case 'set-brokers':
      case 'alter-answer':
        return this.#replicas.answer(request)
      case 'checkpoint':
        this.#checkpoint(false)
        return { kind: 'ok' }
      case 'shutdown':
        return this.#shutdown()
      case 'fail-directory':
        this.#shard.failDirectory(request.logDirectory, new Error(request.message))
        return { kind: 'ok' }
      default:
        break
    }
    const partition = this.#shard.partitions.get(request.handle)
    if (partition === undefined) return failed(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    if (request.kind === 'configure') {
      partition.configure(request.options)
      return { kind: 'ok' }
    }
    if (request.kind === 'delete') return this.#delete(partition, request.mayComeBack === true)
    const log = this.#shard.openLog(partition)
    if (log === null) return failed(ErrorCode.KAFKA_STORAGE_ERROR)
    switch (request.kind) {
      case 'offsets':
        return offsetsOf(log)
      case 'offset-for-timestamp':
        return this.#lookUp(log, log.batchForTimestamp(request.timestampMs, 'highWatermark'))
      case 'max-timestamp':
        return this.#lookUp(log, log.batchOfMaxTimestamp('highWatermark'))
      case 'delete-records': {
        const code = log.deleteRecordsTo(request.beforeOffset)
        return code === ErrorCode.NONE ? offsetsOf(log) : failed(code)
      }
      case 'end-offset-for-epoch': {
        const end = log.endOffsetForEpoch(request.leaderEpoch)
        return { kind: 'epoch', leaderEpoch: end.epoch, endOffset: end.endOffset }
      }
      default:
        return unreachable(request)
    }
  }

  #lookUp(log: PartitionLog, batch: TimestampedBatch | null): ControlReply {
    if (batch === null) return { kind: 'no-batch' }
    const lent = this.#shard.lend(log.readBatch(batch))
    if (lent === null) return failed(ErrorCode.REQUEST_TIMED_OUT)
    return { kind: 'batch', ...lent }
  }

  #delete(partition: Partition, mayComeBack: boolean): ControlReply {
    this.#shard.dropWaiters(partition, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    this.#shard.awaitFlushes()
    this.#settleReads()
    this.#stopCompaction(partition)
    this.#shard.forget(partition)
    const log = partition.openedLog
    const { files } = this.#shard.context
    if (log !== null) log.delete(mayComeBack)
    else if (mayComeBack) removeReplica(files, partition.directory)
    else files.removeDirectory(partition.directory)
    return { kind: 'ok' }
  }

  #shutdown(): ControlReply {
    this.#shard.awaitFlushes()
    this.#settleReads()
    this.#stopCompaction(null)
    this.#shard.removeDeletedFiles(Infinity, Infinity)
    const { logs, flushedRecords } = openRecords(this.#shard)
    this.#checkpoint(true)
    this.#shard.isShutDown = true
    return { kind: 'closed', logs, flushedRecords }
  }

  /**
   * One table a log directory. With `close` every log is closed and the table is the clean mark.
   */
  #checkpoint(close: boolean): void {
    const tables = new Map<string, CheckpointEntry[]>()
    for (const partition of this.#shard.partitions.values()) {
      if (this.#shard.isFailed(partition.logDirectory)) continue
      const log = partition.openedLog
      let hint = partition.hint
      try {
        if (log !== null) hint = log.checkpoint()
        if (log !== null && close) hint = log.close()
      } catch (error) {
        if (!(error instanceof BrokerError)) throw error
        this.#shard.refuse(partition, error)
        if (this.#shard.isFailed(partition.logDirectory)) {
          tables.delete(partition.logDirectory)
          continue
        }
        // There was no room to close it in order: it is scanned at the next start.
      }
      if (hint === null) continue
      const table = tables.get(partition.logDirectory) ?? []
      tables.set(partition.logDirectory, table)
      table.push({ topicId: partition.topicId, partition: partition.partition, hint })
    }
    for (const [logDirectory, entries] of tables) {
      if (this.#shard.isFailed(logDirectory)) continue
      try {
        writeCheckpoint(this.#shard.context.files, {
          logDirectory,
          shard: this.#shard.index,
          clean: close,
          entries,
        })
      } catch (error) {
        if (!(error instanceof BrokerError)) throw error
        this.#shard.outbox.event({ kind: 'warning', message: error.message })
      }
    }
  }

  #reportProgress(): void {
    const { recoveredPartitions, recoveredBytes } = this.#shard.counters
    this.#shard.outbox.event({ kind: 'recovery', recoveredPartitions, recoveredBytes })
  }
}

function offsetsOf(log: PartitionLog): ControlReply {
  return {
    kind: 'offsets',
    logStartOffset: log.logStartOffset,
    logEndOffset: log.logEndOffset,
    highWatermark: log.highWatermark,
    lastStableOffset: log.lastStableOffset,
  }
}

function failed(errorCode: number): ControlReply {
  return { kind: 'failed', errorCode, message: '' }
}
