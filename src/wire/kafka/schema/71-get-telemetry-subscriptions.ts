import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * GetTelemetrySubscriptions (key 71): which metrics a client should push (KIP-714).
 */

export const getTelemetrySubscriptionsRequest = defineMessage({
  name: 'GetTelemetrySubscriptionsRequest',
  kind: 'request',
  apiKey: 71,
  versions: '0',
  flexible: '0+',
  fields: { clientInstanceId: { type: 'uuid', versions: '0+' } },
})

export const getTelemetrySubscriptionsResponse = defineMessage({
  name: 'GetTelemetrySubscriptionsResponse',
  kind: 'response',
  apiKey: 71,
  versions: '0',
  flexible: '0+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+' },
    errorCode: { type: 'int16', versions: '0+' },
    clientInstanceId: { type: 'uuid', versions: '0+' },
    subscriptionId: { type: 'int32', versions: '0+' },
    acceptedCompressionTypes: { type: ['int8'], versions: '0+' },
    pushIntervalMs: { type: 'int32', versions: '0+' },
    telemetryMaxBytes: { type: 'int32', versions: '0+' },
    deltaTemporality: { type: 'bool', versions: '0+' },
    requestedMetrics: { type: ['string'], versions: '0+' },
  },
})

export type GetTelemetrySubscriptionsRequest = Decoded<
  typeof getTelemetrySubscriptionsRequest.fields
>
export type GetTelemetrySubscriptionsRequestInit = Encodable<
  typeof getTelemetrySubscriptionsRequest.fields
>
export type GetTelemetrySubscriptionsResponse = Decoded<
  typeof getTelemetrySubscriptionsResponse.fields
>
export type GetTelemetrySubscriptionsResponseInit = Encodable<
  typeof getTelemetrySubscriptionsResponse.fields
>
