import { copyOf } from '../../base/bytes.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import { type DecodedBatch, decodeBatch, decodeHeader } from '../../record/batch.ts'
import { COMPRESSION_NONE } from '../../record/compression.ts'
import { RecordError } from '../../record/record-error.ts'
import type { ControlReply } from '../../shard/control.ts'
import type {
  ListOffsetsRequest,
  ListOffsetsResponseInit,
} from '../../wire/kafka/schema/02-list-offsets.ts'
import type { Broker } from '../broker.ts'
import type { AskContext, Reply } from '../request.ts'
import { Turns } from '../turns.ts'

/**
 * ListOffsets (key 2): the first and the next offset of partitions, and look-ups by time. The shard
 * finds the batch; the record inside it is found here, because decompression may be asynchronous.
 *
 * Looking inside a batch costs memory and time that a few bytes from a client can demand. So one
 * look-up is under way at a time on this thread, requests take turns partition by partition, and a
 * batch that inflates beyond a bound is answered as a whole.
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
const EARLIEST_PENDING_UPLOAD = -6 // KIP-1023: nothing is to be tiered.
const READ_COMMITTED = 1
/** From here on there is an error of its own for a leader that does not know its end yet. */
const OFFSET_NOT_AVAILABLE_VERSION = 5
/** First version with each of the negative timestamps; older clients cannot have meant them. */
const VERSION_MIN = new Map([
  [LATEST, 0],
  [EARLIEST, 0],
  [MAX_TIMESTAMP, 7],
  [EARLIEST_LOCAL, 8],
  [LATEST_TIERED, 9],
  [EARLIEST_PENDING_UPLOAD, 11],
])
/** A compressed batch that is larger inside is not looked into. */
const INFLATED_BYTES_MAX = 16 * 1024 * 1024
/** Records looked at before others are served. */
const RECORDS_PER_SLICE = 10_000

const lookUps = new Turns()

