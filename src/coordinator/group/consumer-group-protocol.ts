import { ErrorCode } from '../../errors/error-code.ts'
import type {
  ConsumerGroupHeartbeatRequest,
  ConsumerGroupHeartbeatResponseInit,
} from '../../wire/kafka/schema/68-consumer-group-heartbeat.ts'
import { NO_PARTITIONS } from './assignment.ts'
import type { ConsumerGroup } from './consumer-group.ts'
import type { ConsumerGroupParts, ConsumerGroupSteps } from './consumer-group-steps.ts'
import {
  answerTo,
  epochError,
  instanceError,
  JOIN_EPOCH,
  LEAVE_EPOCH,
  leftAnswer,
  type Refusal,
  reportedBy,
} from './consumer-heartbeat.ts'
import {
  ConsumerMember,
  LEFT_STATIC_EPOCH,
  type MemberProfile,
  NEW_PROFILE,
  NEW_PROGRESS,
} from './consumer-member.ts'
import type { GroupContext, Now } from './group-context.ts'

/**
 * The transitions of a consumer group that its own protocol makes: members join, report, leave, or
 * fall silent (KIP-848). Pure: time is an argument, answers and records are effects.
 */
export class ConsumerGroupProtocol {
  readonly #parts: ConsumerGroupParts
  readonly #steps: ConsumerGroupSteps

  constructor(parts: ConsumerGroupParts, steps: ConsumerGroupSteps) {
    this.#parts = parts
    this.#steps = steps
  }

  /** The request is one that `refusal` has let pass. */
  heartbeat(
    group: ConsumerGroup,
    request: ConsumerGroupHeartbeatRequest,
    context: GroupContext,
  ): ConsumerGroupHeartbeatResponseInit {
    if (request.memberEpoch < JOIN_EPOCH) return this.#leave(group, request, context)
    const isJoining = request.memberEpoch === JOIN_EPOCH
    const { member, mustGrow } = isJoining
      ? this.#join(group, request, context)
      : this.#update(group, request, context)
    const assignedBefore = isJoining ? null : member.progress.assigned
    this.#steps.bring(group, context, mustGrow)
    this.#steps.assign(group, context)
    this.#steps.advance(group, member, { reported: reportedBy(request), now: context })
    const times = this.#parts.config.consumer.timesOf(group.groupId)
    member.sessionDeadlineMs = context.monotonicMs + times.sessionTimeoutMs
    return answerTo(request, member, { assignedBefore, intervalMs: times.heartbeatIntervalMs })
  }

  /** Why the group refuses the request; null when it does not. */
  refusal(
    group: ConsumerGroup | undefined,
    request: ConsumerGroupHeartbeatRequest,
  ): Refusal | null {
    const regexProblem = this.#regexProblem(request.subscribedTopicRegex)
    if (regexProblem !== null) return regexProblem
    const { memberId, memberEpoch, instanceId } = request
    if (memberEpoch === JOIN_EPOCH) return this.#joinRefusal(group, request)
    const member = group?.members.get(memberId)
    if (group !== undefined && instanceId !== null) {
      const problem = instanceError(group, memberId, instanceId)
      if (problem !== null) return problem
    }
    if (member === undefined) {
      return { code: ErrorCode.UNKNOWN_MEMBER_ID, message: `The group has no member "${memberId}"` }
    }
    return memberEpoch < 0 ? null : epochError(member, memberEpoch, reportedBy(request))
  }

