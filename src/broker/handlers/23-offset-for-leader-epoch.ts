import { ErrorCode } from '../../errors/error-code.ts'
import type {
  OffsetForLeaderEpochRequest,
  OffsetForLeaderEpochResponseInit,
} from '../../wire/kafka/schema/23-offset-for-leader-epoch.ts'
import type { Broker } from '../broker.ts'
import type { Reply } from '../request.ts'

/** OffsetForLeaderEpoch (key 23): where an epoch ended, so that truncation is noticed (KIP-320). */
type PartitionAsked = OffsetForLeaderEpochRequest['topics'][number]['partitions'][number]

export async function offsetForLeaderEpoch(
  broker: Broker,
  body: OffsetForLeaderEpochRequest,
): Promise<Reply> {
  const topics = await Promise.all(
    body.topics.map(async ({ topic, partitions }) => ({
      topic,
      partitions: await Promise.all(
        partitions.map((partition) => {
          const handle = broker.topicByName(topic)?.handles[partition.partition]
          return endOffset(broker, handle, partition)
        }),
      ),
    })),
  )
  return { body: { topics } satisfies OffsetForLeaderEpochResponseInit }
}

async function endOffset(broker: Broker, handle: number | undefined, asked: PartitionAsked) {
  const { partition } = asked
  if (handle === undefined) return { partition, errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION }
  const refusal = broker.checkLeader(handle, asked.currentLeaderEpoch)
  if (refusal !== ErrorCode.NONE) return { partition, errorCode: refusal }
  const { leaderEpoch } = asked
  const request = { kind: 'end-offset-for-epoch', handle, leaderEpoch } as const
  const reply = await broker.control(handle, request)
  if (reply.kind === 'epoch') {
    return {
      partition,
      errorCode: ErrorCode.NONE,
      leaderEpoch: reply.leaderEpoch,
      endOffset: reply.endOffset,
    }
  }
  const errorCode = reply.kind === 'failed' ? reply.errorCode : ErrorCode.UNKNOWN_SERVER_ERROR
  return { partition, errorCode }
}