export async function listOffsets(
  broker: Broker,
  body: ListOffsetsRequest,
  context: AskContext,
): Promise<Reply> {
  let isGone = false
  const unsubscribe = context.onClose(() => {
    isGone = true
  })
  const asked = {
    isolation: body.isolationLevel,
    version: context.apiVersion,
    turns: new Turns(),
    isGone: () => isGone,
  }
  const twice = namedTwice(body)
  const topics = await Promise.all(
    body.topics.map(async (topic) => ({
      name: topic.name,
      partitions: await Promise.all(
        topic.partitions.map((partition) => {
          if (twice.has(key(topic.name, partition))) {
            return failed(partition, ErrorCode.INVALID_REQUEST)
          }
          const handle = broker.topicByName(topic.name)?.handles[partition.partitionIndex]
          return handle === undefined
            ? failed(partition, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            : list(broker, { ...asked, handle, partition })
        }),
      ),
    })),
  )
  unsubscribe()
  return { body: { topics } satisfies ListOffsetsResponseInit }
}

interface Query {
  readonly handle: number
  readonly partition: PartitionRequest
  readonly isolation: number
  readonly version: number
  /** The request's own: one of its partitions at a time waits for a look-up. */
  readonly turns: Turns
  /** True once nobody waits for the answer any more. */
  readonly isGone: () => boolean
}

async function list(broker: Broker, query: Query): Promise<PartitionResponse> {
  const { handle, partition } = query
  const timestampMs = partition.timestamp
  if (timestampMs < 0 && query.version < (VERSION_MIN.get(timestampMs) ?? Infinity)) {
    return failed(partition, ErrorCode.UNSUPPORTED_VERSION)
  }
  const refusal = broker.checkLeader(handle, partition.currentLeaderEpoch)
  if (refusal !== ErrorCode.NONE) return failed(partition, refusal)
  switch (partition.timestamp) {
    case LATEST:
      return latest(broker, query)
    case EARLIEST:
    case EARLIEST_LOCAL: {
      const reply = await broker.control(handle, { kind: 'offsets', handle })
      if (reply.kind !== 'offsets') return failedReply(partition, reply)
      return found(partition, { offset: reply.logStartOffset, timestamp: -1, leaderEpoch: -1 })
    }
    case LATEST_TIERED:
    case EARLIEST_PENDING_UPLOAD:
      return found(partition, { offset: -1, timestamp: -1, leaderEpoch: -1 })
    default:
      return query.turns.run(() => lookUps.run(() => lookUp(broker, query)))
  }
}

async function latest(broker: Broker, query: Query): Promise<PartitionResponse> {
  const { handle, partition, isolation } = query
  const leaderEpoch = broker.leaderEpoch(handle)
  const [reply, epochStart] = await Promise.all([
    broker.control(handle, { kind: 'offsets', handle }),
    epochStartOffset(broker, handle, leaderEpoch),
  ])
  if (reply.kind !== 'offsets') return failedReply(partition, reply)
  // An offset of one epoch must not be taken for one of another.
  if (broker.leaderEpoch(handle) !== leaderEpoch) {
    return failed(partition, ErrorCode.NOT_LEADER_OR_FOLLOWER)
  }
  if (reply.highWatermark < epochStart) {
    const isNamed = query.version >= OFFSET_NOT_AVAILABLE_VERSION
    const { OFFSET_NOT_AVAILABLE, LEADER_NOT_AVAILABLE } = ErrorCode
    return failed(partition, isNamed ? OFFSET_NOT_AVAILABLE : LEADER_NOT_AVAILABLE)
  }
  const offset = isolation === READ_COMMITTED ? reply.lastStableOffset : reply.highWatermark
  return found(partition, { offset, timestamp: -1, leaderEpoch })
}

/**
 * Where this broker began to lead. Until the high watermark has come there it may be lower than
 * what the leader before has told (KIP-207). −1 where there is nobody else to have told anything.
 */
async function epochStartOffset(
  broker: Broker,
  handle: number,
  leaderEpoch: number,
): Promise<number> {
  if (leaderEpoch === 0 || broker.image.partitions.replicas(handle).length < 2) return -1
  const request = { kind: 'end-offset-for-epoch', handle, leaderEpoch: leaderEpoch - 1 } as const
  const reply = await broker.control(handle, request)
  return reply.kind === 'epoch' ? reply.endOffset : -1
}

async function lookUp(broker: Broker, query: Query): Promise<PartitionResponse> {
  const { handle, partition } = query
  if (query.isGone()) return failed(partition, ErrorCode.NETWORK_EXCEPTION)
  // It may have waited for its turn; of a partition that is gone its shard knows.
  const isThere = broker.image.partitions.has(handle)
  if (isThere && !broker.leads(handle)) return failed(partition, ErrorCode.NOT_LEADER_OR_FOLLOWER)
  const isMax = partition.timestamp === MAX_TIMESTAMP
  const timestampMs = isMax ? null : partition.timestamp
  const reply = await broker.control(
    handle,
    timestampMs === null
      ? { kind: 'max-timestamp', handle }
      : { kind: 'offset-for-timestamp', handle, timestampMs },
  )
  return inBatch(broker, { handle, partition, reply, timestampMs })
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
  try {
    return found(partition, (await findRecord(bytes, timestampMs)) ?? nothing)
  } catch (error) {
    // A batch with a right CRC may still hold anything: the producer's clients fail on it, not we.
    if (error instanceof RecordError) return failed(partition, ErrorCode.CORRUPT_MESSAGE)
    throw error
  }
}

interface Found {
  readonly offset: number
  readonly timestamp: number
  readonly leaderEpoch: number
}

/**
 * The first record of a batch at or after `timestampMs` (null: the batch's largest timestamp); of a
 * batch that is too large inside, its start. Null when there is none. Rejects with RecordError.
 */
async function findRecord(bytes: Uint8Array, timestampMs: number | null): Promise<Found | null> {
  const header = decodeHeader(bytes, 0)
  const { leaderEpoch, maxTimestamp } = header
  const isPlain = header.compression === COMPRESSION_NONE
  const recordsBytesMax = isPlain ? bytes.length : INFLATED_BYTES_MAX
  let batch: DecodedBatch
  try {
    batch = await decodeBatch(bytes, 0, { recordsBytesMax, verifyCrc: false })
  } catch (error) {
    if (!(error instanceof RecordError) || error.code !== ErrorCode.MESSAGE_TOO_LARGE) throw error
    return { offset: header.baseOffset, timestamp: maxTimestamp, leaderEpoch }
  }
  const wanted = timestampMs ?? maxTimestamp
  let count = 0
  for (const { offset, timestamp } of batch) {
    if (timestamp >= wanted) return { offset, timestamp, leaderEpoch }
    if (++count % RECORDS_PER_SLICE === 0) await new Promise(setImmediate)
  }
  return null
}

/** Partitions that a request names more than once: no entry of them is answered, as in Kafka. */
function namedTwice(body: ListOffsetsRequest): ReadonlySet<string> {
  const seen = new Set<string>()
  const twice = new Set<string>()
  for (const topic of body.topics) {
    for (const partition of topic.partitions) {
      const name = key(topic.name, partition)
      if (seen.has(name)) twice.add(name)
      seen.add(name)
    }
  }
  return twice
}

function key(topic: string, partition: PartitionRequest): string {
  return `${partition.partitionIndex}/${topic}`
}

function found(partition: PartitionRequest, at: Found): PartitionResponse {
  return { partitionIndex: partition.partitionIndex, errorCode: ErrorCode.NONE, ...at }
}

function failedReply(partition: PartitionRequest, reply: ControlReply): PartitionResponse {
  const code = reply.kind === 'failed' ? reply.errorCode : ErrorCode.UNKNOWN_SERVER_ERROR
  return failed(partition, code)
}

function failed(partition: PartitionRequest, errorCode: number): PartitionResponse {
  return { partitionIndex: partition.partitionIndex, errorCode }
}
