import { syncError } from '../../coordinator/group/classic-protocol.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type {
  SyncGroupRequest,
  SyncGroupResponseInit,
} from '../../wire/kafka/schema/14-sync-group.ts'
import type { Broker } from '../broker.ts'
import type { Reply, RequestContext } from '../request.ts'

/** SyncGroup (key 14): answered when the leader has brought the assignment and it is durable. */
const NAMED_VERSION = 5

export async function syncGroup(
  broker: Broker,
  body: SyncGroupRequest,
  context: RequestContext,
): Promise<Reply> {
  // From version 5 on the member says which protocol it believes in (KIP-559).
  const isNamed = context.apiVersion < NAMED_VERSION || hasNames(body)
  const answer = isNamed
    ? await broker.groups.ask<SyncGroupResponseInit>(
        body.groupId,
        (coordinator, now, reply) => coordinator.sync(body, now, reply),
        syncError,
      )
    : syncError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
  return { body: answer }
}

function hasNames({ protocolType, protocolName }: SyncGroupRequest): boolean {
  return protocolType !== null && protocolName !== null
}
