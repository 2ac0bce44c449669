import { ZERO_UUID } from '../../base/uuid.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { Topic } from '../../metadata/image.ts'
import type {
  DescribeTopicPartitionsRequest,
  DescribeTopicPartitionsResponseInit,
} from '../../wire/kafka/schema/75-describe-topic-partitions.ts'
import type { Broker } from '../broker.ts'
import { describePartition, type PartitionView, partitionView } from '../partition-view.ts'
import type { Reply, RequestContext } from '../request.ts'
import { isInternalTopic, topicNameError } from '../topic-name.ts'
import { ALL_TOPIC_OPERATIONS } from './03-metadata.ts'

/**
 * DescribeTopicPartitions (key 75, KIP-966): partitions of topics in the order of names, page by
 * page. A page says where the next one begins: at a partition of a topic, which may be gone then.
 */
type TopicResponse = DescribeTopicPartitionsResponseInit['topics'][number]
type Cursor = NonNullable<DescribeTopicPartitionsResponseInit['nextCursor']>

/** Partitions on one page, whatever was asked for (Kafka's max.request.partition.size.limit). */
const PAGE_PARTITIONS_MAX = 2000
/** Partitions are described as this version of Metadata does it. */
const METADATA_VERSION = 12
/** Topics on one page: those that do not exist count for nothing else. */
const PAGE_TOPICS_MAX = 10_000

export function describeTopicPartitions(
  broker: Broker,
  body: DescribeTopicPartitionsRequest,
  context: RequestContext,
): Reply {
  const { listenerName } = context
  const view = partitionView(broker, { listenerName, apiVersion: METADATA_VERSION })
  const { cursor } = body
  if (cursor !== null && cursor.partitionIndex < 0) {
    const refused = body.topics.map(({ name }) => failed(name, ErrorCode.INVALID_REQUEST))
    return { body: { topics: refused } satisfies DescribeTopicPartitionsResponseInit }
  }
  let room = Math.max(1, Math.min(body.responsePartitionLimit, PAGE_PARTITIONS_MAX))
  const topics: TopicResponse[] = []
  let nextCursor: Cursor | null = null
  for (const name of namesAsked(broker, body)) {
    const topic = broker.topicByName(name)
    if (topics.length === PAGE_TOPICS_MAX || (room === 0 && topic !== undefined)) {
      nextCursor = { topicName: name, partitionIndex: 0 }
      break
    }
    if (topic === undefined) {
      topics.push(failed(name, missingCode(name)))
      continue
    }
    const first = name === cursor?.topicName ? cursor.partitionIndex : 0
    const end = Math.min(first + room, topic.handles.length)
    topics.push(describe(view, topic, { first, end }))
    room -= Math.max(0, end - first)
    if (end >= topic.handles.length) continue
    nextCursor = { topicName: name, partitionIndex: end }
    break
  }
  return { body: { topics, nextCursor } satisfies DescribeTopicPartitionsResponseInit }
}

/** Sorted, from the cursor's topic on; all topics where none is named. */
function namesAsked(broker: Broker, { topics, cursor }: DescribeTopicPartitionsRequest): string[] {
  const isAll = topics.length === 0
  const all = isAll ? broker.image.topicsByName.keys() : topics.map(({ name }) => name)
  const from = cursor?.topicName ?? ''
  return [...new Set(all)].filter((name) => name >= from).sort()
}

function describe(
  view: PartitionView,
  topic: Topic,
  { first, end }: { first: number; end: number },
): TopicResponse {
  return {
    errorCode: ErrorCode.NONE,
    name: topic.name,
    topicId: topic.id,
    isInternal: isInternalTopic(topic.name),
    partitions: topic.handles.slice(first, end).map((handle, i) => ({
      ...describePartition(view, handle, first + i),
      eligibleLeaderReplicas: view.partitions.eligibleReplicas(handle),
      lastKnownElr: lastKnownElr(view, handle),
    })),
    topicAuthorizedOperations: ALL_TOPIC_OPERATIONS,
  }
}

/** Who may have the most, where nobody leads and nobody is known to have all. */
function lastKnownElr({ partitions }: PartitionView, handle: number): number[] {
  const last = partitions.lastKnownLeader(handle)
  return last < 0 || partitions.eligibleReplicas(handle).includes(last) ? [] : [last]
}

function missingCode(name: string): ErrorCode {
  const isName = topicNameError(name) === null
  return isName ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION : ErrorCode.INVALID_TOPIC_EXCEPTION
}

function failed(name: string, errorCode: ErrorCode): TopicResponse {
  return { errorCode, name, topicId: ZERO_UUID, partitions: [] }
}
