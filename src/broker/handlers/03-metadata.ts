import { ZERO_UUID } from '../../base/uuid.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { Topic } from '../../metadata/image.ts'
import type { MetadataRequest, MetadataResponseInit } from '../../wire/kafka/schema/03-metadata.ts'
import type { Broker } from '../broker.ts'
import type { Reply, RequestContext } from '../request.ts'
import { topicNameError } from '../topic-name.ts'

/**
 * Metadata (key 3): brokers, and topics with their leaders; all topics, or those asked for by name
 * or id, which may be created by asking.
 *
 * An answer about the whole cluster is made in slices, so that others are served meanwhile, and is
 * bounded: topics beyond the bound are named with POLICY_VIOLATION instead of their partitions.
 */
type TopicResponse = NonNullable<MetadataResponseInit['topics']>[number]

/** Partitions that one answer lists. */
export const METADATA_PARTITIONS_MAX = 1_000_000
const PARTITIONS_PER_SLICE = 20_000
/** READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS (KIP-430). */
const ALL_TOPIC_OPERATIONS = 0xdf8
/** CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE. */
export const ALL_CLUSTER_OPERATIONS = 0x1fa0

export async function metadata(
  broker: Broker,
  body: MetadataRequest,
  context: RequestContext,
): Promise<Reply> {
  // In version 0 an empty list stands for all topics, afterwards null does.
  const all = body.topics === null || (context.apiVersion === 0 && body.topics.length === 0)
  const withOperations = body.includeTopicAuthorizedOperations
  const topics = all
    ? await everyTopic(broker, withOperations)
    : await askedTopics(broker, body, withOperations)
  const endpoint = broker.endpoint(context.listenerName)
  return {
    body: {
      brokers: [{ nodeId: broker.nodeId, host: endpoint.host, port: endpoint.port }],
      clusterId: broker.clusterId,
      controllerId: broker.nodeId,
      topics,
      ...(body.includeClusterAuthorizedOperations
        ? { clusterAuthorizedOperations: ALL_CLUSTER_OPERATIONS }
        : {}),
    } satisfies MetadataResponseInit,
  }
}

async function everyTopic(broker: Broker, withOperations: boolean): Promise<TopicResponse[]> {
  const responses: TopicResponse[] = []
  let partitions = 0
  let sliceEnd = PARTITIONS_PER_SLICE
  // A copy: topics may come and go between slices.
  for (const topic of [...broker.image.topicsByName.values()]) {
    if (partitions + topic.handles.length > METADATA_PARTITIONS_MAX) {
      responses.push(failed({ name: topic.name, topicId: topic.id }, ErrorCode.POLICY_VIOLATION))
      continue
    }
    partitions += topic.handles.length
    responses.push(describe(broker, topic, withOperations))
    if (partitions < sliceEnd) continue
    sliceEnd = partitions + PARTITIONS_PER_SLICE
    await new Promise(setImmediate)
  }
  return responses
}

async function askedTopics(
  broker: Broker,
  body: MetadataRequest,
  withOperations: boolean,
): Promise<TopicResponse[]> {
  const mayCreate = body.allowAutoTopicCreation && broker.config.get('auto.create.topics.enable')
  const responses: TopicResponse[] = []
  for (const asked of body.topics ?? []) {
    if (asked.topicId !== ZERO_UUID) {
      const topic = broker.topicById(asked.topicId)
      const unknown = { name: null, topicId: asked.topicId }
      responses.push(
        topic === undefined
          ? failed(unknown, ErrorCode.UNKNOWN_TOPIC_ID)
          : describe(broker, topic, withOperations),
      )
      continue
    }
    const name = asked.name ?? ''
    if (topicNameError(name) !== null) {
      responses.push(failed({ name, topicId: ZERO_UUID }, ErrorCode.INVALID_TOPIC_EXCEPTION))
      continue
    }
    let topic = broker.topicByName(name)
    let errorCode: number = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    if (topic === undefined && mayCreate) {
      const outcome = await broker.topics.autoCreate(name)
      topic = broker.topicByName(name)
      errorCode = outcome.errorCode
    }
    responses.push(
      topic === undefined
        ? failed({ name, topicId: ZERO_UUID }, errorCode)
        : describe(broker, topic, withOperations),
    )
  }
  return responses
}

function describe(broker: Broker, topic: Topic, withOperations: boolean): TopicResponse {
  const replicas = [broker.nodeId]
  return {
    errorCode: ErrorCode.NONE,
    name: topic.name,
    topicId: topic.id,
    partitions: topic.handles.map((handle, partitionIndex) => ({
      errorCode: ErrorCode.NONE,
      partitionIndex,
      leaderId: broker.nodeId,
      leaderEpoch: broker.leaderEpoch(handle),
      replicaNodes: replicas,
      isrNodes: replicas,
    })),
    ...(withOperations ? { topicAuthorizedOperations: ALL_TOPIC_OPERATIONS } : {}),
  }
}

function failed(topic: { name: string | null; topicId: string }, errorCode: number): TopicResponse {
  return { errorCode, ...topic, partitions: [] }
}
