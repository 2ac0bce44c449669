import { ErrorCode } from '../../errors/error-code.ts'
import type { JoinGroupRequest } from '../../wire/kafka/schema/11-join-group.ts'
import type { HeartbeatRequest } from '../../wire/kafka/schema/12-heartbeat.ts'
import type { SyncGroupRequest } from '../../wire/kafka/schema/14-sync-group.ts'
import { Deadlines } from '../deadlines.ts'
import { type Effects, EffectsBuilder } from '../effects.ts'
import { ClassicGroup } from './classic-group.ts'
import { ClassicMember, type JoinReply, type SyncReply } from './classic-member.ts'
import { ClassicProtocol, joinError, memberError, syncError } from './classic-protocol.ts'
import type { GroupConfig, GroupContext, Now } from './group-context.ts'
import { type CommittedOffset, GroupOffsets } from './group-offsets.ts'
import type { GroupMetadataValue, GroupRecord, ReadGroupRecord } from './record-schema.ts'

/**
 * The groups of one partition of `__consumer_offsets`: a state machine whose state is what its
 * records say. A step changes the state at once and leaves its effects for `take`: records to
 * append, and answers to give when these are below the high watermark. Should an append fail, the
 * whole object is thrown away and another one is fed with the log by `replay`. Pure.
 */
export interface OffsetToCommit {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly offset: number
  readonly leaderEpoch: number
  readonly metadata: string | null
}

export interface CommitRequest {
  readonly groupId: string
  /** −1 from who is no member: then the group must be empty. */
  readonly generationId: number
  readonly memberId: string
  readonly instanceId: string | null
  readonly offsets: readonly OffsetToCommit[]
  /** Of versions 2 to 4; −1 for the broker's. */
  readonly retentionMs: number
}

export interface LeavingMember {
  readonly memberId: string
  readonly instanceId: string | null
}

export class GroupCoordinator {
  readonly #config: GroupConfig
  readonly #effects = new EffectsBuilder<GroupRecord>()
  readonly #protocol: ClassicProtocol
  readonly #groups = new Map<string, ClassicGroup>()
  readonly #offsets = new GroupOffsets()
  readonly #deadlines = new Deadlines<ClassicGroup>()

  /** `newId` gives what makes a member's id unique. */
  constructor(config: GroupConfig, newId: () => string) {
    this.#config = config
    this.#protocol = new ClassicProtocol(config, this.#effects, newId)
  }

  get groups(): ReadonlyMap<string, ClassicGroup> {
    return this.#groups
  }

  get offsets(): GroupOffsets {
    return this.#offsets
  }

  /** When `onTime` must run though no request comes, monotonic. */
  get nextDeadlineMs(): number {
    return this.#deadlines.nextMs
  }

  /** What the steps since the last call ask for. */
  take(): Effects<GroupRecord> {
    return this.#effects.take()
  }

  // —— classic groups ——

  join(request: JoinGroupRequest, context: GroupContext, reply: JoinReply): void {
    const { groupId, memberId } = request
    const refusal = this.#joinRefusal(request)
    if (refusal !== ErrorCode.NONE) {
      this.#effects.answer(reply, joinError(refusal, memberId))
      return
    }
    const group = this.#groups.get(groupId) ?? this.#newGroup(groupId, context)
    this.#protocol.join(group, { request, context, reply })
    this.#watch(group)
  }

