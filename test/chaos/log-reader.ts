/** Reads a partition from its leader as it is: batch by batch, with the senders that they name. */
import { KafkaConnection } from '../../src/client/kafka-connection.ts'
import { ErrorCode, errorInfo } from '../../src/errors/error-code.ts'
import { type DecodedBatch, decodeBatch } from '../../src/record/batch.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'

export interface LogPlace {
  readonly host: string
  readonly port: number
  readonly topic: string
  readonly partition: number
  /** Exclusive. */
  readonly end: number
}

const FETCH_BYTES = 1024 * 1024
const BATCH_BYTES_MAX = 64 * 1024 * 1024
const REQUEST_MS_MAX = 30_000
/** The last one that names topics instead of their ids. */
const VERSION = 12

/** From offset 0 on. Throws what the broker refuses. */
export async function* readLog(place: LogPlace): AsyncGenerator<DecodedBatch> {
  const { host, port, end } = place
  const options = { host, port, clientId: 'chaos', timeoutMs: REQUEST_MS_MAX }
  const connection = await KafkaConnection.open(options)
  try {
    for (let offset = 0; offset < end; ) {
      const batches = await fetchFrom(connection, place, offset)
      for (const batch of batches) {
        yield batch
        offset = batch.header.baseOffset + batch.header.lastOffsetDelta + 1
      }
    }
  } finally {
    connection.close()
  }
}

async function fetchFrom(
  connection: KafkaConnection,
  { topic, partition }: LogPlace,
  fetchOffset: number,
): Promise<DecodedBatch[]> {
  const partitions = [{ partition, fetchOffset, partitionMaxBytes: FETCH_BYTES }]
  const { body, frame } = await connection.requestFrame(
    ApiKey.FETCH,
    () => ({ maxWaitMs: 500, minBytes: 1, maxBytes: FETCH_BYTES, topics: [{ topic, partitions }] }),
    VERSION,
  )
  const answer = body.responses[0]?.partitions[0]
  const code = body.errorCode || (answer?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR)
  if (code !== ErrorCode.NONE) {
    throw new Error(`${topic}-${partition} cannot be read: ${errorInfo(code as ErrorCode).message}`)
  }
  const { offset: start = 0, length = 0 } = answer?.records ?? {}
  const batches: DecodedBatch[] = []
  for (let at = start; at < start + length; ) {
    const rules = { recordsBytesMax: BATCH_BYTES_MAX, verifyCrc: true }
    const batch = await decodeBatch(frame, at, rules)
    batches.push(batch)
    at += batch.header.bytes
  }
  return batches
}
