import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * DescribeCluster (key 60): brokers and cluster id (KIP-700). v1 adds the endpoint type (KIP-919),
 * v2 fenced brokers.
 */

export const describeClusterRequest = defineMessage({
  name: 'DescribeClusterRequest',
  kind: 'request',
  apiKey: 60,
  versions: '0-2',
  flexible: '0+',
  fields: {
    includeClusterAuthorizedOperations: { type: 'bool', versions: '0+' },
    endpointType: { type: 'int8', versions: '1+', default: 1 },
    includeFencedBrokers: { type: 'bool', versions: '2+' },
  },
})

export const describeClusterResponse = defineMessage({
  name: 'DescribeClusterResponse',
  kind: 'response',
  apiKey: 60,
  versions: '0-2',
  flexible: '0+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+' },
    errorCode: { type: 'int16', versions: '0+' },
    errorMessage: { type: 'string', versions: '0+', nullable: '0+', default: null },
    endpointType: { type: 'int8', versions: '1+', default: 1 },
    clusterId: { type: 'string', versions: '0+' },
    controllerId: { type: 'int32', versions: '0+', default: -1 },
    brokers: {
      versions: '0+',
      type: [
        {
          brokerId: { type: 'int32', versions: '0+' },
          host: { type: 'string', versions: '0+' },
          port: { type: 'int32', versions: '0+' },
          rack: { type: 'string', versions: '0+', nullable: '0+', default: null },
          isFenced: { type: 'bool', versions: '2+' },
        },
      ],
    },
    clusterAuthorizedOperations: { type: 'int32', versions: '0+', default: -2147483648 },
  },
})

export type DescribeClusterRequest = Decoded<typeof describeClusterRequest.fields>
export type DescribeClusterRequestInit = Encodable<typeof describeClusterRequest.fields>
export type DescribeClusterResponse = Decoded<typeof describeClusterResponse.fields>
export type DescribeClusterResponseInit = Encodable<typeof describeClusterResponse.fields>
