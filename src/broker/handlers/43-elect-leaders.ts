import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type {
  ElectLeadersRequest,
  ElectLeadersResponseInit,
} from '../../wire/kafka/schema/43-elect-leaders.ts'
import type { Broker } from '../broker.ts'
import { byTopic } from '../by-topic.ts'
import type { PartitionName, PartitionOutcome } from '../cluster-admin.ts'
import type { Reply } from '../request.ts'

/**
 * ElectLeaders (key 43): the preferred replica leads again, or one that may lack records. A broker
 * that is alone leads all it has.
 */
const PREFERRED = 0
const UNCLEAN = 1

export async function electLeaders(broker: Broker, body: ElectLeadersRequest): Promise<Reply> {
  const { electionType } = body
  if (electionType !== PREFERRED && electionType !== UNCLEAN) {
    return answer(ErrorCode.INVALID_REQUEST, [])
  }
  const asked =
    body.topicPartitions?.flatMap(({ topic, partitions }) =>
      partitions.map((partition) => ({ topic, partition })),
    ) ?? null
  try {
    const kind = electionType === PREFERRED ? 'preferred' : 'unclean'
    const outcomes =
      broker.clusterAdmin === null
        ? (asked ?? []).map((name) => needsNone(broker, name))
        : await broker.clusterAdmin.electLeaders(kind, asked)
    return answer(ErrorCode.NONE, outcomes)
  } catch (error) {
    if (error instanceof BrokerError) return answer(error.code, [])
    throw error
  }
}

function needsNone(broker: Broker, { topic, partition }: PartitionName): PartitionOutcome {
  const isKnown = broker.topicByName(topic)?.handles[partition] !== undefined
  return isKnown
    ? {
        topic,
        partition,
        errorCode: ErrorCode.ELECTION_NOT_NEEDED,
        errorMessage: 'Its leader is the only replica',
      }
    : {
        topic,
        partition,
        errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        errorMessage: 'There is no such partition',
      }
}

function answer(errorCode: ErrorCode, outcomes: readonly PartitionOutcome[]): Reply {
  const topics = byTopic(outcomes)
  return {
    body: {
      throttleTimeMs: 0,
      errorCode,
      replicaElectionResults: [...topics].map(([topic, ofTopic]) => ({
        topic,
        partitionResult: ofTopic.map(({ partition, ...outcome }) => ({
          partitionId: partition,
          errorCode: outcome.errorCode,
          errorMessage: outcome.errorMessage,
        })),
      })),
    } satisfies ElectLeadersResponseInit,
  }
}
