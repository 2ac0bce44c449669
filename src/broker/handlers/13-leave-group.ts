import { ErrorCode } from '../../errors/error-code.ts'
import type {
  LeaveGroupRequest,
  LeaveGroupResponseInit,
} from '../../wire/kafka/schema/13-leave-group.ts'
import type { Broker } from '../broker.ts'
import type { Reply, RequestContext } from '../request.ts'

/** LeaveGroup (key 13): one member, or from version 3 on several, go at once. */
const SEVERAL_VERSION = 3

export async function leaveGroup(
  broker: Broker,
  body: LeaveGroupRequest,
  context: RequestContext,
): Promise<Reply> {
  const isSeveral = context.apiVersion >= SEVERAL_VERSION
  const members = isSeveral
    ? body.members.map(({ memberId, groupInstanceId }) => ({
        memberId,
        instanceId: groupInstanceId,
      }))
    : [{ memberId: body.memberId, instanceId: null }]
  let refusal: ErrorCode = ErrorCode.NONE
  const codes = await broker.groups.ask<readonly ErrorCode[]>(
    body.groupId,
    (coordinator, now, reply) => coordinator.leave({ groupId: body.groupId, members }, now, reply),
    (code) => {
      refusal = code
      return []
    },
  )
  if (!isSeveral || refusal !== ErrorCode.NONE) {
    const errorCode = refusal === ErrorCode.NONE ? (codes[0] as ErrorCode) : refusal
    return { body: { errorCode, members: [] } satisfies LeaveGroupResponseInit }
  }
  return {
    body: {
      errorCode: ErrorCode.NONE,
      members: members.map(({ memberId, instanceId }, i) => ({
        memberId,
        groupInstanceId: instanceId,
        errorCode: codes[i] as ErrorCode,
      })),
    } satisfies LeaveGroupResponseInit,
  }
}
