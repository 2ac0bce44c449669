/**
 * What one step of a replica asks its shell for. The order counts: `quorumState` is durable before
 * anything else is done, since messages and entries may rely on it (Raft §5.1).
 */
import type { RaftMessage, SnapshotId } from './messages.ts'
import type { StorageOperation } from './raft-log.ts'
import type { ReplicaKey } from './replica-key.ts'

/** What must survive besides the log. */
export interface QuorumState {
  readonly epoch: number
  readonly votedFor: ReplicaKey | null
}

/** Entries from `offset` on that are not in memory: read them and call `onLoaded`. */
export interface Load {
  readonly to: ReplicaKey
  readonly epoch: number
  readonly offset: number
}

/** A part of a snapshot to be read and sent, from `position` on: then call `onSnapshotRead`. */
export interface SnapshotRead {
  readonly to: ReplicaKey
  readonly epoch: number
  readonly snapshot: SnapshotId
  readonly position: number
}

export interface SnapshotPart {
  /** The quorum's, when it was asked for. */
  readonly epoch: number
  readonly snapshot: SnapshotId
  readonly position: number
  readonly bytes: Uint8Array
  readonly isLast: boolean
  readonly voters: readonly ReplicaKey[]
}

/** A part of a snapshot to be stored: then call `onSnapshotStored`. */
export interface SnapshotStore extends SnapshotPart {
  readonly leader: ReplicaKey
}

export interface RaftEffects {
  readonly quorumState: QuorumState | null
  readonly storage: readonly StorageOperation[]
  readonly loads: readonly Load[]
  readonly snapshotReads: readonly SnapshotRead[]
  readonly snapshotStores: readonly SnapshotStore[]
  readonly messages: readonly RaftMessage[]
}
