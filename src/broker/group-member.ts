import { decodeSubscription } from '../coordinator/group/consumer-protocol.ts'
import {
  decodeAssignment,
  encodeAssignment,
  encodeSubscription,
  type TopicPartition,
} from '../coordinator/group/consumer-protocol-writer.ts'
import { type AssignedMember, MEMBER_ASSIGNORS } from '../coordinator/group/member-assignors.ts'
import { ErrorCode, errorInfo } from '../errors/error-code.ts'
import type { JoinGroupResponseInit } from '../wire/kafka/schema/11-join-group.ts'
import { type MemberCalls, type OffsetOf, partitionKey } from './member-calls.ts'

/**
 * A member of a group on behalf of a client that does not speak Kafka's group protocol: joins,
 * assigns when it leads, sends heartbeats. To the coordinator it is a member like any other, so
 * that clients of all doors share one group. It gives back all that it has before it joins anew
 * (the eager protocol), so that nobody else is given it before. Runs on main.
 *
 *   start ──▶ joining ──▶ syncing ──▶ stable ──rebalance──▶ revoking ──`released`──▶ joining
 *                 ▲ again ──┘            │                     │
 *                                        └── the group does not know it any more ──▶ over
 */
export interface GroupMemberHost {
  /** The group has taken it in. */
  onAccepted(memberId: string): void
  /** What it has from now on, and where to begin. */
  onAssigned(assignment: Assignment): void
  /** It must give back all it has within this time: finish, commit, then call `released`. */
  onRevoke(partitions: readonly TopicPartition[], withinMs: number): void
  /** It is no member any more, and what it had may be somebody else's already. */
  onLost(errorCode: ErrorCode): void
}

export interface Assignment {
  readonly generationId: number
  readonly partitions: readonly AssignedPartition[]
}

export interface AssignedPartition extends TopicPartition {
  /** What the group has committed; −1: nothing. */
  readonly committedOffset: number
}

export interface GroupMemberOptions {
  readonly groupId: string
  readonly topics: readonly string[]
  readonly sessionTimeoutMs: number
  /** How long the others wait for `released`. */
  readonly rebalanceTimeoutMs: number
  readonly clientId: string
  readonly clientHost: string
}

type State = 'new' | 'joining' | 'syncing' | 'stable' | 'revoking' | 'over'

const PROTOCOL_TYPE = 'consumer'
/** How soon a coordinator that is loading is asked again. */
const RETRY_MS = 200
/** How soon it notices that others come or go; a call on this thread costs little. */
const HEARTBEAT_MS_MAX = 1000
/** Whatever timeouts a client asks for. */
const HEARTBEAT_MS_MIN = 50
const HEARTBEATS_PER_SESSION = 4

export class GroupMember {
  readonly #calls: MemberCalls
  readonly #options: GroupMemberOptions
  readonly #host: GroupMemberHost
  #state: State = 'new'
  #memberId = ''
  #generationId = -1
  #protocolName = ''
  #isAccepted = false
  #partitions: readonly TopicPartition[] = []
  /** Of the group's topics, when this member assigned them; null: somebody else did. */
  #counts: ReadonlyMap<string, number> | null = null
  #groupTopics: readonly string[] = []
  #cancelTimer: (() => void) | null = null
  /** Of the time that it has to give back what it has. */
  #cancelDeadline: (() => void) | null = null

  constructor(calls: MemberCalls, options: GroupMemberOptions, host: GroupMemberHost) {
    this.#calls = calls
    this.#options = options
    this.#host = host
  }

  /** '' until the group has taken it in. */
  get memberId(): string {
    return this.#memberId
  }

  get generationId(): number {
    return this.#generationId
  }

  get isOver(): boolean {
    return this.#state === 'over'
  }

  start(): void {
    void this.#begin()
  }

  /** What `onRevoke` asked for has been given back. */
  released(): void {
    if (this.#state !== 'revoking') return
    this.#cancelTimers()
    this.#partitions = []
    void this.#join()
  }

  /** An error for each of `offsets`, in their order: of partitions that it has only. */
  commit(offsets: readonly OffsetOf[]): Promise<readonly ErrorCode[]> {
    const isIn = this.#state === 'stable' || this.#state === 'revoking'
    if (!isIn) {
      const code = this.isOver ? ErrorCode.UNKNOWN_MEMBER_ID : ErrorCode.REBALANCE_IN_PROGRESS
      return Promise.resolve(offsets.map(() => code))
    }
    const had = new Set(this.#partitions.map(partitionKey))
    const isOwn = offsets.map((at) => had.has(partitionKey(at)))
    const own = offsets.filter((_, i) => isOwn[i])
    const { groupId } = this.#options
    const at = { groupId, memberId: this.#memberId, generationId: this.#generationId }
    return this.#calls.commit(at, own).then((codes) => {
      let next = 0
      return isOwn.map((is) => (is ? codes[next++]! : NOT_ASSIGNED))
    })
  }

  /** Ends it; the others share what it had. Resolves when they can. */
  async leave(): Promise<void> {
    if (this.#state === 'over') return
    this.#end()
    if (this.#memberId !== '') await this.#calls.leave(this.#options.groupId, this.#memberId)
  }

  #end(): void {
    this.#state = 'over'
    this.#cancelTimers()
    this.#partitions = []
  }

  #cancelTimers(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = null
    this.#cancelDeadline?.()
    this.#cancelDeadline = null
  }

  #lose(errorCode: ErrorCode): void {
    this.#end()
    this.#host.onLost(errorCode)
  }

