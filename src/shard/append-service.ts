import { assert } from '../base/assert.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { ArenaView } from '../ring/arena.ts'
import type { LaneReader } from '../ring/lane.ts'
import { type AppendResult, newAppendResult, type PartitionLog } from '../storage/log.ts'
import * as layout from './messages-layout.ts'
import type { Partition } from './partition.ts'
import type { Replica } from './replica.ts'
import type { ShardState } from './shard-state.ts'
import { NO_OFFSETS, type WaitingAck } from './waiting-ack.ts'

/**
 * What a shard writes: the appends of clients, and the batches that followers bring from their
 * leaders. A turn stages them in the order of the lane; `write` then writes each log once, and
 * answers or queues the acknowledgements.
 */
interface FollowRequest {
  readonly token: number
  readonly handle: number
  readonly offset: number
  /** 0: there are no batches, only news of the leader. */
  readonly length: number
  readonly leaderEpoch: number
  readonly leaderHighWatermark: number
  readonly leaderLogStart: number
}

interface StagedAck extends WaitingAck {
  readonly partition: Partition
  /** Of the batch; 0 for one that was in the log already. */
  readonly bytes: number
  /** acks=all. */
  readonly needsAll: boolean
}

interface StagedFollow {
  readonly partition: Partition
  readonly request: FollowRequest
  /** Exclusive. */
  readonly endOffset: number
}

export class AppendService {
  readonly #state: ShardState
  readonly #requests: LaneReader
  /** Main's arena: where the batches lie. */
  readonly #ingress: ArenaView
  /** A log's bytes are about to go: waits until nobody reads, flushes or compacts them. */
  readonly #quiesce: (partition: Partition) => void
  /** A log has been written to. */
  readonly #onWritten: (partition: Partition, log: PartitionLog) => void
  readonly #dirty: Partition[] = []
  /** Acknowledgements of this turn, per partition in `waitingAcks` once written. */
  readonly #staged: StagedAck[] = []
  readonly #stagedFollows: StagedFollow[] = []
  readonly #result = newAppendResult()

  constructor(
    state: ShardState,
    parts: {
      requests: LaneReader
      ingress: ArenaView
      quiesce: (partition: Partition) => void
      onWritten: (partition: Partition, log: PartitionLog) => void
    },
  ) {
    this.#state = state
    this.#requests = parts.requests
    this.#ingress = parts.ingress
    this.#quiesce = parts.quiesce
    this.#onWritten = parts.onWritten
  }

  /** An APPEND whose payload begins at `at` in the lane. */
  append(at: number): void {
    const view = this.#requests.view
    const token = view.getUint32(at, true)
    const partition = this.#state.partitions.get(view.getUint32(at + 4, true))
    const offset = view.getUint32(at + 8, true)
    const length = view.getUint32(at + 12, true)
    this.#ingress.check(view.getUint32(at + 24, true), 1, view.getUint32(at + 16, true))
    const leaderEpoch = view.getInt32(at + 20, true)
    const needsAll = (view.getUint32(at + 28, true) & layout.APPEND_ALL) !== 0
    if (partition === undefined) {
      this.#state.outbox.appended(token, ErrorCode.NOT_LEADER_OR_FOLLOWER, NO_OFFSETS)
      return
    }
    if (partition.replica !== null) {
      const isInEpoch = leaderEpoch === partition.leaderEpoch
      const code = partition.replica.refusalOf({ isInEpoch, needsAll })
      if (code !== ErrorCode.NONE) {
        this.#state.outbox.appended(token, code, NO_OFFSETS)
        return
      }
    }
    this.#writeIfWide()
    let log = this.#state.openLog(partition)
    const result = this.#result
    const run = { bytes: this.#ingress.bytes, offset, length }
    log?.append(run, leaderEpoch, result)
    if (log?.isMarkStale === true) {
      log = this.#state.rescan(partition, result.errorMessage)
      log?.append(run, leaderEpoch, result)
    }
    if (log === null) {
      this.#state.outbox.appended(token, ErrorCode.KAFKA_STORAGE_ERROR, NO_OFFSETS)
      return
    }
    this.#state.counters.appends++
    if (result.errorCode !== ErrorCode.NONE) {
      this.#state.outbox.appended(token, result.errorCode, {
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
      needsAll,
      isWrittenReported: false,
    })
    this.#markDirty(partition)
  }

