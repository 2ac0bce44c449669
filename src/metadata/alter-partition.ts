/**
 * Whether the controller takes what a leader proposes about its in-sync replicas (AlterPartition;
 * KIP-497, 841, 903). Pure. What it refuses, and why:
 *
 *   NOT_LEADER_OR_FOLLOWER   somebody else leads, or nobody
 *   FENCED_LEADER_EPOCH      the proposal is of an epoch that is over
 *   STALE_BROKER_EPOCH       the leader's registration is not the current one
 *   INVALID_UPDATE_VERSION   the partition has changed since: look at it again
 *   INELIGIBLE_REPLICA       a member is fenced, shutting down, or was registered anew: what it had
 *                            when the leader counted it may be gone
 *   INVALID_REQUEST          a member is no replica, or the leader is not among them
 */
import { ErrorCode } from '../errors/error-code.ts'
import {
  inSyncReplicasAltered,
  type PartitionContext,
  type PartitionState,
} from './partition-rules.ts'

export interface AlterPartition {
  readonly brokerId: number
  readonly brokerEpoch: number
  readonly leaderEpoch: number
  readonly partitionEpoch: number
  readonly members: readonly { readonly brokerId: number; readonly brokerEpoch: number }[]
}

export interface AlterContext extends PartitionContext {
  /** Of the current registration; −1 when there is none. */
  readonly brokerEpochOf: (brokerId: number) => number
}

/** The partition as it is from now on, or the code of the refusal. */
export function alterPartition(
  partition: PartitionState,
  request: AlterPartition,
  context: AlterContext,
): PartitionState | ErrorCode {
  const { brokerId, brokerEpoch, leaderEpoch, partitionEpoch, members } = request
  if (context.brokerEpochOf(brokerId) !== brokerEpoch) return ErrorCode.STALE_BROKER_EPOCH
  if (leaderEpoch < partition.leaderEpoch) return ErrorCode.FENCED_LEADER_EPOCH
  if (partition.leader !== brokerId || leaderEpoch > partition.leaderEpoch) {
    return ErrorCode.NOT_LEADER_OR_FOLLOWER
  }
  if (partitionEpoch !== partition.partitionEpoch) return ErrorCode.INVALID_UPDATE_VERSION
  const ids = members.map((member) => member.brokerId)
  const areReplicas = ids.every((id) => partition.replicas.includes(id))
  if (!areReplicas || !ids.includes(brokerId)) return ErrorCode.INVALID_REQUEST
  for (const member of members) {
    if (member.brokerId === brokerId) continue
    // One that this leader has not heard is in sync because it was before: the controller itself
    // takes out whoever was registered anew.
    const isKnown = member.brokerEpoch < 0 && partition.inSyncReplicas.includes(member.brokerId)
    const isCurrent = isKnown || context.brokerEpochOf(member.brokerId) === member.brokerEpoch
    if (!isCurrent || !context.isActive(member.brokerId)) return ErrorCode.INELIGIBLE_REPLICA
  }
  return inSyncReplicasAltered(partition, ids, context)
}