  #joinRefusal({ groupId, memberId, sessionTimeoutMs }: JoinGroupRequest): ErrorCode {
    const { sessionTimeoutMsMin, sessionTimeoutMsMax } = this.#config
    if (groupId === '') return ErrorCode.INVALID_GROUP_ID
    if (sessionTimeoutMs < sessionTimeoutMsMin || sessionTimeoutMs > sessionTimeoutMsMax) {
      return ErrorCode.INVALID_SESSION_TIMEOUT
    }
    // Only who has no id yet can be the first.
    const isKnown = memberId === '' || this.#groups.has(groupId)
    return isKnown ? ErrorCode.NONE : ErrorCode.UNKNOWN_MEMBER_ID
  }

  sync(request: SyncGroupRequest, now: Now, reply: SyncReply): void {
    const group = this.#groups.get(request.groupId)
    if (group === undefined) {
      const code = groupIdError(request.groupId, ErrorCode.UNKNOWN_MEMBER_ID)
      this.#effects.answer(reply, syncError(code))
      return
    }
    this.#protocol.sync(group, request, now, reply)
    this.#watch(group)
  }

  heartbeat(request: HeartbeatRequest, now: Now, reply: (code: ErrorCode) => void): void {
    const group = this.#groups.get(request.groupId)
    const code =
      group === undefined
        ? groupIdError(request.groupId, ErrorCode.UNKNOWN_MEMBER_ID)
        : this.#protocol.heartbeat(group, request, now)
    this.#effects.answer(reply, code)
  }

  /** An error for each of `members`, in their order. */
  leave(
    { groupId, members }: { readonly groupId: string; readonly members: readonly LeavingMember[] },
    now: Now,
    reply: (codes: readonly ErrorCode[]) => void,
  ): void {
    const group = this.#groups.get(groupId)
    const unknown = groupIdError(groupId, ErrorCode.UNKNOWN_MEMBER_ID)
    const codes = members.map((member) =>
      group === undefined ? unknown : this.#protocol.leave(group, member, now),
    )
    if (group !== undefined) this.#watch(group)
    this.#effects.answer(reply, codes)
  }

  // —— offsets ——

  /** An error for each of the offsets, in their order. */
  commit(request: CommitRequest, now: Now, reply: (codes: readonly ErrorCode[]) => void): void {
    const refusal = this.#commitRefusal(request)
    if (refusal !== ErrorCode.NONE) {
      this.#effects.answer(
        reply,
        request.offsets.map(() => refusal),
      )
      return
    }
    const { groupId, retentionMs } = request
    const group = this.#groups.get(groupId) ?? this.#newGroup(groupId, now)
    this.#protocol.touch(group, request.memberId, now)
    const expireTimestamp = retentionMs < 0 ? -1 : now.wallMs + retentionMs
    const codes = request.offsets.map((offset) => {
      const metadata = offset.metadata ?? ''
      if (metadata.length > this.#config.offsetMetadataBytesMax) {
        return ErrorCode.OFFSET_METADATA_TOO_LARGE
      }
      const record: ReadGroupRecord & { readonly type: 'offset' } = {
        type: 'offset',
        key: { group: groupId, topic: offset.topic, partition: offset.partition },
        value: {
          offset: offset.offset,
          leaderEpoch: offset.leaderEpoch,
          metadata,
          commitTimestamp: now.wallMs,
          expireTimestamp,
          topicId: offset.topicId,
        },
      }
      this.#offsets.set(groupId, record.key, record.value)
      this.#effects.write(record)
      return ErrorCode.NONE
    })
    this.#effects.answer(reply, codes)
  }

  #commitRefusal({ groupId, generationId, memberId, instanceId }: CommitRequest): ErrorCode {
    const group = this.#groups.get(groupId)
    const isMember = generationId >= 0 || memberId !== '' || instanceId !== null
    if (group === undefined) {
      // Offsets can be kept in a group that nobody is in (an administrator's, a simple consumer's).
      return isMember ? ErrorCode.ILLEGAL_GENERATION : groupIdError(groupId, ErrorCode.NONE)
    }
    if (!isMember) {
      return group.state === 'Empty' ? ErrorCode.NONE : ErrorCode.UNKNOWN_MEMBER_ID
    }
    const error = memberError(group, memberId, instanceId)
    if (error !== ErrorCode.NONE) return error
    if (generationId !== group.generationId) return ErrorCode.ILLEGAL_GENERATION
    // While others join, members may still save what they did: the heartbeat tells them to come.
    return group.state === 'CompletingRebalance' ? ErrorCode.REBALANCE_IN_PROGRESS : ErrorCode.NONE
  }

  /** `reply` runs when all that the group has committed before is durable. */
  fetch<T>(read: (offsets: GroupOffsets) => T, reply: (result: T) => void): void {
    this.#effects.answer(reply, read(this.#offsets))
  }

  /** Forgets offsets, but not of topics that the group's members are subscribed to (KIP-496). */
  deleteOffsets(
    groupId: string,
    partitions: readonly { readonly topic: string; readonly partition: number }[],
    reply: (result: { code: ErrorCode; codes: readonly ErrorCode[] }) => void,
  ): void {
    const group = this.#groups.get(groupId)
    const isKnown = group !== undefined && group.state !== 'Dead'
    if (!isKnown) {
      this.#effects.answer(reply, {
        code: groupIdError(groupId, ErrorCode.GROUP_ID_NOT_FOUND),
        codes: [],
      })
      return
    }
    const subscribed = group.subscribedTopics()
    if (!group.isEmpty && subscribed === null) {
      this.#effects.answer(reply, { code: ErrorCode.NON_EMPTY_GROUP, codes: [] })
      return
    }
    const codes = partitions.map((at) => {
      if (subscribed?.has(at.topic)) return ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
      if (this.#offsets.get(groupId, at.topic, at.partition) !== undefined) {
        this.#forgetOffset(groupId, at)
      }
      return ErrorCode.NONE
    })
    this.#effects.answer(reply, { code: ErrorCode.NONE, codes })
  }

  deleteGroup(groupId: string, now: Now, reply: (code: ErrorCode) => void): void {
    const group = this.#groups.get(groupId)
    let code: ErrorCode = ErrorCode.NONE
    if (group === undefined) code = groupIdError(groupId, ErrorCode.GROUP_ID_NOT_FOUND)
    else if (!isDeletable(group)) code = ErrorCode.NON_EMPTY_GROUP
    else this.#deleteGroup(group, now)
    this.#effects.answer(reply, code)
  }

  /** Runs `read` now and `reply` when what it saw is durable. */
  inspect<T>(
    read: (groups: ReadonlyMap<string, ClassicGroup>) => T,
    reply: (result: T) => void,
  ): void {
    this.#effects.answer(reply, read(this.#groups))
  }

  // —— time ——

  /** Runs what is due. */
  onTime(now: Now): void {
    for (;;) {
      const group = this.#deadlines.take(now.monotonicMs)
      if (group === null) return
      if (this.#groups.get(group.groupId) !== group) continue
      this.#protocol.onTime(group, now)
      this.#watch(group)
    }
  }

  /**
   * Forgets the offsets of empty groups that are older than the retention, counted from when the
   * group became empty where that is known (KIP-211), and empty groups without any.
   */
  expire(now: Now): void {
    for (const group of [...this.#groups.values()]) {
      if (!isDeletable(group)) continue
      for (const [topic, partitions] of [...this.#offsets.topics(group.groupId)]) {
        for (const [partition, offset] of [...partitions]) {
          if (this.#isExpired(group, offset, now)) {
            this.#forgetOffset(group.groupId, { topic, partition })
          }
        }
      }
      if (!this.#offsets.has(group.groupId)) this.#deleteGroup(group, now)
    }
  }

  #isExpired(group: ClassicGroup, offset: CommittedOffset, { wallMs }: Now): boolean {
    if (offset.expireTimestampMs >= 0) return wallMs >= offset.expireTimestampMs
    const idleSinceMs =
      group.protocolType === null
        ? offset.commitTimestampMs
        : Math.max(offset.commitTimestampMs, group.stateSinceMs)
    return wallMs - idleSinceMs >= this.#config.offsetsRetentionMs
  }

  /** Topics are gone, and with them what groups have committed there. */
  onTopicsDeleted(topics: ReadonlySet<string>): void {
    for (const groupId of this.#groups.keys()) {
      const committed = this.#offsets.topics(groupId)
      for (const topic of topics) {
        for (const partition of [...(committed.get(topic)?.keys() ?? [])]) {
          this.#forgetOffset(groupId, { topic, partition })
        }
      }
    }
  }

  // —— the log ——

  /** Applies what a record says. Records of other kinds of groups are left alone. */
  replay(record: ReadGroupRecord, now: Now): void {
    if (record.type === 'offset') {
      const { group: groupId, topic, partition } = record.key
      this.#offsets.set(groupId, { topic, partition }, record.value)
      if (record.value !== null && !this.#groups.has(groupId)) this.#newGroup(groupId, now)
    } else if (record.type === 'group') {
      const known = this.#groups.get(record.key.group)
      if (known !== undefined) this.#forget(known)
      if (record.value === null) return
      const group = restored(record.key.group, record.value)
      this.#groups.set(group.groupId, group)
    }
  }

  /** All records have been replayed: members have their session's time to be heard of again. */
  onLoaded(now: Now): void {
    for (const group of this.#groups.values()) {
      for (const member of group.members.values()) {
        member.deadlineMs = now.monotonicMs + member.sessionTimeoutMs
      }
      this.#watch(group)
    }
  }

  #newGroup(groupId: string, { wallMs }: Now): ClassicGroup {
    const group = new ClassicGroup(groupId)
    group.stateSinceMs = wallMs
    this.#groups.set(groupId, group)
    return group
  }

  #deleteGroup(group: ClassicGroup, now: Now): void {
    const { groupId } = group
    for (const [topic, partitions] of [...this.#offsets.topics(groupId)]) {
      for (const partition of [...partitions.keys()]) {
        this.#forgetOffset(groupId, { topic, partition })
      }
    }
    this.#effects.write({ type: 'group', key: { group: groupId }, value: null })
    group.moveTo('Dead', now.wallMs)
    this.#forget(group)
  }

  #forget(group: ClassicGroup): void {
    this.#groups.delete(group.groupId)
    this.#deadlines.delete(group)
  }

  #forgetOffset(groupId: string, at: { topic: string; partition: number }): void {
    this.#offsets.set(groupId, at, null)
    const key = { group: groupId, topic: at.topic, partition: at.partition }
    this.#effects.write({ type: 'offset', key, value: null })
  }

  #watch(group: ClassicGroup): void {
    this.#deadlines.set(group, group.deadlineMs)
  }
}

