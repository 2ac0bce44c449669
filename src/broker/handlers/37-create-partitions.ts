import { ErrorCode } from '../../errors/error-code.ts'
import type {
  CreatePartitionsRequest,
  CreatePartitionsResponseInit,
} from '../../wire/kafka/schema/37-create-partitions.ts'
import type { Broker } from '../broker.ts'
import type { Reply } from '../request.ts'

/** CreatePartitions (key 37): topics grow, each by itself; `count` is the new total. */
type TopicAsked = CreatePartitionsRequest['topics'][number]

export async function createPartitions(
  broker: Broker,
  body: CreatePartitionsRequest,
): Promise<Reply> {
  const results = []
  const seen = new Set<string>()
  for (const asked of body.topics) {
    const { name } = asked
    if (seen.has(name)) {
      const errorMessage = `Topic "${name}" appears more than once in the request`
      results.push({ name, errorCode: ErrorCode.INVALID_REQUEST, errorMessage })
      continue
    }
    seen.add(name)
    const errorMessage = assignmentError(broker, asked)
    if (errorMessage !== null) {
      results.push({ name, errorCode: ErrorCode.INVALID_REPLICA_ASSIGNMENT, errorMessage })
      continue
    }
    const outcome = await broker.topics.addPartitions(name, asked.count, body.validateOnly)
    const { errorCode } = outcome
    results.push({ name, errorCode, errorMessage: outcome.errorMessage })
  }
  return { body: { throttleTimeMs: 0, results } satisfies CreatePartitionsResponseInit }
}

function assignmentError(broker: Broker, asked: TopicAsked): string | null {
  if (asked.assignments === null) return null
  const added = asked.count - (broker.topicByName(asked.name)?.handles.length ?? 0)
  const isHere = asked.assignments.every(
    ({ brokerIds }) => brokerIds.length === 1 && brokerIds[0] === broker.nodeId,
  )
  if (isHere && asked.assignments.length === added) return null
  return `An assignment names broker ${broker.nodeId} once for each new partition`
}
