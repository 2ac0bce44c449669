/**
 * Consumer groups over Kafka's protocol: listed, described, moved to other offsets, deleted. Each
 * is asked about at its coordinator. A refusal is an AdminError.
 */
import { ErrorCode } from '../errors/error-code.ts'
import { ApiKey, DecodeError, Reader, type ResponseOf } from '../wire/kafka/api.ts'
import { check, missing } from './admin-error.ts'
import type { KafkaBrokers } from './kafka-brokers.ts'
import type { KafkaConnection } from './kafka-connection.ts'

export interface GroupSummary {
  readonly groupId: string
  /** Such as Empty, Stable, PreparingRebalance; '' where the broker does not say. */
  readonly state: string
  /** 'Classic', 'Consumer', …; '' where the broker does not say. */
  readonly type: string
  /** 'consumer' for consumers; '' when nobody has joined yet. */
  readonly protocolType: string
}

export interface PlaceInTopic {
  readonly topic: string
  readonly partition: number
}

export interface GroupMember {
  readonly memberId: string
  readonly instanceId: string | null
  readonly clientId: string
  readonly host: string
  /** What the group's leader gave it; empty where that is not known. */
  readonly assignment: readonly PlaceInTopic[]
}

export interface CommittedOffset extends PlaceInTopic {
  readonly offset: number
  readonly metadata: string | null
}

type Members = ResponseOf<typeof ApiKey.DESCRIBE_GROUPS>['groups'][number]['members']

const GROUP_KEY_TYPE = 0
/** The last versions that name topics by their names. */
const OFFSET_FETCH_VERSION = 9
const OFFSET_COMMIT_VERSION = 9
/** From these on several groups are asked for at once. */
const GROUPS_VERSION = 8
const KEYS_VERSION = 4
/** Asks for a coordinator while the broker makes its topic or loads it. */
const COORDINATOR_TRIES = 20
const COORDINATOR_PAUSE_MS = 250

export class KafkaGroups {
  readonly #brokers: KafkaBrokers

  constructor(brokers: KafkaBrokers) {
    this.#brokers = brokers
  }

  /** Of all brokers, by name. */
  async list(): Promise<GroupSummary[]> {
    const cluster = await this.#brokers.first.request(ApiKey.METADATA, () => ({ topics: [] }))
    const groups: GroupSummary[] = []
    for (const broker of cluster.brokers) {
      const connection =
        cluster.brokers.length === 1 ? this.#brokers.first : await this.#brokers.at(broker)
      const answer = await connection.request(ApiKey.LIST_GROUPS, () => ({
        statesFilter: [],
        typesFilter: [],
      }))
      check('the list of groups', answer.errorCode)
      for (const { groupId, groupState, groupType, protocolType } of answer.groups) {
        groups.push({ groupId, state: groupState, type: groupType, protocolType })
      }
    }
    return groups.sort((a, b) => (a.groupId < b.groupId ? -1 : 1))
  }

  /** Who is in it; empty also for a group of a kind that is not known here. */
  async members(groupId: string): Promise<GroupMember[]> {
    const coordinator = await this.#coordinatorOf(groupId)
    const answer = await coordinator.request(ApiKey.DESCRIBE_GROUPS, () => ({ groups: [groupId] }))
    const group = answer.groups.find((one) => one.groupId === groupId)
    if (group === undefined) throw missing(groupId)
    if (group.errorCode === ErrorCode.GROUP_ID_NOT_FOUND) {
      return consumerMembers(coordinator, groupId)
    }
    check(groupId, group.errorCode, group.errorMessage)
    return group.members.map(memberOf)
  }

  /** What was committed, by topic and partition. */
  async offsets(groupId: string): Promise<CommittedOffset[]> {
    const coordinator = await this.#coordinatorOf(groupId)
    const answer = await coordinator.request(
      ApiKey.OFFSET_FETCH,
      (version) =>
        version >= GROUPS_VERSION
          ? { groups: [{ groupId, topics: null }] }
          : { groupId, topics: null },
      OFFSET_FETCH_VERSION,
    )
    const [group] = answer.groups
    check(groupId, group?.errorCode ?? answer.errorCode)
    const committed: CommittedOffset[] = []
    for (const { name, partitions } of group?.topics ?? answer.topics) {
      for (const one of partitions) {
        check(`${name}-${one.partitionIndex}`, one.errorCode)
        if (one.committedOffset < 0) continue
        const { partitionIndex: partition, committedOffset: offset, metadata } = one
        committed.push({ topic: name, partition, offset, metadata })
      }
    }
    return committed.sort((a, b) => {
      return a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1
    })
  }

