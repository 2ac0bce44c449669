import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * InitProducerId (key 22): hands out producer id and epoch (KIP-98; v3 bumps an epoch, KIP-360).
 * v6 (two-phase commit, KIP-939) is unstable: decodable, not advertised.
 */

export const initProducerIdRequest = defineMessage({
  name: 'InitProducerIdRequest',
  kind: 'request',
  apiKey: 22,
  versions: '0-6',
  flexible: '2+',
  latestVersionUnstable: true,
  fields: {
    transactionalId: { type: 'string', versions: '0+', nullable: '0+' },
    transactionTimeoutMs: { type: 'int32', versions: '0+' },
    producerId: { type: 'int64', versions: '3+', default: -1 },
    producerEpoch: { type: 'int16', versions: '3+', default: -1 },
    enable2Pc: { type: 'bool', versions: '6+', default: false },
    keepPreparedTxn: { type: 'bool', versions: '6+', default: false },
  },
})

export const initProducerIdResponse = defineMessage({
  name: 'InitProducerIdResponse',
  kind: 'response',
  apiKey: 22,
  versions: '0-6',
  flexible: '2+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+', ignorable: true },
    errorCode: { type: 'int16', versions: '0+' },
    producerId: { type: 'int64', versions: '0+', default: -1 },
    producerEpoch: { type: 'int16', versions: '0+' },
    ongoingTxnProducerId: { type: 'int64', versions: '6+', default: -1 },
    ongoingTxnProducerEpoch: { type: 'int16', versions: '6+', default: -1 },
  },
})

export type InitProducerIdRequest = Decoded<typeof initProducerIdRequest.fields>
export type InitProducerIdRequestInit = Encodable<typeof initProducerIdRequest.fields>
export type InitProducerIdResponse = Decoded<typeof initProducerIdResponse.fields>
export type InitProducerIdResponseInit = Encodable<typeof initProducerIdResponse.fields>
