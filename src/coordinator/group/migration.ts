import type { Uuid } from '../../base/uuid.ts'
import { has, type OwnedPartitions, own } from './assignment.ts'
import { ClassicGroup } from './classic-group.ts'
import { bytesOfProtocols, ClassicMember } from './classic-member.ts'
import { ConsumerGroup } from './consumer-group.ts'
import { ConsumerMember, type MemberProfile, NEW_PROGRESS } from './consumer-member.ts'
import {
  CONSUMER_PROTOCOL_TYPE,
  type ConsumerAssignment,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
} from './consumer-protocol.ts'
import type { GroupConfig } from './group-context.ts'
import { GROUP_BYTES_MAX, MEMBER_OVERHEAD_BYTES } from './group-limits.ts'
import type { TopicView } from './topic-view.ts'

/**
 * A group goes over from one protocol to the other while its members stay (KIP-848, "Online
 * Migration"): up, when the first member of the new protocol joins; down, when the last one leaves.
 * Pure: it makes the other group, and leaves it to the coordinator to write it down.
 */

/** Why a classic group with members cannot become a consumer group; null when it can. */
export function upgradeProblem(group: ClassicGroup, { consumer }: GroupConfig): string | null {
  const { migrationPolicy, maxSize } = consumer
  if (migrationPolicy !== 'upgrade' && migrationPolicy !== 'bidirectional') {
    return 'The group is of the classic protocol, and group.consumer.migration.policy keeps it so'
  }
  if (group.protocolType !== CONSUMER_PROTOCOL_TYPE) {
    return `The group is not one of consumers but of the type "${group.protocolType}"`
  }
  if (group.members.size >= maxSize) return 'The group is larger than group.consumer.max.size'
  for (const member of group.members.values()) {
    if (subscriptionOf(group, member) === null) {
      return `The classic member "${member.memberId}" has no subscription that can be read`
    }
  }
  return null
}

/** True when only classic members are left and the group is to be theirs. */
export function isToDowngrade(group: ConsumerGroup, config: GroupConfig): boolean {
  const { migrationPolicy } = config.consumer
  return (
    (migrationPolicy === 'downgrade' || migrationPolicy === 'bidirectional') &&
    group.members.size <= config.groupMaxSize &&
    group.hasOnlyClassicMembers &&
    fitsOneRecord(group)
  )
}

/** A classic group is one record, where this one has a record for each member. */
function fitsOneRecord(group: ConsumerGroup): boolean {
  let bytes = 0
  for (const { profile } of group.members.values()) {
    bytes += MEMBER_OVERHEAD_BYTES + bytesOfProtocols(profile.classic?.protocols ?? [])
  }
  return bytes <= GROUP_BYTES_MAX
}

/**
 * What members had by the last generation stays theirs until they join again without it; and so
 * does what they said to have when they joined, if it is nobody's by that generation: a cooperative
 * member has it until it learns of its assignment, which it may not have asked for yet.
 */
export function consumerGroupOf(
  classic: ClassicGroup,
  topics: TopicView,
  { monotonicMs }: { readonly monotonicMs: number },
): ConsumerGroup {
  const group = new ConsumerGroup(classic.groupId)
  group.groupEpoch = classic.generationId
  group.assignmentEpoch = classic.generationId
  const epoch = classic.generationId
  for (const member of classic.members.values()) {
    const made = new ConsumerMember(member.memberId, profileOf(classic, member))
    const list = decodeAssignment(member.assignment)?.assignedPartitions ?? []
    const assigned = owning(list, { topics, epoch, isFree: () => true })
    made.progress = { ...NEW_PROGRESS, memberEpoch: epoch, previousMemberEpoch: epoch, assigned }
    made.sessionDeadlineMs = monotonicMs + member.sessionTimeoutMs
    group.add(made)
    group.targets.set(
      member.memberId,
      new Map([...assigned].map(([topicId, partitions]) => [topicId, new Set(partitions.keys())])),
    )
  }
  for (const member of classic.members.values()) {
    const made = group.members.get(member.memberId)!
    const { progress } = made
    const isFree = (topicId: Uuid, partition: number): boolean =>
      !group.isTaken(member.memberId, topicId, partition) &&
      !has(progress.assigned, topicId, partition)
    const list = subscriptionOf(classic, member)?.ownedPartitions ?? []
    const pendingRevocation = owning(list, { topics, epoch, isFree })
    if (pendingRevocation.size === 0) continue
    group.advance(made, { ...progress, state: 'unrevoked', pendingRevocation })
    made.revocationDeadlineMs = monotonicMs + member.rebalanceTimeoutMs
  }
  return group
}

