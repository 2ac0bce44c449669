import { Packr } from 'msgpackr'
import { assert } from '../base/assert.ts'
import { copyOf } from '../base/bytes.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { Arena, ArenaView } from '../ring/arena.ts'
import type { LaneReader } from '../ring/lane.ts'
import { type LogContext, newAppendResult } from '../storage/log.ts'
import { CompactionService } from './compaction-service.ts'
import type { Compactor } from './compactor.ts'
import type { ControlRequest } from './control.ts'
import { ControlHandler } from './control-handler.ts'
import * as layout from './messages-layout.ts'
import type { Outbox } from './outbox.ts'
import type { Partition, WaitingAck } from './partition.ts'
import { emptyAnswer, ReadService } from './read-service.ts'
import { RetentionService } from './retention-service.ts'
import { NO_OFFSETS, ShardState } from './shard-state.ts'

/**
 * A shard owns the partitions assigned to it and is the only one that touches their files. `turn`
 * is the whole of its work, without promises, locks or I/O of its own: drain the lane, write what
 * was appended (one gathering write a segment), start and collect flushes, answer, run timers. The
 * thread (`shard-thread.ts`) and the simulator call the same code.
 *
 * Never here: a `node:` module, the system's clock, the main thread's state.
 */
export interface ShardParts {
  readonly index: number
  readonly requests: LaneReader
  readonly outbox: Outbox
  /** Main's arena: where the batches to append lie. */
  readonly ingress: ArenaView
  /** The shard's own arena: where read results are put. */
  readonly egress: Arena
  readonly context: LogContext
  readonly checkpointIntervalMs: number
  readonly retentionCheckIntervalMs: number
  /** Null: nothing is compacted. */
  readonly compactor: Compactor | null
  /** Between two looks whether a log is due to be compacted. */
  readonly compactionIntervalMs: number
  /** Logs that are kept open while nobody uses them. */
  readonly openLogsMax: number
  /** CPU time of the shard's thread so far, in microseconds. */
  readonly threadCpuMicros: () => number
}

/** Requests taken from the lane in one turn: bounds how long acknowledgements of a turn wait. */
const REQUESTS_PER_TURN = 1024
/** Partitions recovered in one turn. */
const RECOVERIES_PER_TURN = 1
const MAINTENANCE_INTERVAL_MS = 10

export class Shard {
  readonly state: ShardState
  readonly #requests: LaneReader
  readonly #ingress: ArenaView
  readonly #reads: ReadService
  readonly #controls: ControlHandler
  readonly #retention: RetentionService
  readonly #compaction: CompactionService
  readonly #packr = new Packr({ useRecords: false })
  readonly #dirty: Partition[] = []
  /** Acknowledgements of this turn, per partition in `waitingAcks` once written. */
  readonly #staged: StagedAck[] = []
  readonly #result = newAppendResult()
  #nextMaintenanceMs = 0

