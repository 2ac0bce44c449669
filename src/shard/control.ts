import type { Uuid } from '../base/uuid.ts'
import type { LogHint, LogOptions } from '../storage/log-types.ts'
import type { IsrProposalOf, OpenRole, ReplicaRequest, ReplicaState } from './replica-control.ts'

/**
 * Control messages between main and a shard: everything that is not an append, a read or a wake.
 * They are rare, so they are plain objects in msgpackr. Each request gets one reply with its token.
 */
export type ControlRequest =
  | ReplicaRequest
  /** Makes partitions known. Their files are opened at the first use, or now when `recover`. */
  | {
      readonly kind: 'open'
      readonly recover: boolean
      /** Shared by all partitions of the message: one topic's. */
      readonly options: LogOptions
      readonly partitions: readonly OpenPartition[]
    }
  /**
   * Forgets a partition and removes its directory. `mayComeBack`: this broker may be given the same
   * partition again, so that a crash must not leave a part of it.
   */
  | { readonly kind: 'delete'; readonly handle: number; readonly mayComeBack?: boolean }
  | { readonly kind: 'configure'; readonly handle: number; readonly options: LogOptions }
  | { readonly kind: 'offset-for-timestamp'; readonly handle: number; readonly timestampMs: number }
  | { readonly kind: 'max-timestamp'; readonly handle: number }
  | { readonly kind: 'delete-records'; readonly handle: number; readonly beforeOffset: number }
  | { readonly kind: 'end-offset-for-epoch'; readonly handle: number; readonly leaderEpoch: number }
  | { readonly kind: 'offsets'; readonly handle: number }
  | { readonly kind: 'stats' }
  /** Of these handles, as an Int32Array's bytes; at most PARTITION_STATS_BATCH. */
  | { readonly kind: 'partition-stats'; readonly handles: Uint8Array }
  /** Another shard saw a log directory fail: it is offline for all. */
  | { readonly kind: 'fail-directory'; readonly logDirectory: string; readonly message: string }
  /** Writes the checkpoint tables now. */
  | { readonly kind: 'checkpoint' }
  /** Closes every log cleanly and leaves the clean-shutdown mark; nothing is served after it. */
  | { readonly kind: 'shutdown' }

export interface OpenPartition {
  /** Index in main's partition table: names the partition in every other message. */
  readonly handle: number
  readonly topicId: Uuid
  readonly partition: number
  /** The log directory (one of `log.dirs`) and the partition's own directory below it. */
  readonly logDirectory: string
  readonly directory: string
  /** What the checkpoints know; null when nothing: the whole log is scanned. */
  readonly hint: LogHint | null
  readonly leaderEpoch: number
  /** Absent: its only replica is here, and it takes appends. */
  readonly role?: OpenRole
}

/** The offsets that any answer about a partition may need. */
export interface PartitionOffsets {
  readonly logStartOffset: number
  readonly logEndOffset: number
  readonly highWatermark: number
  readonly lastStableOffset: number
}

export type ControlReply =
  | { readonly kind: 'ok' }
  | { readonly kind: 'failed'; readonly errorCode: number; readonly message: string }
  | ({ readonly kind: 'offsets' } & PartitionOffsets)
  /** The batch that a look-up by time found, in an egress extent that main gives back. */
  | {
      readonly kind: 'batch'
      readonly offset: number
      readonly length: number
      readonly generation: number
    }
  /** No batch is as late as that. */
  | { readonly kind: 'no-batch' }
  | { readonly kind: 'epoch'; readonly leaderEpoch: number; readonly endOffset: number }
  | { readonly kind: 'replicas'; readonly states: readonly ReplicaState[] }
  | { readonly kind: 'stats'; readonly stats: ShardStats }
  /** In the order of the handles, see `partition-stats.ts`. */
  | { readonly kind: 'partition-stats'; readonly rows: Uint8Array }
  /** Everything is closed: what the last line of the log says. */
  | { readonly kind: 'closed'; readonly logs: number; readonly flushedRecords: number }

export interface ShardStats {
  readonly partitions: number
  readonly openLogs: number
  readonly logBytes: number
  /** Whose log cannot be served: a failed directory, or damage. */
  readonly offlinePartitions: number
  readonly appends: number
  readonly appendedRecords: number
  readonly appendedBytes: number
  /** Taken from leaders. */
  readonly followedBytes: number
  /** That it leads and others have too. */
  readonly ledPartitions: number
  /** Of these, those that some replica is not in sync with. */
  readonly underReplicatedPartitions: number
  readonly reads: number
  readonly readBytes: number
  readonly flushes: number
  /** By retention. */
  readonly deletedSegments: number
  readonly deletedBytes: number
  /** Of logs, that came to their end. */
  readonly compactions: number
  /** That were put in the place of others. */
  readonly compactedSegments: number
  /** That were dropped. */
  readonly compactedRecords: number
  readonly compactedBytesIn: number
  readonly compactedBytesOut: number
  readonly compactionMs: number
  readonly turns: number
  readonly parks: number
  /** `Histogram.cells`: turns that did something. */
  readonly turnCells: readonly number[]
  readonly cacheWindowBytes: number
  readonly cacheUnstartedBytes: number
  readonly recoveredPartitions: number
  readonly recoveredBytes: number
  readonly egressBytesInUse: number
  readonly threadCpuMicros: number
}

/** What a shard says of its own accord. */
export type ShardEvent =
  | { readonly kind: 'warning'; readonly message: string }
  /** Its log holds what nobody wrote, or was cut because of that; at most once while it is open. */
  | { readonly kind: 'replica-damaged'; readonly handle: number; readonly isCut: boolean }
  /** What the controller is to be asked for; each is answered with 'alter-answer'. */
  | { readonly kind: 'isr-proposals'; readonly proposals: readonly IsrProposalOf[] }
  | {
      readonly kind: 'recovery'
      /** Both since the shard's start. */
      readonly recoveredPartitions: number
      readonly recoveredBytes: number
    }
  /** What retention has deleted since the last one; seldom. */
  | { readonly kind: 'retention'; readonly segments: number; readonly bytes: number }
  /** The thread that compacts is wanted. */
  | { readonly kind: 'compaction-wanted' }
  | {
      readonly kind: 'compaction'
      readonly directory: string
      readonly bytesRead: number
      readonly bytesWritten: number
      readonly recordsDropped: number
      /** In the part that was not compacted yet. */
      readonly keys: number
      readonly ms: number
    }
  | { readonly kind: 'directory-failed'; readonly logDirectory: string; readonly message: string }
  /** A write was refused for want of room, descriptors or memory; at most one a second. */
  | { readonly kind: 'directory-short'; readonly logDirectory: string; readonly code: string }
