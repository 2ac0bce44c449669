import { assignmentOf, listOf, type OwnedPartitions, own } from './assignment.ts'
import type { ConsumerGroup } from './consumer-group.ts'
import {
  ConsumerMember,
  type MemberProfile,
  type MemberState,
  NEW_PROFILE,
} from './consumer-member.ts'
import type { GroupRecord, ReadGroupRecord } from './record-schema.ts'

/** Consumer groups as records of `__consumer_offsets`, and back. */
export type ConsumerGroupRecord = Extract<ReadGroupRecord, { readonly type: ConsumerRecordType }>

type ConsumerRecordType =
  | 'consumer-group'
  | 'consumer-member'
  | 'target-assignment'
  | 'target-member'
  | 'current-member'
  | 'regular-expression'

const STATES: readonly MemberState[] = ['stable', 'unrevoked', 'unreleased']

export function isConsumerRecord(record: ReadGroupRecord): record is ConsumerGroupRecord {
  return record.type !== 'offset' && record.type !== 'group'
}

// —— writing ——

export function groupEpochRecord({
  groupId,
  groupEpoch,
  metadataHash,
}: ConsumerGroup): GroupRecord {
  const value = { epoch: groupEpoch, metadataHash }
  return { type: 'consumer-group', key: { group: groupId }, value }
}

export function assignmentEpochRecord(group: ConsumerGroup): GroupRecord {
  return {
    type: 'target-assignment',
    key: { group: group.groupId },
    value: { assignmentEpoch: group.assignmentEpoch, assignmentTimestamp: group.assignedAtMs },
  }
}

export function memberRecord({ groupId }: ConsumerGroup, member: ConsumerMember): GroupRecord {
  const { profile, memberId } = member
  const { classic } = profile
  return {
    type: 'consumer-member',
    key: { group: groupId, memberId },
    value: {
      instanceId: profile.instanceId,
      rackId: profile.rackId,
      clientId: profile.clientId,
      clientHost: profile.clientHost,
      subscribedTopicNames: profile.topicNames,
      subscribedTopicRegex: profile.regex,
      rebalanceTimeoutMs: profile.rebalanceTimeoutMs,
      serverAssignor: profile.serverAssignor,
      classicMemberMetadata:
        classic === null
          ? null
          : { sessionTimeoutMs: classic.sessionTimeoutMs, supportedProtocols: classic.protocols },
    },
  }
}

export function targetRecord(group: ConsumerGroup, memberId: string): GroupRecord {
  return {
    type: 'target-member',
    key: { group: group.groupId, memberId },
    value: { topicPartitions: listOf(group.target(memberId)) },
  }
}

export function progressRecord({ groupId }: ConsumerGroup, member: ConsumerMember): GroupRecord {
  const { progress, memberId } = member
  return {
    type: 'current-member',
    key: { group: groupId, memberId },
    value: {
      memberEpoch: progress.memberEpoch,
      previousMemberEpoch: progress.previousMemberEpoch,
      state: STATES.indexOf(progress.state),
      assignedPartitions: withEpochs(progress.assigned),
      partitionsPendingRevocation: withEpochs(progress.pendingRevocation),
    },
  }
}

function withEpochs(owned: OwnedPartitions) {
  return listOf(owned).map(({ topicId, partitions }) => ({
    topicId,
    partitions,
    assignmentEpochs: partitions.map((partition) => owned.get(topicId)!.get(partition)!),
  }))
}

export function regexRecord(
  { groupId }: ConsumerGroup,
  regularExpression: string,
  value: { readonly topics: readonly string[]; version: number; timestamp: number } | null,
): GroupRecord {
  return { type: 'regular-expression', key: { group: groupId, regularExpression }, value }
}

export function memberTombstones({ groupId }: ConsumerGroup, memberId: string): GroupRecord[] {
  const key = { group: groupId, memberId }
  return [
    { type: 'current-member', key, value: null },
    { type: 'target-member', key, value: null },
    { type: 'consumer-member', key, value: null },
  ]
}

/** All that there is to say about a group, none of which has been said. */
export function groupRecords(group: ConsumerGroup): GroupRecord[] {
  return [
    ...[...group.members.values()].map((member) => memberRecord(group, member)),
    groupEpochRecord(group),
    ...[...group.members.keys()].map((memberId) => targetRecord(group, memberId)),
    assignmentEpochRecord(group),
    ...[...group.members.values()].map((member) => progressRecord(group, member)),
  ]
}

