/** The bytes of the metadata log's records; their frame is that of `record-codec.ts`. */
import { assert } from '../base/assert.ts'
import type { Uuid } from '../base/uuid.ts'
import type { Fields } from '../wire/kafka/schema/definition.ts'
import {
  BOOL,
  INT8,
  INT32,
  INT32S,
  INT64,
  newerBroker,
  RecordCodec,
  type RecordFormat,
  recordOf,
  TEXT,
  TEXT_OR_NULL,
  UUID,
  UUIDS,
} from './record-codec.ts'
import type {
  AclRecord,
  ClientQuotaRecord,
  ElectionKind,
  FeaturesRecord,
  MetadataRecord,
  PartitionsRecord,
  RemoveTopicRecord,
  TopicRecord,
} from './records.ts'

/** Which rules the record is applied with. */
const RULE = { type: 'int32', versions: '0+' } as const

const BROKER_EVENT: Fields = { brokerId: INT32, brokerEpoch: INT64, ruleVersion: RULE }

/** The first kind of an election is 0 on the wire. */
const ELECTION_KINDS: readonly ElectionKind[] = ['preferred', 'unclean']

/** Of records that say the same in a snapshot. */
export const SHARED_FORMATS: readonly RecordFormat<
  TopicRecord | RemoveTopicRecord | FeaturesRecord | AclRecord | ClientQuotaRecord
>[] = [
  {
    id: 2,
    type: 'topic',
    versionMax: 0,
    schema: recordOf('TopicRecord', { topicId: UUID, name: TEXT }),
  },
  {
    id: 5,
    type: 'remove-topic',
    versionMax: 0,
    schema: recordOf('RemoveTopicRecord', { topicId: UUID }),
  },
  {
    id: 17,
    type: 'features',
    versionMax: 0,
    schema: recordOf('FeaturesRecord', { name: TEXT, level: INT32 }),
  },
  {
    id: 19,
    type: 'acl',
    versionMax: 0,
    schema: recordOf('AclRecord', {
      aclId: UUID,
      resourceType: INT8,
      resourceName: TEXT,
      patternType: INT8,
      principal: TEXT,
      host: TEXT,
      operation: INT8,
      permission: INT8,
    }),
  },
  {
    id: 21,
    type: 'client-quota',
    versionMax: 0,
    schema: recordOf('ClientQuotaRecord', {
      entity: { type: [{ entityType: TEXT, entityName: TEXT_OR_NULL }], versions: '0+' },
      name: TEXT,
      value: { type: 'float64', versions: '0+' },
      isRemoved: BOOL,
    }),
    toBody: (record: ClientQuotaRecord) => ({
      ...record,
      value: record.value ?? 0,
      isRemoved: record.value === null,
    }),
    fromBody: ({ isRemoved, ...body }: { isRemoved: boolean; value: number }) => ({
      ...body,
      value: isRemoved ? null : body.value,
    }),
  },
]

