import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { Broker } from './broker.ts'
import type { AdminOutcome, ClusterAdmin } from './cluster-admin.ts'

/**
 * Lets `change` change the voters of this cluster's quorum; `clusterId` is the one that the caller
 * means, null where it does not say.
 */
export async function changeVoters(
  broker: Broker,
  clusterId: string | null,
  change: (admin: ClusterAdmin) => Promise<AdminOutcome>,
): Promise<AdminOutcome> {
  if (clusterId !== null && clusterId !== broker.clusterId) {
    const errorMessage = `This is cluster ${broker.clusterId}, not ${clusterId}`
    return { errorCode: ErrorCode.INCONSISTENT_CLUSTER_ID, errorMessage }
  }
  if (broker.clusterAdmin === null) {
    // As Kafka's controllers answer whose voters are fixed.
    const errorMessage = `Broker ${broker.nodeId} is alone: it was started without controllers`
    return { errorCode: ErrorCode.UNSUPPORTED_VERSION, errorMessage }
  }
  try {
    return await change(broker.clusterAdmin)
  } catch (error) {
    if (error instanceof BrokerError) return { errorCode: error.code, errorMessage: error.message }
    throw error
  }
}
