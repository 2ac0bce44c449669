/** Connections of a benchmark of consumer groups, and waiting until there is a coordinator. */
import { KafkaConnection } from '../../src/client/kafka-connection.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import { sleep } from './children.ts'

const REQUEST_TIMEOUT_MS = 120_000
const ATTEMPTS_MAX = 300
const PAUSE_MS = 100

export function openConnection(port: number): Promise<KafkaConnection> {
  const timeoutMs = REQUEST_TIMEOUT_MS
  return KafkaConnection.open({ host: '127.0.0.1', port, clientId: 'bench', timeoutMs })
}

/** Makes the broker make the topic of offsets. Throws when that takes half a minute. */
export async function awaitCoordinator(connection: KafkaConnection): Promise<void> {
  const asked = { keyType: 0, coordinatorKeys: ['group-0'] }
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const { coordinators } = await connection.request(ApiKey.FIND_COORDINATOR, () => asked)
    if (coordinators[0]?.errorCode === ErrorCode.NONE) return
    await sleep(PAUSE_MS)
  }
  throw new Error('no coordinator was found in 30 s')
}
