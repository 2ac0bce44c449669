/**
 * What replicas of a quorum tell each other. Every message names its sender, its receiver and the
 * sender's epoch. Messages may be lost, doubled, delayed and overtaken: nothing but speed depends
 * on their order.
 */
import type { Entry } from './entry.ts'
import type { ReplicaKey } from './replica-key.ts'

interface Envelope {
  readonly from: ReplicaKey
  readonly to: ReplicaKey
  readonly epoch: number
}

/** Raft §5.2 and 9.6 (pre-vote, which promises nothing and asks for the epoch after this one). */
export interface VoteRequest extends Envelope {
  readonly type: 'vote-request'
  readonly isPreVote: boolean
  /** Epoch of the last record, and where the log ends; exclusive. */
  readonly lastEpoch: number
  readonly endOffset: number
  /** The leader has asked for this election: others need not wait until they miss it. */
  readonly isTransfer: boolean
}

export interface VoteResponse extends Envelope {
  readonly type: 'vote-response'
  readonly isPreVote: boolean
  readonly isGranted: boolean
  /** Of the request. */
  readonly requestEpoch: number
}

/** Raft §5.3; without entries a heartbeat. */
export interface AppendRequest extends Envelope {
  readonly type: 'append-request'
  /** Where `entries` begin; the record before it has `previousEpoch`. */
  readonly offset: number
  readonly previousEpoch: number
  readonly entries: readonly Entry[]
  readonly committedOffset: number
}

export interface AppendResponse extends Envelope {
  readonly type: 'append-response'
  /** Up to there the log is the leader's, and durable; exclusive. −1: the request did not fit. */
  readonly matchedOffset: number
  /** Where the logs may agree, when it did not: the sender's last epoch at `hintOffset`. */
  readonly hintEpoch: number
  readonly hintOffset: number
}

export interface SnapshotId {
  /** What the snapshot takes the place of; exclusive. */
  readonly endOffset: number
  /** Of the last record in it. */
  readonly epoch: number
}

/** Raft §7: a part of a snapshot. */
export interface SnapshotRequest extends Envelope {
  readonly type: 'snapshot-request'
  readonly snapshot: SnapshotId
  readonly position: number
  readonly bytes: Uint8Array
  readonly isLast: boolean
  readonly voters: readonly ReplicaKey[]
}

export interface SnapshotResponse extends Envelope {
  readonly type: 'snapshot-response'
  readonly snapshot: SnapshotId
  /** Up to there it is stored; what is wanted next begins there. */
  readonly position: number
  readonly isDone: boolean
}

/** Whoever gets it is the leader's choice to follow it, and asks for votes at once. */
export interface TransferRequest extends Envelope {
  readonly type: 'transfer-request'
}

/** A replica without a leader asks for the log; who is no leader says whom it takes for one. */
export interface ObserveRequest extends Envelope {
  readonly type: 'observe-request'
  readonly endOffset: number
}

export interface LeaderHint extends Envelope {
  readonly type: 'leader-hint'
  readonly leader: ReplicaKey
}

export type RaftMessage =
  | VoteRequest
  | VoteResponse
  | AppendRequest
  | AppendResponse
  | SnapshotRequest
  | SnapshotResponse
  | TransferRequest
  | ObserveRequest
  | LeaderHint

/** Without the fields that the sender's state fills in. */
export type MessageBody = RaftMessage extends infer M
  ? M extends RaftMessage
    ? Omit<M, 'from' | 'to' | 'epoch'>
    : never
  : never
