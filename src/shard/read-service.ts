import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { PartitionLog, ReadLocation } from '../storage/log.ts'
import * as layout from './messages-layout.ts'
import type { ReadAnswer } from './outbox.ts'
import type { Partition } from './partition.ts'
import type { FollowerFetch, ReplicaService } from './replica-service.ts'
import type { ShardState } from './shard-state.ts'
import { TokenTable } from './token-table.ts'

/**
 * The reads of a shard. What is near a log's end is read at once: the page cache has it. What lies
 * far behind it is read off this thread where the disk can do that (io_uring), so that a consumer
 * that catches up holds nobody else up; its answer then follows in a later turn.
 *
 * Nothing that would move the bytes of a read under way happens before `settle` has waited for it.
 */
export interface ReadRequest {
  readonly token: number
  readonly handle: number
  readonly fetchOffset: number
  readonly bytesMax: number
  readonly flags: number
  /** Whoever reads is a follower of the partition: up to the log end, and it counts. */
  readonly follower: FollowerFetch | null
}

interface Pending {
  readonly request: ReadRequest
  readonly partition: Partition
  readonly log: PartitionLog
  readonly location: ReadLocation
  readonly extent: number
  readonly generation: number
}

export class ReadService {
  readonly #state: ShardState
  readonly #replicas: ReplicaService
  readonly #pending = new TokenTable<Pending>()
  readonly #answer: ReadAnswer = emptyAnswer()

  constructor(state: ShardState, replicas: ReplicaService) {
    this.#state = state
    this.#replicas = replicas
  }

  /** Reads are under way off this thread. */
  get isReading(): boolean {
    return this.#pending.size > 0
  }

  /** Answers a read, now or later. */
  read(request: ReadRequest): void {
    this.#state.counters.reads++
    if (this.#serve(request, true)) this.#state.outbox.readDone(request.token, this.#answer)
  }

  /** Takes what was read off this thread; returns how many reads that answered. */
  collect(): number {
    if (this.#pending.size === 0) return 0
    return this.#state.context.files.drainReads(this.#onRead)
  }

  /** Waits for the reads under way: before a log is deleted, closed or truncated. */
  settle(): void {
    while (this.#pending.size > 0) this.collect()
  }

  /** Fills the answer; false when it follows later. */
  #serve(request: ReadRequest, mayDefer: boolean): boolean {
    const state = this.#state
    const partition = state.partitions.get(request.handle)
    const answer = resetAnswer(this.#answer)
    const log = partition === undefined ? null : state.openLog(partition)
    if (partition === undefined) {
      answer.errorCode = ErrorCode.NOT_LEADER_OR_FOLLOWER
    } else if (log === null) {
      answer.errorCode = ErrorCode.KAFKA_STORAGE_ERROR
    } else if (request.follower !== null && mayDefer && !this.#admit(partition, log, request)) {
      return true
    } else if (partition.replica?.role === 'follower' && (request.flags & FROM_ANY) === 0) {
      answer.errorCode = ErrorCode.NOT_LEADER_OR_FOLLOWER
    } else {
      fillOffsets(answer, log)
      try {
        return this.#readLog(partition, log, { request, mayDefer })
      } catch (error) {
        if (!(error instanceof BrokerError)) throw error
        this.#refuse(partition, log, error)
      }
    }
    return true
  }

  /** Whether a follower's fetch may be read for; else the answer says why. */
  #admit(partition: Partition, log: PartitionLog, request: ReadRequest): boolean {
    const { follower, fetchOffset } = request
    if (follower === null) return true
    const answer = this.#answer
    const isThrottled = (request.flags & layout.READ_THROTTLED) !== 0
    const check = this.#replicas.fetched(partition, log, { follower, fetchOffset, isThrottled })
    if (check.kind === 'ok') return true
    if (check.kind === 'diverging') {
      answer.divergingEpoch = check.end.epoch
      answer.divergingEndOffset = check.end.endOffset
    } else {
      answer.errorCode = REFUSALS[check.kind]
    }
    fillOffsets(answer, log)
    return false
  }

  #readLog(
    partition: Partition,
    log: PartitionLog,
    { request, mayDefer }: { request: ReadRequest; mayDefer: boolean },
  ): boolean {
    const answer = this.#answer
    const { follower } = request
    const toLogEnd = follower !== null || (request.flags & layout.READ_TO_LOG_END) !== 0
    const location = log.locate(request.fetchOffset, request.bytesMax, {
      minOneBatch: (request.flags & layout.READ_MIN_ONE_BATCH) !== 0,
      upTo: toLogEnd ? 'logEnd' : 'highWatermark',
      mayDefer,
      verify: (request.flags & layout.READ_VERIFY) !== 0,
    })
    if (typeof location === 'number') {
      answer.errorCode = isAhead(partition, log, request)
        ? ErrorCode.NOT_LEADER_OR_FOLLOWER
        : location
    } else if (location.length > 0) {
      const extent = this.#state.egress.allocate(location.length)
      // Never waits for memory: reads that hold some while others wait for more would deadlock.
      if (extent < 0) {
        answer.flags = layout.READ_NO_MEMORY
      } else {
        const generation = this.#state.egress.generationOf(extent)
        const pending = { request, partition, log, location, extent, generation }
        if (location.isDeferrable && this.#start(pending)) return false
        // Without the batch's size the range may hold none: look first, then read.
        if (location.isDeferrable) {
          this.#state.egress.free(extent, generation)
          return this.#readLog(partition, log, { request, mayDefer: false })
        }
        this.#readInto(pending)
      }
    } else if (request.fetchOffset < (toLogEnd ? log.logEndOffset : log.highWatermark)) {
      answer.flags = layout.READ_TOO_SMALL
    } else if (follower !== null) {
      this.#waitAtEnd(partition, request, follower)
    } else if ((request.flags & layout.READ_WATCH) !== 0) {
      partition.watches.set(request.token, request.fetchOffset)
      answer.flags = layout.READ_WATCHING
    }
    return true
  }

  /** A follower has all: it waits for more, unless the watermark is news for it. */
  #waitAtEnd(partition: Partition, request: ReadRequest, follower: FollowerFetch): void {
    const { replica } = partition
    if (replica === null) return
    const { replicaId: brokerId, replicaEpoch: brokerEpoch } = follower
    if (replica.hasNews(brokerId, brokerEpoch)) {
      this.#answer.flags = layout.READ_NEWS
      replica.noteTold(brokerId, brokerEpoch, this.#answer.highWatermark)
    } else if ((request.flags & layout.READ_WATCH) !== 0) {
      const { token, fetchOffset: offset } = request
      replica.watches.set(token, { brokerId, brokerEpoch, offset })
      this.#answer.flags = layout.READ_WATCHING
    }
  }

  /** Starts a read off this thread; false when the disk cannot do that, or not now. */
  #start(pending: Pending): boolean {
    const { location, extent, partition } = pending
    const token = this.#pending.add({ ...pending, location: { ...location } })
    const into = { bytes: this.#state.egress.bytes, offset: extent, length: location.length }
    const isStarted = this.#state.context.files.startRead(
      location.file,
      location.position,
      into,
      token,
    )
    if (isStarted) partition.readsUnderWay++
    else this.#pending.take(token)
    return isStarted
  }

  readonly #onRead = (token: number, count: number): void => {
    const pending = this.#pending.take(token)
    if (pending === undefined) return
    const { request, partition, log, location, extent, generation } = pending
    partition.readsUnderWay--
    const answer = resetAnswer(this.#answer)
    // Short or failed: read once more on this thread, which says exactly what is wrong.
    if (count === location.length && partition.openedLog === log) {
      fillOffsets(answer, log)
      try {
        answer.length = log.finishRead(location, this.#state.egress.bytes, extent)
      } catch (error) {
        if (!(error instanceof BrokerError)) throw error
        this.#refuse(partition, log, error)
      }
      if (answer.length > 0) this.#lend(pending)
    }
    if (answer.length === 0) this.#state.egress.free(extent, generation)
    // Nothing wrong and nothing whole: the first batch is longer than what was read.
    if (answer.length === 0 && answer.errorCode === ErrorCode.NONE) this.#serve(request, false)
    this.#state.outbox.readDone(request.token, answer)
  }

  #readInto(pending: Pending): void {
    const { log, location, extent, generation } = pending
    const { egress } = this.#state
    try {
      this.#answer.length = log.read(location, egress.bytes, extent)
    } catch (error) {
      egress.free(extent, generation)
      throw error
    }
    this.#lend(pending)
  }

  #lend({ request, partition, extent, generation }: Pending): void {
    this.#answer.offset = extent
    this.#answer.generation = generation
    if (request.follower !== null) {
      const { replicaId, replicaEpoch } = request.follower
      partition.replica?.noteTold(replicaId, replicaEpoch, this.#answer.highWatermark)
    }
    this.#state.counters.readBytes += this.#answer.length
  }

  /** The disk refused a read, or gave bytes that are no batch, or not the one that was written. */
  #refuse(partition: Partition, log: PartitionLog, error: BrokerError): void {
    this.#answer.errorCode = error.code
    this.#answer.length = 0
    if (error.code === ErrorCode.CORRUPT_MESSAGE) {
      this.#state.refuse(partition, error)
      // Somebody else will lead who has it: "corrupt" ends consumers, this makes them look again.
      const isReplicated = partition.replica?.isReplicated === true
      if (isReplicated) this.#answer.errorCode = ErrorCode.KAFKA_STORAGE_ERROR
      return
    }
    const message = `partition ${partition.directory}: ${error.message}`
    this.#state.outbox.event({ kind: 'warning', message })
    if (log.failure !== null) this.#state.failDirectory(partition.logDirectory, error)
  }
}

