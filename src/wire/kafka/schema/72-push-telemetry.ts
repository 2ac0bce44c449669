import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * PushTelemetry (key 72): a client's metrics (KIP-714).
 */

export const pushTelemetryRequest = defineMessage({
  name: 'PushTelemetryRequest',
  kind: 'request',
  apiKey: 72,
  versions: '0',
  flexible: '0+',
  fields: {
    clientInstanceId: { type: 'uuid', versions: '0+' },
    subscriptionId: { type: 'int32', versions: '0+' },
    terminating: { type: 'bool', versions: '0+' },
    compressionType: { type: 'int8', versions: '0+' },
    metrics: { type: 'bytes', versions: '0+' },
  },
})

export const pushTelemetryResponse = defineMessage({
  name: 'PushTelemetryResponse',
  kind: 'response',
  apiKey: 72,
  versions: '0',
  flexible: '0+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+' },
    errorCode: { type: 'int16', versions: '0+' },
  },
})

export type PushTelemetryRequest = Decoded<typeof pushTelemetryRequest.fields>
export type PushTelemetryRequestInit = Encodable<typeof pushTelemetryRequest.fields>
export type PushTelemetryResponse = Decoded<typeof pushTelemetryResponse.fields>
export type PushTelemetryResponseInit = Encodable<typeof pushTelemetryResponse.fields>
