import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type {
  InitProducerIdRequest,
  InitProducerIdResponseInit,
} from '../../wire/kafka/schema/22-init-producer-id.ts'
import type { Broker } from '../broker.ts'
import type { Reply } from '../request.ts'

/**
 * InitProducerId (key 22): a fresh id for an idempotent producer, always with epoch 0.
 * Transactional producers need a coordinator, which this broker does not have yet.
 */
export async function initProducerId(broker: Broker, body: InitProducerIdRequest): Promise<Reply> {
  if (body.transactionalId === '') return answer(ErrorCode.INVALID_REQUEST, -1)
  if (body.transactionalId !== null) return answer(ErrorCode.COORDINATOR_NOT_AVAILABLE, -1)
  try {
    return answer(ErrorCode.NONE, await broker.producerIds.allocate())
  } catch (error) {
    if (error instanceof BrokerError) return answer(error.code, -1)
    throw error
  }
}

function answer(errorCode: number, producerId: number): Reply {
  const producerEpoch = producerId < 0 ? -1 : 0
  return { body: { errorCode, producerId, producerEpoch } satisfies InitProducerIdResponseInit }
}
