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
  const names = new Set<string>()
  const topics: Promise<TopicResponse>[] = []
  for (const asked of body.topics) {
    const { name } = asked
    if (names.has(name)) continue
    names.add(name)
    if ((counts.get(name) as number) === 1) {
      const outcome = create(broker, asked, body.validateOnly)
      topics.push(outcome.then((made) => response(broker, asked, made)))
      continue
    }
    const errorMessage = `Topic "${name}" appears more than once in the request`
    const refusal = { name, errorCode: ErrorCode.INVALID_REQUEST, errorMessage }
    topics.push(Promise.resolve(refusal))
  }
  return { body: { topics: await Promise.all(topics) } satisfies CreateTopicsResponseInit }
}

async function create(
  broker: Broker,
  asked: TopicAsked,
  validateOnly: boolean,
): Promise<TopicOutcome> {
  const { name, assignments, numPartitions: partitions, replicationFactor } = asked
  const configs = new Map(asked.configs.map((config) => [config.name, config.value]))
  const request = { name, partitions, replicationFactor, configs }
  if (assignments.length === 0) return broker.topics.create(request, validateOnly)
  if (partitions !== -1 || replicationFactor !== -1) {
    const message = 'With a replica assignment, partitions and replication factor must be -1'
    return refuse(ErrorCode.INVALID_REQUEST, message)
  }
  const byIndex = new Map(assignments.map((one) => [one.partitionIndex, one.brokerIds]))
  const assigned = assignments.flatMap((_, index) => {
    const replicas = byIndex.get(index)
    return replicas === undefined ? [] : [replicas]
  })
  if (assigned.length < assignments.length) {
    const message = 'An assignment lists the partitions 0, 1, … once each'
    return refuse(ErrorCode.INVALID_REPLICA_ASSIGNMENT, message)
  }
  return broker.topics.create({ ...request, assigned }, validateOnly)
}

function refuse(errorCode: ErrorCode, errorMessage: string): TopicOutcome {
  return { errorCode, errorMessage, topic: null }
}

function response(broker: Broker, asked: TopicAsked, outcome: TopicOutcome): TopicResponse {
  const { errorCode, errorMessage, topic } = outcome
  if (topic === null) return { name: asked.name, errorCode, errorMessage }
  const replicationFactor = broker.replicationFactor(topic)
  const configs = describeTopicConfigs(topic.configs, broker.config, replicationFactor)
  return {
    name: topic.name,
    topicId: topic.id,
    errorCode,
    errorMessage,
    numPartitions: topic.handles.length,
    replicationFactor,
    configs: configs.map((entry) => ({
      name: entry.name,
      value: entry.value,
      readOnly: entry.readOnly,
      configSource: entry.source ?? ConfigSource.DEFAULT_CONFIG,
      isSensitive: entry.sensitive,
    })),
  }
}