  // —— rounds ——

  async #begin(): Promise<void> {
    const errorCode = await this.#calls.prepare()
    if (this.#state === 'over') return
    if (errorCode === ErrorCode.NONE) await this.#join()
    else this.#lose(errorCode)
  }

  async #join(): Promise<void> {
    this.#state = 'joining'
    for (;;) {
      const { groupId, topics, sessionTimeoutMs, rebalanceTimeoutMs } = this.#options
      const metadata = encodeSubscription(topics)
      const request = {
        groupId,
        sessionTimeoutMs,
        rebalanceTimeoutMs,
        memberId: this.#memberId,
        groupInstanceId: null,
        protocolType: PROTOCOL_TYPE,
        protocols: [...MEMBER_ASSIGNORS.keys()].map((name) => ({ name, metadata })),
        reason: null,
      }
      const answer = await this.#calls.join(request, this.#options)
      const { errorCode, memberId } = answer
      if (this.#isEnded()) {
        const isNew = this.#memberId === '' && memberId !== ''
        if (isNew) await this.#calls.leave(groupId, memberId)
        return
      }
      if (errorCode === ErrorCode.NONE) {
        this.#memberId = memberId
        this.#accepted()
        if (await this.#sync(answer)) return
      } else if (errorCode === ErrorCode.MEMBER_ID_REQUIRED) {
        this.#memberId = memberId
      } else if (!(await this.#mayGoOn(errorCode))) {
        return
      }
    }
  }

  #accepted(): void {
    if (this.#isAccepted) return
    this.#isAccepted = true
    this.#host.onAccepted(this.#memberId)
  }

  #isEnded(): boolean {
    return this.#state === 'over'
  }

