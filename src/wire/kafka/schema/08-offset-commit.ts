import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * OffsetCommit (key 8): stores how far a group has come. v5 drops the retention time, v6 adds the
 * leader epoch (KIP-320), v7 static members (KIP-345), v9 the member epoch of KIP-848, v10 topic
 * ids.
 */

export const offsetCommitRequest = defineMessage({
  name: 'OffsetCommitRequest',
  kind: 'request',
  apiKey: 8,
  versions: '2-10',
  flexible: '8+',
  fields: {
    groupId: { type: 'string', versions: '0+' },
    generationIdOrMemberEpoch: { type: 'int32', versions: '1+', default: -1, ignorable: true },
    memberId: { type: 'string', versions: '1+', ignorable: true },
    groupInstanceId: { type: 'string', versions: '7+', nullable: '7+', default: null },
    retentionTimeMs: { type: 'int64', versions: '2-4', default: -1, ignorable: true },
    topics: {
      versions: '0+',
      type: [
        {
          name: { type: 'string', versions: '0-9', ignorable: true },
          topicId: { type: 'uuid', versions: '10+', ignorable: true },
          partitions: {
            versions: '0+',
            type: [
              {
                partitionIndex: { type: 'int32', versions: '0+' },
                committedOffset: { type: 'int64', versions: '0+' },
                committedLeaderEpoch: {
                  type: 'int32',
                  versions: '6+',
                  default: -1,
                  ignorable: true,
                },
                committedMetadata: { type: 'string', versions: '0+', nullable: '0+' },
              },
            ],
          },
        },
      ],
    },
  },
})

export const offsetCommitResponse = defineMessage({
  name: 'OffsetCommitResponse',
  kind: 'response',
  apiKey: 8,
  versions: '2-10',
  flexible: '8+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '3+', ignorable: true },
    topics: {
      versions: '0+',
      type: [
        {
          name: { type: 'string', versions: '0-9', ignorable: true },
          topicId: { type: 'uuid', versions: '10+', ignorable: true },
          partitions: {
            versions: '0+',
            type: [
              {
                partitionIndex: { type: 'int32', versions: '0+' },
                errorCode: { type: 'int16', versions: '0+' },
              },
            ],
          },
        },
      ],
    },
  },
})

export type OffsetCommitRequest = Decoded<typeof offsetCommitRequest.fields>
export type OffsetCommitRequestInit = Encodable<typeof offsetCommitRequest.fields>
export type OffsetCommitResponse = Decoded<typeof offsetCommitResponse.fields>
export type OffsetCommitResponseInit = Encodable<typeof offsetCommitResponse.fields>
