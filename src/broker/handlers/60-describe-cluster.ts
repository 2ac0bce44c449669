import { ErrorCode, errorInfo } from '../../errors/error-code.ts'
import type {
  DescribeClusterRequest,
  DescribeClusterResponseInit,
} from '../../wire/kafka/schema/60-describe-cluster.ts'
import type { Broker } from '../broker.ts'
import type { Reply, RequestContext } from '../request.ts'
import { ALL_CLUSTER_OPERATIONS } from './03-metadata.ts'

/** DescribeCluster (key 60): the brokers and the cluster id. */
const ENDPOINT_BROKERS = 1

export function describeCluster(
  broker: Broker,
  body: DescribeClusterRequest,
  context: RequestContext,
): Reply {
  const isMismatch = body.endpointType !== ENDPOINT_BROKERS
  const errorCode = isMismatch ? ErrorCode.MISMATCHED_ENDPOINT_TYPE : ErrorCode.NONE
  const { host, port } = broker.endpoint(context.listenerName)
  const self = { brokerId: broker.nodeId, host, port, isFenced: false }
  return {
    body: {
      throttleTimeMs: 0,
      errorCode,
      errorMessage: isMismatch ? errorInfo(errorCode).message : null,
      clusterId: broker.clusterId,
      controllerId: broker.nodeId,
      brokers: isMismatch ? [] : [self],
      ...(body.includeClusterAuthorizedOperations
        ? { clusterAuthorizedOperations: ALL_CLUSTER_OPERATIONS }
        : {}),
    } satisfies DescribeClusterResponseInit,
  }
}