  /** Logs with something staged cannot be closed for others: a wide request takes few at a time. */
  #writeIfWide(): void {
    if (this.#dirty.length < this.#state.openLogsMax) return
    this.write(this.#state.context.clock.monotonicMs())
  }

  #markDirty(partition: Partition): void {
    if (partition.isDirty) return
    partition.isDirty = true
    this.#dirty.push(partition)
  }

  // —— following ——

  /** A FOLLOW whose payload begins at `at` in the lane. */
  follow(at: number): void {
    const request = this.#followAt(at)
    const partition = this.#state.partitions.get(request.handle)
    const code = refusalOf(partition, request)
    if (partition === undefined || code !== ErrorCode.NONE) {
      this.#state.outbox.followed(request.token, code, null)
      return
    }
    this.#writeIfWide()
    const result = this.#result
    const log = this.#stageRun(partition, request, result)
    if (log === null) {
      this.#state.outbox.followed(request.token, ErrorCode.KAFKA_STORAGE_ERROR, null)
      return
    }
    if (result.errorCode !== ErrorCode.NONE) {
      this.#state.outbox.followed(request.token, result.errorCode, log)
      return
    }
    this.#stagedFollows.push({ partition, request, endOffset: result.endOffset })
    this.#markDirty(partition)
  }

