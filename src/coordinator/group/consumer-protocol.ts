import { MessageCodecs } from '../../wire/kafka/codec/codecs.ts'
import { DecodeError } from '../../wire/kafka/decode-error.ts'
import { Reader } from '../../wire/kafka/reader.ts'
import { type Decoded, defineMessage, type Fields } from '../../wire/kafka/schema/definition.ts'
import { numbered } from '../numbered.ts'

/**
 * What consumers tell each other through a classic group (protocol type "consumer"): opaque to the
 * group's protocol, but it says which topics a member is subscribed to. A version stands in front;
 * what a newer one adds stands behind what is known here.
 */
export const CONSUMER_PROTOCOL_TYPE = 'consumer'
const VERSION_MAX = 3

const subscription = defineMessage({
  name: 'ConsumerProtocolSubscription',
  kind: 'record',
  apiKey: -1,
  versions: '0-3',
  flexible: 'none',
  fields: {
    topics: { type: ['string'], versions: '0+' },
    userData: { type: 'bytes', versions: '0+', nullable: '0+', default: null },
    ownedPartitions: {
      versions: '1+',
      type: [
        {
          topic: { type: 'string', versions: '1+' },
          partitions: { type: ['int32'], versions: '1+' },
        },
      ],
      ignorable: true,
    },
    generationId: { type: 'int32', versions: '2+', default: -1, ignorable: true },
    rackId: { type: 'string', versions: '3+', nullable: '3+', default: null, ignorable: true },
  },
})

const assignment = defineMessage({
  name: 'ConsumerProtocolAssignment',
  kind: 'record',
  apiKey: -1,
  versions: '0-3',
  flexible: 'none',
  fields: {
    assignedPartitions: {
      versions: '0+',
      type: [
        {
          topic: { type: 'string', versions: '0+' },
          partitions: { type: ['int32'], versions: '0+' },
        },
      ],
    },
    userData: { type: 'bytes', versions: '0+', nullable: '0+', default: null },
  },
})

export type ConsumerSubscription = Decoded<typeof subscription.fields>
export type ConsumerAssignment = Decoded<typeof assignment.fields>

const subscriptionCodecs = new MessageCodecs(subscription)
const assignmentCodecs = new MessageCodecs(assignment)

/** Null for bytes that are no subscription. */
export function decodeSubscription(bytes: Uint8Array): ConsumerSubscription | null {
  return decode(subscriptionCodecs, bytes) as ConsumerSubscription | null
}

/** Null for bytes that are no assignment, such as none at all. */
export function decodeAssignment(bytes: Uint8Array): ConsumerAssignment | null {
  return decode(assignmentCodecs, bytes) as ConsumerAssignment | null
}

function decode(codecs: MessageCodecs, bytes: Uint8Array): Decoded<Fields> | null {
  try {
    const reader = new Reader(bytes)
    const version = Math.min(reader.int16('version'), VERSION_MAX)
    return version < 0 ? null : (codecs.decoder(version)(reader) as Decoded<Fields>)
  } catch (error) {
    if (error instanceof DecodeError) return null
    throw error
  }
}

/** In the version of `subscriptionBytes`, by which its member shows what it can read. */
export function encodeAssignment(
  assignedPartitions: ConsumerAssignment['assignedPartitions'],
  subscriptionBytes: Uint8Array,
): Uint8Array {
  const said = new Reader(subscriptionBytes).int16('version')
  return encodeAssignmentIn(Math.max(0, Math.min(said, VERSION_MAX)), assignedPartitions)
}

/** `version` is one of 0 to 3, here and below. */
export function encodeAssignmentIn(
  version: number,
  assignedPartitions: ConsumerAssignment['assignedPartitions'],
): Uint8Array {
  const value = { assignedPartitions, userData: null }
  return numbered(version, (writer) => assignmentCodecs.encoder(version)(writer, value))
}

export function encodeSubscriptionIn(
  version: number,
  subscribed: Pick<ConsumerSubscription, 'topics' | 'ownedPartitions'>,
): Uint8Array {
  return numbered(version, (writer) => subscriptionCodecs.encoder(version)(writer, subscribed))
}
