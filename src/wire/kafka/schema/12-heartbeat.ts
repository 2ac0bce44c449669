import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * Heartbeat (key 12): a member of a classic group is alive. v3 adds static members (KIP-345).
 */

export const heartbeatRequest = defineMessage({
  name: 'HeartbeatRequest',
  kind: 'request',
  apiKey: 12,
  versions: '0-4',
  flexible: '4+',
  fields: {
    groupId: { type: 'string', versions: '0+' },
    generationId: { type: 'int32', versions: '0+' },
    memberId: { type: 'string', versions: '0+' },
    groupInstanceId: { type: 'string', versions: '3+', nullable: '3+', default: null },
  },
})

export const heartbeatResponse = defineMessage({
  name: 'HeartbeatResponse',
  kind: 'response',
  apiKey: 12,
  versions: '0-4',
  flexible: '4+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '1+', ignorable: true },
    errorCode: { type: 'int16', versions: '0+' },
  },
})

export type HeartbeatRequest = Decoded<typeof heartbeatRequest.fields>
export type HeartbeatRequestInit = Encodable<typeof heartbeatRequest.fields>
export type HeartbeatResponse = Decoded<typeof heartbeatResponse.fields>
export type HeartbeatResponseInit = Encodable<typeof heartbeatResponse.fields>