  constructor(parts: ShardParts) {
    this.state = new ShardState(parts)
    this.#requests = parts.requests
    this.#ingress = parts.ingress
    this.#reads = new ReadService(this.state)
    this.#retention = new RetentionService(this.state, parts.retentionCheckIntervalMs)
    const { compactor, compactionIntervalMs } = parts
    this.#compaction = new CompactionService(this.state, compactor, compactionIntervalMs)
    this.#controls = new ControlHandler(this.state, {
      settleReads: () => this.#reads.settle(),
      stopCompaction: (partition) => this.#compaction.stop(partition),
      checkpointIntervalMs: parts.checkpointIntervalMs,
      threadCpuMicros: parts.threadCpuMicros,
    })
  }

  get isFlushing(): boolean {
    return this.state.flushing.size > 0
  }

  /** Reads are under way off this thread. */
  get isReading(): boolean {
    return this.#reads.isReading
  }

  get isShutDown(): boolean {
    return this.state.isShutDown
  }

  /**
   * One round of work. `nowMs` is monotonic. Returns how much was done; 0 means that it may park.
   */
  turn(nowMs: number): number {
    this.state.counters.turns++
    let work = this.state.outbox.flush()
    if (!this.state.outbox.isBlocked && !this.state.isShutDown) {
      work += this.#requests.drain(REQUESTS_PER_TURN, this.#onRequest)
    }
    work += this.#writeDirty(nowMs)
    work += this.state.context.files.drainFlushes(this.state.onFlushed)
    work += this.#reads.collect()
    work += this.#controls.recoverSome(RECOVERIES_PER_TURN)
    if (nowMs >= this.#nextMaintenanceMs) this.#maintain(nowMs)
    if (!this.state.isShutDown && !this.#controls.isRecovering) {
      work += this.#retention.run(nowMs)
      work += this.#compaction.run(nowMs)
    }
    work += this.state.outbox.flush()
    return work
  }

  /** When `turn` must run again though no message comes, on the monotonic clock. */
  get nextDeadlineMs(): number {
    if (this.state.outbox.isBlocked || this.#controls.isRecovering) return 0
    const { nextDeadlineMs } = this.#compaction
    return Math.min(this.#nextMaintenanceMs, this.#retention.nextDeadlineMs, nextDeadlineMs)
  }

  readonly #onRequest = (type: number, at: number): void => {
    if (this.state.isShutDown) {
      this.#refuseAfterShutdown(type, at)
      return
    }
    switch (type) {
      case layout.APPEND:
        this.#onAppend(at)
        return
      case layout.READ:
        this.#onRead(at)
        return
      case layout.RELEASE: {
        const view = this.#requests.view
        this.state.egress.free(view.getUint32(at, true), view.getUint32(at + 4, true))
        return
      }
      case layout.UNWATCH: {
        const view = this.#requests.view
        const partition = this.state.partitions.get(view.getUint32(at + 4, true))
        partition?.watches.delete(view.getUint32(at, true))
        return
      }
      case layout.CONTROL:
        this.#onControl(at)
        return
      default:
        assert(false, `unknown request type ${type}`)
    }
  }

  /** The logs are closed and marked so: whatever stood behind the shutdown is not served. */
  #refuseAfterShutdown(type: number, at: number): void {
    const token = this.#requests.view.getUint32(at, true)
    const { outbox } = this.state
    if (type === layout.APPEND) {
      outbox.appended(token, ErrorCode.NOT_LEADER_OR_FOLLOWER, NO_OFFSETS)
    } else if (type === layout.READ) {
      const answer = emptyAnswer()
      answer.errorCode = ErrorCode.NOT_LEADER_OR_FOLLOWER
      outbox.readDone(token, answer)
    } else if (type === layout.CONTROL) {
      const errorCode = ErrorCode.NOT_LEADER_OR_FOLLOWER
      outbox.reply(token, { kind: 'failed', errorCode, message: 'the broker is stopping' })
    }
  }

  #onAppend(at: number): void {
    const view = this.#requests.view
    const token = view.getUint32(at, true)
    const partition = this.state.partitions.get(view.getUint32(at + 4, true))
    const offset = view.getUint32(at + 8, true)
    const length = view.getUint32(at + 12, true)
    this.#ingress.check(view.getUint32(at + 24, true), 1, view.getUint32(at + 16, true))
    const leaderEpoch = view.getInt32(at + 20, true)
    if (partition === undefined) {
      this.state.outbox.appended(token, ErrorCode.NOT_LEADER_OR_FOLLOWER, NO_OFFSETS)
      return
    }
    // Logs with something staged cannot be closed for others: a wide request takes few at a time.
    if (this.#dirty.length >= this.state.openLogsMax) {
      this.#writeDirty(this.state.context.clock.monotonicMs())
    }
    let log = this.state.openLog(partition)
    const result = this.#result
    const run = { bytes: this.#ingress.bytes, offset, length }
    log?.append(run, leaderEpoch, result)
    if (log?.isMarkStale === true) {
      log = this.state.rescan(partition, result.errorMessage)
      log?.append(run, leaderEpoch, result)
    }
    if (log === null) {
      this.state.outbox.appended(token, ErrorCode.KAFKA_STORAGE_ERROR, NO_OFFSETS)
      return
    }
    this.state.counters.appends++
    if (result.errorCode !== ErrorCode.NONE) {
      this.state.outbox.appended(token, result.errorCode, {
        baseOffset: -1,
        logStartOffset: log.logStartOffset,
        appendTimeMs: -1,
      })
      return
    }
    this.#staged.push({
      partition,
      token,
      baseOffset: result.baseOffset,
      endOffset: result.endOffset,
      // What is in the log already was counted the first time.
      bytes: result.duplicate ? 0 : length,
      appendTimeMs: result.appendTimeMs,
      isWrittenReported: false,
    })
    if (!partition.isDirty) {
      partition.isDirty = true
      this.#dirty.push(partition)
    }
  }

  /** Writes what this turn appended, then answers or queues the acknowledgements. */
  #writeDirty(nowMs: number): number {
    const count = this.#staged.length
    for (const partition of this.#dirty) {
      const log = partition.openedLog
      assert(log !== null)
      try {
        if (log.hasStaged) log.writeStaged()
      } catch (error) {
        if (!(error instanceof BrokerError)) throw error
        this.#refuseStaged(partition, error)
      }
    }
    for (const staged of this.#staged) {
      if (!staged.partition.isDirty) continue
      staged.partition.waitingAcks.push(staged)
      this.#countAppend(staged)
    }
    this.#staged.length = 0
    for (const partition of this.#dirty) {
      if (!partition.isDirty) continue // Its write was refused.
      partition.isDirty = false
      this.state.settle(partition)
      for (const ack of partition.waitingAcks) this.#reportWritten(ack)
      this.state.flushIfDue(partition, nowMs)
      const log = partition.openedLog
      if (log === null) continue
      this.#retention.noteWrite(partition, log)
      const deadline = log.nextDeadlineMs()
      if (deadline < this.#nextMaintenanceMs) this.#nextMaintenanceMs = deadline
    }
    this.#dirty.length = 0
    return count
  }

  #countAppend({ partition, bytes, baseOffset, endOffset }: StagedAck): void {
    if (bytes === 0) return
    const { counters } = this.state
    counters.appendedRecords += endOffset - baseOffset
    counters.appendedBytes += bytes
    partition.recordsIn += endOffset - baseOffset
    partition.bytesIn += bytes
  }

  /** Acknowledged later, but main may reuse the memory of its bytes now. */
  #reportWritten(ack: WaitingAck): void {
    if (ack.isWrittenReported) return
    ack.isWrittenReported = true
    this.state.outbox.written(ack.token)
  }

  /** The disk refused a write: nothing of it is in the log, and every append of it is told. */
  #refuseStaged(partition: Partition, error: BrokerError): void {
    partition.isDirty = false
    this.state.refuse(partition, error) // First, so that main can say why.
    for (const staged of this.#staged) {
      if (staged.partition === partition) {
        this.state.outbox.appended(staged.token, ErrorCode.KAFKA_STORAGE_ERROR, NO_OFFSETS)
      }
    }
  }

  #onRead(at: number): void {
    const view = this.#requests.view
    this.#reads.read({
      token: view.getUint32(at, true),
      handle: view.getUint32(at + 4, true),
      fetchOffset: view.getFloat64(at + 8, true),
      bytesMax: view.getUint32(at + 16, true),
      flags: view.getUint32(at + 20, true),
    })
  }

  #onControl(at: number): void {
    const view = this.#requests.view
    const token = view.getUint32(at, true)
    // What came before it in the lane happens before it: a log with staged batches takes no edits.
    this.#writeDirty(this.state.context.clock.monotonicMs())
    const from = at + layout.CONTROL_HEADER_BYTES
    const body = copyOf(this.#requests.bytes, from, from + view.getUint32(at + 4, true))
    this.#controls.handle(token, this.#packr.unpack(body) as ControlRequest)
  }

  #maintain(nowMs: number): void {
    let next = this.#controls.checkpointIfDue(nowMs)
    for (const partition of this.state.open) {
      const log = partition.openedLog
      if (log === null || this.state.isFailed(partition.logDirectory)) continue
      if (log.nextDeadlineMs() <= nowMs) {
        log.maintain(nowMs)
        this.state.flushIfDue(partition, nowMs)
      }
      next = Math.min(next, log.nextDeadlineMs())
    }
    this.#nextMaintenanceMs = Math.max(next, nowMs + MAINTENANCE_INTERVAL_MS)
  }
}

interface StagedAck extends WaitingAck {
  readonly partition: Partition
  /** Of the batch; 0 for one that was in the log already. */
  readonly bytes: number
}
