import type { ByteBudget } from '../../base/byte-budget.ts'
import type { Broker, Topic } from '../../broker/broker.ts'
import type { Slices } from '../../broker/slices.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { WebRequest } from '../web/web-server.ts'
import type { AppendQueue } from './append-queue.ts'
import { kafkaError } from './rest-error.ts'
import type { RestMembers } from './rest-members.ts'

/** One request of a known operation, its path and query read. */
export interface Call<Q> {
  readonly broker: Broker
  readonly request: WebRequest
  readonly topic: string
  /** −1 where the path has none. */
  readonly partition: number
  /** '' where the path has none. */
  readonly group: string
  readonly member: string
  readonly query: Q
  readonly appends: AppendQueue
  readonly members: RestMembers
  /** For answers that are read from logs and on their way. */
  readonly memory: ByteBudget
  /** Where what takes long takes its turns. */
  readonly slices: Slices
}

/** Throws RestError when there is no such topic. */
export function topicOf({ broker, topic: name }: Call<unknown>): Topic {
  const topic = broker.topicByName(name)
  if (topic !== undefined) return topic
  throw kafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `There is no topic "${name}"`)
}

/** Throws RestError when there is no such partition. */
export function handleOf(topic: Topic, partition: number): number {
  const handle = topic.handles[partition]
  if (handle !== undefined) return handle
  const last = topic.handles.length - 1
  const message = `Topic "${topic.name}" has the partitions 0 to ${last}, not ${partition}`
  throw kafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, message)
}
