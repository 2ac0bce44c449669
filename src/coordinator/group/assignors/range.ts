import type { Uuid } from '../../../base/uuid.ts'
import { addPartition } from '../assignment.ts'
import type { Assignor, AssignorInput } from './assignor.ts'

/**
 * Range: each topic's partitions in even, contiguous shares, in the order of the members' names, so
 * that topics with as many partitions and the same subscribers are cut alike and can be joined.
 */
export const assignRange: Assignor = (input) => {
  const assignment = new Map<string, Map<Uuid, Set<number>>>()
  for (const memberId of input.members.keys()) assignment.set(memberId, new Map())
  const ordered = inOrder(input)
  for (const [topicId, partitions] of input.topics) {
    const subscribers = ordered.filter((id) => input.members.get(id)?.topics.has(topicId) === true)
    if (subscribers.length === 0) continue
    const share = Math.floor(partitions / subscribers.length)
    const larger = partitions % subscribers.length
    let next = 0
    for (const [i, memberId] of subscribers.entries()) {
      const end = next + share + (i < larger ? 1 : 0)
      const own = assignment.get(memberId)!
      while (next < end) addPartition(own, topicId, next++)
    }
  }
  return assignment
}

/** Static members by their instance ids, which outlive member ids, before the others. */
function inOrder({ members }: AssignorInput): string[] {
  const key = (id: string): string => {
    const instanceId = members.get(id)?.instanceId ?? null
    return instanceId === null ? `1${id}` : `0${instanceId}`
  }
  const keys = new Map([...members.keys()].map((id) => [id, key(id)]))
  return [...members.keys()].sort((a, b) => (keys.get(a)! < keys.get(b)! ? -1 : 1))
}
