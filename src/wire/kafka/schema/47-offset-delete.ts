import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * OffsetDelete (key 47): forgets a group's offsets of topics that it is not subscribed to
 * (KIP-496).
 */

export const offsetDeleteRequest = defineMessage({
  name: 'OffsetDeleteRequest',
  kind: 'request',
  apiKey: 47,
  versions: '0',
  flexible: 'none',
  fields: {
    groupId: { type: 'string', versions: '0+' },
    topics: {
      versions: '0+',
      type: [
        {
          name: { type: 'string', versions: '0+' },
          partitions: {
            versions: '0+',
            type: [{ partitionIndex: { type: 'int32', versions: '0+' } }],
          },
        },
      ],
    },
  },
})

export const offsetDeleteResponse = defineMessage({
  name: 'OffsetDeleteResponse',
  kind: 'response',
  apiKey: 47,
  versions: '0',
  flexible: 'none',
  fields: {
    errorCode: { type: 'int16', versions: '0+' },
    throttleTimeMs: { type: 'int32', versions: '0+', ignorable: true },
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
              },
            ],
          },
        },
      ],
    },
  },
})

export type OffsetDeleteRequest = Decoded<typeof offsetDeleteRequest.fields>
export type OffsetDeleteRequestInit = Encodable<typeof offsetDeleteRequest.fields>
export type OffsetDeleteResponse = Decoded<typeof offsetDeleteResponse.fields>
export type OffsetDeleteResponseInit = Encodable<typeof offsetDeleteResponse.fields>
