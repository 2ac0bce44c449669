import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * ListOffsets (key 2): offsets by timestamp or by the special timestamps −1 (latest), −2
 * (earliest), −3 (largest timestamp, v7), −4 and −5 (tiered storage, v8 and v9), −6 (v11).
 */

export const listOffsetsRequest = defineMessage({
  name: 'ListOffsetsRequest',
  kind: 'request',
  apiKey: 2,
  versions: '1-11',
  flexible: '6+',
  fields: {
    replicaId: { type: 'int32', versions: '0+' },
    isolationLevel: { type: 'int8', versions: '2+' },
    topics: {
      versions: '0+',
      type: [
        {
          name: { type: 'string', versions: '0+' },
          partitions: {
            versions: '0+',
            type: [
              {
                partitionIndex: { type: 'int32', versions: '0+' },
                currentLeaderEpoch: { type: 'int32', versions: '4+', default: -1, ignorable: true },
                timestamp: { type: 'int64', versions: '0+' },
                maxNumOffsets: { type: 'int32', versions: '0', default: 1 },
              },
            ],
          },
        },
      ],
    },
    timeoutMs: { type: 'int32', versions: '10+', ignorable: true },
  },
})

export const listOffsetsResponse = defineMessage({
  name: 'ListOffsetsResponse',
  kind: 'response',
  apiKey: 2,
  versions: '1-11',
  flexible: '6+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '2+', ignorable: true },
    topics: {
      versions: '0+',
      type: [
        {
          name: { type: 'string', versions: '0+' },
          partitions: {
            versions: '0+',
            type: [
              {
                partitionIndex: { type: 'int32', versions: '0+' },
                errorCode: { type: 'int16', versions: '0+' },
                oldStyleOffsets: { type: ['int64'], versions: '0' },
                timestamp: { type: 'int64', versions: '1+', default: -1 },
                offset: { type: 'int64', versions: '1+', default: -1 },
                leaderEpoch: { type: 'int32', versions: '4+', default: -1 },
              },
            ],
          },
        },
      ],
    },
  },
})

export type ListOffsetsRequest = Decoded<typeof listOffsetsRequest.fields>
export type ListOffsetsRequestInit = Encodable<typeof listOffsetsRequest.fields>
export type ListOffsetsResponse = Decoded<typeof listOffsetsResponse.fields>
export type ListOffsetsResponseInit = Encodable<typeof listOffsetsResponse.fields>
