import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * ElectLeaders (key 43): the preferred replica leads again, or one that may lack records (KIP-460).
 */

export const electLeadersRequest = defineMessage({
  name: 'ElectLeadersRequest',
  kind: 'request',
  apiKey: 43,
  versions: '0-2',
  flexible: '2+',
  fields: {
    electionType: { type: 'int8', versions: '1+' },
    topicPartitions: {
      versions: '0+',
      nullable: '0+',
      type: [
        {
          topic: { type: 'string', versions: '0+' },
          partitions: { type: ['int32'], versions: '0+' },
        },
      ],
    },
    timeoutMs: { type: 'int32', versions: '0+', default: 60000 },
  },
})

export const electLeadersResponse = defineMessage({
  name: 'ElectLeadersResponse',
  kind: 'response',
  apiKey: 43,
  versions: '0-2',
  flexible: '2+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+' },
    errorCode: { type: 'int16', versions: '1+' },
    replicaElectionResults: {
      versions: '0+',
      type: [
        {
          topic: { type: 'string', versions: '0+' },
          partitionResult: {
            versions: '0+',
            type: [
              {
                partitionId: { type: 'int32', versions: '0+' },
                errorCode: { type: 'int16', versions: '0+' },
                errorMessage: { type: 'string', versions: '0+', nullable: '0+' },
              },
            ],
          },
        },
      ],
    },
  },
})

export type ElectLeadersRequest = Decoded<typeof electLeadersRequest.fields>
export type ElectLeadersResponseInit = Encodable<typeof electLeadersResponse.fields>
