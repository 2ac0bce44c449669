/**
 * Who leads a partition and who is in sync, as the controller decides it: pure functions from one
 * state of a partition to the next. Every node derives the same from the same event, so that a
 * broker that is lost can be one record and not one for each of its partitions.
 *
 *   ISR   in-sync replicas: have everything below the high watermark, and hold it back
 *   ELR   eligible leader replicas (KIP-966): left the ISR while it was smaller than
 *         min.insync.replicas. The watermark has not moved since, so they still have all of it
 *
 * A change of leader, also to none, is a new leader epoch; any change is a new partition epoch. A
 * replica whose broker came back without having been stopped in order may have lost what it had: it
 * is in neither set until it has caught up (KIP-966, KAFKA-15586), and if it led, it leads in a new
 * epoch (KAFKA-18106).
 */
import { assert } from '../base/assert.ts'

export const NO_LEADER = -1

export interface PartitionState {
  /** Broker ids, the preferred leader first. */
  readonly replicas: readonly number[]
  readonly inSyncReplicas: readonly number[]
  readonly eligibleReplicas: readonly number[]
  /** Who led before nobody did; NO_LEADER while somebody leads. */
  readonly lastKnownLeader: number
  /** In the ISR, or NO_LEADER. */
  readonly leader: number
  readonly leaderEpoch: number
  readonly partitionEpoch: number
}

/** What the rules ask that a partition's topic says. */
export interface PartitionPolicy {
  readonly minInSyncReplicas: number
  readonly allowsUncleanElection: boolean
}

export interface PartitionContext extends PartitionPolicy {
  /** Registered, not fenced, not shutting down. */
  readonly isActive: (brokerId: number) => boolean
  /**
   * The log directory of the broker's replica is one of those that it has registered. Asked only of
   * brokers that would lead although nobody knows what they have: one with a new disk has nothing.
   */
  readonly hasDirectory: (brokerId: number) => boolean
}

/** A partition that is made: the first active replica leads. Null when none is active. */
export function newPartition(
  replicas: readonly number[],
  context: PartitionContext,
): PartitionState | null {
  const inSyncReplicas = replicas.filter(context.isActive)
  if (inSyncReplicas.length === 0) return null
  return {
    replicas,
    inSyncReplicas,
    eligibleReplicas: [],
    lastKnownLeader: NO_LEADER,
    leader: inSyncReplicas[0] as number,
    leaderEpoch: 0,
    partitionEpoch: 0,
  }
}

/**
 * As `newPartition`, when no replica is active: nobody leads. It is empty, so each of them has all
 * of it and is eligible; after an unclean start of all of them the preferred one leads.
 */
export function waitingPartition(replicas: readonly number[]): PartitionState {
  assert(replicas.length > 0)
  return {
    replicas,
    inSyncReplicas: [],
    eligibleReplicas: replicas,
    lastKnownLeader: replicas[0] as number,
    leader: NO_LEADER,
    leaderEpoch: 0,
    partitionEpoch: 0,
  }
}

/** The broker is fenced: it leads nothing, is in no ISR. The same object when nothing changes. */
export function brokerLost(
  partition: PartitionState,
  brokerId: number,
  context: PartitionContext,
): PartitionState {
  if (!partition.inSyncReplicas.includes(brokerId)) return partition
  const staying = partition.inSyncReplicas.filter((id) => id !== brokerId)
  return settled(partition, elect(withIsr(partition, staying, context), context))
}

/**
 * The broker stops in order and is not active any more: others lead, and it leaves the ISR, so that
 * nobody waits for it. Where nobody else can lead it does so until it is fenced. May be applied
 * again: others may be in sync by then.
 */