  /** After an error of a round, in which it has nothing to lose. False: it is over. */
  async #mayGoOn(errorCode: ErrorCode): Promise<boolean> {
    if (errorCode === ErrorCode.UNKNOWN_MEMBER_ID) {
      this.#memberId = ''
      return true
    }
    const isAnotherRound =
      errorCode === ErrorCode.REBALANCE_IN_PROGRESS || errorCode === ErrorCode.ILLEGAL_GENERATION
    if (isAnotherRound) return true
    // There is no coordinator here any more, and no other one; or whoever asks may ask again.
    const isGone = errorCode === ErrorCode.NOT_COORDINATOR || !this.#isAccepted
    if (isGone || !errorInfo(errorCode).retriable) {
      this.#lose(errorCode)
      return false
    }
    await new Promise<void>((resolve) => {
      this.#cancelTimer = this.#calls.after(RETRY_MS, resolve)
    })
    return !this.#isEnded()
  }

  /** False: join again. */
  async #sync(joined: JoinGroupResponseInit): Promise<boolean> {
    this.#state = 'syncing'
    const { groupId } = this.#options
    this.#generationId = joined.generationId ?? -1
    this.#protocolName = joined.protocolName ?? ''
    this.#counts = null
    const isLeader = joined.leader === joined.memberId && joined.skipAssignment !== true
    const answer = await this.#calls.sync({
      groupId,
      generationId: this.#generationId,
      memberId: joined.memberId,
      groupInstanceId: null,
      protocolType: PROTOCOL_TYPE,
      protocolName: this.#protocolName,
      assignments: isLeader ? this.#assign(joined) : [],
    })
    if (this.#isEnded()) return true
    const errorCode = answer.errorCode as ErrorCode
    if (errorCode !== ErrorCode.NONE) return !(await this.#mayGoOn(errorCode))
    const assigned = decodeAssignment(answer.assignment)
    if (assigned === null) {
      const leave = this.#calls.leave(groupId, this.#memberId)
      this.#lose(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
      await leave
      return true
    }
    return this.#take(assigned)
  }

  async #take(assigned: readonly TopicPartition[]): Promise<boolean> {
    const partitions = this.#existing(assigned)
    const offsets = await this.#calls.committed(this.#options.groupId, partitions)
    if (this.#isEnded()) return true
    if (offsets === null) return !(await this.#mayGoOn(ErrorCode.COORDINATOR_NOT_AVAILABLE))
    this.#partitions = partitions
    this.#state = 'stable'
    this.#setTimer()
    this.#host.onAssigned({
      generationId: this.#generationId,
      partitions: partitions.map((at, i) => ({ ...at, committedOffset: offsets[i]! })),
    })
    return true
  }

  /** Who leads may be any client: what it assigns may be there twice, or nowhere. */
  #existing(assigned: readonly TopicPartition[]): TopicPartition[] {
    const existing = new Map<string, TopicPartition>()
    for (const at of assigned) {
      const count = this.#calls.partitionsCount(at.topic) ?? 0
      if (at.partition >= 0 && at.partition < count) existing.set(partitionKey(at), at)
    }
    return [...existing.values()]
  }

  #assign({ members = [] }: JoinGroupResponseInit) {
    const assigned = members.map(({ memberId, metadata }): AssignedMember => {
      const said = decodeSubscription(metadata)
      return {
        memberId,
        topics: said?.topics ?? [],
        owned: (said?.ownedPartitions ?? []).flatMap(({ topic, partitions }) =>
          partitions.map((partition) => ({ topic, partition })),
        ),
        generationId: said?.generationId ?? -1,
      }
    })
    this.#groupTopics = [...new Set(assigned.flatMap(({ topics }) => topics))]
    const counts = this.#countPartitions()
    this.#counts = counts
    // The group chose one that all members named, and this one named only what it knows.
    const assignor = MEMBER_ASSIGNORS.get(this.#protocolName)!
    return [...assignor(assigned, counts)].map(([memberId, share]) => ({
      memberId,
      assignment: encodeAssignment(share),
    }))
  }

  #countPartitions(): Map<string, number> {
    const counts = new Map<string, number>()
    for (const topic of this.#groupTopics) {
      const count = this.#calls.partitionsCount(topic)
      if (count !== undefined) counts.set(topic, count)
    }
    return counts
  }

  // —— heartbeats ——

  /** Both timeouts are noticed in time, unless they are very short. */
  get #heartbeatMs(): number {
    const { sessionTimeoutMs, rebalanceTimeoutMs } = this.#options
    const shortestMs = Math.min(sessionTimeoutMs, rebalanceTimeoutMs)
    const wantedMs = shortestMs / HEARTBEATS_PER_SESSION
    return Math.max(HEARTBEAT_MS_MIN, Math.min(HEARTBEAT_MS_MAX, wantedMs))
  }

  #setTimer(): void {
    this.#cancelTimer = this.#calls.after(this.#heartbeatMs, () => void this.#beat())
  }

  async #beat(): Promise<void> {
    this.#cancelTimer = null
    const generationId = this.#generationId
    const errorCode = await this.#calls.heartbeat({
      groupId: this.#options.groupId,
      generationId,
      memberId: this.#memberId,
      groupInstanceId: null,
    })
    const isIn = this.#state === 'stable' || this.#state === 'revoking'
    if (!isIn || generationId !== this.#generationId) return
    const isRebalance = errorCode === ErrorCode.REBALANCE_IN_PROGRESS
    const isRetriable = errorInfo(errorCode).retriable && errorCode !== ErrorCode.NOT_COORDINATOR
    if (errorCode !== ErrorCode.NONE && !isRebalance && !isRetriable) {
      this.#lose(errorCode)
      return
    }
    this.#setTimer()
    if (this.#state === 'stable' && (isRebalance || this.#haveTopicsChanged())) this.#revoke()
  }

  #revoke(): void {
    this.#state = 'revoking'
    // The round may have begun a heartbeat ago: before the others go on without it, it is over.
    const leftMs = Math.floor(this.#options.rebalanceTimeoutMs - 2 * this.#heartbeatMs)
    const withinMs = Math.max(0, leftMs)
    this.#cancelDeadline = this.#calls.after(withinMs, () => this.#giveUp())
    this.#host.onRevoke(this.#partitions, withinMs)
  }

  #giveUp(): void {
    const { groupId } = this.#options
    const memberId = this.#memberId
    this.#lose(ErrorCode.UNKNOWN_MEMBER_ID)
    void this.#calls.leave(groupId, memberId)
  }

  /** The leader looks for topics that come, go or grow. */
  #haveTopicsChanged(): boolean {
    const before = this.#counts
    if (before === null) return false
    const now = this.#countPartitions()
    return (
      now.size !== before.size || [...now].some(([topic, count]) => before.get(topic) !== count)
    )
  }
}

/** Somebody else's partition: what this member says of it does not count. */
const NOT_ASSIGNED = ErrorCode.ILLEGAL_GENERATION