  #followAt(at: number): FollowRequest {
    const view = this.#requests.view
    const length = view.getUint32(at + 12, true)
    if (length > 0) {
      this.#ingress.check(view.getUint32(at + 24, true), 1, view.getUint32(at + 16, true))
    }
    return {
      token: view.getUint32(at, true),
      handle: view.getUint32(at + 4, true),
      offset: view.getUint32(at + 8, true),
      length,
      leaderEpoch: view.getInt32(at + 20, true),
      leaderHighWatermark: view.getFloat64(at + 32, true),
      leaderLogStart: view.getFloat64(at + 40, true),
    }
  }

  /** Null when there is no log to stage anything in. */
  #stageRun(
    partition: Partition,
    { offset, length }: FollowRequest,
    result: AppendResult,
  ): PartitionLog | null {
    let log = this.#state.openLog(partition)
    const run = { bytes: this.#ingress.bytes, offset, length }
    // What was sent behind a run that the disk had no room for must not leave a hole there.
    const mayHaveGaps = partition.replica?.role !== 'raw'
    log?.appendAsFollower(run, result, mayHaveGaps)
    if (log?.isMarkStale === true) {
      log = this.#state.rescan(partition, result.errorMessage)
      log?.appendAsFollower(run, result, mayHaveGaps)
    }
    if (log === null || result.errorCode !== ErrorCode.INVALID_RECORD) return log
    // An empty log begins where its leader's does, which may be inside a batch.
    const mayRestart = partition.replica?.role === 'follower' && !log.hasStaged
    const baseOffset = mayRestart ? log.startOffsetFor(run) : -1
    if (baseOffset >= 0 && this.#restartAt(partition, log, baseOffset)) {
      log.appendAsFollower(run, result)
    }
    return log
  }

  #restartAt(partition: Partition, log: PartitionLog, offset: number): boolean {
    this.#quiesce(partition)
    try {
      log.truncateFullyAndStartAt(offset)
      return true
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      this.#state.refuse(partition, error)
      return false
    }
  }

  /** What was taken from a leader is in the log: what the leader said of its own counts as well. */
  #noteLeader({ partition, request, endOffset }: StagedFollow): void {
    const log = partition.openedLog
    const { replica } = partition
    if (log === null || replica === null) return
    const { token, leaderHighWatermark, leaderLogStart, length } = request
    this.#state.counters.followedBytes += length
    let errorCode: ErrorCode = ErrorCode.NONE
    if (log.isReplicated) {
      log.setHighWatermark(Math.min(leaderHighWatermark, log.logEndOffset))
      errorCode = this.#raiseLogStart(partition, log, leaderLogStart)
    }
    replica.follows.push({ token, endOffset, errorCode })
  }

  #raiseLogStart(partition: Partition, log: PartitionLog, leaderLogStart: number): ErrorCode {
    if (leaderLogStart > log.logEndOffset) return ErrorCode.OFFSET_OUT_OF_RANGE
    const offset = Math.min(leaderLogStart, log.highWatermark)
    if (offset <= log.logStartOffset) return ErrorCode.NONE
    try {
      return log.deleteRecordsTo(offset)
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      this.#state.refuse(partition, error)
      return ErrorCode.KAFKA_STORAGE_ERROR
    }
  }

  // —— writing ——

  /** Writes what is staged, then answers or queues the acknowledgements; returns how many. */
  write(nowMs: number): number {
    const count = this.#staged.length + this.#stagedFollows.length
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
      queueOf(staged).push(staged)
      this.#countAppend(staged)
    }
    this.#staged.length = 0
    for (const staged of this.#stagedFollows) if (staged.partition.isDirty) this.#noteLeader(staged)
    this.#stagedFollows.length = 0
    for (const partition of this.#dirty) {
      if (!partition.isDirty) continue // Its write was refused.
      partition.isDirty = false
      this.#state.settle(partition)
      this.#reportWritten(partition.waitingAcks)
      if (partition.replica !== null) this.#reportWritten(partition.replica.localAcks)
      this.#state.flushIfDue(partition, nowMs)
      const log = partition.openedLog
      if (log !== null) this.#onWritten(partition, log)
    }
    this.#dirty.length = 0
    return count
  }

  #countAppend({ partition, bytes, baseOffset, endOffset }: StagedAck): void {
    if (bytes === 0) return
    const { counters } = this.#state
    counters.appendedRecords += endOffset - baseOffset
    counters.appendedBytes += bytes
    partition.recordsIn += endOffset - baseOffset
    partition.bytesIn += bytes
  }

  /** Acknowledged later, but main may reuse the memory of their bytes now. */
  #reportWritten(acks: readonly WaitingAck[]): void {
    let first = acks.length
    while (first > 0 && !(acks[first - 1] as WaitingAck).isWrittenReported) first--
    for (; first < acks.length; first++) {
      const ack = acks[first] as WaitingAck
      ack.isWrittenReported = true
      this.#state.outbox.written(ack.token)
    }
  }

  /** The disk refused a write: nothing of it is in the log, and every append of it is told. */
  #refuseStaged(partition: Partition, error: BrokerError): void {
    partition.isDirty = false
    this.#state.refuse(partition, error) // First, so that main can say why.
    const { outbox } = this.#state
    for (const staged of this.#staged) {
      if (staged.partition !== partition) continue
      outbox.appended(staged.token, ErrorCode.KAFKA_STORAGE_ERROR, NO_OFFSETS)
    }
    for (const staged of this.#stagedFollows) {
      if (staged.partition !== partition) continue
      outbox.followed(staged.request.token, ErrorCode.KAFKA_STORAGE_ERROR, partition.openedLog)
    }
  }
}

/** Where the acknowledgement waits. */
function queueOf(staged: StagedAck): WaitingAck[] {
  const { replica, waitingAcks } = staged.partition
  return isLocal(replica, staged) ? replica.localAcks : waitingAcks
}

function isLocal(replica: Replica | null, { needsAll }: StagedAck): replica is Replica {
  return replica !== null && !needsAll && replica.leader !== null
}

/** Why batches of a leader are not taken, or NONE. */
function refusalOf(partition: Partition | undefined, { leaderEpoch }: FollowRequest): ErrorCode {
  const role = partition?.replica?.role
  if (partition === undefined || role === undefined || role === 'leader') {
    return ErrorCode.NOT_LEADER_OR_FOLLOWER
  }
  if (role === 'raw' || leaderEpoch === partition.leaderEpoch) return ErrorCode.NONE
  return leaderEpoch < partition.leaderEpoch
    ? ErrorCode.FENCED_LEADER_EPOCH
    : ErrorCode.UNKNOWN_LEADER_EPOCH
}
