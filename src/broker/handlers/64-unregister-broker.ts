import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type {
  UnregisterBrokerRequest,
  UnregisterBrokerResponseInit,
} from '../../wire/kafka/schema/64-unregister-broker.ts'
import type { Broker } from '../broker.ts'
import type { AdminOutcome } from '../cluster-admin.ts'
import type { Reply } from '../request.ts'

/** UnregisterBroker (key 64): a broker is no member of the cluster any more. */
export async function unregisterBroker(
  broker: Broker,
  { brokerId }: UnregisterBrokerRequest,
): Promise<Reply> {
  const { errorCode, errorMessage } = await unregister(broker, brokerId)
  return {
    body: { throttleTimeMs: 0, errorCode, errorMessage } satisfies UnregisterBrokerResponseInit,
  }
}

async function unregister(broker: Broker, brokerId: number): Promise<AdminOutcome> {
  if (!broker.image.brokers.has(brokerId)) {
    const errorMessage = `Broker ${brokerId} is not registered`
    return { errorCode: ErrorCode.BROKER_ID_NOT_REGISTERED, errorMessage }
  }
  if (broker.clusterAdmin === null) {
    const errorMessage = `Broker ${brokerId} is the only one there is`
    return { errorCode: ErrorCode.INVALID_REQUEST, errorMessage }
  }
  try {
    return await broker.clusterAdmin.unregisterBroker(brokerId)
  } catch (error) {
    if (error instanceof BrokerError) return { errorCode: error.code, errorMessage: error.message }
    throw error
  }
}
