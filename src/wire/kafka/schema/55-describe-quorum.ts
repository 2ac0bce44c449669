import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * DescribeQuorum (key 55): who votes about the metadata and how far each of them is (KIP-595). v1
 * adds times (KIP-836), v2 nodes and disks (KIP-853).
 */

export const describeQuorumRequest = defineMessage({
  name: 'DescribeQuorumRequest',
  kind: 'request',
  apiKey: 55,
  versions: '0-2',
  flexible: '0+',
  fields: {
    topics: {
      versions: '0+',
      type: [
        {
          topicName: { type: 'string', versions: '0+' },
          partitions: {
            versions: '0+',
            type: [{ partitionIndex: { type: 'int32', versions: '0+' } }],
          },
        },
      ],
    },
  },
})

const replicaState = {
  replicaId: { type: 'int32', versions: '0+' },
  replicaDirectoryId: { type: 'uuid', versions: '2+' },
  logEndOffset: { type: 'int64', versions: '0+' },
  lastFetchTimestamp: { type: 'int64', versions: '1+', default: -1, ignorable: true },
  lastCaughtUpTimestamp: { type: 'int64', versions: '1+', default: -1, ignorable: true },
} as const

export const describeQuorumResponse = defineMessage({
  name: 'DescribeQuorumResponse',
  kind: 'response',
  apiKey: 55,
  versions: '0-2',
  flexible: '0+',
  fields: {
    errorCode: { type: 'int16', versions: '0+' },
    errorMessage: { type: 'string', versions: '2+', nullable: '2+', ignorable: true },
    topics: {
      versions: '0+',
      type: [
        {
          topicName: { type: 'string', versions: '0+' },
          partitions: {
            versions: '0+',
            type: [
              {
                partitionIndex: { type: 'int32', versions: '0+' },
                errorCode: { type: 'int16', versions: '0+' },
                errorMessage: {
                  type: 'string',
                  versions: '2+',
                  nullable: '2+',
                  ignorable: true,
                },
                leaderId: { type: 'int32', versions: '0+' },
                leaderEpoch: { type: 'int32', versions: '0+' },
                highWatermark: { type: 'int64', versions: '0+' },
                currentVoters: { versions: '0+', type: [replicaState] },
                observers: { versions: '0+', type: [replicaState] },
              },
            ],
          },
        },
      ],
    },
    nodes: {
      versions: '2+',
      type: [
        {
          nodeId: { type: 'int32', versions: '2+' },
          listeners: {
            versions: '2+',
            type: [
              {
                name: { type: 'string', versions: '2+' },
                host: { type: 'string', versions: '2+' },
                port: { type: 'uint16', versions: '2+' },
              },
            ],
          },
        },
      ],
    },
  },
})

export type DescribeQuorumRequest = Decoded<typeof describeQuorumRequest.fields>
export type DescribeQuorumResponseInit = Encodable<typeof describeQuorumResponse.fields>