  #joinRefusal(
    group: ConsumerGroup | undefined,
    { memberId, instanceId }: ConsumerGroupHeartbeatRequest,
  ): Refusal | null {
    const known = instanceId === null ? undefined : group?.memberOfInstance(instanceId)
    if (known !== undefined) {
      const isAway = known.progress.memberEpoch === LEFT_STATIC_EPOCH
      // A classic member never leaves for a while: who takes its place fences it (KIP-345).
      if (isAway || known.isClassic || known.memberId === memberId) return null
      return {
        code: ErrorCode.UNRELEASED_INSTANCE_ID,
        message: `The instance id "${instanceId}" belongs to a member that has not left`,
      }
    }
    const { maxSize } = this.#parts.config.consumer
    const isIn = group?.members.has(memberId) === true
    if (isIn || (group?.members.size ?? 0) < maxSize) return null
    return {
      code: ErrorCode.GROUP_MAX_SIZE_REACHED,
      message: `The group has ${maxSize} members, as many as it may`,
    }
  }

  #regexProblem(regex: string | null): Refusal | null {
    if (regex === null || regex === '') return null
    const error = this.#parts.regexes.error(regex)
    if (error === null) return null
    const message = `The regular expression is not one of RE2's: ${error}`
    return { code: ErrorCode.INVALID_REGULAR_EXPRESSION, message }
  }

  #join(
    group: ConsumerGroup,
    request: ConsumerGroupHeartbeatRequest,
    context: GroupContext,
  ): { readonly member: ConsumerMember; readonly mustGrow: boolean } {
    const { instanceId } = request
    const memberId = request.memberId === '' ? this.#parts.newId() : request.memberId
    const known =
      instanceId === null ? group.members.get(memberId) : group.memberOfInstance(instanceId)
    if (known !== undefined && known.memberId === memberId) {
      return this.#update(group, request, context)
    }
    const profile = profileOf(NEW_PROFILE, request, context)
    const member = new ConsumerMember(memberId, profile)
    if (known === undefined) {
      this.#steps.add(group, member)
      return { member, mustGrow: true }
    }
    // What the static member had stays with it.
    member.profile = known.profile
    member.progress = { ...NEW_PROGRESS, assigned: known.progress.assigned }
    this.#steps.replace(group, known, member)
    return { member, mustGrow: this.#steps.changeProfile(group, member, profile) }
  }

  #update(
    group: ConsumerGroup,
    request: ConsumerGroupHeartbeatRequest,
    context: GroupContext,
  ): { readonly member: ConsumerMember; readonly mustGrow: boolean } {
    const member = group.members.get(request.memberId) as ConsumerMember
    const profile = profileOf(member.profile, request, context)
    return { member, mustGrow: this.#steps.changeProfile(group, member, profile) }
  }

  #leave(
    group: ConsumerGroup,
    { memberId, memberEpoch }: ConsumerGroupHeartbeatRequest,
    now: Now,
  ): ConsumerGroupHeartbeatResponseInit {
    const member = group.members.get(memberId) as ConsumerMember
    if (memberEpoch === LEAVE_EPOCH) {
      this.#steps.remove(group, [member], now)
    } else {
      // It comes back within its session, or is removed by its end.
      this.#steps.setProgress(group, member, {
        ...member.progress,
        memberEpoch: LEFT_STATIC_EPOCH,
        pendingRevocation: NO_PARTITIONS,
      })
      member.revocationDeadlineMs = Infinity
    }
    return leftAnswer(memberId, memberEpoch)
  }

  /** Runs what is due. */
  onTime(group: ConsumerGroup, now: Now): void {
    const gone = [...group.members.values()].filter(
      (member) => member.deadlineMs <= now.monotonicMs,
    )
    if (gone.length > 0) this.#steps.remove(group, gone, now)
  }

  /** The log has been read: members have their session's time to be heard of again. */
  onLoaded(group: ConsumerGroup, now: Now): void {
    const { sessionTimeoutMs } = this.#parts.config.consumer.timesOf(group.groupId)
    for (const member of group.members.values()) {
      const sessionMs = member.profile.classic?.sessionTimeoutMs ?? sessionTimeoutMs
      member.sessionDeadlineMs = now.monotonicMs + sessionMs
      if (member.progress.state !== 'unrevoked') continue
      const deadlineMs = now.monotonicMs + member.profile.rebalanceTimeoutMs
      member.revocationDeadlineMs = deadlineMs
      // A classic one may not know yet what it must give up: it has its time from then on.
      if (member.isClassic) member.syncDeadlineMs = deadlineMs
    }
  }
}

/** What a request says of its member; what it is silent about stays as it was. */
function profileOf(
  before: MemberProfile,
  request: ConsumerGroupHeartbeatRequest,
  { clientId, clientHost }: GroupContext,
): MemberProfile {
  const { subscribedTopicNames: names, subscribedTopicRegex: regex } = request
  return {
    instanceId: request.instanceId ?? before.instanceId,
    rackId: request.rackId ?? before.rackId,
    clientId,
    clientHost,
    rebalanceTimeoutMs:
      request.rebalanceTimeoutMs < 0 ? before.rebalanceTimeoutMs : request.rebalanceTimeoutMs,
    topicNames: names === null ? before.topicNames : [...new Set(names)].sort(),
    regex: regex === null ? before.regex : regex === '' ? null : regex,
    serverAssignor: request.serverAssignor ?? before.serverAssignor,
    classic: null,
  }
}
