import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/** UnregisterBroker (key 64): a broker is no member of the cluster any more (KIP-631). */

export const unregisterBrokerRequest = defineMessage({
  name: 'UnregisterBrokerRequest',
  kind: 'request',
  apiKey: 64,
  versions: '0',
  flexible: '0+',
  fields: {
    brokerId: { type: 'int32', versions: '0+' },
  },
})

export const unregisterBrokerResponse = defineMessage({
  name: 'UnregisterBrokerResponse',
  kind: 'response',
  apiKey: 64,
  versions: '0',
  flexible: '0+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+' },
    errorCode: { type: 'int16', versions: '0+' },
    errorMessage: { type: 'string', versions: '0+', nullable: '0+' },
  },
})

export type UnregisterBrokerRequest = Decoded<typeof unregisterBrokerRequest.fields>
export type UnregisterBrokerResponseInit = Encodable<typeof unregisterBrokerResponse.fields>
