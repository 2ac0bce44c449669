import {
  decodeAssignment,
  type TopicPartition,
} from '../coordinator/group/consumer-protocol-writer.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { DescribeGroupsResponseInit } from '../wire/kafka/schema/15-describe-groups.ts'
import type { ListGroupsResponseInit } from '../wire/kafka/schema/16-list-groups.ts'
import type { ConsumerGroupDescribeResponseInit } from '../wire/kafka/schema/69-consumer-group-describe.ts'
import type { Broker } from './broker.ts'
import { type Elsewhere, elsewhere } from './elsewhere.ts'
import { describeGroups } from './handlers/15-describe-groups.ts'
import { listGroups as listKafka } from './handlers/16-list-groups.ts'
import { deleteGroups } from './handlers/42-delete-groups.ts'
import { consumerGroupDescribe } from './handlers/69-consumer-group-describe.ts'
import { partitionKey, toCommit } from './member-calls.ts'
import type { RequestContext } from './request.ts'
import { CONSUMER_OFFSETS } from './topic-name.ts'

/**
 * Groups as their administrators see them: what Kafka's requests say, in one piece, with the lag;
 * and offsets that are set from outside. All reject with BrokerError. Runs on main.
 */
export interface GroupSummary {
  readonly groupId: string
  readonly state: string
  readonly type: string
  readonly protocolType: string
}

export interface GroupDescription {
  readonly state: string
  readonly assignor: string
  readonly members: readonly DescribedMember[]
  readonly offsets: readonly DescribedOffset[]
}

export interface DescribedMember {
  readonly memberId: string
  readonly clientId: string
  readonly clientHost: string
  readonly assignment: readonly TopicPartition[]
}

export interface DescribedOffset extends TopicPartition {
  /** −1: nothing is committed. */
  readonly committedOffset: number
  /** Null for a partition that is not there. */
  readonly bounds: LogBounds | null
}

export interface LogBounds {
  readonly logStartOffset: number
  readonly highWatermark: number
}

export interface CommittedAt extends TopicPartition {
  readonly offset: number
}

/** From this version of DescribeGroups on, a group that is not there is an error. */
const DESCRIBE_VERSION = 6
/** Timestamps of ListOffsets that stand for the ends of a log. */
const AT_END = -1
const AT_START = -2

export async function listGroups(broker: Broker): Promise<GroupSummary[]> {
  if (!hasGroups(broker)) return []
  const { body } = await listKafka(broker, { statesFilter: [], typesFilter: [] })
  const { errorCode, groups } = body as ListGroupsResponseInit
  refuse(errorCode, 'list the groups')
  return groups.map(({ groupId, groupState, groupType, protocolType }) => ({
    groupId,
    state: groupState ?? '',
    type: groupType ?? '',
    protocolType,
  }))
}

export async function describeGroup(broker: Broker, groupId: string): Promise<GroupDescription> {
  const what = `describe the group "${groupId}"`
  if (!hasGroups(broker)) throw refusal(ErrorCode.GROUP_ID_NOT_FOUND, what)
  const asked = { groups: [groupId], includeAuthorizedOperations: false }
  // It asks for nothing but the version.
  const context = { apiVersion: DESCRIBE_VERSION } as RequestContext
  const { body } = await describeGroups(broker, asked, context)
  const classic = (body as DescribeGroupsResponseInit).groups[0]!
  const isOther = classic.errorCode === ErrorCode.GROUP_ID_NOT_FOUND
  const { state, assignor, members } = isOther
    ? await describeConsumerGroup(broker, groupId, what)
    : fromClassic(classic, what)
  const offsets = new Map<string, CommittedAt>()
  for (const { assignment } of members) {
    for (const at of assignment) offsets.set(partitionKey(at), { ...at, offset: -1 })
  }
  for (const at of await committedOffsets(broker, groupId)) offsets.set(partitionKey(at), at)
  return {
    state,
    assignor,
    members,
    offsets: await Promise.all(
      [...offsets.values()].map(async ({ topic, partition, offset }) => {
        const bounds = await logBounds(broker, { topic, partition })
        return { topic, partition, committedOffset: offset, bounds }
      }),
    ),
  }
}

type WithoutOffsets = Omit<GroupDescription, 'offsets'>

function fromClassic(
  group: DescribeGroupsResponseInit['groups'][number],
  what: string,
): WithoutOffsets {
  refuse(group.errorCode, what)
  return {
    state: group.groupState,
    assignor: group.protocolData,
    members: group.members.map(({ memberId, clientId, clientHost, memberAssignment }) => ({
      memberId,
      clientId,
      clientHost,
      assignment: decodeAssignment(memberAssignment) ?? [],
    })),
  }
}

