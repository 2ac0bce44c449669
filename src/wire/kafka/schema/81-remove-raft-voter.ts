import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/** RemoveRaftVoter (key 81): a controller votes no more (KIP-853). */

export const removeRaftVoterRequest = defineMessage({
  name: 'RemoveRaftVoterRequest',
  kind: 'request',
  apiKey: 81,
  versions: '0',
  flexible: '0+',
  fields: {
    clusterId: { type: 'string', versions: '0+', nullable: '0+' },
    voterId: { type: 'int32', versions: '0+' },
    voterDirectoryId: { type: 'uuid', versions: '0+' },
  },
})

export const removeRaftVoterResponse = defineMessage({
  name: 'RemoveRaftVoterResponse',
  kind: 'response',
  apiKey: 81,
  versions: '0',
  flexible: '0+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+' },
    errorCode: { type: 'int16', versions: '0+' },
    errorMessage: { type: 'string', versions: '0+', nullable: '0+', ignorable: true },
  },
})

export type RemoveRaftVoterRequest = Decoded<typeof removeRaftVoterRequest.fields>
export type RemoveRaftVoterResponseInit = Encodable<typeof removeRaftVoterResponse.fields>
