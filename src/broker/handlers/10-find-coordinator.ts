import { ErrorCode, errorInfo } from '../../errors/error-code.ts'
import type {
  FindCoordinatorRequest,
  FindCoordinatorResponseInit,
} from '../../wire/kafka/schema/10-find-coordinator.ts'
import type { Broker } from '../broker.ts'
import type { Reply } from '../request.ts'

/**
 * FindCoordinator (key 10). This broker has no group or transaction coordinator yet: every key is
 * answered with the retriable COORDINATOR_NOT_AVAILABLE.
 */
export function findCoordinator(_broker: Broker, body: FindCoordinatorRequest): Reply {
  const errorCode = ErrorCode.COORDINATOR_NOT_AVAILABLE
  const nowhere = { nodeId: -1, host: '', port: -1, errorCode }
  const errorMessage = errorInfo(errorCode).message
  return {
    body: {
      ...nowhere,
      errorMessage,
      coordinators: body.coordinatorKeys.map((key) => ({ key, ...nowhere, errorMessage })),
    } satisfies FindCoordinatorResponseInit,
  }
}
