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
import type { EffectsBuilder } from '../effects.ts'
import type { ClassicGroup } from './classic-group.ts'
import {
  bytesOfProtocols,
  ClassicMember,
  type JoinReply,
  newMemberId,
  type SyncReply,
} from './classic-member.ts'
import {
  CONSUMER_PROTOCOL_TYPE,
  decodeAssignment,
  decodeSubscription,
} from './consumer-protocol.ts'
import type { GroupConfig, GroupContext, Now } from './group-context.ts'
import { GROUP_BYTES_MAX, MEMBER_BYTES_MAX, PENDING_JOINS_MAX } from './group-limits.ts'
import type { GroupRecord } from './record-schema.ts'

/**
 * The transitions of a classic group: joining in rounds, the leader's assignment, heartbeats,
 * leaving (KIP-62, 134, 345, 389, 394, 814). The rules are Kafka's, errors included: clients are
 * written for them. Pure: time is an argument, answers and records are effects.
 */
/** Version of JoinGroup from which a new member is told its id before it joins (KIP-394). */
export const MEMBER_ID_FIRST_VERSION = 4
/** Version of JoinGroup in which a returning static leader may be told to skip the assignment. */
const SKIP_ASSIGNMENT_VERSION = 9
/** A member that has never been answered: its client may have given up long ago. */
const NEW_MEMBER_JOIN_MS = 5 * 60 * 1000

/** One JoinGroup. */
interface Join {
  readonly request: JoinGroupRequest
  readonly context: GroupContext
  readonly reply: JoinReply
}

export class ClassicProtocol {
  readonly #config: GroupConfig
  readonly #effects: EffectsBuilder<GroupRecord>
  readonly #newId: () => string

  constructor(config: GroupConfig, effects: EffectsBuilder<GroupRecord>, newId: () => string) {
    this.#config = config
    this.#effects = effects
    this.#newId = newId
  }

  // —— JoinGroup ——

  join(group: ClassicGroup, join: Join): void {
    const { request, reply } = join
    const { memberId } = request
    const refusal = this.#joinRefusal(group, request)
    if (refusal !== ErrorCode.NONE) {
      const named = refusal === ErrorCode.GROUP_MAX_SIZE_REACHED ? '' : memberId
      this.#effects.answer(reply, joinError(refusal, named))
    } else if (group.pendingJoins.has(memberId)) {
      this.#addMember(group, memberId, join)
    } else if (memberId !== '') {
      this.#rejoin(group, group.members.get(memberId) as ClassicMember, join)
    } else if (request.groupInstanceId !== null) {
      this.#joinStatic(group, join)
    } else {
      this.#joinDynamic(group, join)
    }
  }

  #joinRefusal(group: ClassicGroup, request: JoinGroupRequest): ErrorCode {
    const { memberId, groupInstanceId, protocols, protocolType } = request
    if (this.#isFull(group, memberId, groupInstanceId)) return ErrorCode.GROUP_MAX_SIZE_REACHED
    if (isTooLarge(group, request)) return ErrorCode.GROUP_MAX_SIZE_REACHED
    if (!group.supports(protocolType, protocols)) return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    if (memberId === '') return ErrorCode.NONE
    // Only dynamic members are told their ids before they join.
    if (group.pendingJoins.has(memberId) && groupInstanceId === null) return ErrorCode.NONE
    return memberError(group, memberId, groupInstanceId)
  }

