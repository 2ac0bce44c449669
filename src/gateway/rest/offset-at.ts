import type { Broker } from '../../broker/broker.ts'
import { elsewhere } from '../../broker/elsewhere.ts'
import { listOffsets } from '../../broker/handlers/02-list-offsets.ts'
import { SendTurns } from '../../broker/send-turns.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { ListOffsetsResponseInit } from '../../wire/kafka/schema/02-list-offsets.ts'
import { kafkaError } from './rest-error.ts'

/** Where in a partition a time lies, asked as Kafka's clients ask. */
const LIST_OFFSETS_VERSION = 9

/** Timestamps that stand for the end and the beginning, as in Kafka's ListOffsets. */
export const LATEST = -1
export const EARLIEST = -2

/** Of the first event that is not older than `timestamp`; −1 for none. Throws RestError. */
export async function offsetAt(
  broker: Broker,
  { topic: name, partition: partitionIndex }: { topic: string; partition: number },
  timestamp: number,
): Promise<number> {
  const handle = broker.topicByName(name)?.handles[partitionIndex] ?? -1
  const leader = handle < 0 ? null : elsewhere(broker, handle)
  if (leader !== null) {
    const found = await leader.offsetAt(handle, timestamp)
    if (found.errorCode !== ErrorCode.NONE) throw kafkaError(found.errorCode)
    return found.offset
  }
  const asked = { partitionIndex, currentLeaderEpoch: -1, timestamp, maxNumOffsets: 1 }
  const topics = [{ name, partitions: [asked] }]
  const body = { replicaId: -1, isolationLevel: 0, timeoutMs: 0, topics }
  const reply = await listOffsets(broker, body, {
    apiVersion: LIST_OFFSETS_VERSION,
    listenerName: '',
    whenFirst: () => null,
    sendTurns: new SendTurns(),
    onClose: () => () => {},
  })
  const answer = (reply.body as ListOffsetsResponseInit).topics?.[0]?.partitions?.[0]
  const { errorCode = ErrorCode.NONE, offset = -1 } = answer ?? {}
  if (errorCode !== ErrorCode.NONE) throw kafkaError(errorCode)
  return offset
}
