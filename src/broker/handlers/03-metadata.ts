import { ZERO_UUID } from '../../base/uuid.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { Topic } from '../../metadata/image.ts'
import type { MetadataRequest, MetadataResponseInit } from '../../wire/kafka/schema/03-metadata.ts'
import type { Broker } from '../broker.ts'
import { describePartition, type PartitionView, partitionView } from '../partition-view.ts'
import type { AskContext, Reply } from '../request.ts'
import { isInternalTopic, topicNameError } from '../topic-name.ts'

/**
 * Metadata (key 3): brokers, and topics with their leaders; all topics, or those asked for by name
 * or id, which may be created by asking.
 *
 * An answer may be large. It is made in slices, so that others are served meanwhile; it is bounded:
 * topics beyond the bound are named with POLICY_VIOLATION instead of their partitions; a connection
 * has one at a time, until it has left; and the answers of all connections share a room.
 */
type TopicResponse = NonNullable<MetadataResponseInit['topics']>[number]

/** Partitions that one answer lists. */
export const METADATA_PARTITIONS_MAX = 1_000_000
const PARTITIONS_PER_SLICE = 20_000
/** From here on topics may be asked for by id: before, an answer has no way to leave out a name. */
const TOPIC_IDS_MIN_VERSION = 12
/** READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS (KIP-430). */
export const ALL_TOPIC_OPERATIONS = 0xdf8
/** CREATE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE. */
export const ALL_CLUSTER_OPERATIONS = 0x1fa0

export async function metadata(
  broker: Broker,
  body: MetadataRequest,
  context: AskContext,
): Promise<Reply | null> {
  // In version 0 an empty list stands for all topics, afterwards null does.
  const all = body.topics === null || (context.apiVersion === 0 && body.topics.length === 0)
  let isGone = false
  const unsubscribe = context.onClose(() => {
    isGone = true
  })
  const { sendTurns } = context
  await sendTurns.enter()
  await context.whenFirst()
  const size = isGone ? 0 : partitionCount(broker, all ? null : body)
  await broker.metadataRoom.enter(size)
  const leave = (): void => {
    sendTurns.leave()
    broker.metadataRoom.leave(size)
  }
  if (isGone) {
    leave()
    return null
  }
  const answer = new Answer(broker, {
    withOperations: body.includeTopicAuthorizedOperations,
    view: partitionView(broker, context),
  })
  try {
    if (all) await addEvery(answer)
    else await addAsked(answer, body, context.apiVersion)
  } catch (error) {
    leave() // Others wait for it.
    throw error
  } finally {
    unsubscribe()
  }
  const { nodes } = answer.view
  return {
    body: {
      brokers: nodes.map(({ nodeId, host, port, rack }) => ({ nodeId, host, port, rack })),
      clusterId: broker.clusterId,
      controllerId: broker.controllerId(),
      topics: answer.topics,
      ...(body.includeClusterAuthorizedOperations
        ? { clusterAuthorizedOperations: ALL_CLUSTER_OPERATIONS }
        : {}),
    } satisfies MetadataResponseInit,
    release: leave,
  }
}

/** How many partitions an answer will list, at most about. */
function partitionCount(broker: Broker, asked: MetadataRequest | null): number {
  let count = 0
  if (asked === null) count = broker.image.partitions.count
  for (const { topicId, name } of asked?.topics ?? []) {
    const topic = topicId === ZERO_UUID ? broker.topicByName(name ?? '') : broker.topicById(topicId)
    count += topic?.handles.length ?? 0
  }
  return Math.min(count, METADATA_PARTITIONS_MAX)
}

/** The topics of one answer, its partitions counted. */
class Answer {
  readonly broker: Broker
  readonly topics: TopicResponse[] = []
  readonly view: PartitionView
  readonly #withOperations: boolean
  #partitions = 0
  #sliceEnd = PARTITIONS_PER_SLICE

  constructor(broker: Broker, how: { withOperations: boolean; view: PartitionView }) {
    this.broker = broker
    this.view = how.view
    this.#withOperations = how.withOperations
  }

  /** True when others should be served before the next topic. */
  add(topic: Topic): boolean {
    const partitions = this.#partitions + topic.handles.length
    if (partitions > METADATA_PARTITIONS_MAX) {
      this.fail({ name: topic.name, topicId: topic.id }, ErrorCode.POLICY_VIOLATION)
      return false
    }
    this.#partitions = partitions
    this.topics.push(describe(this.view, topic, this.#withOperations))
    if (partitions < this.#sliceEnd) return false
    this.#sliceEnd = partitions + PARTITIONS_PER_SLICE
    return true
  }

  fail(topic: { name: string | null; topicId: string }, errorCode: number): void {
    this.topics.push({ errorCode, ...topic, partitions: [] })
  }
}

async function addEvery(answer: Answer): Promise<void> {
  // A copy: topics may come and go between slices.
  for (const topic of [...answer.broker.image.topicsByName.values()]) {
    if (answer.add(topic)) await new Promise(setImmediate)
  }
}

/** Whoever is asked for twice is named once, as in Kafka. */
async function addAsked(answer: Answer, body: MetadataRequest, version: number): Promise<void> {
  const { broker } = answer
  const mayCreate = body.allowAutoTopicCreation && broker.config.get('auto.create.topics.enable')
  const seen = new Set<string>()
  for (const { topicId, name: asked } of body.topics ?? []) {
    const isById = topicId !== ZERO_UUID
    const name = asked ?? ''
    const key = isById ? `id ${topicId}` : `name ${name}`
    if (seen.has(key)) continue
    seen.add(key)
    let topic: Topic | undefined
    if (isById && version < TOPIC_IDS_MIN_VERSION) {
      answer.fail({ name, topicId }, ErrorCode.INVALID_REQUEST)
    } else if (isById) {
      topic = broker.topicById(topicId)
      if (topic === undefined) answer.fail({ name: null, topicId }, ErrorCode.UNKNOWN_TOPIC_ID)
    } else if (topicNameError(name) !== null) {
      answer.fail({ name, topicId: ZERO_UUID }, ErrorCode.INVALID_TOPIC_EXCEPTION)
    } else {
      topic = broker.topicByName(name)
      let errorCode: number = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
      if (topic === undefined && mayCreate) {
        errorCode = (await broker.topics.autoCreate(name)).errorCode
        topic = broker.topicByName(name)
      }
      if (topic === undefined) answer.fail({ name, topicId: ZERO_UUID }, errorCode)
    }
    if (topic !== undefined && answer.add(topic)) await new Promise(setImmediate)
  }
}

function describe(view: PartitionView, topic: Topic, withOperations: boolean): TopicResponse {
  return {
    errorCode: ErrorCode.NONE,
    name: topic.name,
    topicId: topic.id,
    isInternal: isInternalTopic(topic.name),
    partitions: topic.handles.map((handle, i) => describePartition(view, handle, i)),
    ...(withOperations ? { topicAuthorizedOperations: ALL_TOPIC_OPERATIONS } : {}),
  }
}
