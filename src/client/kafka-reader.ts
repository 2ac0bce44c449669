/**
 * Reads one partition over Kafka's protocol, record by record: for the command line, which checks
 * with it that both doors give the same. Not made for throughput.
 */
import { ErrorCode, errorInfo } from '../errors/error-code.ts'
import { type DecodedBatch, decodeBatch } from '../record/batch.ts'
import type { BatchRecord } from '../record/record-reader.ts'
import { ApiKey } from '../wire/kafka/api.ts'
import { ConnectionError, type ConnectOptions, KafkaConnection } from './kafka-connection.ts'

const FETCH_BYTES = 1024 * 1024
const WAIT_MS = 500
/** What a compressed batch may hold at most. */
const RECORDS_BYTES_MAX = 64 * 1024 * 1024

export interface PartitionPlace {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  /** Inclusive. */
  readonly offset: number
}

/**
 * Yields the records from an offset on, batch by batch, and waits for more; ends with the signal.
 * Throws ConnectionError, also for what the broker refuses, and RecordError.
 */
export async function* readPartition(
  options: ConnectOptions,
  place: PartitionPlace,
  signal: AbortSignal,
): AsyncGenerator<BatchRecord[]> {
  const connection = await KafkaConnection.open(options)
  const stop = (): void => connection.close()
  signal.addEventListener('abort', stop, { once: true })
  let { offset } = place
  try {
    while (!signal.aborted) {
      for (const batch of await fetch(connection, { ...place, offset })) {
        const records = [...batch].filter((record) => record.offset >= offset)
        offset = batch.header.baseOffset + batch.header.lastOffsetDelta + 1
        if (records.length > 0) yield records
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    signal.removeEventListener('abort', stop)
    connection.close()
  }
}

async function fetch(connection: KafkaConnection, place: PartitionPlace): Promise<DecodedBatch[]> {
  const { topic, topicId, partition, offset } = place
  const { body, frame } = await connection.requestFrame(ApiKey.FETCH, (version) => ({
    maxWaitMs: WAIT_MS,
    minBytes: 1,
    maxBytes: FETCH_BYTES,
    topics: [
      {
        ...(version >= TOPIC_ID_VERSION_MIN ? { topicId } : { topic }),
        partitions: [{ partition, fetchOffset: offset, partitionMaxBytes: FETCH_BYTES }],
      },
    ],
  }))
  const answer = body.responses[0]?.partitions[0]
  const code = body.errorCode || (answer?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR)
  if (code !== ErrorCode.NONE) {
    throw new ConnectionError(`${topic}-${partition} cannot be read: ${errorInfo(code).message}`)
  }
  const { offset: start = 0, length = 0 } = answer?.records ?? {}
  const batches: DecodedBatch[] = []
  for (let at = start; at < start + length; ) {
    const batch = await decodeBatch(frame, at, {
      recordsBytesMax: RECORDS_BYTES_MAX,
      verifyCrc: true,
    })
    batches.push(batch)
    at += batch.header.bytes
  }
  return batches
}

const TOPIC_ID_VERSION_MIN = 13
