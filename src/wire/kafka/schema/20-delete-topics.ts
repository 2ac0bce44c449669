import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * DeleteTopics (key 20). v6 names topics by name or by id (KIP-516).
 */

export const deleteTopicsRequest = defineMessage({
  name: 'DeleteTopicsRequest',
  kind: 'request',
  apiKey: 20,
  versions: '1-6',
  flexible: '4+',
  fields: {
    topics: {
      versions: '6+',
      type: [
        {
          name: { type: 'string', versions: '6+', nullable: '6+', default: null },
          topicId: { type: 'uuid', versions: '6+' },
        },
      ],
    },
    topicNames: { type: ['string'], versions: '0-5', ignorable: true },
    timeoutMs: { type: 'int32', versions: '0+' },
  },
})

export const deleteTopicsResponse = defineMessage({
  name: 'DeleteTopicsResponse',
  kind: 'response',
  apiKey: 20,
  versions: '1-6',
  flexible: '4+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '1+', ignorable: true },
    responses: {
      versions: '0+',
      type: [
        {
          name: { type: 'string', versions: '0+', nullable: '6+' },
          topicId: { type: 'uuid', versions: '6+', ignorable: true },
          errorCode: { type: 'int16', versions: '0+' },
          errorMessage: {
            type: 'string',
            versions: '5+',
            nullable: '5+',
            default: null,
            ignorable: true,
          },
        },
      ],
    },
  },
})

export type DeleteTopicsRequest = Decoded<typeof deleteTopicsRequest.fields>
export type DeleteTopicsRequestInit = Encodable<typeof deleteTopicsRequest.fields>
export type DeleteTopicsResponse = Decoded<typeof deleteTopicsResponse.fields>
export type DeleteTopicsResponseInit = Encodable<typeof deleteTopicsResponse.fields>
