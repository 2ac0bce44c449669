/**
 * What goes into a partition log and what comes out of it: the context it runs in, its options,
 * what a checkpoint remembers of it, and the objects that appends and reads reuse. Types only, so
 * that the parts of the log can share them without importing the log.
 */

import type { Clock } from '../base/clock.ts'
import type { ErrorCode } from '../errors/error-code.ts'
import type { BatchEngine } from '../record/batch-engine.ts'
import type { DeletedFiles } from './deleted-files.ts'
import type { FileId, Files } from './files.ts'

/** The world as a log sees it. One context serves every log of a thread. */
export interface LogContext {
  readonly files: Files
  readonly clock: Clock
  readonly engine: BatchEngine
  /** Where the files of deleted segments wait until they are removed. */
  readonly deletedFiles: DeletedFiles
  /** Something an operator should read: a cut tail, a checkpoint that is not to be trusted. */
  readonly onWarning: (message: string) => void
  /** Bytes scanned of one log and to scan at most, at the start and the end of each segment. */
  readonly onRecoveryProgress?: (directory: string, bytesDone: number, bytesTotal: number) => void
}

export interface LogOptions {
  /** A segment never grows past this; at most 2^31 − 1, since index positions are signed 32-bit. */
  readonly segmentBytes: number
  readonly segmentMs: number
  /** Up to so much is taken off `segmentMs`, differently for each segment. */
  readonly segmentJitterMs: number
  /** Size limit of an index file; a full index rolls the segment. */
  readonly segmentIndexBytes: number
  readonly indexIntervalBytes: number
  /** Whole batch, its 12 prefix bytes included. */
  readonly batchBytesMax: number
  /**
   * Records; Infinity = the log never asks for a flush because of its count. 1 = before every ack.
   */
  readonly flushMessages: number
  readonly flushMs: number
  readonly timestampType: 'CreateTime' | 'LogAppendTime'
  readonly timestampBeforeMaxMs: number
  readonly timestampAfterMaxMs: number
  readonly preallocate: boolean
  /** Old segments go while at least so much is kept; Infinity = never because of the size. */
  readonly retentionBytes: number
  /** Old segments go when their newest record is older; Infinity = never because of its age. */
  readonly retentionMs: number
  /** How long the file of a deleted segment stays on disk. */
  readonly fileDeleteDelayMs: number
  /** Records that a later one of their key replaces go (`compaction/`). */
  readonly isCompacted: boolean
  /** Share of bytes not compacted yet, above which the log is due. */
  readonly minCleanableDirtyRatio: number
  /** A record younger than this stays. */
  readonly minCompactionLagMs: number
  /** A record older than this makes the log due; Infinity = never. */
  readonly maxCompactionLagMs: number
  /** How long a tombstone stays after it was first compacted. */
  readonly deleteRetentionMs: number
  readonly producerIdExpirationMs: number
  /** How much of the hot tail stays in the page cache. */
  readonly pageCacheWindowBytes: number
  /** Write-behind step: how much may be dirty before the disk is told to start. */
  readonly writeBehindBytes: number
}

/**
 * Kafka's defaults, and the page-cache window of the performance notes. Except that nothing is
 * deleted unless somebody asks for it: the metadata log has no topic that could.
 */
export const DEFAULT_LOG_OPTIONS: LogOptions = {
  segmentBytes: 1024 * 1024 * 1024,
  segmentMs: 7 * 24 * 3600 * 1000,
  segmentJitterMs: 0,
  segmentIndexBytes: 10 * 1024 * 1024,
  indexIntervalBytes: 4096,
  batchBytesMax: 1024 * 1024 + 12,
  flushMessages: Infinity,
  flushMs: Infinity,
  timestampType: 'CreateTime',
  timestampBeforeMaxMs: Infinity,
  timestampAfterMaxMs: 3600 * 1000,
  preallocate: false,
  retentionBytes: Infinity,
  retentionMs: Infinity,
  fileDeleteDelayMs: 60_000,
  isCompacted: false,
  minCleanableDirtyRatio: 0.5,
  minCompactionLagMs: 0,
  maxCompactionLagMs: Infinity,
  deleteRetentionMs: 24 * 3600 * 1000,
  producerIdExpirationMs: 24 * 3600 * 1000,
  pageCacheWindowBytes: 64 * 1024 * 1024,
  writeBehindBytes: 512 * 1024,
}

