import { ZERO_UUID } from '../../base/uuid.ts'
import type { CommittedOffset, GroupOffsets } from '../../coordinator/group/group-offsets.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type {
  OffsetFetchRequest,
  OffsetFetchResponseInit,
} from '../../wire/kafka/schema/09-offset-fetch.ts'
import type { Broker } from '../broker.ts'
import type { Reply, RequestContext } from '../request.ts'

/**
 * OffsetFetch (key 9): a group's committed offsets, of the partitions asked for or of all. A
 * partition without one has the offset −1 and no error.
 */
const GROUPS_VERSION = 8
const TOPIC_IDS_VERSION = 10

type GroupAsked = OffsetFetchRequest['groups'][number]
type GroupAnswer = NonNullable<OffsetFetchResponseInit['groups']>[number]
type TopicAnswer = GroupAnswer['topics'][number]

export async function offsetFetch(
  broker: Broker,
  body: OffsetFetchRequest,
  context: RequestContext,
): Promise<Reply> {
  const byId = context.apiVersion >= TOPIC_IDS_VERSION
  if (context.apiVersion >= GROUPS_VERSION) {
    const groups = await Promise.all(body.groups.map((group) => fetchGroup(broker, group, byId)))
    return { body: { groups } satisfies OffsetFetchResponseInit }
  }
  const topics = body.topics?.map((topic) => ({ ...topic, topicId: ZERO_UUID })) ?? null
  const group = { groupId: body.groupId, memberId: null, memberEpoch: -1, topics }
  const answer = await fetchGroup(broker, group, false)
  const errorCode = answer.errorCode as ErrorCode
  // The first versions have no error of the group: each partition says it.
  const failed = errorCode === ErrorCode.NONE ? null : errorCode
  return {
    body: {
      errorCode,
      topics:
        failed === null
          ? answer.topics.map(({ name, partitions }) => ({ name: name ?? '', partitions }))
          : (topics ?? []).map(({ name, partitionIndexes }) => ({
              name,
              partitions: partitionIndexes.map((index) => nothing(index, failed)),
            })),
    } satisfies OffsetFetchResponseInit,
  }
}

function fetchGroup(broker: Broker, asked: GroupAsked, byId: boolean): Promise<GroupAnswer> {
  const { groupId, memberId, memberEpoch } = asked
  return broker.groups.ask<GroupAnswer>(
    groupId,
    (coordinator, _now, reply) =>
      coordinator.fetch((offsets) => {
        const errorCode = coordinator.fetchRefusal(groupId, memberId, memberEpoch)
        if (errorCode !== ErrorCode.NONE) return { groupId, topics: [], errorCode }
        return answer(broker, offsets, { asked, byId })
      }, reply),
    (errorCode) => ({ groupId, topics: [], errorCode }),
  )
}

function answer(
  broker: Broker,
  offsets: GroupOffsets,
  { asked, byId }: { readonly asked: GroupAsked; readonly byId: boolean },
): GroupAnswer {
  const { groupId } = asked
  const topics: TopicAnswer[] = []
  if (asked.topics === null) {
    for (const [name, partitions] of offsets.topics(groupId)) {
      const topic = broker.topicByName(name)
      if (byId && topic === undefined) continue
      const list = [...partitions].map(([index, offset]) => found(index, offset))
      topics.push({ name, topicId: topic?.id ?? ZERO_UUID, partitions: list })
    }
    return { groupId, topics, errorCode: ErrorCode.NONE }
  }
  for (const { name: asName, topicId, partitionIndexes } of asked.topics) {
    const name = byId ? broker.topicById(topicId)?.name : asName
    topics.push({
      name: name ?? '',
      topicId,
      partitions: partitionIndexes.map((index) => {
        if (name === undefined) return nothing(index, ErrorCode.UNKNOWN_TOPIC_ID)
        const offset = offsets.get(groupId, name, index)
        return offset === undefined ? nothing(index, ErrorCode.NONE) : found(index, offset)
      }),
    })
  }
  return { groupId, topics, errorCode: ErrorCode.NONE }
}

function found(partitionIndex: number, offset: CommittedOffset) {
  return {
    partitionIndex,
    committedOffset: offset.offset,
    committedLeaderEpoch: offset.leaderEpoch,
    metadata: offset.metadata,
    errorCode: ErrorCode.NONE,
  }
}

function nothing(partitionIndex: number, errorCode: ErrorCode) {
  return {
    partitionIndex,
    committedOffset: -1,
    committedLeaderEpoch: -1,
    metadata: '',
    errorCode,
  }
}