export function brokerDraining(
  partition: PartitionState,
  brokerId: number,
  context: PartitionContext,
): PartitionState {
  assert(!context.isActive(brokerId))
  if (!partition.inSyncReplicas.includes(brokerId)) return partition
  const staying = partition.inSyncReplicas.filter((id) => id !== brokerId)
  const isLeader = partition.leader === brokerId
  const isNeeded = isLeader ? !staying.some(context.isActive) : staying.length === 0
  if (isNeeded) return partition
  return settled(partition, elect(withIsr(partition, staying, context), context))
}

/**
 * The broker has registered anew without having been stopped in order: what it had may be gone.
 */
export function brokerRestartedUnclean(
  partition: PartitionState,
  brokerId: number,
  context: PartitionContext,
): PartitionState {
  const { inSyncReplicas, eligibleReplicas, leader } = partition
  if (!inSyncReplicas.includes(brokerId) && !eligibleReplicas.includes(brokerId)) return partition
  const without = withoutReplica(partition, brokerId)
  return settled(partition, elect(without, context), leader === brokerId)
}

/** Somebody else may lead at once who is known to have all: the broker's replica is not needed. */
export function isReplaceable(
  { inSyncReplicas, eligibleReplicas }: PartitionState,
  brokerId: number,
  { isActive }: Pick<PartitionContext, 'isActive'>,
): boolean {
  return [...inSyncReplicas, ...eligibleReplicas].some((id) => id !== brokerId && isActive(id))
}

/**
 * The broker cannot use its replica. Always a new leader epoch, whoever leads: what the replica has
 * asked for in the one before counts no more. Nothing changes where nobody else may lead at once:
 * what it still has is the most that there is.
 */
export function replicaFailed(
  partition: PartitionState,
  brokerId: number,
  context: PartitionContext,
): PartitionState {
  if (!isReplaceable(partition, brokerId, context)) return partition
  return settled(partition, elect(withoutReplica(partition, brokerId), context), true)
}

/**
 * `min.insync.replicas` is another one. Where enough are in sync for it, the leader moves the
 * watermark on without those that were eligible, so they are not any more. Where there are too few
 * for the new one as well it stands still as it did, and they still have all: should the leader die
 * now, they are the ones to lead.
 */
export function minInSyncReplicasChanged(
  partition: PartitionState,
  context: PartitionContext,
): PartitionState {
  // Without a leader the watermark stands still, whatever the minimum is.
  if (partition.leader === NO_LEADER) return partition
  return settled(partition, withIsr(partition, partition.inSyncReplicas, context))
}

/** The broker may lead again; partitions that wait for it get a leader. */
export function brokerReturned(
  partition: PartitionState,
  context: PartitionContext,
): PartitionState {
  return settled(partition, elect(partition, context))
}

/** What the leader proposed and the controller has found to be right (AlterPartition). */
export function inSyncReplicasAltered(
  partition: PartitionState,
  inSyncReplicas: readonly number[],
  context: PartitionContext,
): PartitionState {
  assert(inSyncReplicas.includes(partition.leader), 'a leader is in sync with itself')
  assert(inSyncReplicas.every((id) => partition.replicas.includes(id)))
  const ordered = partition.replicas.filter((id) => inSyncReplicas.includes(id))
  return settled(partition, withIsr(partition, ordered, context))
}

/** The leader moves to the first replica, if that is in sync and active. */
export function preferredLeaderElected(
  partition: PartitionState,
  context: PartitionContext,
): PartitionState {
  const preferred = partition.replicas[0] as number
  const may = partition.inSyncReplicas.includes(preferred) && context.isActive(preferred)
  if (partition.leader === NO_LEADER || !may) return partition
  return settled(partition, { ...partition, leader: preferred })
}

/**
 * The partition has other replicas, or the same in another order. Those that go are in no set any
 * more, and if one of them led, somebody else does. Always a new partition epoch.
 */
