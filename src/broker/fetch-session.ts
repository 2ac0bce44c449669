import type { Clock } from '../base/clock.ts'
import type { Uuid } from '../base/uuid.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { FetchRequest } from '../wire/kafka/schema/01-fetch.ts'

/**
 * Incremental fetch sessions (KIP-227): the broker remembers what a consumer fetches, the consumer
 * sends only what changed, and the response names only partitions that have something new. Runs on
 * main; the numbers of sessions and of their partitions are bounded: the least recently used
 * session gives way when it is stale, and else a fetch is served without one.
 */
export interface FetchPartition {
  readonly topic: string
  readonly topicId: Uuid
  readonly partition: number
  fetchOffset: number
  bytesMax: number
  currentLeaderEpoch: number
  /** As last sent in this session; −1: never. */
  sentHighWatermark: number
  sentLogStartOffset: number
}

/** What one Fetch request amounts to. */
export interface FetchPlan {
  readonly errorCode: ErrorCode
  /** 0: no session. */
  readonly sessionId: number
  readonly partitions: readonly FetchPartition[]
  /** Only partitions with something new go into the response. */
  readonly isIncremental: boolean
}

interface Session {
  readonly id: number
  readonly usesTopicIds: boolean
  readonly partitions: Map<string, FetchPartition>
  nextEpoch: number
  lastUsedMs: number
}

const INITIAL_EPOCH = 0
const FINAL_EPOCH = -1
const TOPIC_ID_VERSION_MIN = 13
const INT32_MAX = 0x7fff_ffff
/** A session that was used so lately is not given up for another one. */
const EVICTION_AGE_MS = 2 * 60 * 1000
/**
 * Partitions of all sessions together: 140 MB, what 20 consumers of 10,000 need. Whoever comes
 * later fetches without a session, which costs bytes on the wire and nothing else.
 */
const PARTITIONS_MAX = 200_000
/** In main's heap. */
const BYTES_PER_PARTITION = 700
const MEMORY_SHARE = 1 / 10

/** No more than a share of what the broker may use. */
export function fetchSessionPartitionsMax(memoryBytes: number): number {
  return Math.min(PARTITIONS_MAX, Math.floor((memoryBytes * MEMORY_SHARE) / BYTES_PER_PARTITION))
}

export class FetchSessionCache {
  readonly #slots: number
  readonly #partitionsMax: number
  readonly #clock: Clock
  /** In the order of use: the first is the least recently used. */
  readonly #sessions = new Map<number, Session>()
  #nextId = 1
  #partitions = 0

  constructor(slots: number, clock: Clock, partitionsMax = PARTITIONS_MAX) {
    this.#slots = slots
    this.#partitionsMax = partitionsMax
    this.#clock = clock
  }

  get size(): number {
    return this.#sessions.size
  }

  /** Partitions of all sessions. */
  get partitions(): number {
    return this.#partitions
  }

  plan(body: FetchRequest, apiVersion: number): FetchPlan {
    const usesTopicIds = apiVersion >= TOPIC_ID_VERSION_MIN
    if (body.sessionEpoch === FINAL_EPOCH || body.sessionEpoch === INITIAL_EPOCH) {
      this.#remove(body.sessionId)
      const partitions = listPartitions(body)
      const isFinal = body.sessionEpoch === FINAL_EPOCH || partitions.length === 0
      const session = isFinal ? null : this.#create(partitions, usesTopicIds)
      return {
        errorCode: ErrorCode.NONE,
        sessionId: session?.id ?? 0,
        partitions: session === null ? partitions : [...session.partitions.values()],
        isIncremental: false,
      }
    }
    const session = this.#sessions.get(body.sessionId)
    if (session === undefined) return failed(ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
    if (body.sessionEpoch !== session.nextEpoch) {
      return failed(ErrorCode.INVALID_FETCH_SESSION_EPOCH)
    }
    if (usesTopicIds !== session.usesTopicIds) {
      return failed(ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR)
    }
    this.#partitions -= session.partitions.size
    update(session, body)
    this.#partitions += session.partitions.size
    this.#touch(session)
    // Session id 0 tells the client that the session has ended with this response.
    const isKept = this.#partitions <= this.#partitionsMax
    if (!isKept) this.#remove(session.id)
    return {
      errorCode: ErrorCode.NONE,
      sessionId: isKept ? session.id : 0,
      partitions: [...session.partitions.values()],
      isIncremental: true,
    }
  }

  #create(partitions: readonly FetchPartition[], usesTopicIds: boolean): Session | null {
    if (!this.#makeRoom(partitions.length)) return null
    const id = this.#freeId()
    const session: Session = {
      id,
      usesTopicIds,
      partitions: new Map(partitions.map((partition) => [key(partition), partition])),
      nextEpoch: 1,
      lastUsedMs: this.#clock.monotonicMs(),
    }
    this.#sessions.set(id, session)
    this.#partitions += session.partitions.size
    return session
  }

  #makeRoom(partitions: number): boolean {
    if (this.#slots <= 0 || partitions > this.#partitionsMax) return false
    while (
      this.#sessions.size >= this.#slots ||
      this.#partitions + partitions > this.#partitionsMax
    ) {
      const oldest = this.#sessions.values().next().value as Session
      if (this.#clock.monotonicMs() - oldest.lastUsedMs < EVICTION_AGE_MS) return false
      this.#remove(oldest.id)
    }
    return true
  }

  #remove(id: number): void {
    const session = this.#sessions.get(id)
    if (session === undefined) return
    this.#sessions.delete(id)
    this.#partitions -= session.partitions.size
  }

  #freeId(): number {
    while (this.#sessions.has(this.#nextId)) this.#nextId = next(this.#nextId)
    const id = this.#nextId
    this.#nextId = next(id)
    return id
  }

  #touch(session: Session): void {
    session.nextEpoch = next(session.nextEpoch)
    session.lastUsedMs = this.#clock.monotonicMs()
    this.#sessions.delete(session.id)
    this.#sessions.set(session.id, session)
  }
}

function update(session: Session, body: FetchRequest): void {
  for (const partition of listPartitions(body)) {
    const known = session.partitions.get(key(partition))
    if (known === undefined) {
      session.partitions.set(key(partition), partition)
    } else {
      known.fetchOffset = partition.fetchOffset
      known.bytesMax = partition.bytesMax
      known.currentLeaderEpoch = partition.currentLeaderEpoch
    }
  }
  for (const topic of body.forgottenTopicsData) {
    for (const partition of topic.partitions) {
      session.partitions.delete(key({ topic: topic.topic, topicId: topic.topicId, partition }))
    }
  }
}

function listPartitions(body: FetchRequest): FetchPartition[] {
  const partitions: FetchPartition[] = []
  for (const topic of body.topics) {
    for (const partition of topic.partitions) {
      partitions.push({
        topic: topic.topic,
        topicId: topic.topicId,
        partition: partition.partition,
        fetchOffset: partition.fetchOffset,
        bytesMax: Math.max(0, partition.partitionMaxBytes),
        currentLeaderEpoch: partition.currentLeaderEpoch,
        sentHighWatermark: -1,
        sentLogStartOffset: -1,
      })
    }
  }
  return partitions
}

function key(of: { topic: string; topicId: Uuid; partition: number }): string {
  return `${of.topicId}/${of.partition}/${of.topic}`
}

function next(id: number): number {
  return id === INT32_MAX ? 1 : id + 1
}

function failed(errorCode: ErrorCode): FetchPlan {
  return { errorCode, sessionId: 0, partitions: [], isIncremental: false }
}
