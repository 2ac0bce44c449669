import { ErrorCode } from '../../errors/error-code.ts'
import type {
  ListGroupsRequest,
  ListGroupsResponseInit,
} from '../../wire/kafka/schema/16-list-groups.ts'
import type { Broker } from '../broker.ts'
import type { Reply } from '../request.ts'

/** ListGroups (key 16): this broker's groups, or those in the states and of the types named. */
type Listed = ListGroupsResponseInit['groups'][number]

export async function listGroups(broker: Broker, body: ListGroupsRequest): Promise<Reply> {
  const states = lowerCase(body.statesFilter)
  const types = lowerCase(body.typesFilter)
  let errorCode: ErrorCode = ErrorCode.NONE
  const lists = await broker.groups.askAll<readonly Listed[]>(
    (coordinator, _now, reply) =>
      coordinator.inspect((groups) => {
        const list: Listed[] = []
        for (const group of groups.values()) {
          const { groupId, type, state } = group
          if (types.size > 0 && !types.has(type)) continue
          if (states.size > 0 && !states.has(state.toLowerCase())) continue
          const protocolType = type === 'classic' ? (group.protocolType ?? '') : type
          list.push({ groupId, protocolType, groupState: state, groupType: type })
        }
        return list
      }, reply),
    (code) => {
      errorCode = code
      return []
    },
  )
  return { body: { errorCode, groups: lists.flat() } satisfies ListGroupsResponseInit }
}

function lowerCase(names: readonly string[]): ReadonlySet<string> {
  return new Set(names.map((name) => name.toLowerCase()))
}
