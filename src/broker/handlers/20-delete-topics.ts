import { ZERO_UUID } from '../../base/uuid.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type {
  DeleteTopicsRequest,
  DeleteTopicsResponseInit,
} from '../../wire/kafka/schema/20-delete-topics.ts'
import type { Broker } from '../broker.ts'
import type { Reply } from '../request.ts'

/** DeleteTopics (key 20), by name or by id. Each topic succeeds or fails by itself. */
export async function deleteTopics(broker: Broker, body: DeleteTopicsRequest): Promise<Reply> {
  const asked = [
    ...body.topicNames.map((name) => ({ name, topicId: ZERO_UUID })),
    ...body.topics.map(({ name, topicId }) => ({ name, topicId })),
  ]
  const responses = []
  for (const { name, topicId } of asked) {
    const byId = topicId !== ZERO_UUID
    const topic = byId ? broker.topicById(topicId) : broker.topicByName(name ?? '')
    if (!broker.config.get('delete.topic.enable')) {
      responses.push({ name, topicId, errorCode: ErrorCode.TOPIC_DELETION_DISABLED })
    } else if (topic === undefined) {
      const errorCode = byId ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
      responses.push({ name, topicId, errorCode })
    } else {
      const { errorCode, errorMessage } = await broker.topics.delete(topic)
      responses.push({ name: topic.name, topicId: topic.id, errorCode, errorMessage })
    }
  }
  return { body: { responses } satisfies DeleteTopicsResponseInit }
}
