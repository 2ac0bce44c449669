import { ZERO_UUID } from '../../base/uuid.ts'
import type { OffsetToCommit } from '../../coordinator/group/group-commits.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type {
  OffsetCommitRequest,
  OffsetCommitResponseInit,
} from '../../wire/kafka/schema/08-offset-commit.ts'
import type { Broker } from '../broker.ts'
import type { Reply, RequestContext } from '../request.ts'

/** OffsetCommit (key 8): a group's offsets, durable when they are acknowledged. */
const TOPIC_IDS_VERSION = 10

export async function offsetCommit(
  broker: Broker,
  body: OffsetCommitRequest,
  context: RequestContext,
): Promise<Reply> {
  const byId = context.apiVersion >= TOPIC_IDS_VERSION
  const offsets: OffsetToCommit[] = []
  // In the order of the request: its own error, or the place of its offset.
  const places = body.topics.map(({ name, topicId, partitions }) => {
    const topic = byId ? broker.topicById(topicId) : broker.topicByName(name)
    const unknown = byId ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    return partitions.map((partition) => {
      if (topic === undefined) return { error: unknown, place: -1 }
      if (topic.handles[partition.partitionIndex] === undefined) {
        return { error: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, place: -1 }
      }
      offsets.push({
        topic: topic.name,
        topicId: byId ? topic.id : ZERO_UUID,
        partition: partition.partitionIndex,
        offset: partition.committedOffset,
        leaderEpoch: partition.committedLeaderEpoch,
        metadata: partition.committedMetadata,
      })
      return { error: ErrorCode.NONE, place: offsets.length - 1 }
    })
  })
  const request = {
    groupId: body.groupId,
    generationId: body.generationIdOrMemberEpoch,
    memberId: body.memberId,
    instanceId: body.groupInstanceId,
    retentionMs: body.retentionTimeMs,
    apiVersion: context.apiVersion,
    offsets,
  }
  const codes = await broker.groups.ask<readonly ErrorCode[]>(
    body.groupId,
    (coordinator, now, reply) => coordinator.commit(request, now, reply),
    (code) => offsets.map(() => code),
  )
  return {
    body: {
      topics: body.topics.map(({ name, topicId, partitions }, t) => ({
        name,
        topicId,
        partitions: partitions.map(({ partitionIndex }, p) => {
          const { error, place } = places[t]![p]!
          return { partitionIndex, errorCode: place < 0 ? error : (codes[place] as number) }
        }),
      })),
    } satisfies OffsetCommitResponseInit,
  }
}
