import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * ListConfigResources (key 74): resources that have a configuration (KIP-1142); v0 knows client
 * metrics only.
 */

export const listConfigResourcesRequest = defineMessage({
  name: 'ListConfigResourcesRequest',
  kind: 'request',
  apiKey: 74,
  versions: '0-1',
  flexible: '0+',
  fields: { resourceTypes: { type: ['int8'], versions: '1+' } },
})

export const listConfigResourcesResponse = defineMessage({
  name: 'ListConfigResourcesResponse',
  kind: 'response',
  apiKey: 74,
  versions: '0-1',
  flexible: '0+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+' },
    errorCode: { type: 'int16', versions: '0+' },
    configResources: {
      versions: '0+',
      type: [
        {
          resourceName: { type: 'string', versions: '0+' },
          resourceType: { type: 'int8', versions: '1+', default: 16, ignorable: true },
        },
      ],
    },
  },
})

export type ListConfigResourcesRequest = Decoded<typeof listConfigResourcesRequest.fields>
export type ListConfigResourcesRequestInit = Encodable<typeof listConfigResourcesRequest.fields>
export type ListConfigResourcesResponse = Decoded<typeof listConfigResourcesResponse.fields>
export type ListConfigResourcesResponseInit = Encodable<typeof listConfigResourcesResponse.fields>
