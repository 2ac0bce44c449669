import { ErrorCode, errorInfo } from '../../errors/error-code.ts'
import type {
  DescribeClusterRequest,
  DescribeClusterResponseInit,
} from '../../wire/kafka/schema/60-describe-cluster.ts'
import type { Broker } from '../broker.ts'
import type { Reply, RequestContext } from '../request.ts'
import { ALL_CLUSTER_OPERATIONS } from './03-metadata.ts'

/** DescribeCluster (key 60): the brokers, also the fenced ones if wanted, and the cluster id. */
const ENDPOINT_BROKERS = 1
const ENDPOINT_CONTROLLERS = 2

export function describeCluster(
  broker: Broker,
  body: DescribeClusterRequest,
  context: RequestContext,
): Reply {
  const errorCode = endpointError(body.endpointType)
  const isRefused = errorCode !== ErrorCode.NONE
  const nodes = isRefused ? [] : broker.nodes(context.listenerName, body.includeFencedBrokers)
  return {
    body: {
      throttleTimeMs: 0,
      errorCode,
      errorMessage: isRefused ? errorInfo(errorCode).message : null,
      clusterId: broker.clusterId,
      controllerId: broker.controllerId(),
      brokers: nodes.map(({ nodeId, host, port, rack, isFenced }) => {
        return { brokerId: nodeId, host, port, rack, isFenced }
      }),
      ...(body.includeClusterAuthorizedOperations
        ? { clusterAuthorizedOperations: ALL_CLUSTER_OPERATIONS }
        : {}),
    } satisfies DescribeClusterResponseInit,
  }
}

/** Controllers are not reached through the listeners of clients. */
function endpointError(endpointType: number): ErrorCode {
  if (endpointType === ENDPOINT_BROKERS) return ErrorCode.NONE
  return endpointType === ENDPOINT_CONTROLLERS
    ? ErrorCode.MISMATCHED_ENDPOINT_TYPE
    : ErrorCode.UNSUPPORTED_ENDPOINT_TYPE
}
