/**
 * Members of many consumer groups, joined through Kafka's protocol and known by what they send to
 * stay: one Heartbeat of the classic protocol, or one ConsumerGroupHeartbeat that says nothing new.
 */
import type { Uuid } from '../../src/base/uuid.ts'
import type { KafkaConnection } from '../../src/client/kafka-connection.ts'
import {
  encodeAssignmentIn,
  encodeSubscriptionIn,
} from '../../src/coordinator/group/consumer-protocol.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import {
  ApiKey,
  encodeRequest,
  type RequestInit,
  type ResponseOf,
} from '../../src/wire/kafka/api.ts'
import { frameOf } from './heartbeat-load.ts'

export type GroupProtocol = 'classic' | 'consumer'

export interface GroupTopic {
  readonly name: string
  readonly id: Uuid
  /** As many as there are members in a group. */
  readonly partitions: number
}

/** Long enough for the last to come before the first is missed: joining sends no heartbeats. */
export const SESSION_TIMEOUT_MS = 600_000
const REBALANCE_TIMEOUT_MS = 300_000
const PROTOCOL_TYPE = 'consumer'
const CLIENT_ID = 'bench'
const HEARTBEAT_VERSION = 4
const CONSUMER_HEARTBEAT_VERSION = 0
const ROUNDS_MAX = 100
const STARTING: ReadonlySet<number> = new Set([
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.NOT_COORDINATOR,
])

/** One group, a member on each connection. Resolves with the frame that each sends to stay. */
export function joinGroup(
  protocol: GroupProtocol,
  at: { groupId: string; topic: GroupTopic; connections: readonly KafkaConnection[] },
): Promise<Uint8Array[]> {
  return protocol === 'classic' ? joinClassic(at) : joinConsumer(at)
}

type Joining = Parameters<typeof joinGroup>[1]

// —— classic ——

async function joinClassic({ groupId, topic, connections }: Joining): Promise<Uint8Array[]> {
  const metadata = encodeSubscriptionIn(1, { topics: [topic.name], ownedPartitions: [] })
  const ids = await Promise.all(
    connections.map(async (connection) => {
      const answer = await joinRound(connection, { groupId, metadata, memberId: '' })
      return answer.memberId
    }),
  )
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const joined = await Promise.all(
      connections.map((connection, i) => {
        return joinRound(connection, { groupId, metadata, memberId: ids[i] as string })
      }),
    )
    const generationId = joined[0]?.generationId as number
    if (joined.some((one) => one.generationId !== generationId)) continue
    const synced = await Promise.all(
      joined.map((one, i) => syncGroup(connections[i]!, { groupId, topic, joined: one })),
    )
    if (synced.every((code) => code === ErrorCode.NONE)) {
      return ids.map((memberId) => {
        const body = { groupId, generationId, memberId }
        const header = { correlationId: 0, clientId: CLIENT_ID }
        return frameOf(encodeRequest(ApiKey.HEARTBEAT, HEARTBEAT_VERSION, header, body))
      })
    }
  }
  throw new Error(`${groupId} did not come to rest`)
}

type JoinAnswer = ResponseOf<typeof ApiKey.JOIN_GROUP>

async function joinRound(
  connection: KafkaConnection,
  { groupId, memberId, metadata }: { groupId: string; memberId: string; metadata: Uint8Array },
): Promise<JoinAnswer> {
  const answer = await served(() =>
    connection.request(ApiKey.JOIN_GROUP, () => ({
      groupId,
      sessionTimeoutMs: SESSION_TIMEOUT_MS,
      rebalanceTimeoutMs: REBALANCE_TIMEOUT_MS,
      memberId,
      protocolType: PROTOCOL_TYPE,
      protocols: [{ name: 'range', metadata }],
    })),
  )
  const expected = memberId === '' ? ErrorCode.MEMBER_ID_REQUIRED : ErrorCode.NONE
  if (answer.errorCode !== expected) throw refused(groupId, 'JoinGroup', answer.errorCode)
  return answer
}

