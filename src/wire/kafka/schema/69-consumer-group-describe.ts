import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * ConsumerGroupDescribe (key 69): state and members of groups of the new protocol (KIP-848).
 */

export const consumerGroupDescribeRequest = defineMessage({
  name: 'ConsumerGroupDescribeRequest',
  kind: 'request',
  apiKey: 69,
  versions: '0-1',
  flexible: '0+',
  fields: {
    groupIds: { type: ['string'], versions: '0+' },
    includeAuthorizedOperations: { type: 'bool', versions: '0+' },
  },
})

export const consumerGroupDescribeResponse = defineMessage({
  name: 'ConsumerGroupDescribeResponse',
  kind: 'response',
  apiKey: 69,
  versions: '0-1',
  flexible: '0+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+' },
    groups: {
      versions: '0+',
      type: [
        {
          errorCode: { type: 'int16', versions: '0+' },
          errorMessage: { type: 'string', versions: '0+', nullable: '0+', default: null },
          groupId: { type: 'string', versions: '0+' },
          groupState: { type: 'string', versions: '0+' },
          groupEpoch: { type: 'int32', versions: '0+' },
          assignmentEpoch: { type: 'int32', versions: '0+' },
          assignorName: { type: 'string', versions: '0+' },
          members: {
            versions: '0+',
            type: [
              {
                memberId: { type: 'string', versions: '0+' },
                instanceId: { type: 'string', versions: '0+', nullable: '0+', default: null },
                rackId: { type: 'string', versions: '0+', nullable: '0+', default: null },
                memberEpoch: { type: 'int32', versions: '0+' },
                clientId: { type: 'string', versions: '0+' },
                clientHost: { type: 'string', versions: '0+' },
                subscribedTopicNames: { type: ['string'], versions: '0+' },
                subscribedTopicRegex: {
                  type: 'string',
                  versions: '0+',
                  nullable: '0+',
                  default: null,
                },
                assignment: {
                  versions: '0+',
                  type: {
                    topicPartitions: {
                      versions: '0+',
                      type: [
                        {
                          topicId: { type: 'uuid', versions: '0+' },
                          topicName: { type: 'string', versions: '0+' },
                          partitions: { type: ['int32'], versions: '0+' },
                        },
                      ],
                    },
                  },
                },
                targetAssignment: {
                  versions: '0+',
                  type: {
                    topicPartitions: {
                      versions: '0+',
                      type: [
                        {
                          topicId: { type: 'uuid', versions: '0+' },
                          topicName: { type: 'string', versions: '0+' },
                          partitions: { type: ['int32'], versions: '0+' },
                        },
                      ],
                    },
                  },
                },
                memberType: { type: 'int8', versions: '1+', default: -1, ignorable: true },
              },
            ],
          },
          authorizedOperations: { type: 'int32', versions: '0+', default: -2147483648 },
        },
      ],
    },
  },
})

export type ConsumerGroupDescribeRequest = Decoded<typeof consumerGroupDescribeRequest.fields>
export type ConsumerGroupDescribeRequestInit = Encodable<typeof consumerGroupDescribeRequest.fields>
export type ConsumerGroupDescribeResponse = Decoded<typeof consumerGroupDescribeResponse.fields>
export type ConsumerGroupDescribeResponseInit = Encodable<
  typeof consumerGroupDescribeResponse.fields
>