  #isFull(group: ClassicGroup, memberId: string, instanceId: string | null): boolean {
    const max = this.#config.groupMaxSize
    if (memberId !== '' && group.members.has(memberId)) {
      // Of a group that has shrunk its bound, the first who join the round stay.
      const isIn = group.members.get(memberId)?.awaitingJoin !== null
      return group.members.size > max && !isIn && group.awaitingJoinCount >= max
    }
    if (instanceId !== null && group.staticMembers.has(instanceId)) return false
    if (group.pendingJoins.has(memberId)) return group.members.size >= max
    if (group.pendingJoins.size >= PENDING_JOINS_MAX) return true
    return group.members.size + group.pendingJoins.size >= max
  }

  #joinDynamic(group: ClassicGroup, join: Join): void {
    const { request, context, reply } = join
    const memberId = newMemberId(context.clientId, this.#newId())
    if (context.apiVersion >= MEMBER_ID_FIRST_VERSION) {
      group.pendingJoins.set(memberId, context.monotonicMs + request.sessionTimeoutMs)
      this.#effects.answer(reply, joinError(ErrorCode.MEMBER_ID_REQUIRED, memberId))
      return
    }
    this.#addMember(group, memberId, join)
  }

  #joinStatic(group: ClassicGroup, join: Join): void {
    const { request, context } = join
    const instanceId = request.groupInstanceId as string
    const memberId = newMemberId(instanceId, this.#newId())
    const known = group.members.get(group.staticMembers.get(instanceId) ?? '')
    if (known === undefined) this.#addMember(group, memberId, join)
    else this.#replaceStatic(group, { known, member: newMember(memberId, request, context) }, join)
  }

  /** A static member is back under a new id: the old one is fenced, what it had stays (KIP-345). */
  #replaceStatic(
    group: ClassicGroup,
    { known, member }: { readonly known: ClassicMember; readonly member: ClassicMember },
    { context, reply }: Join,
  ): void {
    const oldLeaderId = group.leaderId
    this.#answerJoin(known, joinError(ErrorCode.FENCED_INSTANCE_ID, known.memberId))
    this.#answerSync(known, syncError(ErrorCode.FENCED_INSTANCE_ID))
    member.assignment = known.assignment
    replaceInOrder(group, known, member)
    this.#extend(member, context)
    if (group.state === 'Stable') {
      if (group.selectProtocol() !== group.protocolName || owesPartitions(group, known)) {
        member.awaitingJoin = reply
        this.#prepareRebalance(group, context)
        return
      }
      this.#effects.write(group.record())
      const isLeader = group.leaderId === member.memberId
      const maySkip = isLeader && context.apiVersion >= SKIP_ASSIGNMENT_VERSION
      // Told that the old id leads, an older client does not assign anew.
      const leader = isLeader && !maySkip ? (oldLeaderId ?? '') : (group.leaderId ?? '')
      this.#effects.answer(reply, {
        ...joined(group, member),
        leader,
        skipAssignment: maySkip,
        members: maySkip ? membersOf(group) : [],
      })
      return
    }
    member.awaitingJoin = reply
    if (group.state === 'CompletingRebalance') this.#prepareRebalance(group, context)
    else this.#maybeCompleteJoin(group, context)
  }

  #rejoin(group: ClassicGroup, member: ClassicMember, { request, context, reply }: Join): void {
    const isSame = member.matches(request.protocols)
    const mayKeep =
      isSame &&
      (group.state === 'CompletingRebalance' ||
        (group.state === 'Stable' && group.leaderId !== member.memberId))
    this.#extend(member, context)
    if (mayKeep) {
      // Its answer was lost, or it asks without a reason.
      const members = group.leaderId === member.memberId ? membersOf(group) : []
      this.#effects.answer(reply, { ...joined(group, member), members })
      return
    }
    this.#answerJoin(member, joinError(ErrorCode.REBALANCE_IN_PROGRESS, member.memberId))
    member.protocols = request.protocols
    member.sessionTimeoutMs = request.sessionTimeoutMs
    member.rebalanceTimeoutMs = rebalanceTimeoutOf(request)
    member.clientId = context.clientId
    member.clientHost = context.clientHost
    member.awaitingJoin = reply
    if (group.state === 'PreparingRebalance') this.#maybeCompleteJoin(group, context)
    else this.#prepareRebalance(group, context)
  }

  #addMember(group: ClassicGroup, memberId: string, { request, context, reply }: Join): void {
    const member = newMember(memberId, request, context)
    if (group.isEmpty) group.protocolType = request.protocolType
    group.add(member)
    member.isNew = true
    member.awaitingJoin = reply
    member.deadlineMs = context.monotonicMs + NEW_MEMBER_JOIN_MS
    if (group.state === 'PreparingRebalance') {
      group.hasNewJoin = true
      this.#maybeCompleteJoin(group, context)
    } else {
      this.#prepareRebalance(group, context)
    }
  }

  // —— a round ——

  #prepareRebalance(group: ClassicGroup, now: Now): void {
    if (group.state === 'CompletingRebalance') {
      for (const member of group.members.values()) {
        member.assignment = EMPTY
        this.#answerSync(member, syncError(ErrorCode.REBALANCE_IN_PROGRESS))
      }
    }
    group.pendingSyncs.clear()
    group.syncDeadlineMs = Infinity
    const isFirst = group.state === 'Empty'
    group.moveTo('PreparingRebalance', now.wallMs)
    group.hasNewJoin = false
    if (isFirst) {
      // Others are likely to come at the same time: one round for all of them (KIP-134).
      const delayMs = Math.min(this.#config.initialRebalanceDelayMs, group.rebalanceTimeoutMs)
      group.initialDelayLeftMs = group.rebalanceTimeoutMs - delayMs
      group.joinDeadlineMs = now.monotonicMs + delayMs
      if (delayMs === 0) this.#completeJoin(group, now)
      return
    }
    group.initialDelayLeftMs = -1
    group.joinDeadlineMs = now.monotonicMs + group.rebalanceTimeoutMs
    this.#maybeCompleteJoin(group, now)
  }

  #maybeCompleteJoin(group: ClassicGroup, now: Now): void {
    if (group.state !== 'PreparingRebalance' || group.initialDelayLeftMs >= 0) return
    if (group.hasAllJoined) this.#completeJoin(group, now)
  }

  #onJoinDeadline(group: ClassicGroup, now: Now): void {
    if (group.initialDelayLeftMs > 0 && group.hasNewJoin) {
      const delayMs = Math.min(this.#config.initialRebalanceDelayMs, group.initialDelayLeftMs)
      group.hasNewJoin = false
      group.initialDelayLeftMs -= delayMs
      group.joinDeadlineMs = now.monotonicMs + delayMs
      return
    }
    this.#completeJoin(group, now)
  }

  #completeJoin(group: ClassicGroup, now: Now): void {
    for (const member of [...group.members.values()]) {
      // Static members come back within their session, or are removed by its end.
      if (member.awaitingJoin === null && member.instanceId === null) group.remove(member)
    }
    if (!this.#electLeader(group)) {
      // All that are left are static and away: the round goes on.
      group.initialDelayLeftMs = -1
      group.joinDeadlineMs = now.monotonicMs + group.rebalanceTimeoutMs
      return
    }
    group.joinDeadlineMs = Infinity
    group.initialDelayLeftMs = -1
    group.generationId++
    if (group.isEmpty) {
      group.protocolName = null
      group.moveTo('Empty', now.wallMs)
      this.#effects.write(group.record())
      return
    }
    group.protocolName = group.selectProtocol()
    group.moveTo('CompletingRebalance', now.wallMs)
    group.syncDeadlineMs = now.monotonicMs + group.rebalanceTimeoutMs
    for (const member of group.members.values()) {
      const members = member.memberId === group.leaderId ? membersOf(group) : []
      member.isNew = false
      group.pendingSyncs.add(member.memberId)
      if (member.awaitingJoin === null) continue
      this.#extend(member, now)
      this.#answerJoin(member, { ...joined(group, member), members })
    }
  }

  /** False when nobody could assign: there are members, and none of them has joined. */
  #electLeader(group: ClassicGroup): boolean {
    if (group.isEmpty) return true
    const leader = group.members.get(group.leaderId ?? '')
    if (leader !== undefined && leader.awaitingJoin !== null) return true
    for (const member of group.members.values()) {
      if (member.awaitingJoin === null) continue
      group.leaderId = member.memberId
      return true
    }
    return false
  }

  /** Everybody is to join again: the group was of the other protocol until now. */
  rebalance(group: ClassicGroup, now: Now): void {
    for (const member of group.members.values()) this.#extend(member, now)
    this.#prepareRebalance(group, now)
  }

  /** Nobody is waited for any more: the group becomes one of the other protocol. */
  interrupt(group: ClassicGroup): void {
    for (const member of group.members.values()) {
      this.#answerJoin(member, joinError(ErrorCode.REBALANCE_IN_PROGRESS, member.memberId))
      this.#answerSync(member, syncError(ErrorCode.REBALANCE_IN_PROGRESS))
    }
  }

  // —— SyncGroup ——

  sync(group: ClassicGroup, request: SyncGroupRequest, now: Now, reply: SyncReply): void {
    const { memberId } = request
    const refusal = syncRefusal(group, request)
    if (refusal !== ErrorCode.NONE) {
      this.#effects.answer(reply, syncError(refusal))
      return
    }
    const member = group.members.get(memberId) as ClassicMember
    group.pendingSyncs.delete(memberId)
    if (group.state === 'Stable') {
      this.#extend(member, now)
      this.#effects.answer(reply, synced(group, member))
      return
    }
    this.#answerSync(member, syncError(ErrorCode.REBALANCE_IN_PROGRESS))
    member.awaitingSync = reply
    if (memberId === group.leaderId) this.#assign(group, request, now)
  }

  #assign(group: ClassicGroup, { assignments }: SyncGroupRequest, now: Now): void {
    const byMember = new Map(assignments.map((each) => [each.memberId, each.assignment]))
    for (const member of group.members.values()) {
      member.assignment = byMember.get(member.memberId) ?? EMPTY
    }
    group.moveTo('Stable', now.wallMs)
    this.#effects.write(group.record())
    for (const member of group.members.values()) {
      if (member.awaitingSync === null) continue
      this.#extend(member, now)
      this.#answerSync(member, synced(group, member))
    }
  }

  // —— Heartbeat, LeaveGroup, time ——

  heartbeat(group: ClassicGroup, request: HeartbeatRequest, now: Now): ErrorCode {
    const { memberId, groupInstanceId, generationId } = request
    const error = memberError(group, memberId, groupInstanceId)
    if (error !== ErrorCode.NONE) return error
    if (generationId !== group.generationId) return ErrorCode.ILLEGAL_GENERATION
    if (group.state === 'Empty' || group.state === 'Dead') return ErrorCode.UNKNOWN_MEMBER_ID
    this.#extend(group.members.get(memberId) as ClassicMember, now)
    return group.state === 'PreparingRebalance' ? ErrorCode.REBALANCE_IN_PROGRESS : ErrorCode.NONE
  }

  /** A sign of life of a member that commits offsets. */
  touch(group: ClassicGroup, memberId: string, now: Now): void {
    const member = group.members.get(memberId)
    if (member !== undefined) this.#extend(member, now)
  }

  leave(
    group: ClassicGroup,
    { memberId, instanceId }: { readonly memberId: string; readonly instanceId: string | null },
    now: Now,
  ): ErrorCode {
    if (instanceId !== null && memberId === '') {
      const known = group.members.get(group.staticMembers.get(instanceId) ?? '')
      if (known === undefined) return ErrorCode.UNKNOWN_MEMBER_ID
      this.#removeMember(group, known, now)
      return ErrorCode.NONE
    }
    if (group.pendingJoins.delete(memberId)) {
      this.#maybeCompleteJoin(group, now)
      return ErrorCode.NONE
    }
    const error = memberError(group, memberId, instanceId)
    if (error !== ErrorCode.NONE) return error
    this.#removeMember(group, group.members.get(memberId) as ClassicMember, now)
    return ErrorCode.NONE
  }

  #removeMember(group: ClassicGroup, member: ClassicMember, now: Now): void {
    this.#answerJoin(member, joinError(ErrorCode.UNKNOWN_MEMBER_ID, member.memberId))
    this.#answerSync(member, syncError(ErrorCode.UNKNOWN_MEMBER_ID))
    group.remove(member)
    if (group.state === 'Stable' || group.state === 'CompletingRebalance') {
      this.#prepareRebalance(group, now)
    } else {
      this.#maybeCompleteJoin(group, now)
    }
  }

  /** Runs what is due. */
  onTime(group: ClassicGroup, now: Now): void {
    for (const [memberId, deadlineMs] of group.pendingJoins) {
      if (now.monotonicMs < deadlineMs) continue
      group.pendingJoins.delete(memberId)
      this.#maybeCompleteJoin(group, now)
    }
    for (const member of [...group.members.values()]) {
      if (now.monotonicMs < member.deadlineMs) continue
      if (member.isWaiting && !member.isNew) this.#extend(member, now)
      else if (group.members.has(member.memberId)) this.#removeMember(group, member, now)
    }
    if (now.monotonicMs >= group.syncDeadlineMs) this.#onSyncDeadline(group, now)
    if (now.monotonicMs >= group.joinDeadlineMs) this.#onJoinDeadline(group, now)
  }

  /** Who was told of a generation and never asked for its assignment is gone. */
  #onSyncDeadline(group: ClassicGroup, now: Now): void {
    group.syncDeadlineMs = Infinity
    if (group.pendingSyncs.size === 0) return
    for (const memberId of group.pendingSyncs) {
      const member = group.members.get(memberId)
      if (member !== undefined) group.remove(member)
    }
    this.#prepareRebalance(group, now)
  }

  #extend(member: ClassicMember, now: Now): void {
    member.deadlineMs = now.monotonicMs + member.sessionTimeoutMs
  }

  #answerJoin(member: ClassicMember, response: JoinGroupResponseInit): void {
    const reply = member.awaitingJoin
    member.awaitingJoin = null
    if (reply !== null) this.#effects.answer(reply, response)
  }

  #answerSync(member: ClassicMember, response: SyncGroupResponseInit): void {
    const reply = member.awaitingSync
    member.awaitingSync = null
    if (reply !== null) this.#effects.answer(reply, response)
  }
}

