import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * Metadata (key 3): brokers, topics, partitions and their leaders.
 *
 * No topics (null; in v0 an empty array) asks for all. v10 adds topic ids, v12 lookup by id,
 * v13 an error for the whole answer.
 */

export const metadataRequest = defineMessage({
  name: 'MetadataRequest',
  kind: 'request',
  apiKey: 3,
  versions: '0-13',
  flexible: '9+',
  fields: {
    topics: {
      versions: '0+',
      nullable: '1+',
      type: [
        {
          topicId: { type: 'uuid', versions: '10+', ignorable: true },
          name: { type: 'string', versions: '0+', nullable: '10+' },
        },
      ],
    },
    allowAutoTopicCreation: { type: 'bool', versions: '4+', default: true },
    includeClusterAuthorizedOperations: { type: 'bool', versions: '8-10' },
    includeTopicAuthorizedOperations: { type: 'bool', versions: '8+' },
  },
})

export const metadataResponse = defineMessage({
  name: 'MetadataResponse',
  kind: 'response',
  apiKey: 3,
  versions: '0-13',
  flexible: '9+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '3+', ignorable: true },
    brokers: {
      versions: '0+',
      type: [
        {
          nodeId: { type: 'int32', versions: '0+' },
          host: { type: 'string', versions: '0+' },
          port: { type: 'int32', versions: '0+' },
          rack: { type: 'string', versions: '1+', nullable: '1+', default: null, ignorable: true },
        },
      ],
    },
    clusterId: { type: 'string', versions: '2+', nullable: '2+', default: null, ignorable: true },
    controllerId: { type: 'int32', versions: '1+', default: -1, ignorable: true },
    topics: {
      versions: '0+',
      type: [
        {
          errorCode: { type: 'int16', versions: '0+' },
          name: { type: 'string', versions: '0+', nullable: '12+' },
          topicId: { type: 'uuid', versions: '10+', ignorable: true },
          isInternal: { type: 'bool', versions: '1+', default: false, ignorable: true },
          partitions: {
            versions: '0+',
            type: [
              {
                errorCode: { type: 'int16', versions: '0+' },
                partitionIndex: { type: 'int32', versions: '0+' },
                leaderId: { type: 'int32', versions: '0+' },
                leaderEpoch: { type: 'int32', versions: '7+', default: -1, ignorable: true },
                replicaNodes: { type: ['int32'], versions: '0+' },
                isrNodes: { type: ['int32'], versions: '0+' },
                offlineReplicas: { type: ['int32'], versions: '5+', ignorable: true },
              },
            ],
          },
          topicAuthorizedOperations: { type: 'int32', versions: '8+', default: -2147483648 },
        },
      ],
    },
    clusterAuthorizedOperations: { type: 'int32', versions: '8-10', default: -2147483648 },
    errorCode: { type: 'int16', versions: '13+', ignorable: true },
  },
})

export type MetadataRequest = Decoded<typeof metadataRequest.fields>
export type MetadataRequestInit = Encodable<typeof metadataRequest.fields>
export type MetadataResponse = Decoded<typeof metadataResponse.fields>
export type MetadataResponseInit = Encodable<typeof metadataResponse.fields>
