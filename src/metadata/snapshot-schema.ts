/** The bytes of a snapshot's records, in the frame that the log's have (`record-codec.ts`). */
import {
  BOOL,
  BYTES,
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
import { SHARED_FORMATS } from './record-schema.ts'
import type { ConfigsOwner, SnapshotRecord } from './snapshot-records.ts'

/** The first kind of an owner is 0 on disk. */
const OWNER_TYPES: readonly ConfigsOwner[] = ['topic', 'brokers', 'group']

const FORMATS: readonly RecordFormat<SnapshotRecord>[] = [
  ...SHARED_FORMATS,
  {
    id: 100,
    type: 'counters',
    versionMax: 0,
    schema: recordOf('CountersRecord', {
      localBrokerId: INT32,
      brokerEpoch: INT64,
      nextProducerId: INT64,
      topicsVersion: INT64,
    }),
  },
  {
    id: 101,
    type: 'broker-state',
    versionMax: 0,
    schema: recordOf('BrokerStateRecord', {
      id: INT32,
      epoch: INT64,
      incarnationId: UUID,
      host: TEXT,
      port: INT32,
      endpoints: { type: [{ listener: TEXT, host: TEXT, port: INT32 }], versions: '0+' },
      rack: TEXT_OR_NULL,
      directories: UUIDS,
      isFenced: BOOL,
      isDraining: BOOL,
    }),
  },
  {
    id: 102,
    type: 'configs',
    versionMax: 0,
    schema: recordOf('ConfigsRecord', {
      ownerType: { type: 'int8', versions: '0+' },
      owner: TEXT,
      configs: { type: [{ name: TEXT, value: TEXT }], versions: '0+' },
    }),
    toBody: (record: { ownerType: ConfigsOwner }) => ({
      ...record,
      ownerType: OWNER_TYPES.indexOf(record.ownerType),
    }),
    fromBody: (body: { ownerType: number }) => {
      const ownerType = OWNER_TYPES[body.ownerType]
      if (ownerType === undefined) throw newerBroker(`options of an owner of ${body.ownerType}`)
      return { ...body, ownerType }
    },
  },
  {
    id: 103,
    type: 'partition-shapes',
    versionMax: 0,
    schema: recordOf('PartitionShapesRecord', {
      first: INT32,
      shapes: {
        type: [
          {
            replicas: INT32S,
            inSyncReplicas: INT32S,
            eligibleReplicas: INT32S,
            lastKnownLeader: INT32,
            leader: INT32,
          },
        ],
        versions: '0+',
      },
    }),
  },
  {
    id: 104,
    type: 'directory-lists',
    versionMax: 0,
    schema: recordOf('DirectoryListsRecord', {
      first: INT32,
      lists: { type: [{ directories: UUIDS }], versions: '0+' },
    }),
  },
  {
    id: 105,
    type: 'partition-rows',
    versionMax: 0,
    schema: recordOf('PartitionRowsRecord', {
      topicId: UUID,
      firstPartition: INT32,
      count: INT32,
      columns: BYTES,
    }),
  },
  {
    id: 106,
    type: 'reassigning',
    versionMax: 0,
    schema: recordOf('ReassigningRecord', {
      topicId: UUID,
      partition: INT32,
      addingReplicas: INT32S,
      removingReplicas: INT32S,
    }),
  },
]

const CODEC = new RecordCodec<SnapshotRecord>(FORMATS)

export function encodeSnapshotRecord(record: SnapshotRecord): Uint8Array {
  return CODEC.encode(record)
}

/** Throws as `decodeMetadataRecord` does. */
export function decodeSnapshotRecord(value: Uint8Array): SnapshotRecord {
  return CODEC.decode(value)
}
