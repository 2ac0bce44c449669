import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * ListGroups (key 16): the groups that this broker coordinates. v4 filters by state (KIP-518), v5
 * by type (KIP-848).
 */

export const listGroupsRequest = defineMessage({
  name: 'ListGroupsRequest',
  kind: 'request',
  apiKey: 16,
  versions: '0-5',
  flexible: '3+',
  fields: {
    statesFilter: { type: ['string'], versions: '4+' },
    typesFilter: { type: ['string'], versions: '5+' },
  },
})

export const listGroupsResponse = defineMessage({
  name: 'ListGroupsResponse',
  kind: 'response',
  apiKey: 16,
  versions: '0-5',
  flexible: '3+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '1+', ignorable: true },
    errorCode: { type: 'int16', versions: '0+' },
    groups: {
      versions: '0+',
      type: [
        {
          groupId: { type: 'string', versions: '0+' },
          protocolType: { type: 'string', versions: '0+' },
          groupState: { type: 'string', versions: '4+', ignorable: true },
          groupType: { type: 'string', versions: '5+', ignorable: true },
        },
      ],
    },
  },
})

export type ListGroupsRequest = Decoded<typeof listGroupsRequest.fields>
export type ListGroupsRequestInit = Encodable<typeof listGroupsRequest.fields>
export type ListGroupsResponse = Decoded<typeof listGroupsResponse.fields>
export type ListGroupsResponseInit = Encodable<typeof listGroupsResponse.fields>