const EMPTY = new Uint8Array(0)

/** Whether `memberId` may speak for the group's member, or for the static one `instanceId`. */
export function memberError(
  group: ClassicGroup,
  memberId: string,
  instanceId: string | null,
): ErrorCode {
  if (instanceId !== null) {
    const known = group.staticMembers.get(instanceId)
    if (known === undefined) return ErrorCode.UNKNOWN_MEMBER_ID
    if (known !== memberId) return ErrorCode.FENCED_INSTANCE_ID
  }
  return group.members.has(memberId) ? ErrorCode.NONE : ErrorCode.UNKNOWN_MEMBER_ID
}

function newMember(
  memberId: string,
  request: JoinGroupRequest,
  context: GroupContext,
): ClassicMember {
  return new ClassicMember({
    memberId,
    instanceId: request.groupInstanceId,
    clientId: context.clientId,
    clientHost: context.clientHost,
    rebalanceTimeoutMs: rebalanceTimeoutOf(request),
    sessionTimeoutMs: request.sessionTimeoutMs,
    protocols: request.protocols,
  })
}

/**
 * A cooperative member (KIP-429) was to give partitions up and to join again, so that others get
 * them. Its process has ended before that, and the next one does not know: without a round they
 * would be nobody's. Kafka leaves it at that.
 */
