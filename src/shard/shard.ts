import { Packr } from 'msgpackr'
import { assert } from '../base/assert.ts'
import { copyOf } from '../base/bytes.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { Arena, ArenaView } from '../ring/arena.ts'
import type { LaneReader } from '../ring/lane.ts'
import type { LogContext } from '../storage/log.ts'
import { AppendService } from './append-service.ts'
import { CompactionService } from './compaction-service.ts'
import type { Compactor } from './compactor.ts'
import type { ControlRequest } from './control.ts'
import { ControlHandler } from './control-handler.ts'
import * as layout from './messages-layout.ts'
import type { Outbox } from './outbox.ts'
import type { Partition } from './partition.ts'
import { emptyAnswer, ReadService } from './read-service.ts'
import { type FollowerFetch, ReplicaService } from './replica-service.ts'
import { RetentionService } from './retention-service.ts'
import { ShardState } from './shard-state.ts'
import { NO_OFFSETS } from './waiting-ack.ts'

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
  readonly #appends: AppendService
  readonly #reads: ReadService
  readonly #replicas: ReplicaService
  readonly #controls: ControlHandler
  readonly #retention: RetentionService
  readonly #compaction: CompactionService
  readonly #packr = new Packr({ useRecords: false })
  #nextMaintenanceMs = 0

  constructor(parts: ShardParts) {
    this.state = new ShardState(parts)
    this.#requests = parts.requests
    const quiesce = (partition: Partition): void => this.#quiesce(partition)
    this.#appends = new AppendService(this.state, {
      requests: parts.requests,
      ingress: parts.ingress,
      quiesce,
      onWritten: (partition, log) => {
        this.#retention.noteWrite(partition, log)
        const deadlineMs = log.nextDeadlineMs()
        if (deadlineMs < this.#nextMaintenanceMs) this.#nextMaintenanceMs = deadlineMs
      },
    })
    this.#replicas = new ReplicaService(this.state, quiesce)
    this.#reads = new ReadService(this.state, this.#replicas)
    this.#retention = new RetentionService(this.state, parts.retentionCheckIntervalMs)
    const { compactor, compactionIntervalMs } = parts
    this.#compaction = new CompactionService(this.state, compactor, compactionIntervalMs)
    this.#controls = new ControlHandler(this.state, {
      replicas: this.#replicas,
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
    work += this.#appends.write(nowMs)
    work += this.state.context.files.drainFlushes(this.state.onFlushed)
    work += this.#reads.collect()
    work += this.#controls.recoverSome(RECOVERIES_PER_TURN)
    if (!this.state.isShutDown) work += this.#replicas.run(nowMs)
    if (nowMs >= Math.min(this.#nextMaintenanceMs, this.state.retryFlushMs)) this.#maintain(nowMs)
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
    return Math.min(
      this.#nextMaintenanceMs,
      this.state.retryFlushMs,
      this.#retention.nextDeadlineMs,
      this.#compaction.nextDeadlineMs,
      this.#replicas.nextDeadlineMs,
    )
  }

  readonly #onRequest = (type: number, at: number): void => {
    if (this.state.isShutDown) {
      this.#refuseAfterShutdown(type, at)
      return
    }
    switch (type) {
      case layout.APPEND:
        this.#appends.append(at)
        return
      case layout.READ:
        this.#onRead(at, null)
        return
      case layout.FOLLOW:
        this.#appends.follow(at)
        return
      case layout.REPLICA_READ:
        this.#onReplicaRead(at)
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
        partition?.replica?.watches.delete(view.getUint32(at, true))
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
    } else if (type === layout.FOLLOW) {
      outbox.followed(token, ErrorCode.NOT_LEADER_OR_FOLLOWER, null)
    } else if (type === layout.READ || type === layout.REPLICA_READ) {
      const answer = emptyAnswer()
      answer.errorCode = ErrorCode.NOT_LEADER_OR_FOLLOWER
      outbox.readDone(token, answer)
    } else if (type === layout.CONTROL) {
      const errorCode = ErrorCode.NOT_LEADER_OR_FOLLOWER
      outbox.reply(token, { kind: 'failed', errorCode, message: 'the broker is stopping' })
    }
  }

  #onReplicaRead(at: number): void {
    const view = this.#requests.view
    this.#onRead(at, {
      replicaId: view.getInt32(at + 24, true),
      currentLeaderEpoch: view.getInt32(at + 28, true),
      replicaEpoch: view.getFloat64(at + 32, true),
      followerLogStart: view.getFloat64(at + 40, true),
      lastFetchedEpoch: view.getInt32(at + 48, true),
    })
  }

  #onRead(at: number, follower: FollowerFetch | null): void {
    const view = this.#requests.view
    this.#reads.read({
      token: view.getUint32(at, true),
      handle: view.getUint32(at + 4, true),
      fetchOffset: view.getFloat64(at + 8, true),
      bytesMax: view.getUint32(at + 16, true),
      flags: view.getUint32(at + 20, true),
      follower,
    })
  }

  #onControl(at: number): void {
    const view = this.#requests.view
    const token = view.getUint32(at, true)
    // What came before it in the lane happens before it: a log with staged batches takes no edits.
    this.#appends.write(this.state.context.clock.monotonicMs())
    const from = at + layout.CONTROL_HEADER_BYTES
    const body = copyOf(this.#requests.bytes, from, from + view.getUint32(at + 4, true))
    this.#controls.handle(token, this.#packr.unpack(body) as ControlRequest)
  }

  /** The bytes of its log are about to go: nobody reads, flushes or compacts them any more. */
  #quiesce(partition: Partition): void {
    this.state.awaitFlushes()
    this.#reads.settle()
    this.#compaction.stop(partition)
  }

  #maintain(nowMs: number): void {
    this.state.retryFlushMs = Infinity
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
