import { MessageCodecs } from '../../wire/kafka/codec/codecs.ts'
import { DecodeError } from '../../wire/kafka/decode-error.ts'
import { Reader } from '../../wire/kafka/reader.ts'
import type {
  Decoded,
  Encodable,
  Fields,
  MessageSchema,
  VersionRange,
} from '../../wire/kafka/schema/definition.ts'
import type { EncodedRecord } from '../effects.ts'
import { numbered } from '../numbered.ts'

/**
 * The records of `__consumer_offsets`, in Kafka's own formats, so that tools which read the topic
 * work. Key and value each begin with a number:
 *
 *   key    record type int16 │ fields
 *   value  version int16 │ fields; null (a tombstone) says that the key is no more
 *
 * A value is written in the version named here and read in any.
 */
function fieldsOf<const F extends Fields>(fields: F): F {
  return fields
}

const group = { type: 'string', versions: '0' } as const
const member = { group, memberId: { type: 'string', versions: '0' } } as const
const topicPartitions = [
  {
    topicId: { type: 'uuid', versions: '0+' },
    partitions: { type: ['int32'], versions: '0+' },
  },
] as const

const offsetKey = fieldsOf({
  group,
  topic: { type: 'string', versions: '0' },
  partition: { type: 'int32', versions: '0' },
})
const offsetValue = fieldsOf({
  offset: { type: 'int64', versions: '0+' },
  leaderEpoch: { type: 'int32', versions: '3+', default: -1, ignorable: true },
  metadata: { type: 'string', versions: '0+' },
  commitTimestamp: { type: 'int64', versions: '0+' },
  expireTimestamp: { type: 'int64', versions: '1', default: -1, ignorable: true },
  topicId: { type: 'uuid', versions: '4+', tag: 0, tagged: '4+', ignorable: true },
})
const groupKey = fieldsOf({ group })
const groupValue = fieldsOf({
  protocolType: { type: 'string', versions: '0+' },
  generation: { type: 'int32', versions: '0+' },
  protocol: { type: 'string', versions: '0+', nullable: '0+' },
  leader: { type: 'string', versions: '0+', nullable: '0+' },
  currentStateTimestamp: { type: 'int64', versions: '2+', default: -1, ignorable: true },
  members: {
    versions: '0+',
    type: [
      {
        memberId: { type: 'string', versions: '0+' },
        groupInstanceId: {
          type: 'string',
          versions: '3+',
          nullable: '3+',
          default: null,
          ignorable: true,
        },
        clientId: { type: 'string', versions: '0+' },
        clientHost: { type: 'string', versions: '0+' },
        rebalanceTimeout: { type: 'int32', versions: '1+', default: -1, ignorable: true },
        sessionTimeout: { type: 'int32', versions: '0+' },
        subscription: { type: 'bytes', versions: '0+' },
        assignment: { type: 'bytes', versions: '0+' },
      },
    ],
  },
})
const consumerGroupValue = fieldsOf({
  epoch: { type: 'int32', versions: '0+' },
  metadataHash: { type: 'int64', versions: '0+', default: 0, tag: 0, tagged: '0+' },
})
const consumerMemberValue = fieldsOf({
  instanceId: { type: 'string', versions: '0+', nullable: '0+' },
  rackId: { type: 'string', versions: '0+', nullable: '0+' },
  clientId: { type: 'string', versions: '0+' },
  clientHost: { type: 'string', versions: '0+' },
  subscribedTopicNames: { type: ['string'], versions: '0+' },
  subscribedTopicRegex: { type: 'string', versions: '0+', nullable: '0+' },
  rebalanceTimeoutMs: { type: 'int32', versions: '0+', default: -1 },
  serverAssignor: { type: 'string', versions: '0+', nullable: '0+' },
  classicMemberMetadata: {
    versions: '0+',
    type: {
      sessionTimeoutMs: { type: 'int32', versions: '0+' },
      supportedProtocols: {
        versions: '0+',
        type: [
          {
            name: { type: 'string', versions: '0+' },
            metadata: { type: 'bytes', versions: '0+' },
          },
        ],
      },
    },
    nullable: '0+',
    default: null,
    tag: 0,
    tagged: '0+',
  },
})
const targetAssignmentValue = fieldsOf({
  assignmentEpoch: { type: 'int32', versions: '0+' },
  assignmentTimestamp: {
    type: 'int64',
    versions: '0+',
    default: 0,
    tag: 0,
    tagged: '0+',
    ignorable: true,
  },
})
const targetMemberValue = fieldsOf({ topicPartitions: { type: topicPartitions, versions: '0+' } })
const currentAssignment = [
  {
    topicId: { type: 'uuid', versions: '0+' },
    partitions: { type: ['int32'], versions: '0+' },
    assignmentEpochs: {
      type: ['int32'],
      versions: '0+',
      nullable: '0+',
      default: null,
      tag: 0,
      tagged: '0+',
    },
  },
] as const
const currentMemberValue = fieldsOf({
  memberEpoch: { type: 'int32', versions: '0+' },
  previousMemberEpoch: { type: 'int32', versions: '0+' },
  state: { type: 'int8', versions: '0+' },
  assignedPartitions: { type: currentAssignment, versions: '0+' },
  partitionsPendingRevocation: { type: currentAssignment, versions: '0+' },
})
const regularExpressionKey = fieldsOf({
  group,
  regularExpression: { type: 'string', versions: '0' },
})
const regularExpressionValue = fieldsOf({
  topics: { type: ['string'], versions: '0+' },
  version: { type: 'int64', versions: '0+' },
  timestamp: { type: 'int64', versions: '0+' },
})

interface Shapes {
  readonly key: Fields
  readonly value: Fields
}