function owesPartitions({ protocolType, protocolName }: ClassicGroup, known: ClassicMember) {
  if (protocolType !== CONSUMER_PROTOCOL_TYPE || protocolName === null) return false
  const had = decodeSubscription(known.metadataOf(protocolName))?.ownedPartitions ?? []
  const has = decodeAssignment(known.assignment)?.assignedPartitions ?? []
  const kept = new Map(has.map(({ topic, partitions }) => [topic, new Set(partitions)]))
  return had.some(({ topic, partitions }) =>
    partitions.some((partition) => kept.get(topic)?.has(partition) !== true),
  )
}

/** With what the request says the group would not fit into its record. */
function isTooLarge(group: ClassicGroup, { memberId, protocols }: JoinGroupRequest): boolean {
  const bytes = bytesOfProtocols(protocols)
  const known = bytesOfProtocols(group.members.get(memberId)?.protocols ?? [])
  return bytes > MEMBER_BYTES_MAX || group.bytes - known + bytes > GROUP_BYTES_MAX
}

/** The same of an assignment, of whatever it replaces. */
function isAssignmentTooLarge(group: ClassicGroup, { assignments }: SyncGroupRequest): boolean {
  let bytes = group.bytes
  for (const { assignment } of group.members.values()) bytes -= assignment.length
  for (const { assignment } of assignments) bytes += assignment.length
  return bytes > GROUP_BYTES_MAX
}

