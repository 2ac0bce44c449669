import { ErrorCode } from '../../errors/error-code.ts'
import type {
  ListGroupsRequest,
  ListGroupsResponseInit,
} from '../../wire/kafka/schema/16-list-groups.ts'
import type { Broker } from '../broker.ts'
import type { Reply } from '../request.ts'

/** ListGroups (key 16): this broker's groups, or those in the states and of the types named. */
type Listed = ListGroupsResponseInit['groups'][number]

const CLASSIC = 'classic'

export async function listGroups(broker: Broker, body: ListGroupsRequest): Promise<Reply> {
  const states = lowerCase(body.statesFilter)
  const types = lowerCase(body.typesFilter)
  let errorCode: ErrorCode = ErrorCode.NONE
  const lists = await broker.groups.askAll<readonly Listed[]>(
    (coordinator, _now, reply) =>
      coordinator.inspect((groups) => {
        const list: Listed[] = []
        if (types.size > 0 && !types.has(CLASSIC)) return list
        for (const { groupId, state, protocolType } of groups.values()) {
          if (states.size > 0 && !states.has(state.toLowerCase())) continue
          const type = protocolType ?? ''
          list.push({ groupId, protocolType: type, groupState: state, groupType: CLASSIC })
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
