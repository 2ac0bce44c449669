import { ErrorCode } from '../../errors/error-code.ts'
import type { ControlReply } from '../../shard/control.ts'
import type {
  DeleteRecordsRequest,
  DeleteRecordsResponseInit,
} from '../../wire/kafka/schema/21-delete-records.ts'
import type { Broker } from '../broker.ts'
import type { Reply } from '../request.ts'

/** DeleteRecords (key 21): moves the log start offset; −1 stands for the high watermark. */
type PartitionResponse = DeleteRecordsResponseInit['topics'][number]['partitions'][number]

const UP_TO_HIGH_WATERMARK = -1

export async function deleteRecords(broker: Broker, body: DeleteRecordsRequest): Promise<Reply> {
  const topics = await Promise.all(
    body.topics.map(async (topic) => ({
      name: topic.name,
      partitions: await Promise.all(
        topic.partitions.map((partition) => {
          const handle = broker.topicByName(topic.name)?.handles[partition.partitionIndex]
          const index = partition.partitionIndex
          return handle === undefined
            ? failed(index, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            : deleteBefore(broker, { handle, index, offset: partition.offset })
        }),
      ),
    })),
  )
  return { body: { throttleTimeMs: 0, topics } satisfies DeleteRecordsResponseInit }
}

async function deleteBefore(
  broker: Broker,
  asked: { handle: number; index: number; offset: number },
): Promise<PartitionResponse> {
  const { handle, index } = asked
  if (!broker.leads(handle)) return failed(index, ErrorCode.NOT_LEADER_OR_FOLLOWER)
  let beforeOffset = asked.offset
  if (beforeOffset === UP_TO_HIGH_WATERMARK) {
    const offsets = await broker.control(handle, { kind: 'offsets', handle })
    if (offsets.kind === 'offsets') beforeOffset = offsets.highWatermark
  }
  if (beforeOffset < 0) return failed(index, ErrorCode.OFFSET_OUT_OF_RANGE)
  const remove = (): Promise<ControlReply> =>
    broker.control(handle, { kind: 'delete-records', handle, beforeOffset })
  let reply = await remove()
  if (reply.kind === 'failed' && reply.errorCode === ErrorCode.KAFKA_STORAGE_ERROR) {
    // A full disk must not keep anybody from making room.
    reply = await broker.directoryStates.withReserve(broker.logDirectory(handle), remove)
  }
  if (reply.kind === 'offsets') {
    return {
      partitionIndex: index,
      lowWatermark: reply.logStartOffset,
      errorCode: ErrorCode.NONE,
    }
  }
  return failed(index, reply.kind === 'failed' ? reply.errorCode : ErrorCode.UNKNOWN_SERVER_ERROR)
}

function failed(partitionIndex: number, errorCode: number): PartitionResponse {
  return { partitionIndex, lowWatermark: -1, errorCode }
}
