import type { z } from 'zod'
import type { Broker, Topic } from '../../broker/broker.ts'
import { elsewhere } from '../../broker/elsewhere.ts'
import { boundsElsewhere } from '../../broker/group-admin.ts'
import type { TopicOutcome } from '../../broker/topic-service.ts'
import { ConfigSource, describeTopicConfigs } from '../../config/describe.ts'
import { ErrorCode, errorInfo } from '../../errors/error-code.ts'
import { jsonResponse } from '../web/responses.ts'
import type { WebResponse } from '../web/web-server.ts'
import { type Call, topicOf } from './call.ts'
import { readBody } from './read-body.ts'
import { badRequest, kafkaError } from './rest-error.ts'
import {
  DESCRIBED_PARTITIONS_MAX,
  NewTopic,
  TopicChange,
  type TopicQuery,
  type Topic as TopicShape,
} from './shapes.ts'

/** Topics: list, create, describe, alter, delete. Runs on main. */

const SOURCE_NAMES = {
  [ConfigSource.DYNAMIC_TOPIC_CONFIG]: 'topic',
  [ConfigSource.DYNAMIC_BROKER_CONFIG]: 'broker',
  [ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG]: 'broker',
  [ConfigSource.STATIC_BROKER_CONFIG]: 'broker',
  [ConfigSource.DEFAULT_CONFIG]: 'default',
} as const

type DescribeQuery = z.infer<typeof TopicQuery>

export async function listTopics({ broker }: Call<object>): Promise<WebResponse> {
  const topics = [...broker.image.topicsByName.values()].map(({ name, id, handles }) => ({
    name,
    topicId: id,
    partitions: handles.length,
  }))
  return jsonResponse(200, { topics })
}

export async function createTopic(call: Call<object>): Promise<WebResponse> {
  const { name, partitions, replicationFactor, configs } = await readBody(call, NewTopic)
  const outcome = await call.broker.topics.create({
    name,
    partitions: partitions ?? -1,
    replicationFactor: replicationFactor ?? -1,
    configs: texts(configs ?? {}),
  })
  refuse(outcome)
  const answer = await describe({ ...call, topic: name }, {})
  return { ...answer, status: 201, headers: { ...answer.headers, location: `/topics/${name}` } }
}

export function describeTopic(call: Call<DescribeQuery>): Promise<WebResponse> {
  return describe(call, call.query)
}

/** Partitions first: they may be refused; configurations have been looked at by then. */
export async function alterTopic(call: Call<object>): Promise<WebResponse> {
  const { topics } = call.broker
  const { partitions, configs } = await readBody(call, TopicChange)
  if (partitions === undefined && configs === undefined) {
    throw badRequest('body: it changes nothing; partitions or configs say what to change')
  }
  topicOf(call)
  const changes = texts(configs ?? {})
  refuse(await topics.alterConfigs(call.topic, changes, partitions !== undefined))
  if (partitions !== undefined) {
    refuse(await topics.addPartitions(call.topic, { total: partitions }, false))
    if (changes.size > 0) refuse(await topics.alterConfigs(call.topic, changes, false))
  }
  return describe(call, {})
}

export async function deleteTopic(call: Call<object>): Promise<WebResponse> {
  const { broker } = call
  if (!broker.config.get('delete.topic.enable')) throw kafkaError(ErrorCode.TOPIC_DELETION_DISABLED)
  const topic = topicOf(call)
  refuse(await broker.topics.delete(topic))
  return jsonResponse(200, { name: topic.name, topicId: topic.id })
}

/** Configurations are text everywhere else. */
function texts<V extends string | number | boolean | null>(
  configs: Readonly<Record<string, V>>,
): Map<string, string | null> {
  return new Map(
    Object.entries(configs).map(([name, value]) => [name, value === null ? null : String(value)]),
  )
}

function refuse({ errorCode, errorMessage }: TopicOutcome): void {
  if (errorCode !== ErrorCode.NONE) throw kafkaError(errorCode, errorMessage)
}

async function describe(call: Call<unknown>, query: DescribeQuery): Promise<WebResponse> {
  const { broker } = call
  const topic = topicOf(call)
  const first = query.first_partition ?? 0
  const count = query.max_partitions ?? DESCRIBED_PARTITIONS_MAX
  const handles = topic.handles.slice(first, first + count)
  const described: z.infer<typeof TopicShape> = {
    name: topic.name,
    topicId: topic.id,
    partitionsCount: topic.handles.length,
    partitions: await Promise.all(
      handles.map((handle, i) => describePartition(broker, handle, first + i)),
    ),
    configs: configsOf(topic, broker),
  }
  return jsonResponse(200, described)
}

async function describePartition(broker: Broker, handle: number, partition: number) {
  const leader = broker.currentLeader(handle)
  const base = {
    partition,
    leader: leader?.leaderId ?? -1,
    leaderEpoch: leader?.leaderEpoch ?? -1,
  }
  if (!broker.leads(handle)) {
    const there = elsewhere(broker, handle)
    const bounds = there === null ? null : await boundsElsewhere(there, handle)
    if (bounds !== null) return { ...base, ...bounds }
    return { ...base, error: errorInfo(ErrorCode.LEADER_NOT_AVAILABLE).name }
  }
  const reply = await broker.control(handle, { kind: 'offsets', handle })
  if (reply.kind === 'offsets') {
    const { logStartOffset, highWatermark } = reply
    return { ...base, logStartOffset, highWatermark }
  }
  const code = reply.kind === 'failed' ? reply.errorCode : ErrorCode.UNKNOWN_SERVER_ERROR
  return { ...base, error: errorInfo(code).name }
}

function configsOf(topic: Topic, broker: Broker): z.infer<typeof TopicShape>['configs'] {
  const entries = describeTopicConfigs(
    topic.configs,
    broker.config,
    broker.replicationFactor(topic),
  )
  return Object.fromEntries(
    entries.map(({ name, value, source }) => [name, { value, source: SOURCE_NAMES[source] }]),
  )
}