/** All that is left of a group that is no more: of each key that it may have a record of. */
export function groupTombstones(group: ConsumerGroup): GroupRecord[] {
  const key = { group: group.groupId }
  return [
    ...[...group.members.keys()].flatMap((memberId) => memberTombstones(group, memberId)),
    ...[...group.regexes.keys()].map((regex) => regexRecord(group, regex, null)),
    { type: 'target-assignment', key, value: null },
    { type: 'consumer-group', key, value: null },
  ]
}

// —— reading ——

/** Applies what a record says. A tombstone of what is not known is nothing. */
export function replayInto(group: ConsumerGroup, record: ConsumerGroupRecord): void {
  switch (record.type) {
    case 'consumer-group':
      group.groupEpoch = record.value?.epoch ?? 0
      group.metadataHash = record.value?.metadataHash ?? 0
      return
    case 'target-assignment':
      group.assignmentEpoch = record.value?.assignmentEpoch ?? 0
      group.assignedAtMs = record.value?.assignmentTimestamp ?? 0
      return
    case 'regular-expression': {
      const { regularExpression } = record.key
      if (record.value === null) group.regexes.delete(regularExpression)
      else group.regexes.set(regularExpression, new Set(record.value.topics))
      return
    }
    case 'target-member': {
      const { memberId } = record.key
      if (record.value === null) group.targets.delete(memberId)
      else group.targets.set(memberId, assignmentOf(record.value.topicPartitions))
      return
    }
    case 'consumer-member':
      replayMember(group, record)
      return
    case 'current-member':
      replayProgress(group, record)
      return
  }
}

function replayMember(
  group: ConsumerGroup,
  { key, value }: Extract<ConsumerGroupRecord, { readonly type: 'consumer-member' }>,
): void {
  const known = group.members.get(key.memberId)
  if (value === null) {
    if (known !== undefined) group.remove(known)
    return
  }
  const { classicMemberMetadata: classic } = value
  const profile: MemberProfile = {
    instanceId: value.instanceId,
    rackId: value.rackId,
    clientId: value.clientId,
    clientHost: value.clientHost,
    rebalanceTimeoutMs: value.rebalanceTimeoutMs,
    topicNames: value.subscribedTopicNames,
    regex: value.subscribedTopicRegex === '' ? null : value.subscribedTopicRegex,
    serverAssignor: value.serverAssignor,
    classic:
      classic === null
        ? null
        : { sessionTimeoutMs: classic.sessionTimeoutMs, protocols: classic.supportedProtocols },
  }
  if (known === undefined) group.add(new ConsumerMember(key.memberId, profile))
  else known.profile = profile
  if (profile.instanceId !== null) group.staticMembers.set(profile.instanceId, key.memberId)
}

function replayProgress(
  group: ConsumerGroup,
  { key, value }: Extract<ConsumerGroupRecord, { readonly type: 'current-member' }>,
): void {
  let member = group.members.get(key.memberId)
  if (member === undefined) {
    if (value === null) return
    // Compaction may leave what it has come to before what it is: that is yet to come.
    member = new ConsumerMember(key.memberId, NEW_PROFILE)
    group.add(member)
  }
  group.advance(
    member,
    value === null
      ? { ...member.progress, assigned: new Map(), pendingRevocation: new Map() }
      : {
          memberEpoch: value.memberEpoch,
          previousMemberEpoch: value.previousMemberEpoch,
          state: STATES[value.state] ?? 'stable',
          assigned: ownedOf(value.assignedPartitions, value.memberEpoch),
          pendingRevocation: ownedOf(value.partitionsPendingRevocation, value.memberEpoch),
        },
  )
}

/** Older brokers did not write the epochs: then it is the member's. */
function ownedOf(
  list: readonly {
    readonly topicId: string
    readonly partitions: readonly number[]
    readonly assignmentEpochs: readonly number[] | null
  }[],
  memberEpoch: number,
): OwnedPartitions {
  const owned = new Map<string, Map<number, number>>()
  for (const { topicId, partitions, assignmentEpochs } of list) {
    for (const [i, partition] of partitions.entries()) {
      own(owned, { topicId, partition, epoch: assignmentEpochs?.[i] ?? memberEpoch })
    }
  }
  return owned
}
