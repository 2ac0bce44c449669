import type { ErrorCode } from '../../errors/error-code.ts'
import type {
  DeleteGroupsRequest,
  DeleteGroupsResponseInit,
} from '../../wire/kafka/schema/42-delete-groups.ts'
import type { Broker } from '../broker.ts'
import type { Reply } from '../request.ts'

/** DeleteGroups (key 42): groups that nobody is in, with their offsets. */
export async function deleteGroups(broker: Broker, body: DeleteGroupsRequest): Promise<Reply> {
  const results = await Promise.all(
    [...new Set(body.groupsNames)].map(async (groupId) => ({
      groupId,
      errorCode: await broker.groups.ask<ErrorCode>(
        groupId,
        (coordinator, now, reply) => coordinator.deleteGroup(groupId, now, reply),
        (code) => code,
      ),
    })),
  )
  return { body: { throttleTimeMs: 0, results } satisfies DeleteGroupsResponseInit }
}
