import { Random } from '../../base/random.ts'
import type { Uuid } from '../../base/uuid.ts'
import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { MetadataImage } from '../../metadata/image.ts'
import { type PartitionsRecord, RULE_VERSION } from '../../metadata/records.ts'
import { DirectoryChoice, isRefused, placeInCluster } from '../../metadata/replica-placement.ts'
import type { ReplicaPlacer, WantedReplicas } from '../replica-placer.ts'

/** Spreads replicas over the brokers and racks of the cluster, and over the disks of each. */
export class ClusterPlacer implements ReplicaPlacer {
  readonly #random = new Random((Math.random() * 2 ** 32) >>> 0)

  place(image: MetadataImage, wanted: WantedReplicas): PartitionsRecord {
    const { topicId, firstPartition, count, replicationFactor, assigned } = wanted
    const common = { type: 'partitions', topicId, firstPartition, directories: [] } as const
    if (assigned !== null) {
      const choice = new DirectoryChoice(image)
      const replicaDirectories = assigned.map((ids) => ids.map((id) => directoryOf(choice, id)))
      return { ...common, replicas: assigned, replicaDirectories, ruleVersion: RULE_VERSION }
    }
    const random = this.#random
    const placed = placeInCluster(image, { partitions: count, replicationFactor, random })
    if (isRefused(placed)) {
      throw new BrokerError(placed.errorCode, `place replicas: ${placed.errorMessage}`)
    }
    return { ...common, ...placed, ruleVersion: RULE_VERSION }
  }
}

function directoryOf(choice: DirectoryChoice, brokerId: number): Uuid {
  const directory = choice.choose(brokerId)
  if (directory !== null) return directory
  const action = `place a replica: broker ${brokerId} has no log directory`
  throw new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, action)
}
