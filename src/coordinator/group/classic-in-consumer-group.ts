import { ErrorCode } from '../../errors/error-code.ts'
import type {
  JoinGroupRequest,
  JoinGroupResponseInit,
} from '../../wire/kafka/schema/11-join-group.ts'
import type { HeartbeatRequest } from '../../wire/kafka/schema/12-heartbeat.ts'
import type {
  SyncGroupRequest,
  SyncGroupResponseInit,
} from '../../wire/kafka/schema/14-sync-group.ts'
import { type Assignment, addPartition } from './assignment.ts'
import { bytesOfProtocols, newMemberId } from './classic-member.ts'
import {
  joinError,
  MEMBER_ID_FIRST_VERSION,
  rebalanceTimeoutOf,
  syncError,
} from './classic-protocol.ts'
import type { ConsumerGroup } from './consumer-group.ts'
import type { ConsumerGroupParts, ConsumerGroupSteps } from './consumer-group-steps.ts'
import {
  type ClassicSide,
  ConsumerMember,
  type MemberProfile,
  NEW_PROGRESS,
} from './consumer-member.ts'
import {
  CONSUMER_PROTOCOL_TYPE,
  type ConsumerSubscription,
  decodeSubscription,
  encodeAssignment,
} from './consumer-protocol.ts'
import type { GroupContext, Now } from './group-context.ts'
import { MEMBER_BYTES_MAX } from './group-limits.ts'
import { namedPartitions } from './migration.ts'
import type { TopicView } from './topic-view.ts'

/**
 * Members of the classic protocol in a consumer group, while its members are moved from one to the
 * other: JoinGroup is answered at once, nobody leads, the generation is the member's epoch, and a
 * heartbeat tells a member to join again when it is to come a step closer to its target. Pure.
 */
export class ClassicInConsumerGroup {
  readonly #parts: ConsumerGroupParts
  readonly #steps: ConsumerGroupSteps

  constructor(parts: ConsumerGroupParts, steps: ConsumerGroupSteps) {
    this.#parts = parts
    this.#steps = steps
  }

  join(
    group: ConsumerGroup,
    request: JoinGroupRequest,
    context: GroupContext,
  ): JoinGroupResponseInit {
    const { memberId, groupInstanceId: instanceId, protocols } = request
    const subscription = decodeSubscription(protocols[0]?.metadata ?? NOTHING)
    const refusal = this.#joinRefusal(group, request)
    if (refusal !== ErrorCode.NONE) return joinError(refusal, memberId)
    if (subscription === null) {
      return joinError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, memberId)
    }
    const isNameless = memberId === '' && instanceId === null
    if (isNameless && context.apiVersion >= MEMBER_ID_FIRST_VERSION) {
      const given = newMemberId(context.clientId, this.#parts.newId())
      return joinError(ErrorCode.MEMBER_ID_REQUIRED, given)
    }
    const profile = profileOf(request, subscription, context)
    const { member, mustGrow } = this.#enter(group, memberId, profile)
    this.#steps.bring(group, context, mustGrow)
    this.#steps.assign(group, context)
    const reported = ownedBy(subscription, this.#parts.topics)
    this.#steps.advance(group, member, { reported, now: context })
    extend(member, context)
    member.joinDeadlineMs = Infinity
    member.syncDeadlineMs = context.monotonicMs + profile.rebalanceTimeoutMs
    return {
      errorCode: ErrorCode.NONE,
      generationId: member.progress.memberEpoch,
      protocolType: CONSUMER_PROTOCOL_TYPE,
      protocolName: protocols[0]!.name,
      leader: '',
      memberId: member.memberId,
      members: [],
    }
  }

  #joinRefusal(group: ConsumerGroup, request: JoinGroupRequest): ErrorCode {
    const { memberId, groupInstanceId: instanceId, protocols, protocolType } = request
    const known = instanceId === null ? undefined : group.memberOfInstance(instanceId)
    if (instanceId !== null && memberId !== '') {
      if (known === undefined) return ErrorCode.UNKNOWN_MEMBER_ID
      if (known.memberId !== memberId) return ErrorCode.FENCED_INSTANCE_ID
    }
    const isIn = known !== undefined || group.members.has(memberId)
    if (!isIn && group.members.size >= this.#parts.config.consumer.maxSize) {
      return ErrorCode.GROUP_MAX_SIZE_REACHED
    }
    if (protocolType !== CONSUMER_PROTOCOL_TYPE || protocols.length === 0) {
      return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    }
    if (bytesOfProtocols(protocols) > MEMBER_BYTES_MAX) return ErrorCode.GROUP_MAX_SIZE_REACHED
    // Should the group become theirs again, classic members must have a protocol in common.
    const isShared = protocols.some(({ name }) => isKnownToAll(group, name, memberId))
    return isShared ? ErrorCode.NONE : ErrorCode.INCONSISTENT_GROUP_PROTOCOL
  }

