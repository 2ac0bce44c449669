import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * DescribeTopicPartitions (key 75): partitions of topics, page by page (KIP-966).
 */

export const describeTopicPartitionsRequest = defineMessage({
  name: 'DescribeTopicPartitionsRequest',
  kind: 'request',
  apiKey: 75,
  versions: '0',
  flexible: '0+',
  fields: {
    topics: { versions: '0+', type: [{ name: { type: 'string', versions: '0+' } }] },
    responsePartitionLimit: { type: 'int32', versions: '0+', default: 2000 },
    cursor: {
      versions: '0+',
      type: {
        topicName: { type: 'string', versions: '0+' },
        partitionIndex: { type: 'int32', versions: '0+' },
      },
      nullable: '0+',
      default: null,
    },
  },
})

export const describeTopicPartitionsResponse = defineMessage({
  name: 'DescribeTopicPartitionsResponse',
  kind: 'response',
  apiKey: 75,
  versions: '0',
  flexible: '0+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+', ignorable: true },
    topics: {
      versions: '0+',
      type: [
        {
          errorCode: { type: 'int16', versions: '0+' },
          name: { type: 'string', versions: '0+', nullable: '0+' },
          topicId: { type: 'uuid', versions: '0+', ignorable: true },
          isInternal: { type: 'bool', versions: '0+', default: false, ignorable: true },
          partitions: {
            versions: '0+',
            type: [
              {
                errorCode: { type: 'int16', versions: '0+' },
                partitionIndex: { type: 'int32', versions: '0+' },
                leaderId: { type: 'int32', versions: '0+' },
                leaderEpoch: { type: 'int32', versions: '0+', default: -1, ignorable: true },
                replicaNodes: { type: ['int32'], versions: '0+' },
                isrNodes: { type: ['int32'], versions: '0+' },
                eligibleLeaderReplicas: {
                  type: ['int32'],
                  versions: '0+',
                  nullable: '0+',
                  default: null,
                },
                lastKnownElr: { type: ['int32'], versions: '0+', nullable: '0+', default: null },
                offlineReplicas: { type: ['int32'], versions: '0+', ignorable: true },
              },
            ],
          },
          topicAuthorizedOperations: { type: 'int32', versions: '0+', default: -2147483648 },
        },
      ],
    },
    nextCursor: {
      versions: '0+',
      type: {
        topicName: { type: 'string', versions: '0+' },
        partitionIndex: { type: 'int32', versions: '0+' },
      },
      nullable: '0+',
      default: null,
    },
  },
})

export type DescribeTopicPartitionsRequest = Decoded<typeof describeTopicPartitionsRequest.fields>
export type DescribeTopicPartitionsRequestInit = Encodable<
  typeof describeTopicPartitionsRequest.fields
>
export type DescribeTopicPartitionsResponse = Decoded<typeof describeTopicPartitionsResponse.fields>
export type DescribeTopicPartitionsResponseInit = Encodable<
  typeof describeTopicPartitionsResponse.fields
>
