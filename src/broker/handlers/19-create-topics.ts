import { ConfigSource, describeTopicConfigs } from '../../config/describe.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type {
  CreateTopicsRequest,
  CreateTopicsResponseInit,
} from '../../wire/kafka/schema/19-create-topics.ts'
import type { Broker } from '../broker.ts'
import type { Reply } from '../request.ts'
import type { TopicOutcome } from '../topic-service.ts'

/** CreateTopics (key 19). Each topic succeeds or fails by itself. */
type TopicAsked = CreateTopicsRequest['topics'][number]
type TopicResponse = CreateTopicsResponseInit['topics'][number]

export async function createTopics(broker: Broker, body: CreateTopicsRequest): Promise<Reply> {
  const counts = new Map<string, number>()
  for (const { name } of body.topics) counts.set(name, (counts.get(name) ?? 0) + 1)
  const topics: TopicResponse[] = []
  for (const asked of body.topics) {
    const { name } = asked
    if ((counts.get(name) as number) > 1) {
      if (topics.some((topic) => topic.name === name)) continue
      const errorMessage = `Topic "${name}" appears more than once in the request`
      topics.push({ name, errorCode: ErrorCode.INVALID_REQUEST, errorMessage })
      continue
    }
    topics.push(response(broker, asked, await create(broker, asked, body.validateOnly)))
  }
  return { body: { topics } satisfies CreateTopicsResponseInit }
}

async function create(
  broker: Broker,
  asked: TopicAsked,
  validateOnly: boolean,
): Promise<TopicOutcome> {
  const assignmentError = checkAssignments(broker, asked)
  if (assignmentError !== null) return assignmentError
  const request = {
    name: asked.name,
    partitions: asked.assignments.length > 0 ? asked.assignments.length : asked.numPartitions,
    replicationFactor: asked.replicationFactor,
    configs: new Map(asked.configs.map(({ name, value }) => [name, value])),
  }
  return broker.topics.create(request, validateOnly)
}

/** A manual assignment must name every partition once, and only brokers that exist. */
function checkAssignments(broker: Broker, asked: TopicAsked): TopicOutcome | null {
  if (asked.assignments.length === 0) return null
  const refuse = (errorCode: ErrorCode, errorMessage: string): TopicOutcome => ({
    errorCode,
    errorMessage,
    topic: null,
  })
  if (asked.numPartitions !== -1 || asked.replicationFactor !== -1) {
    const message = 'With a replica assignment, partitions and replication factor must be -1'
    return refuse(ErrorCode.INVALID_REQUEST, message)
  }
  const indexes = new Set(asked.assignments.map((assignment) => assignment.partitionIndex))
  const isDense = asked.assignments.every((_, index) => indexes.has(index))
  const isHere = asked.assignments.every(
    ({ brokerIds }) => brokerIds.length === 1 && brokerIds[0] === broker.nodeId,
  )
  if (isDense && isHere) return null
  const message = `An assignment lists partitions 0, 1, … once each, on broker ${broker.nodeId}`
  return refuse(ErrorCode.INVALID_REPLICA_ASSIGNMENT, message)
}

function response(broker: Broker, asked: TopicAsked, outcome: TopicOutcome): TopicResponse {
  const { errorCode, errorMessage, topic } = outcome
  if (topic === null) return { name: asked.name, errorCode, errorMessage }
  return {
    name: topic.name,
    topicId: topic.id,
    errorCode,
    errorMessage,
    numPartitions: topic.handles.length,
    replicationFactor: 1,
    configs: describeTopicConfigs(topic.configs, broker.config).map((entry) => ({
      name: entry.name,
      value: entry.value,
      readOnly: entry.readOnly,
      configSource: entry.source ?? ConfigSource.DEFAULT_CONFIG,
      isSensitive: entry.sensitive,
    })),
  }
}