function isDeletable(group: ClassicGroup): boolean {
  return group.state === 'Empty' && group.isEmpty && group.pendingJoins.size === 0
}

function groupIdError(groupId: string, otherwise: ErrorCode): ErrorCode {
  return groupId === '' ? ErrorCode.INVALID_GROUP_ID : otherwise
}

function restored(groupId: string, value: GroupMetadataValue): ClassicGroup {
  const group = new ClassicGroup(groupId)
  group.state = value.members.length === 0 ? 'Empty' : 'Stable'
  group.stateSinceMs = value.currentStateTimestamp
  group.generationId = value.generation
  group.protocolType = value.protocolType === '' ? null : value.protocolType
  group.protocolName = value.protocol
  for (const each of value.members) {
    const member = new ClassicMember({
      memberId: each.memberId,
      instanceId: each.groupInstanceId,
      clientId: each.clientId,
      clientHost: each.clientHost,
      rebalanceTimeoutMs: each.rebalanceTimeout < 0 ? each.sessionTimeout : each.rebalanceTimeout,
      sessionTimeoutMs: each.sessionTimeout,
      // The others are not written down: a member names them again when it joins again.
      protocols:
        value.protocol === null ? [] : [{ name: value.protocol, metadata: each.subscription }],
    })
    member.assignment = each.assignment
    group.add(member)
  }
  group.leaderId = value.leader
  return group
}
