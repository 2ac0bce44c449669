import { ErrorCode } from '../../errors/error-code.ts'
import type { JoinGroupRequest } from '../../wire/kafka/schema/11-join-group.ts'
import type { HeartbeatRequest } from '../../wire/kafka/schema/12-heartbeat.ts'
import type { SyncGroupRequest } from '../../wire/kafka/schema/14-sync-group.ts'
import type { ConsumerGroupHeartbeatRequest } from '../../wire/kafka/schema/68-consumer-group-heartbeat.ts'
import { Deadlines } from '../deadlines.ts'
import { type Effects, EffectsBuilder } from '../effects.ts'
import { ClassicGroup, restoreClassicGroup } from './classic-group.ts'
import { ClassicInConsumerGroup } from './classic-in-consumer-group.ts'
import type { JoinReply, SyncReply } from './classic-member.ts'
import { ClassicProtocol, joinError, syncError } from './classic-protocol.ts'
import { ConsumerGroup } from './consumer-group.ts'
import { ConsumerGroupProtocol } from './consumer-group-protocol.ts'
import {
  groupRecords,
  groupTombstones,
  isConsumerRecord,
  replayInto,
} from './consumer-group-records.ts'
import { ConsumerGroupSteps } from './consumer-group-steps.ts'
import {
  type HeartbeatReply,
  heartbeatError,
  JOIN_EPOCH,
  type Refusal,
  requestError,
} from './consumer-heartbeat.ts'
import { type Group, isDeletable } from './group.ts'
import { type CommitRequest, consumerMemberError, GroupCommits } from './group-commits.ts'
import type { GroupConfig, GroupContext, Now } from './group-context.ts'
import { GROUPS_MAX, INSTANCE_ID_CHARS_MAX, isGroupId } from './group-limits.ts'
import type { GroupOffsets } from './group-offsets.ts'
import { classicGroupOf, consumerGroupOf, isToDowngrade, upgradeProblem } from './migration.ts'
import type { GroupRecord, ReadGroupRecord } from './record-schema.ts'
import type { TopicRegexes } from './topic-regexes.ts'
import type { TopicView } from './topic-view.ts'

/**
 * The groups of one partition of `__consumer_offsets`, of either protocol: a state machine whose
 * state is what its records say. A step changes the state at once and leaves its effects for
 * `take`: records to append, and answers to give when these are below the high watermark. Should an
 * append fail, the whole object is thrown away and another one is fed with the log by `replay`.
 * Pure.
 */
export interface LeavingMember {
  readonly memberId: string
  readonly instanceId: string | null
}

export interface GroupCoordinatorParts {
  readonly config: GroupConfig
  /** Gives what makes a member's id unique. */
  readonly newId: () => string
  readonly topics: TopicView
  readonly regexes: TopicRegexes
}

export class GroupCoordinator {
  readonly #config: GroupConfig
  readonly #topics: TopicView
  readonly #effects = new EffectsBuilder<GroupRecord>()
  readonly #classic: ClassicProtocol
  readonly #consumer: ConsumerGroupProtocol
  readonly #migrating: ClassicInConsumerGroup
  readonly #commits: GroupCommits
  readonly #groups = new Map<string, Group>()
  readonly #deadlines = new Deadlines<Group>()

  constructor(parts: GroupCoordinatorParts) {
    const { config, newId, topics } = parts
    const effects = this.#effects
    this.#config = config
    this.#topics = topics
    this.#classic = new ClassicProtocol(config, effects, newId)
    const consumerParts = { ...parts, effects }
    const steps = new ConsumerGroupSteps(consumerParts)
    this.#consumer = new ConsumerGroupProtocol(consumerParts, steps)
    this.#migrating = new ClassicInConsumerGroup(consumerParts, steps)
    this.#commits = new GroupCommits(config, effects, topics)
  }

  get groups(): ReadonlyMap<string, Group> {
    return this.#groups
  }

  get offsets(): GroupOffsets {
    return this.#commits.offsets
  }

  /** When `onTime` must run though no request comes, monotonic. */
  get nextDeadlineMs(): number {
    return this.#deadlines.nextMs
  }

  /** What the steps since the last call ask for. */
  take(): Effects<GroupRecord> {
    return this.#effects.take()
  }

  // —— the classic protocol ——

