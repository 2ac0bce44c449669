import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * DeleteGroups (key 42): forgets empty groups with their offsets.
 */

export const deleteGroupsRequest = defineMessage({
  name: 'DeleteGroupsRequest',
  kind: 'request',
  apiKey: 42,
  versions: '0-2',
  flexible: '2+',
  fields: { groupsNames: { type: ['string'], versions: '0+' } },
})

export const deleteGroupsResponse = defineMessage({
  name: 'DeleteGroupsResponse',
  kind: 'response',
  apiKey: 42,
  versions: '0-2',
  flexible: '2+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+' },
    results: {
      versions: '0+',
      type: [
        {
          groupId: { type: 'string', versions: '0+' },
          errorCode: { type: 'int16', versions: '0+' },
        },
      ],
    },
  },
})

export type DeleteGroupsRequest = Decoded<typeof deleteGroupsRequest.fields>
export type DeleteGroupsRequestInit = Encodable<typeof deleteGroupsRequest.fields>
export type DeleteGroupsResponse = Decoded<typeof deleteGroupsResponse.fields>
export type DeleteGroupsResponseInit = Encodable<typeof deleteGroupsResponse.fields>