function subscriptionOf(group: ClassicGroup, member: ClassicMember) {
  const chosen = member.protocols.find(({ name }) => name === group.protocolName)
  const { metadata } = chosen ?? member.protocols[0] ?? {}
  return metadata === undefined ? null : decodeSubscription(metadata)
}

function profileOf(group: ClassicGroup, member: ClassicMember): MemberProfile {
  const subscription = subscriptionOf(group, member)
  return {
    instanceId: member.instanceId,
    rackId: subscription?.rackId ?? null,
    clientId: member.clientId,
    clientHost: member.clientHost,
    rebalanceTimeoutMs: member.rebalanceTimeoutMs,
    topicNames: [...new Set(subscription?.topics ?? [])].sort(),
    regex: null,
    serverAssignor: null,
    classic: { sessionTimeoutMs: member.sessionTimeoutMs, protocols: member.protocols },
  }
}

/** Of partitions that are named, those of topics that exist and that are free. */
function owning(
  list: ConsumerAssignment['assignedPartitions'],
  {
    topics,
    epoch,
    isFree,
  }: {
    readonly topics: TopicView
    readonly epoch: number
    readonly isFree: (topicId: Uuid, partition: number) => boolean
  },
): OwnedPartitions {
  const owned = new Map<Uuid, Map<number, number>>()
  for (const { topic, partitions } of list) {
    const topicId = topics.byName(topic)?.id
    if (topicId === undefined) continue
    for (const partition of partitions) {
      if (isFree(topicId, partition)) own(owned, { topicId, partition, epoch })
    }
  }
  return owned
}

/** The generation is the group's epoch. All members of `group` are classic ones. */
export function classicGroupOf(
  group: ConsumerGroup,
  topics: TopicView,
  now: { readonly wallMs: number },
): ClassicGroup {
  const classic = new ClassicGroup(group.groupId)
  classic.protocolType = CONSUMER_PROTOCOL_TYPE
  classic.generationId = group.groupEpoch
  for (const { memberId, profile, progress } of group.members.values()) {
    const { protocols, sessionTimeoutMs } = profile.classic!
    const member = new ClassicMember({
      memberId,
      instanceId: profile.instanceId,
      clientId: profile.clientId,
      clientHost: profile.clientHost,
      rebalanceTimeoutMs: profile.rebalanceTimeoutMs,
      sessionTimeoutMs,
      protocols,
    })
    const list = namedPartitions(progress.assigned, topics)
    member.assignment = encodeAssignment(list, protocols[0]!.metadata)
    classic.add(member)
  }
  classic.protocolName = classic.selectProtocol()
  classic.moveTo('Stable', now.wallMs)
  return classic
}

/** As the classic protocol says it: by names. A topic that is gone has none. */
export function namedPartitions(
  owned: OwnedPartitions,
  topics: TopicView,
): ConsumerAssignment['assignedPartitions'] {
  const list: { readonly topic: string; readonly partitions: readonly number[] }[] = []
  for (const [topicId, partitions] of owned) {
    const topic = topics.byId(topicId)?.name
    if (topic === undefined) continue
    list.push({ topic, partitions: [...partitions.keys()].sort((a, b) => a - b) })
  }
  return list as ConsumerAssignment['assignedPartitions']
}