  join(request: JoinGroupRequest, context: GroupContext, reply: JoinReply): void {
    const { groupId, memberId } = request
    const refusal = this.#joinRefusal(request)
    if (refusal !== ErrorCode.NONE) {
      this.#effects.answer(reply, joinError(refusal, memberId))
      return
    }
    const known = this.#groups.get(groupId)
    if (known?.type === 'consumer' && !known.isEmpty) {
      this.#effects.answer(reply, this.#migrating.join(known, request, context))
      this.#settle(known, context)
      return
    }
    if (known?.type === 'consumer') this.#forgetConsumerGroup(known)
    const group = known?.type === 'classic' ? known : this.#newGroup(groupId, context)
    this.#classic.join(group, { request, context, reply })
    this.#settleClassic(group)
  }

  #joinRefusal(request: JoinGroupRequest): ErrorCode {
    const { groupId, memberId, groupInstanceId, sessionTimeoutMs } = request
    const { sessionTimeoutMsMin, sessionTimeoutMsMax } = this.#config
    if (!isGroupId(groupId)) return ErrorCode.INVALID_GROUP_ID
    // It becomes part of the member's id.
    if ((groupInstanceId?.length ?? 0) > INSTANCE_ID_CHARS_MAX) return ErrorCode.INVALID_REQUEST
    if (sessionTimeoutMs < sessionTimeoutMsMin || sessionTimeoutMs > sessionTimeoutMsMax) {
      return ErrorCode.INVALID_SESSION_TIMEOUT
    }
    if (memberId === '') return this.#roomFor(groupId)
    // Only who has no id yet can be the first.
    const group = this.#groups.get(groupId)
    const isKnown = group !== undefined && (group.type === 'classic' || !group.isEmpty)
    return isKnown ? ErrorCode.NONE : ErrorCode.UNKNOWN_MEMBER_ID
  }

  /** Whether the group may be made, should it be new. */
  #roomFor(groupId: string): ErrorCode {
    const mayBe = this.#groups.has(groupId) || this.#groups.size < GROUPS_MAX
    return mayBe ? ErrorCode.NONE : ErrorCode.POLICY_VIOLATION
  }

  /** A group that nobody has got into, and that has nothing, is not kept. */
  #settleClassic(group: ClassicGroup): void {
    const isUnused = group.generationId === 0 && !this.offsets.has(group.groupId)
    if (isUnused && isDeletable(group)) this.#forget(group)
    else this.#watch(group)
  }

  sync(request: SyncGroupRequest, now: Now, reply: SyncReply): void {
    const group = this.#groups.get(request.groupId)
    if (group === undefined) {
      const code = groupIdError(request.groupId, ErrorCode.UNKNOWN_MEMBER_ID)
      this.#effects.answer(reply, syncError(code))
    } else if (group.type === 'consumer') {
      this.#effects.answer(reply, this.#migrating.sync(group, request, now))
      this.#watch(group)
    } else {
      this.#classic.sync(group, request, now, reply)
      this.#watch(group)
    }
  }

  heartbeat(request: HeartbeatRequest, now: Now, reply: (code: ErrorCode) => void): void {
    const group = this.#groups.get(request.groupId)
    let code = groupIdError(request.groupId, ErrorCode.UNKNOWN_MEMBER_ID)
    if (group?.type === 'classic') {
      code = this.#classic.heartbeat(group, request, now)
    } else if (group !== undefined) {
      code = this.#migrating.heartbeat(group, request, now)
      if (code === ErrorCode.REBALANCE_IN_PROGRESS) this.#watch(group)
    }
    this.#effects.answer(reply, code)
  }

  /** An error for each of `members`, in their order. */
  leave(
    { groupId, members }: { readonly groupId: string; readonly members: readonly LeavingMember[] },
    now: Now,
    reply: (codes: readonly ErrorCode[]) => void,
  ): void {
    const group = this.#groups.get(groupId)
    const codes = members.map((member) => {
      if (group === undefined) return groupIdError(groupId, ErrorCode.UNKNOWN_MEMBER_ID)
      return group.type === 'classic'
        ? this.#classic.leave(group, member, now)
        : this.#migrating.leave(group, member, now)
    })
    if (group !== undefined) this.#settle(group, now)
    this.#effects.answer(reply, codes)
  }

  // —— the consumer protocol ——

  consumerHeartbeat(
    request: ConsumerGroupHeartbeatRequest,
    context: GroupContext,
    reply: HeartbeatReply,
  ): void {
    const refusal =
      requestError(request, context.apiVersion, this.#config) ?? this.#consumerRefusal(request)
    if (refusal !== null) {
      this.#effects.answer(reply, heartbeatError(refusal.code, refusal.message))
      return
    }
    const group = this.#consumerGroup(request, context)
    const answer = this.#consumer.heartbeat(group, request, context)
    this.#effects.answer(reply, answer)
    if (request.memberEpoch < JOIN_EPOCH) this.#settle(group, context)
    else this.#deadlines.set(group, group.members.get(answer.memberId as string)!.deadlineMs)
  }

  #consumerRefusal(request: ConsumerGroupHeartbeatRequest): Refusal | null {
    const group = this.#groups.get(request.groupId)
    if (group === undefined && this.#roomFor(request.groupId) !== ErrorCode.NONE) {
      return { code: ErrorCode.POLICY_VIOLATION, message: `There are ${GROUPS_MAX} groups already` }
    }
    if (group?.type !== 'classic') return this.#consumer.refusal(group, request)
    const refusal = this.#consumer.refusal(undefined, request)
    if (refusal !== null || group.isEmpty) return refusal
    const message = upgradeProblem(group, this.#config)
    return message === null ? null : { code: ErrorCode.GROUP_ID_NOT_FOUND, message }
  }

  /** The group, which the request may have made, or made one of the consumer protocol. */
  #consumerGroup({ groupId }: ConsumerGroupHeartbeatRequest, now: Now): ConsumerGroup {
    const known = this.#groups.get(groupId)
    if (known?.type === 'consumer') return known
    let group = new ConsumerGroup(groupId)
    if (known !== undefined) {
      this.#effects.write({ type: 'group', key: { group: groupId }, value: null })
      if (!known.isEmpty) {
        this.#classic.interrupt(known)
        group = consumerGroupOf(known, this.#topics, now)
        for (const record of groupRecords(group)) this.#effects.write(record)
      }
      this.#forget(known)
    }
    this.#groups.set(groupId, group)
    this.#watch(group)
    return group
  }

  #forgetConsumerGroup(group: ConsumerGroup): void {
    for (const record of groupTombstones(group)) this.#effects.write(record)
    this.#forget(group)
  }

  /** After members have gone: the group may be the classic protocol's again. */
  #settle(group: Group, now: Now): void {
    if (group.type === 'consumer' && isToDowngrade(group, this.#config)) {
      const classic = classicGroupOf(group, this.#topics, now)
      this.#forgetConsumerGroup(group)
      this.#groups.set(classic.groupId, classic)
      this.#effects.write(classic.record())
      this.#classic.rebalance(classic, now)
      this.#watch(classic)
    } else if (group.type === 'classic') {
      this.#settleClassic(group)
    } else {
      this.#watch(group)
    }
  }

  // —— offsets ——

  /** An error for each of the offsets, in their order. */
  commit(request: CommitRequest, now: Now, reply: (codes: readonly ErrorCode[]) => void): void {
    const { groupId, offsets } = request
    const known = this.#groups.get(groupId)
    const own = this.#commits.refusal(known, request)
    const refusal = own === ErrorCode.NONE ? this.#roomFor(groupId) : own
    let codes: readonly ErrorCode[] = offsets.map(() => refusal)
    if (refusal === ErrorCode.NONE) {
      const group = known ?? this.#newGroup(groupId, now)
      if (group.type === 'classic') this.#classic.touch(group, request.memberId, now)
      codes = this.#commits.commit(group, request, now)
    }
    this.#effects.answer(reply, codes)
  }

  /** `reply` runs when all that the group has committed before is durable. */
  fetch<T>(read: (offsets: GroupOffsets) => T, reply: (result: T) => void): void {
    this.#effects.answer(reply, read(this.offsets))
  }

  /** Why who says to be a member may not ask for offsets; NONE when it may, or says nothing. */
  fetchRefusal(groupId: string, memberId: string | null, memberEpoch: number): ErrorCode {
    const group = this.#groups.get(groupId)
    const isNobody = (memberId === null || memberId === '') && memberEpoch < 0
    if (isNobody || group?.type !== 'consumer') return ErrorCode.NONE
    return consumerMemberError(group, { memberId: memberId ?? '', memberEpoch, mayBeOlder: false })
  }

  /** Forgets offsets, but not of topics that the group's members are subscribed to (KIP-496). */
  deleteOffsets(
    groupId: string,
    partitions: readonly { readonly topic: string; readonly partition: number }[],
    reply: (result: { code: ErrorCode; codes: readonly ErrorCode[] }) => void,
  ): void {
    const group = this.#groups.get(groupId)
    const missing = { code: groupIdError(groupId, ErrorCode.GROUP_ID_NOT_FOUND), codes: [] }
    const result = group === undefined ? missing : this.#commits.delete(group, partitions)
    this.#effects.answer(reply, result)
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
  inspect<T>(read: (groups: ReadonlyMap<string, Group>) => T, reply: (result: T) => void): void {
    this.#effects.answer(reply, read(this.#groups))
  }

  // —— time ——

  /** Runs what is due. */
  onTime(now: Now): void {
    for (;;) {
      const group = this.#deadlines.take(now.monotonicMs)
      if (group === null) return
      if (this.#groups.get(group.groupId) !== group) continue
      if (group.type === 'classic') this.#classic.onTime(group, now)
      else this.#consumer.onTime(group, now)
      this.#settle(group, now)
    }
  }

  /** Forgets old offsets of empty groups, and empty groups without any. */
  expire(now: Now): void {
    for (const group of [...this.#groups.values()]) {
      if (!isDeletable(group)) continue
      this.#commits.expire(group, now)
      if (!this.offsets.has(group.groupId)) this.#deleteGroup(group, now)
    }
  }

  /** Topics are gone, and with them what groups have committed there. */
  onTopicsDeleted(topics: ReadonlySet<string>): void {
    for (const groupId of this.#groups.keys()) this.#commits.forgetTopics(groupId, topics)
  }

  // —— the log ——

  /** Applies what a record says. */
  replay(record: ReadGroupRecord, now: Now): void {
    const { group: groupId } = record.key
    const known = this.#groups.get(groupId)
    if (record.type === 'offset') {
      const { topic, partition } = record.key
      this.offsets.set(groupId, { topic, partition }, record.value)
      if (record.value !== null && known === undefined) this.#newGroup(groupId, now)
    } else if (isConsumerRecord(record)) {
      if (known?.type === 'consumer') {
        replayInto(known, record)
        if (record.type === 'consumer-group' && record.value === null) this.#forget(known)
      } else if (record.value !== null) {
        const group = new ConsumerGroup(groupId)
        replayInto(group, record)
        this.#groups.set(groupId, group)
      }
    } else if (record.value !== null) {
      this.#groups.set(groupId, restoreClassicGroup(groupId, record.value))
    } else if (known?.type === 'classic') {
      this.#forget(known)
    }
  }

  /** All records have been replayed: members have their session's time to be heard of again. */
  onLoaded(now: Now): void {
    this.#forgetLostTopics()
    for (const groupId of this.offsets.groupIds()) {
      // The record of a group is gone, and its offsets are not: somebody may come for them.
      if (!this.#groups.has(groupId)) this.#newGroup(groupId, now)
    }
    for (const group of this.#groups.values()) {
      if (group.type === 'consumer') {
        this.#consumer.onLoaded(group, now)
      } else {
        for (const member of group.members.values()) {
          member.deadlineMs = now.monotonicMs + member.sessionTimeoutMs
        }
      }
      this.#watch(group)
    }
  }

  /** A crash may lie between a topic's end and that of its offsets; another may get its name. */
  #forgetLostTopics(): void {
    for (const groupId of [...this.offsets.groupIds()]) {
      const topics = [...this.offsets.topics(groupId).keys()]
      const lost = topics.filter((name) => this.#topics.byName(name) === undefined)
      this.#commits.forgetTopics(groupId, lost)
    }
  }

  #newGroup(groupId: string, now: Now): ClassicGroup {
    const group = new ClassicGroup(groupId)
    group.stateSinceMs = now.wallMs
    this.#groups.set(groupId, group)
    return group
  }

  #deleteGroup(group: Group, now: Now): void {
    this.#commits.forgetAll(group.groupId)
    if (group.type === 'consumer') {
      this.#forgetConsumerGroup(group)
      return
    }
    this.#effects.write({ type: 'group', key: { group: group.groupId }, value: null })
    group.moveTo('Dead', now.wallMs)
    this.#forget(group)
  }

  #forget(group: Group): void {
    this.#groups.delete(group.groupId)
    this.#deadlines.delete(group)
  }

  #watch(group: Group): void {
    this.#deadlines.set(group, group.deadlineMs)
  }
}

function groupIdError(groupId: string, otherwise: ErrorCode): ErrorCode {
  return groupId === '' ? ErrorCode.INVALID_GROUP_ID : otherwise
}
