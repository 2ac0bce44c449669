/** What logs take on the disks of their leaders, by DescribeLogDirs where that is served. */
import type { BrokerAddress, KafkaBrokers } from '../../client/kafka-brokers.ts'
import type { KafkaConnection } from '../../client/kafka-connection.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import { ApiKey } from '../../wire/kafka/api.ts'
import { LoadError } from '../load-error.ts'
import { nameOf, type Place } from '../place.ts'
import { refusalOf } from './kafka-requests.ts'

/**
 * Bytes in the order of `places`; null: the broker cannot be asked. A log that is moving to another
 * directory counts once. Throws LoadError, ConnectionError.
 */
export async function askLogBytes(
  brokers: KafkaBrokers,
  places: readonly Place[],
): Promise<number[] | null> {
  const bytes = new Map<string, number>()
  const byLeader = new Map<string, { at: BrokerAddress; mine: Place[] }>()
  for (const place of places) {
    const at = place.leader ?? brokers.options
    const key = `${at.host}:${at.port}`
    const group = byLeader.get(key) ?? { at, mine: [] }
    byLeader.set(key, group)
    group.mine.push(place)
  }
  for (const { at, mine } of byLeader.values()) {
    const found = await askOne(await brokers.at(at), mine)
    if (found === null) return null
    for (const [i, place] of mine.entries()) bytes.set(nameOf(place), found[i] as number)
  }
  return places.map((place) => bytes.get(nameOf(place)) ?? 0)
}

async function askOne(
  connection: KafkaConnection,
  places: readonly Place[],
): Promise<number[] | null> {
  if (!connection.serves(ApiKey.DESCRIBE_LOG_DIRS)) return null
  const topics = new Map<string, number[]>()
  for (const { topic, partition } of places) {
    const partitions = topics.get(topic)
    if (partitions === undefined) topics.set(topic, [partition])
    else partitions.push(partition)
  }
  const answer = await connection.request(ApiKey.DESCRIBE_LOG_DIRS, () => ({
    topics: [...topics].map(([topic, partitions]) => ({ topic, partitions })),
  }))
  for (const { errorCode } of [answer, ...answer.results]) {
    if (errorCode === ErrorCode.NONE) continue
    throw new LoadError(`the broker's log directories: ${refusalOf(errorCode)}`)
  }
  const bytes = new Map<string, number>()
  for (const { name, partitions } of answer.results.flatMap((one) => one.topics)) {
    for (const { partitionIndex, partitionSize, isFutureKey } of partitions) {
      if (isFutureKey) continue
      bytes.set(nameOf({ topic: name, partition: partitionIndex }), partitionSize)
    }
  }
  return places.map((place) => bytes.get(nameOf(place)) ?? 0)
}
