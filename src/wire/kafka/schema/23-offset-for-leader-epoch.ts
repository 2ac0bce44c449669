import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * OffsetForLeaderEpoch (key 23): where an epoch ended, so that clients and replicas find divergence
 * (KIP-101, KIP-320).
 */

export const offsetForLeaderEpochRequest = defineMessage({
  name: 'OffsetForLeaderEpochRequest',
  kind: 'request',
  apiKey: 23,
  versions: '2-4',
  flexible: '4+',
  fields: {
    replicaId: { type: 'int32', versions: '3+', default: -2, ignorable: true },
    topics: {
      versions: '0+',
      type: [
        {
          topic: { type: 'string', versions: '0+' },
          partitions: {
            versions: '0+',
            type: [
              {
                partition: { type: 'int32', versions: '0+' },
                currentLeaderEpoch: { type: 'int32', versions: '2+', default: -1, ignorable: true },
                leaderEpoch: { type: 'int32', versions: '0+' },
              },
            ],
          },
        },
      ],
    },
  },
})

export const offsetForLeaderEpochResponse = defineMessage({
  name: 'OffsetForLeaderEpochResponse',
  kind: 'response',
  apiKey: 23,
  versions: '2-4',
  flexible: '4+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '2+', ignorable: true },
    topics: {
      versions: '0+',
      type: [
        {
          topic: { type: 'string', versions: '0+' },
          partitions: {
            versions: '0+',
            type: [
              {
                errorCode: { type: 'int16', versions: '0+' },
                partition: { type: 'int32', versions: '0+' },
                leaderEpoch: { type: 'int32', versions: '1+', default: -1, ignorable: true },
                endOffset: { type: 'int64', versions: '0+', default: -1 },
              },
            ],
          },
        },
      ],
    },
  },
})

export type OffsetForLeaderEpochRequest = Decoded<typeof offsetForLeaderEpochRequest.fields>
export type OffsetForLeaderEpochRequestInit = Encodable<typeof offsetForLeaderEpochRequest.fields>
export type OffsetForLeaderEpochResponse = Decoded<typeof offsetForLeaderEpochResponse.fields>
export type OffsetForLeaderEpochResponseInit = Encodable<typeof offsetForLeaderEpochResponse.fields>
