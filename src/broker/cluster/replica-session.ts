/**
 * What one follower fetches from this broker over one connection (KIP-227 for replicas). A request
 * names what has changed; everything else stands: a partition that had nothing is watched by its
 * shard until it has, so that a request costs what is new and not what is followed. Runs on main.
 *
 *   due ──▶ reading ──▶ given (data, an error: the follower says how it goes on)
 *    ▲         └──────▶ watched ── something is there ──▶ due
 *    └── the follower names it; now and then, so that its leader hears of it
 *
 * What a throttle holds back is read with no room, so that the leader hears how far its follower
 * is, and kept aside until the rate allows a read; one at a time, in the order of their coming.
 */
import type { Uuid } from '../../base/uuid.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import {
  READ_MIN_ONE_BATCH,
  READ_NEWS,
  READ_NO_MEMORY,
  READ_THROTTLED,
  READ_TOO_SMALL,
  READ_VERIFY,
  READ_WATCH,
  READ_WATCHING,
} from '../../shard/messages-layout.ts'
import type { ReadOutcome, ReadSink, ShardProxy } from '../../shard/shard-proxy.ts'
import type { RequestOf } from '../../wire/kafka/api.ts'
import { type FetchAnswer, type LentAnswer, OpenFetch, refused } from './open-fetch.ts'
import type { CopyThrottle } from './replication-throttle.ts'

export interface FollowedBy {
  readonly replicaId: number
  readonly replicaEpoch: number
}

export interface ReplicaSessionParts {
  /** Undefined: the metadata here does not know the partition. */
  readonly handleOf: (topicId: Uuid, partition: number) => number | undefined
  readonly shardOf: (handle: number) => ShardProxy
  readonly countSent: (handle: number, bytes: number) => void
  readonly flush: () => void
  readonly throttle: CopyThrottle
  /** The most that one partition gives at a time, save for a single larger batch. */
  readonly readBytesMax: number
  readonly bytesMax: number
  readonly nowMs: () => number
}

type PartitionResponse = NonNullable<
  NonNullable<FetchAnswer['responses']>[number]['partitions']
>[number]

interface Part {
  readonly key: string
  readonly topicId: Uuid
  readonly partition: number
  handle: number
  state: 'due' | 'reading' | 'watched' | 'given'
  /** Grows with each read: what an older one answers is nothing any more. */
  round: number
  token: number
  fetchOffset: number
  currentLeaderEpoch: number
  lastFetchedEpoch: number
  logStartOffset: number
  bytesMax: number
  /** It was given data from there before. */
  readonly isAgain: boolean
  sentHighWatermark: number
  sentLogStart: number
}

const WAIT_MS_MAX = 10_000
/** Reads under way at a time. */
const READS_MAX = 256
/** Partitions that are read again though nothing has happened, with each request. */
const SWEEP_PARTS = 64
const SWEEP_MS = 500
const NO_MEMORY_RETRY_MS = 2
/**
 * What is held back is looked at so often: one that has become in sync must not wait, and the rate
 * may be another one. All of it is not looked at more often.
 */
const THROTTLE_LOOK_MS = 20

const EMPTY = new Uint8Array(0)

export class ReplicaSession {
  readonly #parts: ReplicaSessionParts
  readonly #followedBy: FollowedBy
  readonly #all = new Map<string, Part>()
  /**
   * From where partitions were given data last; also of those that are not followed for a while, as
   * a follower leaves out what it could not use. Asked for once more, that is looked at: a batch
   * that is not what was written is refused, and would be asked for for ever.
   */
  readonly #given = new Map<string, number>()
  /** In the order of their turn. */
  readonly #due = new Set<Part>()
  /** Due with the next request, or once there is memory: reading them again now gives nothing. */
  readonly #later = new Set<Part>()
  /** Due when the throttle allows it, in the order of their turn. */
  readonly #held = new Set<Part>()
  /** Of the throttle, when it was last asked for all of them. */
  #heldVersion = 0
  #heldMs = Number.NEGATIVE_INFINITY
  #epoch = 0
  #request: OpenFetch<Part> | null = null
  #reading = 0
  /** For the sweep: where it is, and when it began. */
  #sweep: Iterator<Part> | null = null
  #sweptMs: number
  #isClosed = false

  constructor(parts: ReplicaSessionParts, followedBy: FollowedBy) {
    this.#parts = parts
    this.#followedBy = followedBy
    this.#sweptMs = parts.nowMs()
  }

  get partitions(): number {
    return this.#all.size
  }