/**
 * What a checkpoint knows of a log: statements that were true when it was written and that time
 * cannot make dangerous (see README, "Hints"). Null instead of a hint = nothing is known: full
 * scan.
 */
export interface LogHint {
  /** The log was closed in order and nobody opened it since: nothing needs to be scanned. */
  readonly clean: boolean
  /** Everything below was durable; exclusive. */
  readonly recoveryPoint: number
  readonly logStartOffset: number
  /** Exact when clean, else the value at the time. */
  readonly logEndOffset: number
  /** How often the log's tail had been truncated: a recovery point outlives no truncation. */
  readonly truncations: number
  /** Size of all segments; guides the partition → shard map, and is exact when clean. */
  readonly bytes: number
  /** Of a replicated log: at least so far it was on all in-sync replicas. Absent: not known. */
  readonly highWatermark?: number
}

/**
 * From when on the oldest segment may be due to be deleted: what is below both is not worth a look
 * at the log. Never too late, perhaps too early.
 */
export interface RetentionBounds {
  /** Wall clock; −Infinity while the age of the segment is not known, Infinity = never. */
  readonly atMs: number
  /** Size of the whole log; Infinity = never. */
  readonly atBytes: number
}

/** Filled by `append` and `appendAsFollower`; the caller owns and reuses it. */
export interface AppendResult {
  errorCode: ErrorCode
  errorMessage: string | null
  baseOffset: number
  /** Exclusive: acknowledge once highWatermark ≥ this. */
  endOffset: number
  /** −1 = CreateTime. */
  appendTimeMs: number
  /** The run is in the log already; offsets are those of the first time. */
  duplicate: boolean
}

export function newAppendResult(): AppendResult {
  return {
    errorCode: 0,
    errorMessage: null,
    baseOffset: -1,
    endOffset: -1,
    appendTimeMs: -1,
    duplicate: false,
  }
}

/**
 * Where the bytes of a read lie. Reused by the log: valid until its next `locate`, write, report of
 * a flush, truncation or deletion. `length` 0 = nothing to read yet.
 */
export interface ReadLocation {
  readonly file: FileId
  /** In the file; where the batch that holds `offset` starts. */
  readonly position: number
  /**
   * Bytes to read; the last batch among them may be partial (`read` trims it), the first is not.
   */
  readonly length: number
  /**
   * Far behind the end of the log, so probably not in the page cache, and its batches have not been
   * looked at: copy this, read the range in whatever way, and hand it to `finishRead`.
   */
  readonly isDeferrable: boolean
  /** The offset asked for. */
  readonly offset: number
  readonly segmentBaseOffset: number
  /** Every batch of the range ends below it. */
  readonly endOffset: number
  /**
   * The first batch is larger than maxBytes and minOneBatch was not asked for; length is then 0.
   */
  readonly tooSmall: boolean
  /** Tells the log whether the position still means what it meant. */
  readonly layout: number
  /** How far what is read is looked at. */
  readonly check: ReadCheck
}

export interface LocateOptions {
  /** Return the first batch even when it is larger than maxBytes. */
  readonly minOneBatch: boolean
  readonly upTo: ReadBound
  /** The caller can read old data later: see `isDeferrable`. Default: false. */
  readonly mayDefer?: boolean
  /** Whoever reads could not use what was read before: everything is looked at. Default: false. */
  readonly verify?: boolean
}

/**
 * Offsets in any case; checksums in sealed segments, since batches are checked as they come;
 * leader epochs, which no checksum covers and consumers ignore, where a follower stumbles.
 */
export type ReadCheck = 'offsets' | 'checksums' | 'epochs'
export type ReadBound = 'highWatermark' | 'logEnd'

/** A batch found by timestamp; look inside with `firstRecordAtOrAfter` (record-search.ts). */
export interface TimestampedBatch {
  /** In the segment that holds `baseOffset`. */
  readonly position: number
  readonly bytes: number
  readonly baseOffset: number
  readonly lastOffset: number
  readonly leaderEpoch: number
  readonly maxTimestamp: number
  readonly attributes: number
}

export interface EpochEnd {
  /** −1 when the epoch is newer than any the log knows. */
  readonly epoch: number
  /** Exclusive; −1 with epoch −1. */
  readonly endOffset: number
}

/** What a full scan saw; `problems` is empty for a sound log. */
export interface LogReport {
  readonly segments: number
  readonly batches: number
  readonly bytes: number
  readonly problems: readonly string[]
}
