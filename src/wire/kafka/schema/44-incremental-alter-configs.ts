import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * IncrementalAlterConfigs (key 44): sets, deletes, appends to or subtracts from single options
 * (KIP-339).
 */

export const incrementalAlterConfigsRequest = defineMessage({
  name: 'IncrementalAlterConfigsRequest',
  kind: 'request',
  apiKey: 44,
  versions: '0-1',
  flexible: '1+',
  fields: {
    resources: {
      versions: '0+',
      type: [
        {
          resourceType: { type: 'int8', versions: '0+' },
          resourceName: { type: 'string', versions: '0+' },
          configs: {
            versions: '0+',
            type: [
              {
                name: { type: 'string', versions: '0+' },
                configOperation: { type: 'int8', versions: '0+' },
                value: { type: 'string', versions: '0+', nullable: '0+' },
              },
            ],
          },
        },
      ],
    },
    validateOnly: { type: 'bool', versions: '0+' },
  },
})

export const incrementalAlterConfigsResponse = defineMessage({
  name: 'IncrementalAlterConfigsResponse',
  kind: 'response',
  apiKey: 44,
  versions: '0-1',
  flexible: '1+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+' },
    responses: {
      versions: '0+',
      type: [
        {
          errorCode: { type: 'int16', versions: '0+' },
          errorMessage: { type: 'string', versions: '0+', nullable: '0+' },
          resourceType: { type: 'int8', versions: '0+' },
          resourceName: { type: 'string', versions: '0+' },
        },
      ],
    },
  },
})

export type IncrementalAlterConfigsRequest = Decoded<typeof incrementalAlterConfigsRequest.fields>
export type IncrementalAlterConfigsRequestInit = Encodable<
  typeof incrementalAlterConfigsRequest.fields
>
export type IncrementalAlterConfigsResponse = Decoded<typeof incrementalAlterConfigsResponse.fields>
export type IncrementalAlterConfigsResponseInit = Encodable<
  typeof incrementalAlterConfigsResponse.fields
>
