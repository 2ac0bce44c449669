import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * The headers before every request and response. Flexible versions of an API use request header v2
 * and response header v1; the others v1 and v0. The client id keeps its classic encoding in v2
 * (KIP-482), so that a broker can read it before it knows the version.
 */

export const requestHeader = defineMessage({
  name: 'RequestHeader',
  kind: 'header',
  apiKey: -1,
  versions: '1-2',
  flexible: '2+',
  fields: {
    requestApiKey: { type: 'int16', versions: '0+' },
    requestApiVersion: { type: 'int16', versions: '0+' },
    correlationId: { type: 'int32', versions: '0+' },
    clientId: { type: 'string', versions: '1+', nullable: '1+', flexible: 'none' },
  },
})

export const responseHeader = defineMessage({
  name: 'ResponseHeader',
  kind: 'header',
  apiKey: -1,
  versions: '0-1',
  flexible: '1+',
  fields: {
    correlationId: { type: 'int32', versions: '0+' },
  },
})

export type RequestHeader = Decoded<typeof requestHeader.fields>
export type RequestHeaderInit = Encodable<typeof requestHeader.fields>
export type ResponseHeader = Decoded<typeof responseHeader.fields>
export type ResponseHeaderInit = Encodable<typeof responseHeader.fields>
