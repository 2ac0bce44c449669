import { copyOf } from '../../base/bytes.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import { decodeBatch } from '../../record/batch.ts'
import type { ControlReply } from '../../shard/control.ts'
import type {
  ListOffsetsRequest,
  ListOffsetsResponseInit,
} from '../../wire/kafka/schema/02-list-offsets.ts'
import type { Broker } from '../broker.ts'
import type { Reply } from '../request.ts'

/**
 * ListOffsets (key 2): the first and the next offset of partitions, and look-ups by time. The shard
 * finds the batch; the record inside it is found here, because decompression may be asynchronous.
 */
type PartitionResponse = NonNullable<
  NonNullable<ListOffsetsResponseInit['topics']>[number]['partitions']
>[number]
type PartitionRequest = ListOffsetsRequest['topics'][number]['partitions'][number]

const LATEST = -1
const EARLIEST = -2
const MAX_TIMESTAMP = -3 // KIP-734
const EARLIEST_LOCAL = -4 // KIP-405: the same as EARLIEST without tiered storage.
const LATEST_TIERED = -5 // KIP-1005: nothing is tiered.
const READ_COMMITTED = 1
const RECORDS_BYTES_MAX = 128 * 1024 * 1024

export async function listOffsets(broker: Broker, body: ListOffsetsRequest): Promise<Reply> {
  const topics = await Promise.all(
    body.topics.map(async (topic) => ({
      name: topic.name,
      partitions: await Promise.all(
        topic.partitions.map((partition) => {
          const handle = broker.topicByName(topic.name)?.handles[partition.partitionIndex]
          return handle === undefined
            ? failed(partition, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            : list(broker, { handle, partition, isolation: body.isolationLevel })
        }),
      ),
    })),
  )
  return { body: { topics } satisfies ListOffsetsResponseInit }
}

async function list(
  broker: Broker,
  query: { handle: number; partition: PartitionRequest; isolation: number },
): Promise<PartitionResponse> {
  const { handle, partition, isolation } = query
  const epochError = broker.checkLeaderEpoch(handle, partition.currentLeaderEpoch)
  if (epochError !== ErrorCode.NONE) return failed(partition, epochError)
  switch (partition.timestamp) {
    case LATEST:
    case EARLIEST:
    case EARLIEST_LOCAL: {
      const reply = await broker.control(handle, { kind: 'offsets', handle })
      if (reply.kind !== 'offsets') return failedReply(partition, reply)
      const end = isolation === READ_COMMITTED ? reply.lastStableOffset : reply.highWatermark
      const isLatest = partition.timestamp === LATEST
      return found(partition, {
        offset: isLatest ? end : reply.logStartOffset,
        timestamp: -1,
        leaderEpoch: isLatest ? broker.leaderEpoch(handle) : -1,
      })
    }
    case LATEST_TIERED:
      return found(partition, { offset: -1, timestamp: -1, leaderEpoch: -1 })
    case MAX_TIMESTAMP: {
      const reply = await broker.control(handle, { kind: 'max-timestamp', handle })
      return inBatch(broker, { handle, partition, reply, timestampMs: null })
    }
    default: {
      if (partition.timestamp < 0) return failed(partition, ErrorCode.UNSUPPORTED_VERSION)
      const timestampMs = partition.timestamp
      const request = { kind: 'offset-for-timestamp', handle, timestampMs } as const
      const reply = await broker.control(handle, request)
      return inBatch(broker, { handle, partition, reply, timestampMs })
    }
  }
}

/** Looks inside the batch that the shard found. Null asks for the latest record. */
async function inBatch(
  broker: Broker,
  query: {
    handle: number
    partition: PartitionRequest
    reply: ControlReply
    timestampMs: number | null
  },
): Promise<PartitionResponse> {
  const { handle, partition, reply, timestampMs } = query
  const nothing = { offset: -1, timestamp: -1, leaderEpoch: -1 }
  if (reply.kind === 'no-batch') return found(partition, nothing)
  if (reply.kind !== 'batch') return failedReply(partition, reply)
  const shard = broker.shardOf(handle)
  const bytes = copyOf(shard.egress, reply.offset, reply.offset + reply.length)
  shard.release(reply)
  shard.flush()
  const batch = await decodeBatch(bytes, 0, { recordsBytesMax: RECORDS_BYTES_MAX })
  const wanted = timestampMs ?? batch.header.maxTimestamp
  for (const record of batch) {
    if (record.timestamp < wanted) continue
    const { leaderEpoch } = batch.header
    return found(partition, { offset: record.offset, timestamp: record.timestamp, leaderEpoch })
  }
  return found(partition, nothing)
}

function found(
  partition: PartitionRequest,
  at: { offset: number; timestamp: number; leaderEpoch: number },
): PartitionResponse {
  return { partitionIndex: partition.partitionIndex, errorCode: ErrorCode.NONE, ...at }
}

function failedReply(partition: PartitionRequest, reply: ControlReply): PartitionResponse {
  const code = reply.kind === 'failed' ? reply.errorCode : ErrorCode.UNKNOWN_SERVER_ERROR
  return failed(partition, code)
}

function failed(partition: PartitionRequest, errorCode: number): PartitionResponse {
  return { partitionIndex: partition.partitionIndex, errorCode }
}