function syncRefusal(group: ClassicGroup, request: SyncGroupRequest): ErrorCode {
  const { memberId, protocolType, protocolName } = request
  const error = memberError(group, memberId, request.groupInstanceId)
  if (error !== ErrorCode.NONE) return error
  if (request.generationId !== group.generationId) return ErrorCode.ILLEGAL_GENERATION
  const isOtherType = protocolType !== null && protocolType !== group.protocolType
  const isOtherName = protocolName !== null && protocolName !== group.protocolName
  if (isOtherType || isOtherName) return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
  if (group.state === 'PreparingRebalance') return ErrorCode.REBALANCE_IN_PROGRESS
  if (group.state === 'Stable') return ErrorCode.NONE
  if (group.state !== 'CompletingRebalance') return ErrorCode.UNKNOWN_MEMBER_ID
  const isTooMuch = memberId === group.leaderId && isAssignmentTooLarge(group, request)
  return isTooMuch ? ErrorCode.RECORD_LIST_TOO_LARGE : ErrorCode.NONE
}

/** The first versions of JoinGroup have no rebalance timeout. */
export function rebalanceTimeoutOf(request: JoinGroupRequest): number {
  return request.rebalanceTimeoutMs < 0 ? request.sessionTimeoutMs : request.rebalanceTimeoutMs
}

