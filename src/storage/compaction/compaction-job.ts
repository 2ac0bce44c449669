/**
 * What goes into the compaction of a log and what comes out of it: plain data, so that it may cross
 * threads. The shard that owns the log plans it and swaps its results in; whoever runs it reads
 * segments that never change any more, and writes files that are no part of the log yet.
 */
import type { Crc32c } from '../../record/batch-header.ts'
import type { CompressionCode } from '../../record/compression-code.ts'
import type { Files } from '../files.ts'

export interface CompactionJob {
  readonly directory: string
  /** From the log's first one to the last that may be compacted, ascending, without a gap. */
  readonly segments: readonly InputSegment[]
  /** Everything below was compacted already: its keys are not looked at again. */
  readonly firstDirtyOffset: number
  /** Wall clock. */
  readonly nowMs: number
  readonly deleteRetentionMs: number
  readonly segmentBytes: number
  readonly segmentIndexBytes: number
  readonly indexIntervalBytes: number
  /**
   * Of each producer: id, epoch and the last offset of its newest batch with data (−1 none): that
   * batch keeps its header, whatever goes.
   */
  readonly producers: Float64Array
}

export const PRODUCER_WORDS = 3

export interface InputSegment {
  readonly baseOffset: number
  /** First offset of the next segment. */
  readonly endOffset: number
  readonly bytes: number
}

/** A segment that stands for those of its range, written and flushed beside them. */
export interface CompactedSegment {
  readonly baseOffset: number
  readonly endOffset: number
  readonly bytes: number
  /** −1 = no record has a timestamp. */
  readonly maxTimestamp: number
  readonly maxTimestampOffset: number
}

export interface CompactionSummary {
  /** Everything below is compacted now. */
  readonly endOffset: number
  readonly bytesRead: number
  readonly bytesWritten: number
  readonly recordsDropped: number
  readonly keys: number
  readonly mapBytes: number
}

/** What runs a job. */
export interface CompactionTools {
  readonly files: Files
  readonly crc32c: Crc32c
  /** Memory of the map of keys, and which share of it may be taken. */
  readonly mapBytesMax: number
  readonly mapLoadFactor: number
  /** Of the hash of keys, new for each run: four words. */
  readonly secret: Int32Array
}

/** Where a run stops for whoever drives it. Codecs answer with bytes, or throw. */
export type CompactionStep =
  /** So many bytes were read and written since the last one: time to let others work. */
  | { readonly kind: 'pace'; readonly bytes: number }
  | { readonly kind: 'compacted'; readonly segment: CompactedSegment }
  | {
      readonly kind: 'decompress'
      readonly code: CompressionCode
      readonly bytes: Uint8Array
      readonly bytesMax: number
    }
  | { readonly kind: 'compress'; readonly code: CompressionCode; readonly bytes: Uint8Array }

export type CompactionSteps = Generator<CompactionStep, CompactionSummary, Uint8Array | undefined>