export function replicasReassigned(
  partition: PartitionState,
  replicas: readonly number[],
  context: PartitionContext,
): PartitionState {
  const staying = replicas.filter((id) => partition.inSyncReplicas.includes(id))
  assert(staying.length > 0 || partition.leader === NO_LEADER, 'all that are in sync would go')
  const moved = elect(withIsr({ ...partition, replicas }, staying, context), context)
  return { ...settled(partition, moved), replicas, partitionEpoch: partition.partitionEpoch + 1 }
}

// —— inside: none of these touches an epoch ——

/** The replica is in neither set; if it led, nobody does. */
function withoutReplica(partition: PartitionState, brokerId: number): PartitionState {
  const { leader, lastKnownLeader } = partition
  const others = (ids: readonly number[]): number[] => ids.filter((id) => id !== brokerId)
  const isDeposed = leader === brokerId
  return {
    ...partition,
    inSyncReplicas: others(partition.inSyncReplicas),
    eligibleReplicas: others(partition.eligibleReplicas),
    lastKnownLeader: isDeposed ? leader : lastKnownLeader,
    leader: isDeposed ? NO_LEADER : leader,
  }
}

/** Members that leave while too few stay remain eligible; enough of them make that needless. */
function withIsr(
  partition: PartitionState,
  inSyncReplicas: readonly number[],
  context: PartitionContext,
): PartitionState {
  const min = Math.min(context.minInSyncReplicas, partition.replicas.length)
  const hasAll = [...partition.inSyncReplicas, ...partition.eligibleReplicas]
  const eligibleReplicas =
    inSyncReplicas.length >= min
      ? []
      : partition.replicas.filter((id) => hasAll.includes(id) && !inSyncReplicas.includes(id))
  const leader = inSyncReplicas.includes(partition.leader) ? partition.leader : NO_LEADER
  return { ...partition, inSyncReplicas, eligibleReplicas, leader }
}

/** Gives a partition without a leader one, if there is somebody who may. */
function elect(partition: PartitionState, context: PartitionContext): PartitionState {
  if (partition.leader !== NO_LEADER) return partition
  const { replicas, inSyncReplicas, eligibleReplicas, lastKnownLeader } = partition
  const find = (ids: readonly number[]): number | undefined =>
    replicas.find((id) => ids.includes(id) && context.isActive(id))
  const inSync = find(inSyncReplicas)
  if (inSync !== undefined) return { ...partition, leader: inSync }
  // One that is eligible has all. It is in sync from now on.
  const eligible = find(eligibleReplicas)
  if (eligible !== undefined) {
    return withIsr({ ...partition, leader: eligible }, [...inSyncReplicas, eligible], context)
  }
  // Nobody is known to have all: whoever led last has the most.
  const isLost = inSyncReplicas.length === 0 && eligibleReplicas.length === 0
  const last = isLost ? find([lastKnownLeader]) : undefined
  const candidates = last === undefined ? [] : [last]
  if (context.allowsUncleanElection) candidates.push(...replicas.filter(context.isActive))
  const any = candidates.find(context.hasDirectory)
  if (any === undefined) return partition
  return { ...partition, leader: any, inSyncReplicas: [any], eligibleReplicas: [] }
}

/** With the epochs that the change makes; `isDeposed`: the leader starts anew, whoever it is. */
function settled(before: PartitionState, after: PartitionState, isDeposed = false): PartitionState {
  const isNewLeader = isDeposed || after.leader !== before.leader
  const isSame =
    !isNewLeader &&
    isEqual(before.inSyncReplicas, after.inSyncReplicas) &&
    isEqual(before.eligibleReplicas, after.eligibleReplicas)
  if (isSame) return before
  const hasNone = after.leader === NO_LEADER
  const last = before.leader === NO_LEADER ? before.lastKnownLeader : before.leader
  return {
    ...after,
    lastKnownLeader: hasNone ? last : NO_LEADER,
    leaderEpoch: before.leaderEpoch + (isNewLeader ? 1 : 0),
    partitionEpoch: before.partitionEpoch + 1,
  }
}

function isEqual(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i])
}
