import type { ErrorCode } from '../../errors/error-code.ts'
import type {
  HeartbeatRequest,
  HeartbeatResponseInit,
} from '../../wire/kafka/schema/12-heartbeat.ts'
import type { Broker } from '../broker.ts'
import type { Reply } from '../request.ts'

/** Heartbeat (key 12): a member of a classic group is alive, and learns of a new round. */
export async function heartbeat(broker: Broker, body: HeartbeatRequest): Promise<Reply> {
  const errorCode = await broker.groups.ask<ErrorCode>(
    body.groupId,
    (coordinator, now, reply) => coordinator.heartbeat(body, now, reply),
    (code) => code,
  )
  return { body: { errorCode } satisfies HeartbeatResponseInit }
}
