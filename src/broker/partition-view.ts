import { ErrorCode } from '../errors/error-code.ts'
import type { MetadataImage } from '../metadata/image.ts'
import type { Broker } from './broker.ts'
import type { ClusterNode } from './cluster-nodes.ts'
import type { AskContext } from './request.ts'

/**
 * Partitions as the clients of one listener are told of them: a leader or a replica whose broker
 * they cannot reach is none for them. Made once for an answer, which names the same brokers.
 */
export interface PartitionView {
  readonly partitions: MetadataImage['partitions']
  /** By ascending id. */
  readonly nodes: readonly ClusterNode[]
  readonly isReached: (brokerId: number) => boolean
  /** Registered and not fenced, whatever its listeners. */
  readonly isThere: (brokerId: number) => boolean
  /** Replicas that cannot be reached are left out, and that is an error: before they had a list. */
  readonly leavesOut: boolean
  /** A leader without such a listener is told from no leader (KIP-373). */
  readonly namesListeners: boolean
}

export interface DescribedPartition {
  readonly errorCode: ErrorCode
  readonly partitionIndex: number
  readonly leaderId: number
  readonly leaderEpoch: number
  readonly replicaNodes: readonly number[]
  readonly isrNodes: readonly number[]
  readonly offlineReplicas: readonly number[]
}

const LISTENERS_VERSION_MIN = 6
const NO_LEADER = -1
const NOBODY: readonly number[] = []

export function partitionView(
  broker: Broker,
  { listenerName, apiVersion }: Pick<AskContext, 'listenerName' | 'apiVersion'>,
): PartitionView {
  const { partitions, brokers } = broker.image
  const nodes = broker.nodes(listenerName)
  const reached = new Set(nodes.map(({ nodeId }) => nodeId))
  return {
    partitions,
    nodes,
    isReached: (id) => reached.has(id),
    isThere: (id) => brokers.get(id)?.isFenced === false,
    leavesOut: apiVersion === 0,
    namesListeners: apiVersion >= LISTENERS_VERSION_MIN,
  }
}

export function describePartition(
  view: PartitionView,
  handle: number,
  partitionIndex: number,
): DescribedPartition {
  const { partitions, isReached } = view
  const leader = partitions.leader(handle)
  const replicas = partitions.replicas(handle)
  const inSync = partitions.inSyncReplicas(handle)
  const isWhole = replicas.every(isReached)
  const isShown = isWhole || !view.leavesOut
  const hasLeader = isReached(leader)
  return {
    errorCode: hasLeader ? replicasError(isShown) : missingLeader(view, leader),
    partitionIndex,
    leaderId: hasLeader ? leader : NO_LEADER,
    leaderEpoch: partitions.leaderEpoch(handle),
    replicaNodes: isShown ? replicas : replicas.filter(isReached),
    isrNodes: isShown ? inSync : inSync.filter(isReached),
    offlineReplicas: isWhole ? NOBODY : replicas.filter((id) => !isReached(id)),
  }
}

function replicasError(isShown: boolean): ErrorCode {
  return isShown ? ErrorCode.NONE : ErrorCode.REPLICA_NOT_AVAILABLE
}

function missingLeader({ isThere, namesListeners }: PartitionView, leader: number): ErrorCode {
  return namesListeners && isThere(leader)
    ? ErrorCode.LISTENER_NOT_FOUND
    : ErrorCode.LEADER_NOT_AVAILABLE
}
