import { ErrorCode } from '../errors/error-code.ts'
import type { Broker } from './broker.ts'
import { type FetchTarget, refusedTarget } from './fetch-job.ts'

/** What of a partition of the image a client reads, as far as this broker may give it. */
export interface PartitionRead {
  readonly fetchOffset: number
  readonly bytesMax: number
  /** What the client believes in; −1: in none. */
  readonly leaderEpoch: number
  /** The client names its rack, or could: a follower serves it as well (KIP-392). */
  readonly knowsFollowers: boolean
  /** '' for none. */
  readonly rack: string
}

/** Of a client that reads from leaders only. */
export const FROM_LEADER = { leaderEpoch: -1, knowsFollowers: false, rack: '' } as const

export function fetchTarget(broker: Broker, handle: number, read: PartitionRead): FetchTarget {
  const errorCode = broker.checkLeader(handle, read.leaderEpoch)
  const isFollower = errorCode === ErrorCode.NOT_LEADER_OR_FOLLOWER
  const isFollowerRead = isFollower && read.knowsFollowers && broker.hasReplica(handle)
  if (errorCode !== ErrorCode.NONE && !isFollowerRead) return refusedTarget(errorCode, handle)
  const preferredReplica =
    broker.readsFromRack && !isFollowerRead ? replicaInRack(broker, handle, read.rack) : -1
  return {
    handle,
    shard: broker.shardOf(handle),
    fetchOffset: read.fetchOffset,
    // Less than any batch, where the client is only to be told where the log stands.
    bytesMax: preferredReplica < 0 ? Math.min(read.bytesMax, broker.readBytesMax) : 1,
    errorCode: ErrorCode.NONE,
    isFollowerRead,
    preferredReplica,
  }
}

/**
 * Kafka's RackAwareReplicaSelector, asked at the leader: an in-sync replica in the client's rack.
 * −1 is the leader, which is also chosen when it stands there. Where several do, partitions differ.
 */
function replicaInRack({ image, nodeId }: Broker, handle: number, rack: string): number {
  if (rack === '') return -1
  const { partitions, brokers } = image
  if (brokers.get(nodeId)?.rack === rack) return -1
  const near = partitions.inSyncReplicas(handle).filter((id) => {
    const broker = brokers.get(id)
    return broker !== undefined && !broker.isFenced && broker.rack === rack
  })
  return near[partitions.partitionNumber(handle) % near.length] ?? -1
}
