import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * ConsumerGroupHeartbeat (key 68): joining, staying in and leaving a group of the new protocol, and
 * its assignment in the answers (KIP-848). v1 has the member's own id and regular expressions.
 */

export const consumerGroupHeartbeatRequest = defineMessage({
  name: 'ConsumerGroupHeartbeatRequest',
  kind: 'request',
  apiKey: 68,
  versions: '0-1',
  flexible: '0+',
  fields: {
    groupId: { type: 'string', versions: '0+' },
    memberId: { type: 'string', versions: '0+' },
    memberEpoch: { type: 'int32', versions: '0+' },
    instanceId: { type: 'string', versions: '0+', nullable: '0+', default: null },
    rackId: { type: 'string', versions: '0+', nullable: '0+', default: null },
    rebalanceTimeoutMs: { type: 'int32', versions: '0+', default: -1 },
    subscribedTopicNames: { type: ['string'], versions: '0+', nullable: '0+', default: null },
    subscribedTopicRegex: { type: 'string', versions: '1+', nullable: '1+', default: null },
    serverAssignor: { type: 'string', versions: '0+', nullable: '0+', default: null },
    topicPartitions: {
      versions: '0+',
      type: [
        {
          topicId: { type: 'uuid', versions: '0+' },
          partitions: { type: ['int32'], versions: '0+' },
        },
      ],
      nullable: '0+',
      default: null,
    },
  },
})

export const consumerGroupHeartbeatResponse = defineMessage({
  name: 'ConsumerGroupHeartbeatResponse',
  kind: 'response',
  apiKey: 68,
  versions: '0-1',
  flexible: '0+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+' },
    errorCode: { type: 'int16', versions: '0+' },
    errorMessage: { type: 'string', versions: '0+', nullable: '0+', default: null },
    memberId: { type: 'string', versions: '0+', nullable: '0+', default: null },
    memberEpoch: { type: 'int32', versions: '0+' },
    heartbeatIntervalMs: { type: 'int32', versions: '0+' },
    assignment: {
      versions: '0+',
      type: {
        topicPartitions: {
          versions: '0+',
          type: [
            {
              topicId: { type: 'uuid', versions: '0+' },
              partitions: { type: ['int32'], versions: '0+' },
            },
          ],
        },
      },
      nullable: '0+',
      default: null,
    },
  },
})

export type ConsumerGroupHeartbeatRequest = Decoded<typeof consumerGroupHeartbeatRequest.fields>
export type ConsumerGroupHeartbeatRequestInit = Encodable<
  typeof consumerGroupHeartbeatRequest.fields
>
export type ConsumerGroupHeartbeatResponse = Decoded<typeof consumerGroupHeartbeatResponse.fields>
export type ConsumerGroupHeartbeatResponseInit = Encodable<
  typeof consumerGroupHeartbeatResponse.fields
>
