import type { EpochEnd } from '../replication/fetch-rules.ts'
import type { IsrMember } from '../replication/partition-leader.ts'

/**
 * Control messages about partitions that have more than one replica, or whose log somebody else
 * decides about. Main keeps each below what a lane's record holds; REPLICAS_BATCH partitions with
 * ten replicas each are.
 *
 * Whatever names a leader epoch below the partition's is answered FENCED_LEADER_EPOCH and changes
 * nothing: main hears of epochs in the order of the metadata, and its messages keep it.
 */
export const REPLICAS_BATCH = 256

/**
 * What a partition is before main says that it leads or follows. 'follower': one of several
 * replicas. 'raw': its offsets and epochs, its truncations, are somebody else's (the quorum's);
 * FOLLOW appends to it without a look at epochs, and its high watermark is what is flushed.
 */
export type OpenRole = 'follower' | 'raw'

export type ReplicaRequest =
  /**
   * This broker leads them. The same leader epoch brings news of the partition; a higher one begins
   * where the log ends. With one replica only the leader epoch is kept. The reply has the states of
   * those that were refused.
   */
  | { readonly kind: 'lead'; readonly partitions: readonly LeadPartition[] }
  /** Somebody else leads them, or nobody. Who waits for an acknowledgement is told. */
  | { readonly kind: 'follow'; readonly partitions: readonly FollowPartition[] }
  | { readonly kind: 'replica-states'; readonly handles: readonly number[] }
  /** A fetch of a follower was answered with where the logs part. */
  | {
      readonly kind: 'truncate'
      readonly handle: number
      readonly leaderEpoch: number
      readonly end: EpochEnd
    }
  /** Drops the whole log and starts anew at `offset`. The epoch of a raw one is not looked at. */
  | {
      readonly kind: 'restart-at'
      readonly handle: number
      readonly leaderEpoch: number
      readonly offset: number
    }
  /** Of a raw partition: drops everything from the batch that holds `offset` on. */
  | { readonly kind: 'truncate-to'; readonly handle: number; readonly offset: number }
  /** Who may be in a set of in-sync replicas, of all partitions. */
  | {
      readonly kind: 'set-brokers'
      /** This broker. */
      readonly self: number
      /** replica.lag.time.max.ms */
      readonly lagMsMax: number
      /** Ids and broker epochs. */
      readonly brokers: readonly (readonly [id: number, brokerEpoch: number])[]
    }
  /**
   * What came of a proposal. NONE: the change itself comes with `lead`. REQUEST_TIMED_OUT: nobody
   * knows, and it is proposed again at once; main waits before it says so.
   */
  | {
      readonly kind: 'alter-answer'
      readonly handle: number
      readonly leaderEpoch: number
      /** Of the proposal. */
      readonly partitionEpoch: number
      readonly errorCode: number
    }

export interface LeadPartition {
  readonly handle: number
  readonly leaderEpoch: number
  readonly partitionEpoch: number
  readonly replicas: readonly number[]
  readonly inSyncReplicas: readonly number[]
  readonly minInSyncReplicas: number
}

export interface FollowPartition {
  readonly handle: number
  readonly leaderEpoch: number
}

export interface ReplicaState {
  readonly handle: number
  /** Else the numbers are −1. */
  readonly errorCode: number
  readonly logStartOffset: number
  readonly logEndOffset: number
  readonly highWatermark: number
  /** Of the log's last record; −1 when it has none. */
  readonly latestEpoch: number
}

export interface IsrProposalOf {
  readonly handle: number
  readonly leaderEpoch: number
  readonly partitionEpoch: number
  /** Main knows the epoch of this broker itself: it is −1 here. */
  readonly members: readonly IsrMember[]
}
