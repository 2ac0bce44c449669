import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * DescribeConfigs (key 32): configuration of topics, brokers and loggers, with synonyms (KIP-226)
 * and, from v3, type and documentation (KIP-569).
 */

export const describeConfigsRequest = defineMessage({
  name: 'DescribeConfigsRequest',
  kind: 'request',
  apiKey: 32,
  versions: '1-4',
  flexible: '4+',
  fields: {
    resources: {
      versions: '0+',
      type: [
        {
          resourceType: { type: 'int8', versions: '0+' },
          resourceName: { type: 'string', versions: '0+' },
          configurationKeys: { type: ['string'], versions: '0+', nullable: '0+' },
        },
      ],
    },
    includeSynonyms: { type: 'bool', versions: '1+', default: false },
    includeDocumentation: { type: 'bool', versions: '3+', default: false },
  },
})

export const describeConfigsResponse = defineMessage({
  name: 'DescribeConfigsResponse',
  kind: 'response',
  apiKey: 32,
  versions: '1-4',
  flexible: '4+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+' },
    results: {
      versions: '0+',
      type: [
        {
          errorCode: { type: 'int16', versions: '0+' },
          errorMessage: { type: 'string', versions: '0+', nullable: '0+' },
          resourceType: { type: 'int8', versions: '0+' },
          resourceName: { type: 'string', versions: '0+' },
          configs: {
            versions: '0+',
            type: [
              {
                name: { type: 'string', versions: '0+' },
                value: { type: 'string', versions: '0+', nullable: '0+' },
                readOnly: { type: 'bool', versions: '0+' },
                configSource: { type: 'int8', versions: '1+', default: -1, ignorable: true },
                isDefault: { type: 'bool', versions: '0' },
                isSensitive: { type: 'bool', versions: '0+' },
                synonyms: {
                  versions: '1+',
                  ignorable: true,
                  type: [
                    {
                      name: { type: 'string', versions: '1+' },
                      value: { type: 'string', versions: '1+', nullable: '0+' },
                      source: { type: 'int8', versions: '1+' },
                    },
                  ],
                },
                configType: { type: 'int8', versions: '3+', default: 0, ignorable: true },
                documentation: { type: 'string', versions: '3+', nullable: '0+', ignorable: true },
              },
            ],
          },
        },
      ],
    },
  },
})

export type DescribeConfigsRequest = Decoded<typeof describeConfigsRequest.fields>
export type DescribeConfigsRequestInit = Encodable<typeof describeConfigsRequest.fields>
export type DescribeConfigsResponse = Decoded<typeof describeConfigsResponse.fields>
export type DescribeConfigsResponseInit = Encodable<typeof describeConfigsResponse.fields>
