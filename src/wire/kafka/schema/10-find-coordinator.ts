import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * FindCoordinator (key 10): the broker that coordinates a group, a transaction or a share
 * partition. v4 asks for several keys at once (KIP-699).
 */

export const findCoordinatorRequest = defineMessage({
  name: 'FindCoordinatorRequest',
  kind: 'request',
  apiKey: 10,
  versions: '0-6',
  flexible: '3+',
  fields: {
    key: { type: 'string', versions: '0-3' },
    keyType: { type: 'int8', versions: '1+', default: 0 },
    coordinatorKeys: { type: ['string'], versions: '4+' },
  },
})

export const findCoordinatorResponse = defineMessage({
  name: 'FindCoordinatorResponse',
  kind: 'response',
  apiKey: 10,
  versions: '0-6',
  flexible: '3+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '1+', ignorable: true },
    errorCode: { type: 'int16', versions: '0-3' },
    errorMessage: { type: 'string', versions: '1-3', nullable: '1-3', ignorable: true },
    nodeId: { type: 'int32', versions: '0-3' },
    host: { type: 'string', versions: '0-3' },
    port: { type: 'int32', versions: '0-3' },
    coordinators: {
      versions: '4+',
      type: [
        {
          key: { type: 'string', versions: '4+' },
          nodeId: { type: 'int32', versions: '4+' },
          host: { type: 'string', versions: '4+' },
          port: { type: 'int32', versions: '4+' },
          errorCode: { type: 'int16', versions: '4+' },
          errorMessage: { type: 'string', versions: '4+', nullable: '4+', ignorable: true },
        },
      ],
    },
  },
})

export type FindCoordinatorRequest = Decoded<typeof findCoordinatorRequest.fields>
export type FindCoordinatorRequestInit = Encodable<typeof findCoordinatorRequest.fields>
export type FindCoordinatorResponse = Decoded<typeof findCoordinatorResponse.fields>
export type FindCoordinatorResponseInit = Encodable<typeof findCoordinatorResponse.fields>
