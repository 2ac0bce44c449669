/**
 * One segment of a log: its file, its two indexes, and what is known of its newest record. The last
 * segment takes appends; all others are sealed and never change again.
 *
 * `bytes` is what the file holds for readers; `stagedBytes` also counts batches that are placed but
 * not written yet. Between turns both are equal.
 */
import { assert } from '../base/assert.ts'
import type { FileId } from './files.ts'
import { OFFSET_ENTRY_BYTES, OffsetIndex } from './offset-index.ts'
import { TIME_ENTRY_BYTES, TimeIndex } from './time-index.ts'

export const NO_FILE: FileId = -1
/** Relative offsets are signed 32-bit. */
export const RELATIVE_OFFSET_MAX = 2 ** 31 - 1
/** Positions are too. */
export const SEGMENT_BYTES_LIMIT = 2 ** 31 - 1

export interface Indexes {
  readonly offsets: OffsetIndex
  readonly times: TimeIndex
}

export interface SegmentMark {
  readonly stagedBytes: number
  readonly offsetEntries: number
  readonly timeEntries: number
  readonly maxTimestamp: number
  readonly maxTimestampOffset: number
  readonly bytesSinceEntry: number
  readonly firstTimestamp: number
  readonly firstAppendMs: number
  readonly isIndexDirty: boolean
}

export class Segment {
  readonly baseOffset: number
  /** Open file, or NO_FILE. */
  file: FileId = NO_FILE
  /** False until the first write creates the file. */
  isCreated: boolean
  /** Written bytes; −1 while unknown (never opened since the start). */
  bytes: number
  stagedBytes: number
  /** Null while not loaded. */
  indexes: Indexes | null = null
  /** The index files do not say what `indexes` says. */
  isIndexDirty = false
  /**
   * Largest timestamp of the segment and the last offset of the first batch that has it; −1 none.
   */
  maxTimestamp = -1
  maxTimestampOffset = -1
  /** Bytes placed since the last index entry. */
  bytesSinceEntry = 0
  /** maxTimestamp of the first batch: segment.ms counts from it. −1 = none or unknown. */
  firstTimestamp = -1
  /** When this process first appended, monotonic; Infinity before. */
  firstAppendMs = Infinity
  isSealed = false
  /** Written since its last flush started. */
  isDirty = false
  /** A flush of its data is under way. */
  isFlushing = false
  /** Index files written and not flushed yet, open. */
  unflushedFiles: FileId[] = []
  /** A write is being staged that may have to be taken back: its file and indexes stay. */
  isPinned = false
  /** Counts uses, for closing the least recently used. */
  lastUse = 0

  constructor(baseOffset: number, isCreated: boolean) {
    assert(Number.isSafeInteger(baseOffset) && baseOffset >= 0)
    this.baseOffset = baseOffset
    this.isCreated = isCreated
    this.bytes = isCreated ? -1 : 0
    this.stagedBytes = this.bytes
    if (!isCreated) this.resetIndexes()
  }

  /** Empties the indexes: whoever calls adds every batch again. */
  resetIndexes(): void {
    this.indexes = { offsets: new OffsetIndex(), times: new TimeIndex() }
    this.isIndexDirty = true
    this.maxTimestamp = -1
    this.maxTimestampOffset = -1
    this.bytesSinceEntry = 0
    this.firstTimestamp = -1
  }

  /** Takes the indexes that another object of the same segment has built. */
  takeIndexes(from: Segment): void {
    this.indexes = from.indexes
    this.isIndexDirty = true
    this.maxTimestamp = from.maxTimestamp
    this.maxTimestampOffset = from.maxTimestampOffset
    this.bytesSinceEntry = from.bytesSinceEntry
    this.firstTimestamp = from.firstTimestamp
  }

  /** Takes indexes read from disk, and the newest timestamp from their last entry. */
  adoptIndexes(indexes: Indexes): void {
    this.indexes = indexes
    this.isIndexDirty = false
    this.bytesSinceEntry = 0
    const last = indexes.times.count - 1
    this.maxTimestamp = last < 0 ? -1 : indexes.times.timestamp(last)
    this.maxTimestampOffset = last < 0 ? -1 : this.baseOffset + indexes.times.relativeOffset(last)
  }

  /**
   * Notes a batch placed at `position` in the indexes. Same rule as Kafka's: first batch, no entry.
   */
  index(position: number, batch: IndexedBatch, intervalBytes: number): void {
    const indexes = this.indexes
    assert(indexes !== null)
    if (position === 0) this.firstTimestamp = batch.maxTimestamp
    if (batch.maxTimestamp > this.maxTimestamp) {
      this.maxTimestamp = batch.maxTimestamp
      this.maxTimestampOffset = batch.lastOffset
    }
    if (this.bytesSinceEntry > intervalBytes) {
      indexes.offsets.append(batch.lastOffset - this.baseOffset, position)
      this.#appendTimeEntry(indexes)
      this.bytesSinceEntry = 0
      this.isIndexDirty = true
    }
    this.bytesSinceEntry += batch.bytes
  }

  /** Makes the newest timestamp the last entry of the time index. */
  completeTimeIndex(): void {
    if (this.indexes === null) return
    const before = this.indexes.times.count
    this.#appendTimeEntry(this.indexes)
    if (this.indexes.times.count !== before) this.isIndexDirty = true
  }

  #appendTimeEntry(indexes: Indexes): void {
    if (this.maxTimestamp < 0) return
    indexes.times.maybeAppend(this.maxTimestamp, this.maxTimestampOffset - this.baseOffset)
  }

  /** True when one more entry might not fit an index file of `bytes`. */
  isIndexFull(bytes: number): boolean {
    const indexes = this.indexes
    assert(indexes !== null)
    if ((indexes.offsets.count + 1) * OFFSET_ENTRY_BYTES > bytes) return true
    return (indexes.times.count + 2) * TIME_ENTRY_BYTES > bytes // One is kept for sealing.
  }

  mark(): SegmentMark {
    assert(this.indexes !== null)
    return {
      stagedBytes: this.stagedBytes,
      offsetEntries: this.indexes.offsets.count,
      timeEntries: this.indexes.times.count,
      maxTimestamp: this.maxTimestamp,
      maxTimestampOffset: this.maxTimestampOffset,
      bytesSinceEntry: this.bytesSinceEntry,
      firstTimestamp: this.firstTimestamp,
      firstAppendMs: this.firstAppendMs,
      isIndexDirty: this.isIndexDirty,
    }
  }

  rollback(mark: SegmentMark): void {
    assert(this.indexes !== null)
    this.stagedBytes = mark.stagedBytes
    this.indexes.offsets.shorten(mark.offsetEntries)
    this.indexes.times.shorten(mark.timeEntries)
    this.maxTimestamp = mark.maxTimestamp
    this.maxTimestampOffset = mark.maxTimestampOffset
    this.bytesSinceEntry = mark.bytesSinceEntry
    this.firstTimestamp = mark.firstTimestamp
    this.firstAppendMs = mark.firstAppendMs
    this.isIndexDirty = mark.isIndexDirty
  }
}

export interface IndexedBatch {
  readonly bytes: number
  /** Inclusive. */
  readonly lastOffset: number
  readonly maxTimestamp: number
}
