import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type {
  AlterPartitionReassignmentsRequest,
  AlterPartitionReassignmentsResponseInit,
} from '../../wire/kafka/schema/45-alter-partition-reassignments.ts'
import type { Broker } from '../broker.ts'
import { byTopic } from '../by-topic.ts'
import type { AdminOutcome, PartitionOutcome, ReplicaMove } from '../cluster-admin.ts'
import type { Reply } from '../request.ts'

/**
 * AlterPartitionReassignments (key 45): other replicas for partitions, or an end to that. With one
 * broker there is one way to place a partition.
 */
export async function alterPartitionReassignments(
  broker: Broker,
  body: AlterPartitionReassignmentsRequest,
): Promise<Reply> {
  const { allowReplicationFactorChange } = body
  const moves = body.topics.flatMap(({ name: topic, partitions }) =>
    partitions.map(({ partitionIndex: partition, replicas }) => ({ topic, partition, replicas })),
  )
  const reply = (outcome: AdminOutcome, outcomes: readonly PartitionOutcome[]): Reply => ({
    body: {
      throttleTimeMs: 0,
      allowReplicationFactorChange,
      errorCode: outcome.errorCode,
      errorMessage: outcome.errorMessage,
      responses: [...byTopic(outcomes)].map(([name, ofTopic]) => ({
        name,
        partitions: ofTopic.map(({ partition, errorCode, errorMessage }) => {
          return { partitionIndex: partition, errorCode, errorMessage }
        }),
      })),
    } satisfies AlterPartitionReassignmentsResponseInit,
  })
  try {
    const outcomes =
      broker.clusterAdmin === null
        ? moves.map((move) => moveOfOne(broker, move))
        : await broker.clusterAdmin.reassign(moves, allowReplicationFactorChange)
    return reply({ errorCode: ErrorCode.NONE, errorMessage: null }, outcomes)
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    return reply({ errorCode: error.code, errorMessage: error.message }, [])
  }
}

function moveOfOne(broker: Broker, { topic, partition, replicas }: ReplicaMove): PartitionOutcome {
  const outcome = (errorCode: ErrorCode, errorMessage: string | null): PartitionOutcome => {
    return { topic, partition, errorCode, errorMessage }
  }
  if (broker.topicByName(topic)?.handles[partition] === undefined) {
    return outcome(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 'There is no such partition')
  }
  if (replicas === null) {
    return outcome(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, 'Its replicas are not about to change')
  }
  if (replicas.length === 1 && replicas[0] === broker.nodeId) return outcome(ErrorCode.NONE, null)
  const message = `Broker ${broker.nodeId} is the only one there is`
  return outcome(ErrorCode.INVALID_REPLICA_ASSIGNMENT, message)
}
