import type { Uuid } from '../base/uuid.ts'
import type { MetadataImage, Topic } from '../metadata/image.ts'
import type { PartitionsRecord } from '../metadata/records.ts'
import type { PartitionPlacement } from './partition-placement.ts'

/** Chooses the brokers and directories of new partitions, and says so in their record. */
export interface ReplicaPlacer {
  /**
   * May run several times for one change, on the image as it is then. Throws BrokerError: nobody
   * can hold them now (INVALID_REPLICATION_FACTOR, KAFKA_STORAGE_ERROR).
   */
  place(image: MetadataImage, wanted: WantedReplicas): PartitionsRecord
}

export interface WantedReplicas {
  readonly topicId: Uuid
  readonly firstPartition: number
  readonly count: number
  readonly replicationFactor: number
  /**
   * Broker ids of each partition, where somebody has chosen them: they are registered, and differ.
   * What remains to be chosen is the directory of each.
   */
  readonly assigned: readonly (readonly number[])[] | null
}

/** Of a broker that is alone: it has every replica. */
export class LocalPlacer implements ReplicaPlacer {
  readonly #placement: PartitionPlacement

  constructor(placement: PartitionPlacement) {
    this.#placement = placement
  }

  place(_image: MetadataImage, wanted: WantedReplicas): PartitionsRecord {
    const { topicId, firstPartition, count } = wanted
    const directories = Array.from({ length: count }, () => this.#placement.chooseDirectory())
    return { type: 'partitions', topicId, firstPartition, directories }
  }
}

/** What keeps brokers from being the replicas of partitions; null when nothing does. */
export function assignmentProblem(
  image: MetadataImage,
  assigned: readonly (readonly number[])[],
  replicationFactor: number | null,
): string | null {
  const factor = replicationFactor ?? assigned[0]?.length ?? 0
  for (const [index, replicas] of assigned.entries()) {
    const which = `Assignment ${index} (${replicas.join(', ')})`
    if (replicas.length === 0) return `Assignment ${index} names no broker`
    const unknown = replicas.find((id) => !image.brokers.has(id))
    if (unknown !== undefined) return `${which} names broker ${unknown}, which is not registered`
    if (new Set(replicas).size < replicas.length) return `${which} names a broker more than once`
    if (replicas.length !== factor) {
      return `${which} has ${replicas.length} replicas, and others of the topic have ${factor}`
    }
    if (!replicas.some((id) => image.isActive(id))) {
      return `${which} names only brokers that are not there now`
    }
  }
  return null
}

/** Brokers that can be given replicas, as in Kafka also those that are away for now. */
export function registeredBrokersCount(image: MetadataImage): number {
  return image.brokers.size
}

/** Of a topic's first partition: without the replicas that are to go. */
export function replicationFactorOf({ partitions }: MetadataImage, topic: Topic): number {
  const handle = topic.handles[0]
  if (handle === undefined) return 1
  return partitions.replicas(handle).length - partitions.removingReplicas(handle).length
}
