import { MessageCodecs } from '../../wire/kafka/codec/codecs.ts'
import { DecodeError } from '../../wire/kafka/decode-error.ts'
import { Reader } from '../../wire/kafka/reader.ts'
import { defineMessage } from '../../wire/kafka/schema/definition.ts'
import { Writer } from '../../wire/kafka/writer.ts'

/**
 * What a member of a classic group writes itself: its subscription, and as the leader everybody's
 * assignment (`consumer-protocol.ts` reads the subscriptions of others). A version stands in front.
 */
/** What every client since 2019 reads; later versions add what members here do not have. */
const SUBSCRIPTION_VERSION = 1
const ASSIGNMENT_VERSION = 1
const SIZE_PREFIX_BYTES = 4

const partitionsOf = {
  versions: '0+',
  type: [
    {
      topic: { type: 'string', versions: '0+' },
      partitions: { type: ['int32'], versions: '0+' },
    },
  ],
} as const

const subscription = defineMessage({
  name: 'ConsumerProtocolSubscription',
  kind: 'record',
  apiKey: -1,
  versions: '0-1',
  flexible: 'none',
  fields: {
    topics: { type: ['string'], versions: '0+' },
    userData: { type: 'bytes', versions: '0+', nullable: '0+', default: null },
    ownedPartitions: { ...partitionsOf, versions: '1+', ignorable: true },
  },
})

const assignment = defineMessage({
  name: 'ConsumerProtocolAssignment',
  kind: 'record',
  apiKey: -1,
  versions: '0-3',
  flexible: 'none',
  fields: {
    assignedPartitions: partitionsOf,
    userData: { type: 'bytes', versions: '0+', nullable: '0+', default: null },
  },
})

const subscriptions = new MessageCodecs(subscription)
const assignments = new MessageCodecs(assignment)
const writer = new Writer()

export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

/** A member that owns nothing while it joins: it has given everything back before. */
export function encodeSubscription(topics: readonly string[]): Uint8Array {
  return encode(SUBSCRIPTION_VERSION, () =>
    subscriptions.encoder(SUBSCRIPTION_VERSION)(writer, { topics, ownedPartitions: [] }),
  )
}

export function encodeAssignment(partitions: readonly TopicPartition[]): Uint8Array {
  const byTopic = new Map<string, number[]>()
  for (const { topic, partition } of partitions) {
    const list = byTopic.get(topic)
    if (list === undefined) byTopic.set(topic, [partition])
    else list.push(partition)
  }
  const assignedPartitions = [...byTopic].map(([topic, list]) => ({ topic, partitions: list }))
  return encode(ASSIGNMENT_VERSION, () =>
    assignments.encoder(ASSIGNMENT_VERSION)(writer, { assignedPartitions }),
  )
}

/** No bytes are no partitions. Null for bytes that are no assignment. */
export function decodeAssignment(bytes: Uint8Array): TopicPartition[] | null {
  if (bytes.length === 0) return []
  try {
    const reader = new Reader(bytes)
    const version = Math.min(reader.int16('version'), ASSIGNMENT_VERSION)
    if (version < 0) return null
    const { assignedPartitions } = assignments.decoder(version)(reader) as {
      assignedPartitions: { topic: string; partitions: number[] }[]
    }
    return assignedPartitions.flatMap(({ topic, partitions }) =>
      partitions.map((partition) => ({ topic, partition })),
    )
  } catch (error) {
    if (error instanceof DecodeError) return null
    throw error
  }
}

function encode(version: number, write: () => void): Uint8Array {
  writer.start()
  writer.int16(version)
  write()
  const bytes = new Uint8Array(writer.bytesWritten - SIZE_PREFIX_BYTES)
  let at = -SIZE_PREFIX_BYTES
  for (const chunk of writer.finish()) {
    bytes.set(at < 0 ? chunk.subarray(-at) : chunk, Math.max(at, 0))
    at += chunk.length
  }
  return bytes
}
