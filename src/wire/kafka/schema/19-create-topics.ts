import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * CreateTopics (key 19). v4 lets the broker choose partitions and replicas (−1, KIP-464), v5
 * returns the configuration (KIP-525), v7 the topic id.
 */

export const createTopicsRequest = defineMessage({
  name: 'CreateTopicsRequest',
  kind: 'request',
  apiKey: 19,
  versions: '2-7',
  flexible: '5+',
  fields: {
    topics: {
      versions: '0+',
      type: [
        {
          name: { type: 'string', versions: '0+' },
          numPartitions: { type: 'int32', versions: '0+' },
          replicationFactor: { type: 'int16', versions: '0+' },
          assignments: {
            versions: '0+',
            type: [
              {
                partitionIndex: { type: 'int32', versions: '0+' },
                brokerIds: { type: ['int32'], versions: '0+' },
              },
            ],
          },
          configs: {
            versions: '0+',
            type: [
              {
                name: { type: 'string', versions: '0+' },
                value: { type: 'string', versions: '0+', nullable: '0+' },
              },
            ],
          },
        },
      ],
    },
    timeoutMs: { type: 'int32', versions: '0+', default: 60000 },
    validateOnly: { type: 'bool', versions: '1+', default: false },
  },
})

export const createTopicsResponse = defineMessage({
  name: 'CreateTopicsResponse',
  kind: 'response',
  apiKey: 19,
  versions: '2-7',
  flexible: '5+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '2+', ignorable: true },
    topics: {
      versions: '0+',
      type: [
        {
          name: { type: 'string', versions: '0+' },
          topicId: { type: 'uuid', versions: '7+', ignorable: true },
          errorCode: { type: 'int16', versions: '0+' },
          errorMessage: { type: 'string', versions: '1+', nullable: '0+', ignorable: true },
          topicConfigErrorCode: {
            type: 'int16',
            versions: '5+',
            tag: 0,
            tagged: '5+',
            ignorable: true,
          },
          numPartitions: { type: 'int32', versions: '5+', default: -1, ignorable: true },
          replicationFactor: { type: 'int16', versions: '5+', default: -1, ignorable: true },
          configs: {
            versions: '5+',
            nullable: '5+',
            ignorable: true,
            type: [
              {
                name: { type: 'string', versions: '5+' },
                value: { type: 'string', versions: '5+', nullable: '5+' },
                readOnly: { type: 'bool', versions: '5+' },
                configSource: { type: 'int8', versions: '5+', default: -1, ignorable: true },
                isSensitive: { type: 'bool', versions: '5+' },
              },
            ],
          },
        },
      ],
    },
  },
})

export type CreateTopicsRequest = Decoded<typeof createTopicsRequest.fields>
export type CreateTopicsRequestInit = Encodable<typeof createTopicsRequest.fields>
export type CreateTopicsResponse = Decoded<typeof createTopicsResponse.fields>
export type CreateTopicsResponseInit = Encodable<typeof createTopicsResponse.fields>
