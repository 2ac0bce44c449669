import type { ClassicGroup } from '../../coordinator/group/classic-group.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type {
  DescribeGroupsRequest,
  DescribeGroupsResponseInit,
} from '../../wire/kafka/schema/15-describe-groups.ts'
import type { Broker } from '../broker.ts'
import type { Reply, RequestContext } from '../request.ts'

/** DescribeGroups (key 15): a group that does not exist is described as dead. */
type Description = DescribeGroupsResponseInit['groups'][number]

/** From version 6 on that a group does not exist is an error (KIP-1043). */
const NOT_FOUND_VERSION = 6
/** READ, DELETE, DESCRIBE. */
export const ALL_GROUP_OPERATIONS = 0x148

export async function describeGroups(
  broker: Broker,
  body: DescribeGroupsRequest,
  context: RequestContext,
): Promise<Reply> {
  const operations = body.includeAuthorizedOperations
    ? { authorizedOperations: ALL_GROUP_OPERATIONS }
    : {}
  const isStrict = context.apiVersion >= NOT_FOUND_VERSION
  const groups = await Promise.all(
    body.groups.map((groupId) =>
      broker.groups.ask<Description>(
        groupId,
        (coordinator, _now, reply) =>
          coordinator.inspect((known) => {
            const group = known.get(groupId)
            return group?.type === 'classic' ? describe(group) : missing(groupId, isStrict)
          }, reply),
        (errorCode) => ({ ...missing(groupId, false), groupState: '', errorCode }),
      ),
    ),
  )
  return {
    body: {
      groups: groups.map((group) => ({ ...group, ...operations })),
    } satisfies DescribeGroupsResponseInit,
  }
}

function missing(groupId: string, isStrict: boolean): Description {
  return {
    errorCode: isStrict ? ErrorCode.GROUP_ID_NOT_FOUND : ErrorCode.NONE,
    errorMessage: isStrict ? `There is no classic group "${groupId}"` : null,
    groupId,
    groupState: 'Dead',
    protocolType: '',
    protocolData: '',
    members: [],
  }
}

function describe(group: ClassicGroup): Description {
  const isSettled = group.state === 'Stable'
  const protocol = isSettled ? (group.protocolName ?? '') : ''
  return {
    errorCode: ErrorCode.NONE,
    groupId: group.groupId,
    groupState: group.state,
    protocolType: group.protocolType ?? '',
    protocolData: protocol,
    members: [...group.members.values()].map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.instanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      memberMetadata: member.metadataOf(protocol),
      memberAssignment: isSettled ? member.assignment : NOTHING,
    })),
  }
}

const NOTHING = new Uint8Array(0)