  #enter(
    group: ConsumerGroup,
    askedId: string,
    profile: MemberProfile,
  ): { readonly member: ConsumerMember; readonly mustGrow: boolean } {
    const { instanceId } = profile
    const known =
      instanceId === null ? group.members.get(askedId) : group.memberOfInstance(instanceId)
    if (known !== undefined && known.memberId === askedId) {
      return { member: known, mustGrow: this.#steps.changeProfile(group, known, profile) }
    }
    const memberId =
      askedId === '' ? newMemberId(instanceId ?? profile.clientId, this.#parts.newId()) : askedId
    const member = new ConsumerMember(memberId, profile)
    if (known === undefined) {
      this.#steps.add(group, member)
      return { member, mustGrow: true }
    }
    member.profile = known.profile
    member.progress = { ...NEW_PROGRESS, assigned: known.progress.assigned }
    this.#steps.replace(group, known, member)
    return { member, mustGrow: this.#steps.changeProfile(group, member, profile) }
  }

  sync(group: ConsumerGroup, request: SyncGroupRequest, now: Now): SyncGroupResponseInit {
    const { memberId, groupInstanceId, protocolType, protocolName } = request
    const refusal = memberRefusal(group, memberId, groupInstanceId)
    if (refusal !== ErrorCode.NONE) return syncError(refusal)
    const member = group.members.get(memberId) as ConsumerMember
    const { progress, profile } = member
    const [protocol] = (profile.classic as ClassicSide).protocols
    const isOtherType = protocolType !== null && protocolType !== CONSUMER_PROTOCOL_TYPE
    const isOtherName = protocolName !== null && protocolName !== protocol!.name
    if (request.generationId !== progress.memberEpoch) {
      return syncError(ErrorCode.ILLEGAL_GENERATION)
    }
    if (isOtherType || isOtherName) return syncError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    if (group.groupEpoch > progress.memberEpoch && progress.state !== 'unrevoked') {
      awaitJoin(member, now)
      return syncError(ErrorCode.REBALANCE_IN_PROGRESS)
    }
    extend(member, now)
    // What it must give up it only learns now: the first answer to a round counts.
    if (progress.state === 'unrevoked' && member.syncDeadlineMs !== Infinity) {
      member.revocationDeadlineMs = now.monotonicMs + profile.rebalanceTimeoutMs
    }
    member.syncDeadlineMs = Infinity
    const list = namedPartitions(progress.assigned, this.#parts.topics)
    return {
      errorCode: ErrorCode.NONE,
      protocolType: CONSUMER_PROTOCOL_TYPE,
      protocolName: protocol!.name,
      assignment: encodeAssignment(list, protocol!.metadata),
    }
  }

  heartbeat(group: ConsumerGroup, request: HeartbeatRequest, now: Now): ErrorCode {
    const { memberId, groupInstanceId, generationId } = request
    const refusal = memberRefusal(group, memberId, groupInstanceId)
    if (refusal !== ErrorCode.NONE) return refusal
    const member = group.members.get(memberId) as ConsumerMember
    const { progress } = member
    if (generationId !== progress.memberEpoch) return ErrorCode.ILLEGAL_GENERATION
    extend(member, now)
    const mustJoin =
      progress.memberEpoch < group.groupEpoch ||
      progress.state === 'unrevoked' ||
      (progress.state === 'unreleased' && !group.isHeldUp(member))
    if (!mustJoin) return ErrorCode.NONE
    awaitJoin(member, now)
    return ErrorCode.REBALANCE_IN_PROGRESS
  }

  leave(
    group: ConsumerGroup,
    { memberId, instanceId }: { readonly memberId: string; readonly instanceId: string | null },
    now: Now,
  ): ErrorCode {
    const known =
      instanceId === null ? group.members.get(memberId) : group.memberOfInstance(instanceId)
    if (known === undefined) return ErrorCode.UNKNOWN_MEMBER_ID
    if (memberId !== '' && known.memberId !== memberId) return ErrorCode.FENCED_INSTANCE_ID
    this.#steps.remove(group, [known], now)
    return ErrorCode.NONE
  }
}

const NOTHING = new Uint8Array(0)

function isKnownToAll(group: ConsumerGroup, protocolName: string, exceptId: string): boolean {
  for (const { memberId, profile } of group.members.values()) {
    if (memberId === exceptId || profile.classic === null) continue
    if (!profile.classic.protocols.some(({ name }) => name === protocolName)) return false
  }
  return true
}

function memberRefusal(
  group: ConsumerGroup,
  memberId: string,
  instanceId: string | null,
): ErrorCode {
  if (instanceId !== null) {
    const known = group.memberOfInstance(instanceId)
    if (known === undefined) return ErrorCode.UNKNOWN_MEMBER_ID
    if (known.memberId !== memberId) return ErrorCode.FENCED_INSTANCE_ID
  }
  const isClassic = group.members.get(memberId)?.isClassic === true
  return isClassic ? ErrorCode.NONE : ErrorCode.UNKNOWN_MEMBER_ID
}

function extend(member: ConsumerMember, { monotonicMs }: Now): void {
  member.sessionDeadlineMs = monotonicMs + (member.profile.classic as ClassicSide).sessionTimeoutMs
}

function awaitJoin(member: ConsumerMember, { monotonicMs }: Now): void {
  if (member.joinDeadlineMs !== Infinity) return
  member.joinDeadlineMs = monotonicMs + member.profile.rebalanceTimeoutMs
}

function profileOf(
  request: JoinGroupRequest,
  subscription: ConsumerSubscription,
  { clientId, clientHost }: GroupContext,
): MemberProfile {
  return {
    instanceId: request.groupInstanceId,
    rackId: subscription.rackId,
    clientId,
    clientHost,
    rebalanceTimeoutMs: rebalanceTimeoutOf(request),
    topicNames: [...new Set(subscription.topics)].sort(),
    regex: null,
    serverAssignor: null,
    classic: { sessionTimeoutMs: request.sessionTimeoutMs, protocols: request.protocols },
  }
}

/**
 * Whatever generation a member says it has them of: as long as it says so, nobody else may have
 * them.
 */
function ownedBy({ ownedPartitions }: ConsumerSubscription, topics: TopicView): Assignment {
  const owned = new Map<string, Set<number>>()
  for (const { topic, partitions } of ownedPartitions) {
    const topicId = topics.byName(topic)?.id
    if (topicId === undefined) continue
    for (const partition of partitions) addPartition(owned, topicId, partition)
  }
  return owned
}