  /** Commits from outside: the coordinator refuses it while the group has members. */
  async commit(groupId: string, offsets: readonly CommittedOffset[]): Promise<void> {
    const coordinator = await this.#coordinatorOf(groupId)
    const names = [...new Set(offsets.map(({ topic }) => topic))]
    const topics = names.map((name) => ({
      name,
      partitions: offsets
        .filter(({ topic }) => topic === name)
        .map(({ partition, offset, metadata }) => {
          const committedMetadata = metadata ?? ''
          return { partitionIndex: partition, committedOffset: offset, committedMetadata }
        }),
    }))
    const answer = await coordinator.request(
      ApiKey.OFFSET_COMMIT,
      () => ({ groupId, memberId: '', topics }),
      OFFSET_COMMIT_VERSION,
    )
    for (const { name, partitions } of answer.topics) {
      for (const one of partitions)
        check(`${groupId}, ${name}-${one.partitionIndex}`, one.errorCode)
    }
  }

  /** Makes members leave; those that live come back. */
  async removeMembers(groupId: string, members: readonly GroupMember[]): Promise<void> {
    const coordinator = await this.#coordinatorOf(groupId)
    const answer = await coordinator.request(ApiKey.LEAVE_GROUP, () => ({
      groupId,
      members: members.map(({ memberId, instanceId }) => {
        return { memberId, groupInstanceId: instanceId, reason: 'removed by an administrator' }
      }),
    }))
    check(groupId, answer.errorCode)
  }

  async delete(groupId: string): Promise<void> {
    const coordinator = await this.#coordinatorOf(groupId)
    const answer = await coordinator.request(ApiKey.DELETE_GROUPS, () => ({
      groupsNames: [groupId],
    }))
    const result = answer.results.find((one) => one.groupId === groupId)
    if (result === undefined) throw missing(groupId)
    check(groupId, result.errorCode)
  }

  async #coordinatorOf(groupId: string): Promise<KafkaConnection> {
    for (let tries = 1; ; tries++) {
      const answer = await this.#brokers.first.request(ApiKey.FIND_COORDINATOR, (version) => ({
        keyType: GROUP_KEY_TYPE,
        ...(version >= KEYS_VERSION ? { coordinatorKeys: [groupId] } : { key: groupId }),
      }))
      const [found = answer] = answer.coordinators
      const isRetriable =
        found.errorCode === ErrorCode.COORDINATOR_NOT_AVAILABLE ||
        found.errorCode === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
      if (!isRetriable || tries === COORDINATOR_TRIES) {
        check(`the coordinator of ${groupId}`, found.errorCode, found.errorMessage)
        return this.#brokers.at(found)
      }
      await new Promise((resolve) => setTimeout(resolve, COORDINATOR_PAUSE_MS))
    }
  }
}

/** Of a group of the new protocol (KIP-848). */
async function consumerMembers(
  coordinator: KafkaConnection,
  groupId: string,
): Promise<GroupMember[]> {
  const { groups } = await coordinator.request(ApiKey.CONSUMER_GROUP_DESCRIBE, () => ({
    groupIds: [groupId],
    includeAuthorizedOperations: false,
  }))
  const group = groups.find((one) => one.groupId === groupId)
  if (group === undefined || group.errorCode === ErrorCode.GROUP_ID_NOT_FOUND) return []
  check(groupId, group.errorCode, group.errorMessage)
  return group.members.map(({ memberId, instanceId, clientId, clientHost, assignment }) => ({
    memberId,
    instanceId,
    clientId,
    host: clientHost,
    assignment: assignment.topicPartitions.flatMap(({ topicName: topic, partitions }) =>
      partitions.map((partition) => ({ topic, partition })),
    ),
  }))
}

function memberOf(member: Members[number]): GroupMember {
  return {
    memberId: member.memberId,
    instanceId: member.groupInstanceId,
    clientId: member.clientId,
    host: member.clientHost.replace(/^\//, ''),
    assignment: assignmentOf(member.memberAssignment),
  }
}

/**
 * ConsumerProtocolAssignment: version int16 │ topics: count int32, each name string │ partitions:
 * count int32, each int32 │ … Bytes that are none are another kind of group's.
 */
function assignmentOf(bytes: Uint8Array): PlaceInTopic[] {
  const places: PlaceInTopic[] = []
  if (bytes.length === 0) return places
  try {
    const reader = new Reader(bytes)
    reader.int16('version')
    for (let topics = reader.int32('topics'); topics > 0; topics--) {
      const topic = reader.string('topic')
      for (let partitions = reader.int32('partitions'); partitions > 0; partitions--) {
        places.push({ topic, partition: reader.int32('partition') })
      }
    }
    return places
  } catch (error) {
    if (error instanceof DecodeError) return []
    throw error
  }
}
