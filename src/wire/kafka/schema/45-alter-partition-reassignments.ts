import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * AlterPartitionReassignments (key 45): other replicas for partitions, or an end to that (KIP-455).
 * v1 says whether their number may change (KIP-860).
 */

export const alterPartitionReassignmentsRequest = defineMessage({
  name: 'AlterPartitionReassignmentsRequest',
  kind: 'request',
  apiKey: 45,
  versions: '0-1',
  flexible: '0+',
  fields: {
    timeoutMs: { type: 'int32', versions: '0+', default: 60000 },
    allowReplicationFactorChange: { type: 'bool', versions: '1+', default: true },
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
                replicas: { type: ['int32'], versions: '0+', nullable: '0+', default: null },
              },
            ],
          },
        },
      ],
    },
  },
})

export const alterPartitionReassignmentsResponse = defineMessage({
  name: 'AlterPartitionReassignmentsResponse',
  kind: 'response',
  apiKey: 45,
  versions: '0-1',
  flexible: '0+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+' },
    allowReplicationFactorChange: {
      type: 'bool',
      versions: '1+',
      default: true,
      ignorable: true,
    },
    errorCode: { type: 'int16', versions: '0+' },
    errorMessage: { type: 'string', versions: '0+', nullable: '0+' },
    responses: {
      versions: '0+',
      type: [
        {
          name: { type: 'string', versions: '0+' },
          partitions: {
            versions: '0+',
            type: [
              {
                partitionIndex: { type: 'int32', versions: '0+' },
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

export type AlterPartitionReassignmentsRequest = Decoded<
  typeof alterPartitionReassignmentsRequest.fields
>
export type AlterPartitionReassignmentsResponseInit = Encodable<
  typeof alterPartitionReassignmentsResponse.fields
>