  /**
   * Resolves to the answer, and how to give its memory back. One request waits at a time: the one
   * before it is answered with what there is, since the follower has more to say.
   */
  fetch(body: RequestOf<1>): Promise<LentAnswer> {
    if (this.#request !== null) this.#answer(this.#request)
    if (body.sessionEpoch === 0) this.#restart()
    else if (body.sessionEpoch !== this.#epoch) {
      return Promise.resolve(refused(ErrorCode.INVALID_FETCH_SESSION_EPOCH))
    }
    this.#epoch = this.#epoch === 0x7fff_ffff ? 1 : this.#epoch + 1
    this.#update(body)
    this.#sweepSome()
    this.#recall()
    const nowMs = this.#parts.nowMs()
    const waitMs = Math.min(Math.max(body.maxWaitMs, 0), WAIT_MS_MAX)
    return new Promise((resolve) => {
      const bytesMax = Math.min(Math.max(body.maxBytes, 1), this.#parts.bytesMax)
      const bytesMin = Math.min(Math.max(body.minBytes, 1), bytesMax)
      const deadlineMs = nowMs + waitMs
      const options = { bytesMax, bytesMin, deadlineMs, nowMs: this.#parts.nowMs }
      const request = new OpenFetch<Part>({ ...options, resolve })
      this.#request = request
      this.#pump()
      this.#parts.flush()
    })
  }

  /** The connection is gone. */
  close(): void {
    this.#isClosed = true
    const request = this.#request
    this.#request = null
    request?.abandon()
    for (const part of this.#all.values()) this.#unwatch(part)
    this.#all.clear()
    this.#given.clear()
    this.#due.clear()
    this.#later.clear()
    this.#held.clear()
  }

  // —— what is followed ——

  #restart(): void {
    for (const part of this.#all.values()) this.#drop(part)
    this.#all.clear()
    this.#epoch = 0
    this.#sweep = null
  }

  #update(body: RequestOf<1>): void {
    for (const { topicId, partitions } of body.topics) {
      for (const asked of partitions) {
        const key = keyOf(topicId, asked.partition)
        const before = this.#all.get(key)
        if (before !== undefined) this.#drop(before)
        const part: Part = {
          key,
          topicId,
          partition: asked.partition,
          handle: -1,
          state: 'due',
          round: (before?.round ?? 0) + 1,
          token: 0,
          fetchOffset: asked.fetchOffset,
          currentLeaderEpoch: asked.currentLeaderEpoch,
          lastFetchedEpoch: asked.lastFetchedEpoch,
          logStartOffset: asked.logStartOffset,
          bytesMax: Math.max(0, asked.partitionMaxBytes),
          isAgain: this.#given.get(key) === asked.fetchOffset,
          ...sentOf(before),
        }
        if (!part.isAgain) this.#given.delete(key)
        this.#all.set(key, part)
        this.#due.add(part)
      }
    }
    for (const { topicId, partitions } of body.forgottenTopicsData) {
      for (const partition of partitions) {
        const key = keyOf(topicId, partition)
        const part = this.#all.get(key)
        if (part === undefined) continue
        this.#drop(part)
        this.#all.delete(key)
      }
    }
  }

  #drop(part: Part): void {
    this.#unwatch(part)
    this.#due.delete(part)
    this.#later.delete(part)
    this.#held.delete(part)
    part.round++
  }

  #unwatch(part: Part): void {
    if (part.state === 'watched') this.#parts.shardOf(part.handle).unwatch(part.token)
  }

  /** A leader hears of its followers by their fetches, also where nothing is written. */
  #sweepSome(): void {
    const nowMs = this.#parts.nowMs()
    if (this.#sweep === null) {
      if (nowMs - this.#sweptMs < SWEEP_MS) return
      this.#sweptMs = nowMs
      this.#sweep = this.#all.values()
    }
    for (let i = 0; i < SWEEP_PARTS; i++) {
      const next = this.#sweep.next()
      if (next.done === true) {
        this.#sweep = null
        return
      }
      if (next.value.state === 'watched') this.#makeDue(next.value)
    }
  }

  #makeDue(part: Part): void {
    this.#unwatch(part)
    part.state = 'due'
    this.#due.add(part)
  }

  #recall(): void {
    for (const part of this.#later) this.#due.add(part)
    this.#later.clear()
  }

  // —— reading ——

