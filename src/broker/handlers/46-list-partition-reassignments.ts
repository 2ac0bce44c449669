import { ErrorCode } from '../../errors/error-code.ts'
import type {
  ListPartitionReassignmentsRequest,
  ListPartitionReassignmentsResponseInit,
} from '../../wire/kafka/schema/46-list-partition-reassignments.ts'
import type { Broker } from '../broker.ts'
import { byTopic } from '../by-topic.ts'
import type { Reply } from '../request.ts'

/** ListPartitionReassignments (key 46): partitions whose replicas are about to change. */
export function listPartitionReassignments(
  broker: Broker,
  body: ListPartitionReassignmentsRequest,
): Reply {
  const { partitions } = broker.image
  const handles =
    body.topics === null
      ? [...partitions.reassignments.keys()]
      : body.topics.flatMap(({ name, partitionIndexes }) => {
          const all = broker.topicByName(name)?.handles
          return [...new Set(partitionIndexes)].flatMap((index) => all?.[index] ?? [])
        })
  const moving = handles
    .filter((handle) => partitions.reassignments.has(handle))
    .map((handle) => ({
      topic: partitions.topicName(handle) ?? '',
      partitionIndex: partitions.partitionNumber(handle),
      replicas: partitions.replicas(handle),
      addingReplicas: partitions.addingReplicas(handle),
      removingReplicas: partitions.removingReplicas(handle),
    }))
  return {
    body: {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      errorMessage: null,
      topics: [...byTopic(moving)].map(([name, ofTopic]) => ({ name, partitions: ofTopic })),
    } satisfies ListPartitionReassignmentsResponseInit,
  }
}
