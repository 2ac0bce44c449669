/** A simulated cluster, as those see it who break, mend and administer it. */
import type { Random } from '../../../src/base/random.ts'
import type { MetadataImage } from '../../../src/metadata/image.ts'
import type { PartitionState } from '../../../src/metadata/partition-rules.ts'
import type { Partition } from '../../../src/shard/partition.ts'
import type { ClusterPlan } from './cluster-plan.ts'
import type { Place, SimClient } from './sim-client.ts'
import type { Network } from './sim-network.ts'
import type { SimNode } from './sim-node.ts'
import type { World } from './sim-world.ts'

export interface SimCluster {
  readonly plan: ClusterPlan
  readonly world: World
  readonly network: Network
  readonly nodes: readonly SimNode[]
  readonly places: readonly Place[]
  readonly random: Random
  /** For what an administrator does. */
  readonly admin: SimClient
  /** Nothing new breaks any more. */
  readonly isHealing: boolean
  /** The newest metadata that some node has; null while none has any. */
  readonly newestImage: MetadataImage | null
  node(id: number): SimNode
  /** The number of one of `places`; null for partitions of the cluster itself. */
  indexOf(partition: Partition): number | null
  /** As the newest metadata has it. */
  stateOf(index: number): PartitionState | null
  /** Its `min.insync.replicas`. */
  minimumOf(index: number): number
  /** Somebody else reads everything from the beginning. */
  readAnew(): unknown
  /** How many replicas a partition is to have. */
  wantedReplicas(topic: string, partition: number): number
  /** Runs on the clients' machine. */
  onClient(run: () => Promise<void>): void
}
