import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * OffsetFetch (key 9): how far a group has come. v2 may ask for all topics, v7 for stable offsets
 * only (KIP-447), v8 for several groups, v9 names the member (KIP-848), v10 has topic ids.
 */

export const offsetFetchRequest = defineMessage({
  name: 'OffsetFetchRequest',
  kind: 'request',
  apiKey: 9,
  versions: '1-10',
  flexible: '6+',
  fields: {
    groupId: { type: 'string', versions: '0-7' },
    topics: {
      versions: '0-7',
      type: [
        {
          name: { type: 'string', versions: '0-7' },
          partitionIndexes: { type: ['int32'], versions: '0-7' },
        },
      ],
      nullable: '2-7',
    },
    groups: {
      versions: '8+',
      type: [
        {
          groupId: { type: 'string', versions: '8+' },
          memberId: {
            type: 'string',
            versions: '9+',
            nullable: '9+',
            default: null,
            ignorable: true,
          },
          memberEpoch: { type: 'int32', versions: '9+', default: -1, ignorable: true },
          topics: {
            versions: '8+',
            type: [
              {
                name: { type: 'string', versions: '8-9', ignorable: true },
                topicId: { type: 'uuid', versions: '10+', ignorable: true },
                partitionIndexes: { type: ['int32'], versions: '8+' },
              },
            ],
            nullable: '8+',
          },
        },
      ],
    },
    requireStable: { type: 'bool', versions: '7+', default: false },
  },
})

export const offsetFetchResponse = defineMessage({
  name: 'OffsetFetchResponse',
  kind: 'response',
  apiKey: 9,
  versions: '1-10',
  flexible: '6+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '3+', ignorable: true },
    topics: {
      versions: '0-7',
      type: [
        {
          name: { type: 'string', versions: '0-7' },
          partitions: {
            versions: '0-7',
            type: [
              {
                partitionIndex: { type: 'int32', versions: '0-7' },
                committedOffset: { type: 'int64', versions: '0-7' },
                committedLeaderEpoch: {
                  type: 'int32',
                  versions: '5-7',
                  default: -1,
                  ignorable: true,
                },
                metadata: { type: 'string', versions: '0-7', nullable: '0-7' },
                errorCode: { type: 'int16', versions: '0-7' },
              },
            ],
          },
        },
      ],
    },
    errorCode: { type: 'int16', versions: '2-7', default: 0, ignorable: true },
    groups: {
      versions: '8+',
      type: [
        {
          groupId: { type: 'string', versions: '8+' },
          topics: {
            versions: '8+',
            type: [
              {
                name: { type: 'string', versions: '8-9', ignorable: true },
                topicId: { type: 'uuid', versions: '10+', ignorable: true },
                partitions: {
                  versions: '8+',
                  type: [
                    {
                      partitionIndex: { type: 'int32', versions: '8+' },
                      committedOffset: { type: 'int64', versions: '8+' },
                      committedLeaderEpoch: {
                        type: 'int32',
                        versions: '8+',
                        default: -1,
                        ignorable: true,
                      },
                      metadata: { type: 'string', versions: '8+', nullable: '8+' },
                      errorCode: { type: 'int16', versions: '8+' },
                    },
                  ],
                },
              },
            ],
          },
          errorCode: { type: 'int16', versions: '8+', default: 0 },
        },
      ],
    },
  },
})

export type OffsetFetchRequest = Decoded<typeof offsetFetchRequest.fields>
export type OffsetFetchRequestInit = Encodable<typeof offsetFetchRequest.fields>
export type OffsetFetchResponse = Decoded<typeof offsetFetchResponse.fields>
export type OffsetFetchResponseInit = Encodable<typeof offsetFetchResponse.fields>
