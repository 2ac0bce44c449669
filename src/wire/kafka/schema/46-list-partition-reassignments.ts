import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/** ListPartitionReassignments (key 46): partitions whose replicas are about to change (KIP-455). */

export const listPartitionReassignmentsRequest = defineMessage({
  name: 'ListPartitionReassignmentsRequest',
  kind: 'request',
  apiKey: 46,
  versions: '0',
  flexible: '0+',
  fields: {
    timeoutMs: { type: 'int32', versions: '0+', default: 60000 },
    topics: {
      versions: '0+',
      nullable: '0+',
      default: null,
      type: [
        {
          name: { type: 'string', versions: '0+' },
          partitionIndexes: { type: ['int32'], versions: '0+' },
        },
      ],
    },
  },
})

export const listPartitionReassignmentsResponse = defineMessage({
  name: 'ListPartitionReassignmentsResponse',
  kind: 'response',
  apiKey: 46,
  versions: '0',
  flexible: '0+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+' },
    errorCode: { type: 'int16', versions: '0+' },
    errorMessage: { type: 'string', versions: '0+', nullable: '0+' },
    topics: {
      versions: '0+',
      type: [
        {
          name: { type: 'string', versions: '0+' },
          partitions: {
            versions: '0+',
            type: [
              {
                partitionIndex: { type: 'int32', versions: '0+' },
                replicas: { type: ['int32'], versions: '0+' },
                addingReplicas: { type: ['int32'], versions: '0+' },
                removingReplicas: { type: ['int32'], versions: '0+' },
              },
            ],
          },
        },
      ],
    },
  },
})

export type ListPartitionReassignmentsRequest = Decoded<
  typeof listPartitionReassignmentsRequest.fields
>
export type ListPartitionReassignmentsResponseInit = Encodable<
  typeof listPartitionReassignmentsResponse.fields
>