const FORMATS: readonly RecordFormat<MetadataRecord>[] = [
  ...SHARED_FORMATS,
  {
    id: 1,
    type: 'broker-start',
    versionMax: 0,
    schema: recordOf('BrokerStartRecord', { brokerId: INT32, brokerEpoch: INT64, clean: BOOL }),
  },
  {
    id: 3,
    type: 'partitions',
    versionMax: 1,
    versionOf: (record: PartitionsRecord) => ('replicas' in record ? 1 : 0),
    schema: recordOf(
      'PartitionsRecord',
      {
        topicId: UUID,
        firstPartition: INT32,
        directories: { type: ['uuid'], versions: '0' },
        partitions: { type: [{ replicas: INT32S, directories: UUIDS }], versions: '1+' },
        ruleVersion: { type: 'int32', versions: '1+' },
      },
      1,
    ),
    toBody: partitionsBody,
    fromBody: partitionsOf,
  },
  {
    id: 4,
    type: 'config',
    versionMax: 0,
    schema: recordOf('ConfigRecord', { topicId: UUID, name: TEXT, value: TEXT_OR_NULL }),
  },
  {
    id: 6,
    type: 'producer-ids',
    versionMax: 0,
    schema: recordOf('ProducerIdsRecord', { brokerId: INT32, nextProducerId: INT64 }),
  },
  {
    id: 7,
    type: 'broker-config',
    versionMax: 0,
    schema: recordOf('BrokerConfigRecord', { broker: TEXT, name: TEXT, value: TEXT_OR_NULL }),
  },
  {
    id: 8,
    type: 'group-config',
    versionMax: 0,
    schema: recordOf('GroupConfigRecord', { group: TEXT, name: TEXT, value: TEXT_OR_NULL }),
  },
  {
    id: 9,
    type: 'broker-registered',
    versionMax: 0,
    schema: recordOf('BrokerRegisteredRecord', {
      brokerId: INT32,
      brokerEpoch: INT64,
      incarnationId: UUID,
      host: TEXT,
      port: INT32,
      endpoints: { type: [{ listener: TEXT, host: TEXT, port: INT32 }], versions: '0+' },
      rack: TEXT_OR_NULL,
      directories: UUIDS,
      isUnclean: BOOL,
      ruleVersion: RULE,
    }),
  },
  {
    id: 10,
    type: 'broker-fenced',
    versionMax: 0,
    schema: recordOf('BrokerFencedRecord', BROKER_EVENT),
  },
  {
    id: 11,
    type: 'broker-unfenced',
    versionMax: 0,
    schema: recordOf('BrokerUnfencedRecord', BROKER_EVENT),
  },
  {
    id: 12,
    type: 'broker-draining',
    versionMax: 0,
    schema: recordOf('BrokerDrainingRecord', BROKER_EVENT),
  },
  {
    id: 13,
    type: 'broker-unregistered',
    versionMax: 0,
    schema: recordOf('BrokerUnregisteredRecord', BROKER_EVENT),
  },
  {
    id: 14,
    type: 'partition-altered',
    versionMax: 0,
    schema: recordOf('PartitionAlteredRecord', {
      topicId: UUID,
      partition: INT32,
      inSyncReplicas: INT32S,
      ruleVersion: RULE,
    }),
  },
  {
    id: 15,
    type: 'leader-elected',
    versionMax: 0,
    schema: recordOf('LeaderElectedRecord', {
      topicId: UUID,
      partitions: INT32S,
      kind: { type: 'int8', versions: '0+' },
      ruleVersion: RULE,
    }),
    toBody: (record: { kind: ElectionKind }) => ({
      ...record,
      kind: ELECTION_KINDS.indexOf(record.kind),
    }),
    fromBody: (body: { kind: number }) => {
      const kind = ELECTION_KINDS[body.kind]
      if (kind === undefined) throw newerBroker(`an election of kind ${body.kind}`)
      return { ...body, kind }
    },
  },
  {
    id: 16,
    type: 'partition-reassigned',
    versionMax: 0,
    schema: recordOf('PartitionReassignedRecord', {
      topicId: UUID,
      partition: INT32,
      replicas: INT32S,
      replicaDirectories: UUIDS,
      addingReplicas: INT32S,
      removingReplicas: INT32S,
      ruleVersion: RULE,
    }),
  },
  {
    id: 18,
    type: 'replicas-failed',
    versionMax: 0,
    schema: recordOf('ReplicasFailedRecord', {
      brokerId: INT32,
      brokerEpoch: INT64,
      topicId: UUID,
      partitions: INT32S,
      ruleVersion: RULE,
    }),
  },
  {
    id: 22,
    type: 'replicas-placed',
    versionMax: 0,
    schema: recordOf('ReplicasPlacedRecord', {
      brokerId: INT32,
      brokerEpoch: INT64,
      directory: UUID,
      topicId: UUID,
      partitions: INT32S,
    }),
  },
  {
    id: 20,
    type: 'remove-acl',
    versionMax: 0,
    schema: recordOf('RemoveAclRecord', { aclId: UUID }),
  },
]

const CODEC = new RecordCodec<MetadataRecord>(FORMATS)

/** The record's value for the metadata log. */
export function encodeMetadataRecord(record: MetadataRecord): Uint8Array {
  return CODEC.encode(record)
}

/**
 * Reads a record's value. Throws DecodeError for bytes that are no record, and Error for a record
 * type or version, or rules, that only a newer broker knows.
 */
export function decodeMetadataRecord(value: Uint8Array): MetadataRecord {
  return CODEC.decode(value)
}

// —— partitions: two versions, and lists of lists, which the schema language has as structs ——

interface PartitionsBody {
  readonly topicId: Uuid
  readonly firstPartition: number
  readonly directories: readonly Uuid[]
  readonly partitions: readonly {
    readonly replicas: readonly number[]
    readonly directories: readonly Uuid[]
  }[]
  readonly ruleVersion: number
}

function partitionsBody(record: PartitionsRecord): object {
  if (!('replicas' in record)) return record
  const { topicId, firstPartition, replicas, replicaDirectories, ruleVersion } = record
  assert(replicas.length === replicaDirectories.length)
  const partitions = replicas.map((ids, i) => {
    const directories = replicaDirectories[i] as readonly Uuid[]
    assert(ids.length === directories.length)
    return { replicas: ids, directories }
  })
  return { topicId, firstPartition, partitions, ruleVersion }
}

function partitionsOf(body: PartitionsBody, version: number): object {
  const { topicId, firstPartition, directories, partitions, ruleVersion } = body
  if (version === 0) return { topicId, firstPartition, directories }
  const replicas = partitions.map((partition) => partition.replicas)
  const replicaDirectories = partitions.map((partition) => partition.directories)
  return { topicId, firstPartition, replicas, replicaDirectories, ruleVersion }
}
