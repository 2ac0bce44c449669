import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * CreatePartitions (key 37): raises the number of partitions of a topic (KIP-195).
 */

export const createPartitionsRequest = defineMessage({
  name: 'CreatePartitionsRequest',
  kind: 'request',
  apiKey: 37,
  versions: '0-3',
  flexible: '2+',
  fields: {
    topics: {
      versions: '0+',
      type: [
        {
          name: { type: 'string', versions: '0+' },
          count: { type: 'int32', versions: '0+' },
          assignments: {
            versions: '0+',
            nullable: '0+',
            type: [
              {
                brokerIds: { type: ['int32'], versions: '0+' },
              },
            ],
          },
        },
      ],
    },
    timeoutMs: { type: 'int32', versions: '0+' },
    validateOnly: { type: 'bool', versions: '0+' },
  },
})

export const createPartitionsResponse = defineMessage({
  name: 'CreatePartitionsResponse',
  kind: 'response',
  apiKey: 37,
  versions: '0-3',
  flexible: '2+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+' },
    results: {
      versions: '0+',
      type: [
        {
          name: { type: 'string', versions: '0+' },
          errorCode: { type: 'int16', versions: '0+' },
          errorMessage: { type: 'string', versions: '0+', nullable: '0+', default: null },
        },
      ],
    },
  },
})

export type CreatePartitionsRequest = Decoded<typeof createPartitionsRequest.fields>
export type CreatePartitionsRequestInit = Encodable<typeof createPartitionsRequest.fields>
export type CreatePartitionsResponse = Decoded<typeof createPartitionsResponse.fields>
export type CreatePartitionsResponseInit = Encodable<typeof createPartitionsResponse.fields>