async function syncGroup(
  connection: KafkaConnection,
  { groupId, topic, joined }: { groupId: string; topic: GroupTopic; joined: JoinAnswer },
): Promise<number> {
  const isLeader = joined.leader === joined.memberId
  const assignments = (isLeader ? joined.members : []).map(({ memberId }, i) => ({
    memberId,
    assignment: encodeAssignmentIn(1, [{ topic: topic.name, partitions: [i] }]),
  }))
  const { generationId, memberId, protocolName } = joined
  const { errorCode } = await connection.request(ApiKey.SYNC_GROUP, () => ({
    groupId,
    generationId,
    memberId,
    protocolType: PROTOCOL_TYPE,
    protocolName,
    assignments,
  }))
  if (errorCode === ErrorCode.NONE || errorCode === ErrorCode.REBALANCE_IN_PROGRESS) {
    return errorCode
  }
  throw refused(groupId, 'SyncGroup', errorCode)
}

// —— KIP-848 ——

type Owned = readonly { readonly topicId: Uuid; readonly partitions: readonly number[] }[]

interface Member {
  readonly connection: KafkaConnection
  readonly memberId: string
  epoch: number
  owned: Owned
}

async function joinConsumer({ groupId, topic, connections }: Joining): Promise<Uint8Array[]> {
  const members = connections.map((connection, i): Member => {
    return { connection, memberId: `member-${i}`, epoch: 0, owned: [] }
  })
  const whole = { rebalanceTimeoutMs: REBALANCE_TIMEOUT_MS, subscribedTopicNames: [topic.name] }
  for (const member of members) await consumerHeartbeat(groupId, member, whole)
  const most = Math.ceil(topic.partitions / members.length)
  for (let round = 0; round < ROUNDS_MAX; round++) {
    for (const member of members) await consumerHeartbeat(groupId, member, {})
    const epoch = members[0]?.epoch as number
    const isAtRest = members.every((one) => one.epoch === epoch && countOf(one.owned) <= most)
    const all = members.reduce((sum, { owned }) => sum + countOf(owned), 0)
    if (isAtRest && all === topic.partitions) return members.map((one) => stay(groupId, one))
  }
  throw new Error(`${groupId} did not come to rest`)
}

function countOf(owned: Owned): number {
  return owned.reduce((sum, { partitions }) => sum + partitions.length, 0)
}

/** What is assigned is owned at once, and what is not is given up: both are told next time. */
async function consumerHeartbeat(
  groupId: string,
  member: Member,
  more: Partial<RequestInit<typeof ApiKey.CONSUMER_GROUP_HEARTBEAT>>,
): Promise<void> {
  const { connection, memberId, epoch, owned } = member
  const answer = await served(() =>
    connection.request(ApiKey.CONSUMER_GROUP_HEARTBEAT, () => {
      return { groupId, memberId, memberEpoch: epoch, topicPartitions: owned, ...more }
    }),
  )
  if (answer.errorCode !== ErrorCode.NONE) {
    throw refused(groupId, 'ConsumerGroupHeartbeat', answer.errorCode)
  }
  member.epoch = answer.memberEpoch
  if (answer.assignment !== null) member.owned = answer.assignment.topicPartitions
}

function stay(groupId: string, { memberId, epoch }: Member): Uint8Array {
  const body = { groupId, memberId, memberEpoch: epoch }
  const header = { correlationId: 0, clientId: CLIENT_ID }
  const version = CONSUMER_HEARTBEAT_VERSION
  return frameOf(encodeRequest(ApiKey.CONSUMER_GROUP_HEARTBEAT, version, header, body))
}

/** Asks again as long as the group's coordinator is not there yet. */
async function served<T extends { readonly errorCode: number }>(ask: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    const answer = await ask()
    if (!STARTING.has(answer.errorCode) || attempt === ROUNDS_MAX) return answer
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

function refused(groupId: string, what: string, code: number): Error {
  return new Error(`${what} of ${groupId}: error code ${code}`)
}
