import { ErrorCode } from '../../errors/error-code.ts'
import type {
  ConsumerGroupHeartbeatRequest,
  ConsumerGroupHeartbeatResponseInit,
} from '../../wire/kafka/schema/68-consumer-group-heartbeat.ts'
import {
  type Assignment,
  assignmentOf,
  isSame,
  isSubset,
  listOf,
  type OwnedPartitions,
} from './assignment.ts'
import type { ConsumerGroup } from './consumer-group.ts'
import { type ConsumerMember, LEFT_STATIC_EPOCH } from './consumer-member.ts'
import type { GroupConfig } from './group-context.ts'
import { CHAR_BYTES_MAX, GROUP_ID_CHARS_MAX, isGroupId, MEMBER_BYTES_MAX } from './group-limits.ts'

/**
 * ConsumerGroupHeartbeat as a message: what may be asked, and how it is answered. The rules are
 * Kafka's, errors included: clients are written for them.
 */
export type HeartbeatReply = (response: ConsumerGroupHeartbeatResponseInit) => void

export interface Refusal {
  readonly code: ErrorCode
  readonly message: string
}

export const JOIN_EPOCH = 0
export const LEAVE_EPOCH = -1
/** From this version on a member brings its own id. */
const OWN_ID_VERSION = 1

/** Why the request makes no sense, whatever the group; null when it does. */
export function requestError(
  request: ConsumerGroupHeartbeatRequest,
  apiVersion: number,
  { consumer }: GroupConfig,
): Refusal | null {
  const { serverAssignor } = request
  const message = requestMessage(request, apiVersion)
  if (message !== null) return { code: ErrorCode.INVALID_REQUEST, message }
  if (serverAssignor === null || consumer.assignors.includes(serverAssignor)) return null
  const supported = consumer.assignors.join(', ')
  return {
    code: ErrorCode.UNSUPPORTED_ASSIGNOR,
    message: `The assignor "${serverAssignor}" is not one of this broker's: ${supported}`,
  }
}

function requestMessage(request: ConsumerGroupHeartbeatRequest, apiVersion: number): string | null {
  const { memberEpoch, memberId, instanceId } = request
  if (!isGroupId(request.groupId)) {
    return `The group id must have 1 to ${GROUP_ID_CHARS_MAX} characters`
  }
  if (instanceId === '') return 'The instance id must not be empty; it may be null'
  if (request.rackId === '') return 'The rack id must not be empty; it may be null'
  if (memberId === '' && (apiVersion >= OWN_ID_VERSION || memberEpoch !== JOIN_EPOCH)) {
    return 'The member id must not be empty'
  }
  if (subscriptionBytes(request) > MEMBER_BYTES_MAX) {
    return `The names of the topics take more than ${MEMBER_BYTES_MAX} bytes`
  }
  if (memberEpoch < LEFT_STATIC_EPOCH) return `${memberEpoch} is no member epoch`
  if (memberEpoch === LEFT_STATIC_EPOCH && instanceId === null) {
    return 'Only a member with an instance id leaves with the epoch -2'
  }
  return memberEpoch === JOIN_EPOCH ? joinMessage(request) : null
}

function subscriptionBytes({ subscribedTopicNames }: ConsumerGroupHeartbeatRequest): number {
  let chars = 0
  for (const name of subscribedTopicNames ?? []) chars += name.length
  return CHAR_BYTES_MAX * chars
}

function joinMessage(request: ConsumerGroupHeartbeatRequest): string | null {
  if (request.rebalanceTimeoutMs < 0) return 'Who joins says its rebalance timeout'
  if (request.topicPartitions === null || request.topicPartitions.length > 0) {
    return 'Who joins has no partitions, and says so: an empty list'
  }
  if (request.subscribedTopicNames === null && request.subscribedTopicRegex === null) {
    return 'Who joins says the names of its topics or a regular expression'
  }
  return null
}

/** Why a member of `epoch` that reports to have `reported` is fenced; null when it is not. */
export function epochError(
  { progress }: ConsumerMember,
  epoch: number,
  reported: Assignment | null,
): Refusal | null {
  const { memberEpoch, previousMemberEpoch, assigned } = progress
  if (epoch === memberEpoch) return null
  if (epoch < memberEpoch) {
    // The answer with the new epoch may have been lost.
    const isRepeated = epoch === previousMemberEpoch && reported !== null
    if (isRepeated && isSubset(reported, assigned)) return null
  }
  const relation = epoch > memberEpoch ? 'above' : 'below'
  return {
    code: ErrorCode.FENCED_MEMBER_EPOCH,
    message:
      `The member's epoch ${epoch} is ${relation} ${memberEpoch}, which the coordinator knows: ` +
      'it must give up its partitions and join again',
  }
}

export function reportedBy(request: ConsumerGroupHeartbeatRequest): Assignment | null {
  return request.topicPartitions === null ? null : assignmentOf(request.topicPartitions)
}

/** True for a request that says everything, so that its answer does too. */
export function isFull(request: ConsumerGroupHeartbeatRequest): boolean {
  if (request.memberEpoch === JOIN_EPOCH) return true
  const isSubscribed =
    request.subscribedTopicNames !== null || request.subscribedTopicRegex !== null
  return request.rebalanceTimeoutMs >= 0 && isSubscribed && request.topicPartitions !== null
}

export function answerTo(
  request: ConsumerGroupHeartbeatRequest,
  member: ConsumerMember,
  { assignedBefore, intervalMs }: { assignedBefore: OwnedPartitions | null; intervalMs: number },
): ConsumerGroupHeartbeatResponseInit {
  const { progress, memberId } = member
  const isNews = assignedBefore === null || !isSame(assignedBefore, progress.assigned)
  return {
    throttleTimeMs: 0,
    errorCode: ErrorCode.NONE,
    memberId,
    memberEpoch: progress.memberEpoch,
    heartbeatIntervalMs: intervalMs,
    assignment: isNews || isFull(request) ? { topicPartitions: listOf(progress.assigned) } : null,
  }
}

export function leftAnswer(
  memberId: string,
  memberEpoch: number,
): ConsumerGroupHeartbeatResponseInit {
  const answer = { throttleTimeMs: 0, errorCode: ErrorCode.NONE, heartbeatIntervalMs: 0 }
  return { ...answer, memberId, memberEpoch }
}

export function heartbeatError(
  errorCode: ErrorCode,
  errorMessage: string | null = null,
): ConsumerGroupHeartbeatResponseInit {
  return { throttleTimeMs: 0, errorCode, errorMessage, memberEpoch: 0, heartbeatIntervalMs: 0 }
}

/** Why `memberId` may not speak for the static member `instanceId`; null when it may. */
export function instanceError(
  group: ConsumerGroup,
  memberId: string,
  instanceId: string,
): Refusal | null {
  const known = group.memberOfInstance(instanceId)
  if (known === undefined) {
    return {
      code: ErrorCode.UNKNOWN_MEMBER_ID,
      message: `The group has no member of the instance id "${instanceId}"`,
    }
  }
  if (known.memberId === memberId) return null
  return {
    code: ErrorCode.FENCED_INSTANCE_ID,
    message: `The instance id "${instanceId}" is another member's by now`,
  }
}
