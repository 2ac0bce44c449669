import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/** AddRaftVoter (key 80): one more controller votes (KIP-853). */

export const addRaftVoterRequest = defineMessage({
  name: 'AddRaftVoterRequest',
  kind: 'request',
  apiKey: 80,
  versions: '0',
  flexible: '0+',
  fields: {
    clusterId: { type: 'string', versions: '0+', nullable: '0+' },
    timeoutMs: { type: 'int32', versions: '0+' },
    voterId: { type: 'int32', versions: '0+' },
    voterDirectoryId: { type: 'uuid', versions: '0+' },
    listeners: {
      versions: '0+',
      type: [
        {
          name: { type: 'string', versions: '0+' },
          host: { type: 'string', versions: '0+' },
          port: { type: 'uint16', versions: '0+' },
        },
      ],
    },
  },
})

export const addRaftVoterResponse = defineMessage({
  name: 'AddRaftVoterResponse',
  kind: 'response',
  apiKey: 80,
  versions: '0',
  flexible: '0+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+' },
    errorCode: { type: 'int16', versions: '0+' },
    errorMessage: { type: 'string', versions: '0+', nullable: '0+', ignorable: true },
  },
})

export type AddRaftVoterRequest = Decoded<typeof addRaftVoterRequest.fields>
export type AddRaftVoterResponseInit = Encodable<typeof addRaftVoterResponse.fields>
