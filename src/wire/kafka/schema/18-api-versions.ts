import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * ApiVersions (key 18): the first request of nearly every client.
 *
 * The response always has header v0, so that a client can read it before it knows the versions; an
 * unknown request version is answered with a v0 body and UNSUPPORTED_VERSION (KIP-511).
 */

export const apiVersionsRequest = defineMessage({
  name: 'ApiVersionsRequest',
  kind: 'request',
  apiKey: 18,
  versions: '0-4',
  flexible: '3+',
  fields: {
    clientSoftwareName: { type: 'string', versions: '3+', ignorable: true },
    clientSoftwareVersion: { type: 'string', versions: '3+', ignorable: true },
  },
})

export const apiVersionsResponse = defineMessage({
  name: 'ApiVersionsResponse',
  kind: 'response',
  apiKey: 18,
  versions: '0-4',
  flexible: '3+',
  fields: {
    errorCode: { type: 'int16', versions: '0+' },
    apiKeys: {
      versions: '0+',
      type: [
        {
          apiKey: { type: 'int16', versions: '0+' },
          minVersion: { type: 'int16', versions: '0+' },
          maxVersion: { type: 'int16', versions: '0+' },
        },
      ],
    },
    throttleTimeMs: { type: 'int32', versions: '1+', ignorable: true },
    supportedFeatures: {
      versions: '3+',
      tag: 0,
      tagged: '3+',
      ignorable: true,
      type: [
        {
          name: { type: 'string', versions: '3+' },
          minVersion: { type: 'int16', versions: '3+' },
          maxVersion: { type: 'int16', versions: '3+' },
        },
      ],
    },
    finalizedFeaturesEpoch: {
      type: 'int64',
      versions: '3+',
      default: -1,
      tag: 1,
      tagged: '3+',
      ignorable: true,
    },
    finalizedFeatures: {
      versions: '3+',
      tag: 2,
      tagged: '3+',
      ignorable: true,
      type: [
        {
          name: { type: 'string', versions: '3+' },
          maxVersionLevel: { type: 'int16', versions: '3+' },
          minVersionLevel: { type: 'int16', versions: '3+' },
        },
      ],
    },
    zkMigrationReady: {
      type: 'bool',
      versions: '3+',
      default: false,
      tag: 3,
      tagged: '3+',
      ignorable: true,
    },
  },
})

export type ApiVersionsRequest = Decoded<typeof apiVersionsRequest.fields>
export type ApiVersionsRequestInit = Encodable<typeof apiVersionsRequest.fields>
export type ApiVersionsResponse = Decoded<typeof apiVersionsResponse.fields>
export type ApiVersionsResponseInit = Encodable<typeof apiVersionsResponse.fields>