/** Of the new protocol (KIP-848). */
async function describeConsumerGroup(
  broker: Broker,
  groupId: string,
  what: string,
): Promise<WithoutOffsets> {
  const asked = { groupIds: [groupId], includeAuthorizedOperations: false }
  const { body } = await consumerGroupDescribe(broker, asked)
  const group = (body as ConsumerGroupDescribeResponseInit).groups[0]!
  refuse(group.errorCode, what)
  return {
    state: group.groupState,
    assignor: group.assignorName,
    members: group.members.map(({ memberId, clientId, clientHost, assignment }) => ({
      memberId,
      clientId,
      clientHost,
      assignment: assignment.topicPartitions.flatMap(({ topicName: topic, partitions }) =>
        partitions.map((partition) => ({ topic, partition })),
      ),
    })),
  }
}

export async function deleteGroup(broker: Broker, groupId: string): Promise<void> {
  const what = `delete the group "${groupId}"`
  if (!hasGroups(broker)) throw refusal(ErrorCode.GROUP_ID_NOT_FOUND, what)
  const { body } = await deleteGroups(broker, { groupsNames: [groupId] })
  const [result] = (body as { results: { errorCode: number }[] }).results
  refuse(result?.errorCode, what)
}

export async function committedOffsets(broker: Broker, groupId: string): Promise<CommittedAt[]> {
  if (!hasGroups(broker)) return []
  const answer = await broker.groups.ask<CommittedAt[] | ErrorCode>(
    groupId,
    (coordinator, _now, reply) =>
      coordinator.fetch((offsets) => {
        const all: CommittedAt[] = []
        for (const [topic, partitions] of offsets.topics(groupId)) {
          for (const [partition, { offset }] of partitions) all.push({ topic, partition, offset })
        }
        return all
      }, reply),
    (code) => code,
  )
  if (typeof answer === 'number') throw refusal(answer, `read the offsets of "${groupId}"`)
  return answer
}

/** Null for a partition that is not there, or that another broker leads. */
export async function logBounds(broker: Broker, at: TopicPartition): Promise<LogBounds | null> {
  const handle = broker.topicByName(at.topic)?.handles[at.partition]
  if (handle === undefined) return null
  const leader = elsewhere(broker, handle)
  if (leader !== null) return boundsElsewhere(leader, handle)
  const reply = await broker.control(handle, { kind: 'offsets', handle })
  if (reply.kind !== 'offsets') return null
  return { logStartOffset: reply.logStartOffset, highWatermark: reply.highWatermark }
}

/** Null when they cannot be had. */
export async function boundsElsewhere(
  leader: Elsewhere,
  handle: number,
): Promise<LogBounds | null> {
  const [start, end] = await Promise.all([
    leader.offsetAt(handle, AT_START),
    leader.offsetAt(handle, AT_END),
  ])
  if (start.errorCode !== ErrorCode.NONE || end.errorCode !== ErrorCode.NONE) return null
  return { logStartOffset: start.offset, highWatermark: end.offset }
}

/**
 * Commits from outside, for a group that nobody is in. Forced, its members are put out in the same
 * step: they join again, and begin at what is committed here.
 */
export async function setOffsets(
  broker: Broker,
  { groupId, isForced }: { readonly groupId: string; readonly isForced: boolean },
  offsets: readonly CommittedAt[],
): Promise<void> {
  await prepare(broker)
  const wanted = offsets.map((at) => toCommit({ ...at, metadata: null }))
  const codes = await broker.groups.ask<readonly ErrorCode[]>(
    groupId,
    (coordinator, now, reply) => {
      const group = coordinator.groups.get(groupId)
      if (isForced && group !== undefined && !group.isEmpty) {
        const members = [...group.members.keys()].map((memberId) => {
          return { memberId, instanceId: null }
        })
        coordinator.leave({ groupId, members }, now, () => undefined)
      }
      const nobody = { groupId, generationId: -1, memberId: '', instanceId: null }
      coordinator.commit({ ...nobody, retentionMs: -1, offsets: wanted }, now, reply)
    },
    (code) => [code],
  )
  const bad = codes.find((code) => code !== ErrorCode.NONE)
  // Kafka's answer to who is no member of a group that has some.
  const code = bad === ErrorCode.UNKNOWN_MEMBER_ID ? ErrorCode.NON_EMPTY_GROUP : bad
  refuse(code, `set the offsets of "${groupId}"`)
}

/** To look for groups does not make the topic that holds them. */
function hasGroups(broker: Broker): boolean {
  return broker.topicByName(CONSUMER_OFFSETS) !== undefined
}

async function prepare(broker: Broker): Promise<void> {
  refuse(await broker.groups.prepare(), 'find a coordinator')
}

function refuse(errorCode: number | undefined, what: string): void {
  if (errorCode !== undefined && errorCode !== ErrorCode.NONE) throw refusal(errorCode, what)
}

function refusal(errorCode: number, what: string): BrokerError {
  return new BrokerError(errorCode as ErrorCode, what)
}
