import { joinError } from '../../coordinator/group/classic-protocol.ts'
import type {
  JoinGroupRequest,
  JoinGroupResponseInit,
} from '../../wire/kafka/schema/11-join-group.ts'
import type { Broker } from '../broker.ts'
import type { Reply, RequestContext } from '../request.ts'

/** JoinGroup (key 11): answered when the round of joining is over. */
const NULL_NAME_VERSION = 7

export async function joinGroup(
  broker: Broker,
  body: JoinGroupRequest,
  context: RequestContext,
): Promise<Reply> {
  const { apiVersion, remoteAddress } = context
  const client = {
    apiVersion,
    clientId: context.clientId ?? '',
    clientHost: `/${remoteAddress}`,
  }
  const answer = await broker.groups.ask<JoinGroupResponseInit>(
    body.groupId,
    (coordinator, now, reply) => coordinator.join(body, { ...now, ...client }, reply),
    (code) => joinError(code, body.memberId),
  )
  const protocolName = answer.protocolName ?? (apiVersion >= NULL_NAME_VERSION ? null : '')
  return { body: { ...answer, protocolName } satisfies JoinGroupResponseInit }
}
