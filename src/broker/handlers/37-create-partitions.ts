import { ErrorCode } from '../../errors/error-code.ts'
import type {
  CreatePartitionsRequest,
  CreatePartitionsResponseInit,
} from '../../wire/kafka/schema/37-create-partitions.ts'
import type { Broker } from '../broker.ts'
import type { Reply } from '../request.ts'

/** CreatePartitions (key 37): topics grow, each by itself; `count` is the new total. */
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
    const assigned = asked.assignments?.map(({ brokerIds }) => brokerIds) ?? null
    const growth = { total: asked.count, assigned }
    const outcome = await broker.topics.addPartitions(name, growth, body.validateOnly)
    const { errorCode } = outcome
    results.push({ name, errorCode, errorMessage: outcome.errorMessage })
  }
  return { body: { throttleTimeMs: 0, results } satisfies CreatePartitionsResponseInit }
}
