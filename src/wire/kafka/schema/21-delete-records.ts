import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * DeleteRecords (key 21): drops the head of partitions; offset −1 means the high watermark
 * (KIP-107).
 */

export const deleteRecordsRequest = defineMessage({
  name: 'DeleteRecordsRequest',
  kind: 'request',
  apiKey: 21,
  versions: '0-2',
  flexible: '2+',
  fields: {
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
                offset: { type: 'int64', versions: '0+' },
              },
            ],
          },
        },
      ],
    },
    timeoutMs: { type: 'int32', versions: '0+' },
  },
})

export const deleteRecordsResponse = defineMessage({
  name: 'DeleteRecordsResponse',
  kind: 'response',
  apiKey: 21,
  versions: '0-2',
  flexible: '2+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+' },
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
                lowWatermark: { type: 'int64', versions: '0+' },
                errorCode: { type: 'int16', versions: '0+' },
              },
            ],
          },
        },
      ],
    },
  },
})

export type DeleteRecordsRequest = Decoded<typeof deleteRecordsRequest.fields>
export type DeleteRecordsRequestInit = Encodable<typeof deleteRecordsRequest.fields>
export type DeleteRecordsResponse = Decoded<typeof deleteRecordsResponse.fields>
export type DeleteRecordsResponseInit = Encodable<typeof deleteRecordsResponse.fields>
