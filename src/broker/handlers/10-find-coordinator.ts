import { ErrorCode, errorInfo } from '../../errors/error-code.ts'
import type {
  FindCoordinatorRequest,
  FindCoordinatorResponseInit,
} from '../../wire/kafka/schema/10-find-coordinator.ts'
import type { Broker } from '../broker.ts'
import type { Reply, RequestContext } from '../request.ts'

/**
 * FindCoordinator (key 10): where a group's coordinator is, which is who leads the group's
 * partition. There are no transactions yet: their ids are answered with the retriable
 * COORDINATOR_NOT_AVAILABLE.
 */
const TYPE_GROUP = 0
const TYPE_TRANSACTION = 1
const LIST_VERSION = 4

export async function findCoordinator(
  broker: Broker,
  body: FindCoordinatorRequest,
  context: RequestContext,
): Promise<Reply> {
  const isList = context.apiVersion >= LIST_VERSION
  const keys = isList ? body.coordinatorKeys : [body.key]
  const prepared = await prepare(broker, body.keyType)
  await context.whenFirst()
  const answers = keys.map((key) => {
    const isNameless = body.keyType === TYPE_GROUP && key === ''
    const errorCode = isNameless ? ErrorCode.INVALID_GROUP_ID : prepared
    if (errorCode !== ErrorCode.NONE) return failed(key, errorCode)
    const node = broker.node(broker.groups.coordinatorOf(key), context.listenerName)
    if (node === null) return failed(key, ErrorCode.COORDINATOR_NOT_AVAILABLE)
    const { nodeId, host, port } = node
    return { key, nodeId, host, port, errorCode, errorMessage: null }
  })
  const first = answers[0] ?? { nodeId: -1, host: '', port: -1, errorCode: 0, errorMessage: null }
  return {
    body: { ...first, coordinators: answers } satisfies FindCoordinatorResponseInit,
  }
}

function failed(key: string, errorCode: ErrorCode) {
  const errorMessage = errorInfo(errorCode).message
  return { key, nodeId: -1, host: '', port: -1, errorCode, errorMessage }
}

async function prepare(broker: Broker, keyType: number): Promise<ErrorCode> {
  if (keyType === TYPE_TRANSACTION) return ErrorCode.COORDINATOR_NOT_AVAILABLE
  if (keyType !== TYPE_GROUP) return ErrorCode.INVALID_REQUEST
  const errorCode = await broker.groups.prepare()
  return errorCode === ErrorCode.NONE ? errorCode : ErrorCode.COORDINATOR_NOT_AVAILABLE
}
