import { heartbeatError } from '../../coordinator/group/consumer-heartbeat.ts'
import type {
  ConsumerGroupHeartbeatRequest,
  ConsumerGroupHeartbeatResponseInit,
} from '../../wire/kafka/schema/68-consumer-group-heartbeat.ts'
import type { Broker } from '../broker.ts'
import type { Reply, RequestContext } from '../request.ts'

/** ConsumerGroupHeartbeat (key 68): a member joins, reports, learns its assignment, leaves. */
export async function consumerGroupHeartbeat(
  broker: Broker,
  body: ConsumerGroupHeartbeatRequest,
  { apiVersion, clientId, remoteAddress }: RequestContext,
): Promise<Reply> {
  const client = { apiVersion, clientId: clientId ?? '', clientHost: `/${remoteAddress}` }
  const answer = await broker.groups.ask<ConsumerGroupHeartbeatResponseInit>(
    body.groupId,
    (coordinator, now, reply) => coordinator.consumerHeartbeat(body, { ...now, ...client }, reply),
    heartbeatError,
  )
  return { body: answer }
}