/**
 * A consumer has read more at another broker than this follower has: it takes this one for the
 * leader that it was. "Out of range" would make it begin anew somewhere, as its settings say.
 */
function isAhead(partition: Partition, log: PartitionLog, request: ReadRequest): boolean {
  const isConsumer = request.follower === null && partition.replica?.role === 'follower'
  return isConsumer && request.fetchOffset > log.logEndOffset
}

/** They do not read as consumers do, or may read from a replica that follows. */
const FROM_ANY = layout.READ_TO_LOG_END | layout.READ_FROM_FOLLOWER

const REFUSALS = {
  fenced: ErrorCode.FENCED_LEADER_EPOCH,
  'unknown-epoch': ErrorCode.UNKNOWN_LEADER_EPOCH,
  'out-of-range': ErrorCode.OFFSET_OUT_OF_RANGE,
  'not-leader': ErrorCode.NOT_LEADER_OR_FOLLOWER,
} as const

function fillOffsets(answer: ReadAnswer, log: PartitionLog): void {
  answer.highWatermark = log.highWatermark
  answer.lastStableOffset = log.lastStableOffset
  answer.logStartOffset = log.logStartOffset
}

export function emptyAnswer(): ReadAnswer {
  return resetAnswer({} as ReadAnswer)
}

function resetAnswer(answer: ReadAnswer): ReadAnswer {
  answer.errorCode = 0
  answer.highWatermark = -1
  answer.lastStableOffset = -1
  answer.logStartOffset = -1
  answer.offset = 0
  answer.length = 0
  answer.generation = 0
  answer.flags = 0
  answer.divergingEpoch = -1
  answer.divergingEndOffset = -1
  return answer
}
