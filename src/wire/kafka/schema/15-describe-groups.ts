import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * DescribeGroups (key 15): state and members of classic groups. v4 adds instance ids, v6 an error
 * message for groups that do not exist (KIP-1043).
 */

export const describeGroupsRequest = defineMessage({
  name: 'DescribeGroupsRequest',
  kind: 'request',
  apiKey: 15,
  versions: '0-6',
  flexible: '5+',
  fields: {
    groups: { type: ['string'], versions: '0+' },
    includeAuthorizedOperations: { type: 'bool', versions: '3+' },
  },
})

export const describeGroupsResponse = defineMessage({
  name: 'DescribeGroupsResponse',
  kind: 'response',
  apiKey: 15,
  versions: '0-6',
  flexible: '5+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '1+', ignorable: true },
    groups: {
      versions: '0+',
      type: [
        {
          errorCode: { type: 'int16', versions: '0+' },
          errorMessage: { type: 'string', versions: '6+', nullable: '6+', default: null },
          groupId: { type: 'string', versions: '0+' },
          groupState: { type: 'string', versions: '0+' },
          protocolType: { type: 'string', versions: '0+' },
          protocolData: { type: 'string', versions: '0+' },
          members: {
            versions: '0+',
            type: [
              {
                memberId: { type: 'string', versions: '0+' },
                groupInstanceId: {
                  type: 'string',
                  versions: '4+',
                  nullable: '4+',
                  default: null,
                  ignorable: true,
                },
                clientId: { type: 'string', versions: '0+' },
                clientHost: { type: 'string', versions: '0+' },
                memberMetadata: { type: 'bytes', versions: '0+' },
                memberAssignment: { type: 'bytes', versions: '0+' },
              },
            ],
          },
          authorizedOperations: { type: 'int32', versions: '3+', default: -2147483648 },
        },
      ],
    },
  },
})

export type DescribeGroupsRequest = Decoded<typeof describeGroupsRequest.fields>
export type DescribeGroupsRequestInit = Encodable<typeof describeGroupsRequest.fields>
export type DescribeGroupsResponse = Decoded<typeof describeGroupsResponse.fields>
export type DescribeGroupsResponseInit = Encodable<typeof describeGroupsResponse.fields>
