import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * Fetch (key 1): reads record batches, for consumers and replicas.
 *
 * v7 adds sessions (KIP-227), v11 the rack (KIP-392), v12 epoch divergence (KIP-595), v13 names
 * topics by id (KIP-516), v15 moves the replica to a tagged struct (KIP-903).
 */

/** 2^63 − 1 rounds to 2^63 as a number; reader and writer agree on that. */
const INT64_MAX = 2 ** 63

export const fetchRequest = defineMessage({
  name: 'FetchRequest',
  kind: 'request',
  apiKey: 1,
  versions: '4-18',
  flexible: '12+',
  fields: {
    clusterId: {
      type: 'string',
      versions: '12+',
      nullable: '12+',
      default: null,
      tag: 0,
      tagged: '12+',
      ignorable: true,
    },
    replicaId: { type: 'int32', versions: '0-14', default: -1 },
    replicaState: {
      versions: '15+',
      tag: 1,
      tagged: '15+',
      type: {
        replicaId: { type: 'int32', versions: '15+', default: -1 },
        replicaEpoch: { type: 'int64', versions: '15+', default: -1 },
      },
    },
    maxWaitMs: { type: 'int32', versions: '0+' },
    minBytes: { type: 'int32', versions: '0+' },
    maxBytes: { type: 'int32', versions: '3+', default: 0x7fffffff, ignorable: true },
    isolationLevel: { type: 'int8', versions: '4+', default: 0, ignorable: true },
    sessionId: { type: 'int32', versions: '7+', default: 0, ignorable: true },
    sessionEpoch: { type: 'int32', versions: '7+', default: -1, ignorable: true },
    topics: {
      versions: '0+',
      type: [
        {
          topic: { type: 'string', versions: '0-12', ignorable: true },
          topicId: { type: 'uuid', versions: '13+', ignorable: true },
          partitions: {
            versions: '0+',
            type: [
              {
                partition: { type: 'int32', versions: '0+' },
                currentLeaderEpoch: { type: 'int32', versions: '9+', default: -1, ignorable: true },
                fetchOffset: { type: 'int64', versions: '0+' },
                lastFetchedEpoch: { type: 'int32', versions: '12+', default: -1 },
                logStartOffset: { type: 'int64', versions: '5+', default: -1, ignorable: true },
                partitionMaxBytes: { type: 'int32', versions: '0+' },
                replicaDirectoryId: {
                  type: 'uuid',
                  versions: '17+',
                  tag: 0,
                  tagged: '17+',
                  ignorable: true,
                },
                highWatermark: {
                  type: 'int64',
                  versions: '18+',
                  default: INT64_MAX,
                  tag: 1,
                  tagged: '18+',
                  ignorable: true,
                },
              },
            ],
          },
        },
      ],
    },
    forgottenTopicsData: {
      versions: '7+',
      type: [
        {
          topic: { type: 'string', versions: '7-12', ignorable: true },
          topicId: { type: 'uuid', versions: '13+', ignorable: true },
          partitions: { type: ['int32'], versions: '7+' },
        },
      ],
    },
    rackId: { type: 'string', versions: '11+', default: '', ignorable: true },
  },
})

export const fetchResponse = defineMessage({
  name: 'FetchResponse',
  kind: 'response',
  apiKey: 1,
  versions: '4-18',
  flexible: '12+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '1+', ignorable: true },
    errorCode: { type: 'int16', versions: '7+', ignorable: true },
    sessionId: { type: 'int32', versions: '7+', default: 0 },
    responses: {
      versions: '0+',
      type: [
        {
          topic: { type: 'string', versions: '0-12', ignorable: true },
          topicId: { type: 'uuid', versions: '13+', ignorable: true },
          partitions: {
            versions: '0+',
            type: [
              {
                partitionIndex: { type: 'int32', versions: '0+' },
                errorCode: { type: 'int16', versions: '0+' },
                highWatermark: { type: 'int64', versions: '0+' },
                lastStableOffset: { type: 'int64', versions: '4+', default: -1, ignorable: true },
                logStartOffset: { type: 'int64', versions: '5+', default: -1, ignorable: true },
                divergingEpoch: {
                  versions: '12+',
                  tag: 0,
                  tagged: '12+',
                  type: {
                    epoch: { type: 'int32', versions: '12+', default: -1 },
                    endOffset: { type: 'int64', versions: '12+', default: -1 },
                  },
                },
                currentLeader: {
                  versions: '12+',
                  tag: 1,
                  tagged: '12+',
                  type: {
                    leaderId: { type: 'int32', versions: '12+', default: -1 },
                    leaderEpoch: { type: 'int32', versions: '12+', default: -1 },
                  },
                },
                snapshotId: {
                  versions: '12+',
                  tag: 2,
                  tagged: '12+',
                  type: {
                    endOffset: { type: 'int64', versions: '0+', default: -1 },
                    epoch: { type: 'int32', versions: '0+', default: -1 },
                  },
                },
                abortedTransactions: {
                  versions: '4+',
                  nullable: '4+',
                  ignorable: true,
                  type: [
                    {
                      producerId: { type: 'int64', versions: '4+' },
                      firstOffset: { type: 'int64', versions: '4+' },
                    },
                  ],
                },
                preferredReadReplica: { type: 'int32', versions: '11+', default: -1 },
                records: { type: 'records', versions: '0+', nullable: '0+' },
              },
            ],
          },
        },
      ],
    },
    nodeEndpoints: {
      versions: '16+',
      tag: 0,
      tagged: '16+',
      type: [
        {
          nodeId: { type: 'int32', versions: '16+' },
          host: { type: 'string', versions: '16+' },
          port: { type: 'int32', versions: '16+' },
          rack: { type: 'string', versions: '16+', nullable: '16+', default: null },
        },
      ],
    },
  },
})

export type FetchRequest = Decoded<typeof fetchRequest.fields>
export type FetchRequestInit = Encodable<typeof fetchRequest.fields>
export type FetchResponse = Decoded<typeof fetchResponse.fields>
export type FetchResponseInit = Encodable<typeof fetchResponse.fields>