  #pump(): void {
    const request = this.#request
    if (request === null) return
    this.#recallHeld()
    for (const part of this.#due) {
      if (this.#reading >= READS_MAX || request.room <= 0) break
      this.#due.delete(part)
      this.#read(part, request)
    }
    for (const part of this.#held) {
      if (this.#reading >= READS_MAX || request.room <= 0) break
      if (!this.#parts.throttle.mayTake()) break
      this.#held.delete(part)
      this.#read(part, request)
    }
    if (this.#reading === 0) this.#settle(request)
  }

  /** What counts no more is due: in sync by now, not in a list, or of a throttle that is gone. */
  #recallHeld(): void {
    const { throttle, nowMs } = this.#parts
    const { version } = throttle
    if (version === this.#heldVersion || this.#held.size === 0) return
    const now = nowMs()
    if (now - this.#heldMs < THROTTLE_LOOK_MS) return
    this.#heldMs = now
    this.#heldVersion = version
    for (const part of this.#held) {
      if (throttle.counts(part.handle, this.#followedBy.replicaId)) continue
      this.#held.delete(part)
      this.#due.add(part)
    }
  }

  #read(part: Part, request: OpenFetch<Part>): void {
    const { handleOf, shardOf, readBytesMax, throttle } = this.#parts
    const handle = handleOf(part.topicId, part.partition)
    if (handle === undefined) {
      // The metadata here may be behind: the follower asks again.
      part.state = 'given'
      request.add(part, { ...NOTHING, errorCode: ErrorCode.UNKNOWN_TOPIC_ID }, true)
      return
    }
    part.handle = handle
    part.state = 'reading'
    const isCounted = throttle.counts(handle, this.#followedBy.replicaId)
    const isHeld = isCounted && !throttle.mayTake()
    const bytesMax = isHeld ? 0 : Math.min(part.bytesMax, readBytesMax, request.room)
    const isFirst = request.bytes === 0 && this.#reading === 0 && !isHeld
    this.#reading++
    request.reserved += bytesMax
    if (isCounted) throttle.take(bytesMax)
    const asked = { round: part.round, request, bytesMax, isCounted, isHeld }
    const sink = new PartRead(this, part, asked)
    part.token = shardOf(handle).replicaRead(
      {
        handle,
        fetchOffset: part.fetchOffset,
        bytesMax,
        flags:
          READ_WATCH |
          (isFirst ? READ_MIN_ONE_BATCH : 0) |
          (isCounted ? READ_THROTTLED : 0) |
          (part.isAgain ? READ_VERIFY : 0),
        replicaId: this.#followedBy.replicaId,
        replicaEpoch: this.#followedBy.replicaEpoch,
        currentLeaderEpoch: part.currentLeaderEpoch,
        lastFetchedEpoch: part.lastFetchedEpoch,
        followerLogStart: part.logStartOffset,
      },
      sink,
      0,
    )
  }

  /** A shard has answered. */
  onRead(part: Part, asked: Asked, outcome: ReadOutcome): void {
    this.#reading--
    const { request } = asked
    request.reserved -= asked.bytesMax
    const shard = this.#parts.shardOf(part.handle)
    const isStale = part.round !== asked.round || this.#isClosed || this.#request !== request
    const sentBytes = isStale ? 0 : outcome.length
    if (asked.isCounted) this.#parts.throttle.take(sentBytes - asked.bytesMax)
    if (isStale) {
      const { offset, length, generation } = outcome
      if (length > 0) shard.release({ offset, length, generation })
      if ((outcome.flags & READ_WATCHING) !== 0) shard.unwatch(part.token)
      if (part.round === asked.round && !this.#isClosed) this.#makeDueAgain(part)
    } else this.#take(part, asked, { ...outcome })
    this.#pump()
  }

  #take(part: Part, { request, isHeld }: Asked, outcome: ReadOutcome): void {
    const { flags } = outcome
    const isData = outcome.length > 0
    const isTold = outcome.errorCode !== ErrorCode.NONE || outcome.divergingEndOffset >= 0
    if (isData || isTold) {
      part.state = 'given'
      request.add(part, outcome, isTold)
      if (isData) {
        this.#given.set(part.key, part.fetchOffset)
        const { offset, length, generation } = outcome
        request.lent.push({ shard: this.#parts.shardOf(part.handle), offset, length, generation })
        this.#parts.countSent(part.handle, length)
      }
      return
    }
    const { highWatermark, logStartOffset } = outcome
    const isNews =
      (flags & READ_NEWS) !== 0 ||
      highWatermark !== part.sentHighWatermark ||
      logStartOffset !== part.sentLogStart
    if (isNews) request.add(part, outcome, false)
    if ((flags & READ_WATCHING) !== 0) part.state = 'watched'
    else if (isHeld && (flags & READ_TOO_SMALL) !== 0) {
      part.state = 'due'
      // It may have become in sync since it was asked for.
      const counts = this.#parts.throttle.counts(part.handle, this.#followedBy.replicaId)
      ;(counts ? this.#held : this.#due).add(part)
    } else if ((flags & READ_NO_MEMORY) !== 0) {
      request.lacksMemory = true
      this.#postpone(part)
    } else if ((flags & READ_TOO_SMALL) !== 0) {
      request.wantsOne ||= request.bytes === 0
      this.#postpone(part)
    } else this.#makeDueAgain(part) // Told of the watermark: from now on it is watched.
  }

  #postpone(part: Part): void {
    part.state = 'due'
    this.#later.add(part)
  }

  #makeDueAgain(part: Part): void {
    part.state = 'due'
    this.#due.add(part)
  }

  /** Something lies where the follower waits. */
  onWake(part: Part, round: number): void {
    if (part.round !== round || part.state !== 'watched' || this.#isClosed) return
    this.#makeDueAgain(part)
    const request = this.#request
    if (request === null || this.#reading > 0) return
    this.#pump()
    this.#parts.flush()
  }

  // —— answering ——

  /** Nothing is being read: answers, or waits. */
  #settle(request: OpenFetch<Part>): void {
    const nowMs = this.#parts.nowMs()
    if (request.isEnough || nowMs >= request.dueMs) {
      this.#answer(request)
      return
    }
    if (request.wantsOne && this.#later.size > 0) {
      // A batch is larger than what was left for it: the first one comes whole.
      request.wantsOne = false
      this.#recall()
      this.#pump()
      return
    }
    const waitMs = Math.min(
      request.lacksMemory ? NO_MEMORY_RETRY_MS : request.dueMs - nowMs,
      this.#held.size > 0 ? this.#throttleMs() : Infinity,
    )
    const { lacksMemory } = request
    request.lacksMemory = false
    request.wait(waitMs, () => {
      if (this.#request !== request || this.#reading > 0) return
      if (lacksMemory) this.#recall()
      this.#pump()
      this.#parts.flush()
    })
  }

  #throttleMs(): number {
    return Math.min(Math.ceil(this.#parts.throttle.waitMs()), THROTTLE_LOOK_MS)
  }

  #answer(request: OpenFetch<Part>): void {
    this.#request = null
    const topics = new Map<Uuid, { topicId: Uuid; partitions: PartitionResponse[] }>()
    for (const [part, outcome] of request.given) {
      // Beside an error, or where the logs part, offsets are not looked at.
      const isTaken = outcome.errorCode === ErrorCode.NONE && outcome.divergingEndOffset < 0
      part.sentHighWatermark = isTaken ? outcome.highWatermark : -1
      part.sentLogStart = isTaken ? outcome.logStartOffset : -1
      let topic = topics.get(part.topicId)
      if (topic === undefined) {
        topic = { topicId: part.topicId, partitions: [] }
        topics.set(part.topicId, topic)
      }
      topic.partitions.push(this.#partOf(part, outcome))
    }
    request.answer({
      errorCode: ErrorCode.NONE,
      sessionId: SESSION_ID,
      responses: [...topics.values()],
    })
  }

  #partOf(part: Part, outcome: ReadOutcome): PartitionResponse {
    const { errorCode, highWatermark, lastStableOffset, logStartOffset, offset, length } = outcome
    const { divergingEpoch: epoch, divergingEndOffset: endOffset } = outcome
    const records =
      length === 0
        ? EMPTY
        : this.#parts.shardOf(part.handle).egress.subarray(offset, offset + length)
    return {
      partitionIndex: part.partition,
      errorCode,
      highWatermark,
      lastStableOffset,
      logStartOffset,
      abortedTransactions: null,
      records,
      ...(endOffset >= 0 ? { divergingEpoch: { epoch, endOffset } } : {}),
    }
  }
}

/** A connection has one session: any number that is not 0. */
const SESSION_ID = 1

interface Asked {
  readonly round: number
  readonly request: OpenFetch<Part>
  readonly bytesMax: number
  /** It counts for the throttle, which has been told of `bytesMax`. */
  readonly isCounted: boolean
  /** The throttle allows nothing now. */
  readonly isHeld: boolean
}

/** One read of one partition. */
class PartRead implements ReadSink {
  readonly #session: ReplicaSession
  readonly #part: Part
  readonly #asked: Asked

  constructor(session: ReplicaSession, part: Part, asked: Asked) {
    this.#session = session
    this.#part = part
    this.#asked = asked
  }

  onRead(outcome: ReadOutcome): void {
    this.#session.onRead(this.#part, this.#asked, outcome)
  }

  onWake(): void {
    this.#session.onWake(this.#part, this.#asked.round)
  }
}

const NOTHING: ReadOutcome = {
  errorCode: ErrorCode.NONE,
  highWatermark: -1,
  lastStableOffset: -1,
  logStartOffset: -1,
  offset: 0,
  length: 0,
  generation: 0,
  flags: 0,
  divergingEpoch: -1,
  divergingEndOffset: -1,
}

/**
 * What the follower has heard of a partition that it names. Named while it would have gone on by
 * itself, the last that was said of it may not have been taken.
 */
function sentOf(before: Part | undefined): Pick<Part, 'sentHighWatermark' | 'sentLogStart'> {
  if (before?.state !== 'given') return { sentHighWatermark: -1, sentLogStart: -1 }
  const { sentHighWatermark, sentLogStart } = before
  return { sentHighWatermark, sentLogStart }
}

function keyOf(topicId: Uuid, partition: number): string {
  return `${topicId}/${partition}`
}