/** By our name of the record: its fields. */
type RecordShapes = {
  readonly offset: { key: typeof offsetKey; value: typeof offsetValue }
  readonly group: { key: typeof groupKey; value: typeof groupValue }
  readonly 'consumer-group': { key: typeof groupKey; value: typeof consumerGroupValue }
  readonly 'consumer-member': { key: typeof member; value: typeof consumerMemberValue }
  readonly 'target-assignment': { key: typeof groupKey; value: typeof targetAssignmentValue }
  readonly 'target-member': { key: typeof member; value: typeof targetMemberValue }
  readonly 'current-member': { key: typeof member; value: typeof currentMemberValue }
  readonly 'regular-expression': {
    key: typeof regularExpressionKey
    value: typeof regularExpressionValue
  }
}

export type GroupRecordType = keyof RecordShapes

/** What a record says: the value of a key, or null, that there is none any more. */
export type GroupRecord = {
  readonly [T in GroupRecordType]: {
    readonly type: T
    readonly key: Decoded<RecordShapes[T]['key']>
    readonly value: Encodable<RecordShapes[T]['value']> | null
  }
}[GroupRecordType]

/** A record as it was read: all of its fields are there. */
export type ReadGroupRecord = {
  readonly [T in GroupRecordType]: {
    readonly type: T
    readonly key: Decoded<RecordShapes[T]['key']>
    readonly value: Decoded<RecordShapes[T]['value']> | null
  }
}[GroupRecordType]

export type GroupMetadataValue = Decoded<typeof groupValue>
export type OffsetValue = Decoded<typeof offsetValue>

interface RecordDefinition extends Shapes {
  /** First number of the key. */
  readonly id: number
  readonly type: GroupRecordType
  readonly versions: VersionRange
  readonly flexible: VersionRange
  readonly writtenVersion: number
}

const NEW = { versions: '0', flexible: '0+', writtenVersion: 0 } as const

const DEFINITIONS: readonly RecordDefinition[] = [
  {
    id: 1,
    type: 'offset',
    key: offsetKey,
    value: offsetValue,
    versions: '0-4',
    flexible: '4+',
    writtenVersion: 3,
  },
  {
    id: 2,
    type: 'group',
    key: groupKey,
    value: groupValue,
    versions: '0-4',
    flexible: '4+',
    writtenVersion: 3,
  },
  { id: 3, type: 'consumer-group', key: groupKey, value: consumerGroupValue, ...NEW },
  { id: 5, type: 'consumer-member', key: member, value: consumerMemberValue, ...NEW },
  { id: 6, type: 'target-assignment', key: groupKey, value: targetAssignmentValue, ...NEW },
  { id: 7, type: 'target-member', key: member, value: targetMemberValue, ...NEW },
  { id: 8, type: 'current-member', key: member, value: currentMemberValue, ...NEW },
  {
    id: 16,
    type: 'regular-expression',
    key: regularExpressionKey,
    value: regularExpressionValue,
    ...NEW,
  },
]

/** Offsets of very old brokers: the same key under the number 0. */
const LEGACY_OFFSET_ID = 0

function schema(
  name: string,
  fields: Fields,
  versions: VersionRange,
  flexible: VersionRange | 'none',
) {
  const message: MessageSchema = { name, kind: 'record', apiKey: -1, versions, flexible, fields }
  return new MessageCodecs(message)
}

const CODECS = DEFINITIONS.map((definition) => ({
  definition,
  key: schema(`${definition.type} key`, definition.key, '0', 'none'),
  value: schema(definition.type, definition.value, definition.versions, definition.flexible),
  versionMax: Number(definition.versions.split('-').at(-1)),
}))
const BY_TYPE = new Map(CODECS.map((codecs) => [codecs.definition.type, codecs]))
const BY_ID = new Map(CODECS.map((codecs) => [codecs.definition.id, codecs]))

export function encodeGroupRecord(record: GroupRecord): EncodedRecord {
  const codecs = BY_TYPE.get(record.type)!
  const { id, writtenVersion } = codecs.definition
  const key = numbered(id, (writer) => codecs.key.encoder(0)(writer, record.key))
  const { value } = record
  if (value === null) return { key, value: null }
  const encode = codecs.value.encoder(writtenVersion)
  return { key, value: numbered(writtenVersion, (writer) => encode(writer, value)) }
}

const reused = new Reader()
let reusedOver = new Uint8Array(0) as Uint8Array

/**
 * One reader for all: loading a log reads millions of records out of the same few buffers, and to
 * make a reader for a buffer costs more than a record.
 */
function readerOf(bytes: Uint8Array): Reader {
  if (bytes.buffer !== reusedOver.buffer) reusedOver = new Uint8Array(bytes.buffer)
  return reused.reset(reusedOver, bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
}

/**
 * Null for a record of a type that is not known here: a newer broker's, or another kind of group's.
 * Throws DecodeError.
 */
export function decodeGroupRecord(
  keyBytes: Uint8Array,
  valueBytes: Uint8Array | null,
): ReadGroupRecord | null {
  const keyReader = readerOf(keyBytes)
  const id = keyReader.int16('record type')
  const codecs = BY_ID.get(id === LEGACY_OFFSET_ID ? 1 : id)
  if (codecs === undefined) return null
  const key = codecs.key.decoder(0)(keyReader)
  keyReader.finish('key')
  const { type } = codecs.definition
  if (valueBytes === null) return { type, key, value: null } as ReadGroupRecord
  const reader = readerOf(valueBytes)
  const version = reader.int16('version')
  if (version < 0 || version > codecs.versionMax) {
    throw new DecodeError(`version ${version} is a newer broker's`, type)
  }
  const value = codecs.value.decoder(version)(reader)
  reader.finish(type)
  return { type, key, value } as ReadGroupRecord
}
