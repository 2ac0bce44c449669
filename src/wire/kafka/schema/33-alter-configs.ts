import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * AlterConfigs (key 33): replaces all of a resource's configuration. Kept for older clients:
 * IncrementalAlterConfigs changes single options.
 */

export const alterConfigsRequest = defineMessage({
  name: 'AlterConfigsRequest',
  kind: 'request',
  apiKey: 33,
  versions: '0-2',
  flexible: '2+',
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

export const alterConfigsResponse = defineMessage({
  name: 'AlterConfigsResponse',
  kind: 'response',
  apiKey: 33,
  versions: '0-2',
  flexible: '2+',
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

export type AlterConfigsRequest = Decoded<typeof alterConfigsRequest.fields>
export type AlterConfigsRequestInit = Encodable<typeof alterConfigsRequest.fields>
export type AlterConfigsResponse = Decoded<typeof alterConfigsResponse.fields>
export type AlterConfigsResponseInit = Encodable<typeof alterConfigsResponse.fields>