/** The new id takes the old one's place, also as leader, and in the order of the members. */
function replaceInOrder(group: ClassicGroup, known: ClassicMember, member: ClassicMember): void {
  const wasLeader = group.leaderId === known.memberId
  const wasPending = group.pendingSyncs.has(known.memberId)
  const others = [...group.members.values()]
  group.members.clear()
  for (const other of others) {
    const kept = other === known ? member : other
    group.members.set(kept.memberId, kept)
  }
  group.staticMembers.set(member.instanceId as string, member.memberId)
  if (wasLeader) group.leaderId = member.memberId
  if (!wasPending) return
  group.pendingSyncs.delete(known.memberId)
  group.pendingSyncs.add(member.memberId)
}

export function joinError(errorCode: ErrorCode, memberId: string): JoinGroupResponseInit {
  return {
    errorCode,
    generationId: -1,
    protocolType: null,
    protocolName: null,
    leader: '',
    memberId,
    members: [],
  }
}

export function syncError(errorCode: ErrorCode): SyncGroupResponseInit {
  return { errorCode, assignment: EMPTY }
}

function joined(group: ClassicGroup, member: ClassicMember): JoinGroupResponseInit {
  return {
    errorCode: ErrorCode.NONE,
    generationId: group.generationId,
    protocolType: group.protocolType,
    protocolName: group.protocolName,
    leader: group.leaderId ?? '',
    memberId: member.memberId,
    members: [],
  }
}

function synced(group: ClassicGroup, member: ClassicMember): SyncGroupResponseInit {
  return {
    errorCode: ErrorCode.NONE,
    protocolType: group.protocolType,
    protocolName: group.protocolName,
    assignment: member.assignment,
  }
}

/** What the leader must know to assign. */
function membersOf(group: ClassicGroup): JoinGroupResponseInit['members'] {
  const { protocolName } = group
  return [...group.members.values()].map((member) => ({
    memberId: member.memberId,
    groupInstanceId: member.instanceId,
    metadata: member.metadataOf(protocolName ?? ''),
  }))
}
