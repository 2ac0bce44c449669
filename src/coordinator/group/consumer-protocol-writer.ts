import {
  type ConsumerAssignment,
  decodeAssignment as decode,
  encodeAssignmentIn,
  encodeSubscriptionIn,
} from './consumer-protocol.ts'

/**
 * What a member of a classic group writes itself, in the form that it works with, a list of
 * partitions: its subscription, and as the leader everybody's assignment.
 */
/** What every client since 2019 reads; later versions add what members here do not have. */
const VERSION = 1

export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

/** A member that owns nothing while it joins: it has given everything back before. */
export function encodeSubscription(topics: readonly string[]): Uint8Array {
  return encodeSubscriptionIn(VERSION, { topics, ownedPartitions: [] })
}

export function encodeAssignment(partitions: readonly TopicPartition[]): Uint8Array {
  const byTopic = new Map<string, number[]>()
  for (const { topic, partition } of partitions) {
    const list = byTopic.get(topic)
    if (list === undefined) byTopic.set(topic, [partition])
    else list.push(partition)
  }
  const assigned = [...byTopic].map(([topic, list]) => ({ topic, partitions: list }))
  return encodeAssignmentIn(VERSION, assigned)
}

/** No bytes are no partitions. Null for bytes that are no assignment. */
export function decodeAssignment(bytes: Uint8Array): TopicPartition[] | null {
  if (bytes.length === 0) return []
  const assignment: ConsumerAssignment | null = decode(bytes)
  if (assignment === null) return null
  return assignment.assignedPartitions.flatMap(({ topic, partitions }) =>
    partitions.map((partition) => ({ topic, partition })),
  )
}
