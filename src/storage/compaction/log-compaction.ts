/**
 * The owner's side of a log's compaction: when it is due, what may be compacted, and putting the
 * new segments in the place of the old ones. Runs on the thread that owns the log; the work in
 * between is `compaction-run.ts`, on whatever thread.
 *
 * What may be compacted: segments that are sealed, below the high watermark, the last stable
 * offset and the recovery point, and whose newest record is older than min.compaction.lag.ms.
 *
 * A swap, each line durable before the next:
 *   compactedTo rises                  holes are legal below it
 *   range.cleaned → range.swap         the new segment will stand, whatever happens
 *   inputs retired, indexes gone
 *   range.swap → base.log
 * A start that finds a .swap finishes what it began (`recovery.ts`). Segments are swapped oldest
 * first, so that a tombstone never goes before what it deletes.
 */
import { assert } from '../../base/assert.ts'
import { isTemporary } from '../file-io.ts'
import type { LogCore } from '../log-core.ts'
import type { LogReader } from '../log-reader.ts'
import {
  BATCH_COUNT_WORD,
  BATCH_LAST_OFFSET,
  batchWord,
  PRODUCER_EPOCH_WORD,
} from '../producer-state.ts'
import { Segment } from '../segment.ts'
import {
  CLEANED_SUFFIX,
  INDEX_SUFFIX,
  joinPath,
  LOG_SUFFIX,
  type OffsetRange,
  rangeName,
  SWAP_SUFFIX,
  TIME_INDEX_SUFFIX,
} from '../segment-names.ts'
import { readCleanerCheckpoint, writeCleanerCheckpoint } from './cleaner-checkpoint.ts'
import {
  type CompactedSegment,
  type CompactionJob,
  type InputSegment,
  PRODUCER_WORDS,
} from './compaction-job.ts'
import { removeCleaned } from './segment-writer.ts'

/** What is there to compact. */
interface Prospect {
  readonly segments: readonly InputSegment[]
  readonly firstDirtyOffset: number
  /** Wall clock; −Infinity = now, Infinity = not before something is appended. */
  readonly dueAtMs: number
}

const NOTHING: Prospect = { segments: [], firstDirtyOffset: 0, dueAtMs: Infinity }

interface Running {
  readonly endOffset: number
  readonly truncations: number
}

export class LogCompaction {
  readonly #core: LogCore
  readonly #reader: LogReader
  #running: Running | null = null

  constructor(core: LogCore, reader: LogReader) {
    this.#core = core
    this.#reader = reader
  }

  get isRunning(): boolean {
    return this.#running !== null
  }

  get isStale(): boolean {
    return this.#running !== null && this.#running.truncations !== this.#core.truncations
  }

  /** Everything below is compacted. Throws BrokerError. */
  get firstDirtyOffset(): number {
    return Math.min(readCleanerCheckpoint(this.#core), this.#core.compactedTo)
  }

  /** See PartitionLog.compactionDueAtMs. */
  dueAtMs(wallMs: number): number {
    return this.#prospect(wallMs).dueAtMs
  }

  /** See PartitionLog.startCompaction. */
  start(wallMs: number): CompactionJob | null {
    const core = this.#core
    assert(this.#running === null)
    if (this.dueAtMs(wallMs) > wallMs) return null
    core.wake() // Only now open transactions are known.
    const { segments, firstDirtyOffset, dueAtMs } = this.#prospect(wallMs)
    if (dueAtMs > wallMs) return null
    const { options } = core
    const endOffset = (segments.at(-1) as InputSegment).endOffset
    this.#running = { endOffset, truncations: core.truncations }
    return {
      directory: core.directory,
      segments,
      firstDirtyOffset,
      nowMs: wallMs,
      deleteRetentionMs: options.deleteRetentionMs,
      segmentBytes: options.segmentBytes,
      segmentIndexBytes: options.segmentIndexBytes,
      indexIntervalBytes: options.indexIntervalBytes,
      producers: lastBatches(core),
    }
  }

  #prospect(wallMs: number): Prospect {
    const core = this.#core
    const { options, segments } = core
    if (!options.isCompacted || core.failure !== null || segments.all.length < 2) return NOTHING
    const bound = this.#bound()
    if ((segments.all[1] as Segment).baseOffset > bound) return NOTHING
    const { firstDirtyOffset } = this
    const inputs: InputSegment[] = []
    let cleanBytes = 0
    let dirtyBytes = 0
    let dueAtMs = Infinity
    let firstDirty: Segment | null = null
    for (const [i, segment] of segments.all.entries()) {
      const endOffset = segments.all[i + 1]?.baseOffset
      if (endOffset === undefined || endOffset > bound || !isSettled(segment)) break
      const bytes = segments.bytesOf(segment)
      if (endOffset <= firstDirtyOffset) cleanBytes += bytes
      else {
        const oldEnoughMs = this.#oldEnoughMs(segment)
        if (oldEnoughMs > wallMs) {
          dueAtMs = oldEnoughMs
          break
        }
        dirtyBytes += bytes
        firstDirty ??= segment
      }
      inputs.push({ baseOffset: segment.baseOffset, endOffset, bytes })
    }
    if (firstDirty === null) return { ...NOTHING, dueAtMs }
    const ratio = dirtyBytes / (cleanBytes + dirtyBytes)
    if (ratio > options.minCleanableDirtyRatio) dueAtMs = -Infinity
    else if (options.maxCompactionLagMs !== Infinity) {
      const latestMs = this.#firstTimestamp(firstDirty) + options.maxCompactionLagMs + 1
      dueAtMs = Math.min(dueAtMs, latestMs)
    }
    return { segments: inputs, firstDirtyOffset, dueAtMs }
  }

  /** Nothing at or above it may be compacted; exclusive. */
  #bound(): number {
    const { highWatermark, recoveryPoint, producers, isAwake } = this.#core
    const open = isAwake ? producers.firstOpenTransactionOffset() : -1
    const bound = Math.min(highWatermark, recoveryPoint)
    return open < 0 ? bound : Math.min(bound, open)
  }

  #oldEnoughMs(segment: Segment): number {
    const { minCompactionLagMs, indexIntervalBytes } = this.#core.options
    if (minCompactionLagMs === 0) return -Infinity
    if (segment.maxTimestamp < 0) this.#core.segments.indexes(segment, indexIntervalBytes)
    return segment.maxTimestamp + minCompactionLagMs
  }

  #firstTimestamp(segment: Segment): number {
    const { scanner, segments } = this.#core
    scanner.start(segments.open(segment), 0, segment.bytes)
    return scanner.next() ? scanner.maxTimestamp : -1
  }

  /**
   * See PartitionLog.swapCompacted. False when it does not fit the log any more: nothing that
   * follows may be swapped either.
   */
  swap(compacted: CompactedSegment): boolean {
    const core = this.#core
    const running = this.#running
    assert(running !== null && compacted.endOffset <= running.endOffset)
    const { all } = core.segments
    if (core.failure !== null || this.isStale) return false
    if ((all[0]?.baseOffset ?? 0) >= compacted.endOffset) return true // Deleted meanwhile.
    const first = core.segments.find(compacted.baseOffset)
    const end = core.segments.find(compacted.endOffset)
    const inputs = all.slice(first, end)
    const fits =
      first >= 0 &&
      (all[first] as Segment).baseOffset === compacted.baseOffset &&
      (all[end] as Segment).baseOffset === compacted.endOffset &&
      inputs.every(isSettled)
    if (!fits) return false
    if (core.compactedTo < running.endOffset) core.writeState({ compactedTo: running.endOffset })
    for (const segment of inputs) core.segments.close(segment)
    this.#commit(compacted)
    core.orFail(() => this.#replace(inputs, compacted))
    let freed = -compacted.bytes
    for (const segment of inputs) freed += segment.bytes
    core.bytes -= freed
    all.splice(first, inputs.length, sealedSegment(compacted))
    core.isChanged = true
    this.#reader.reset()
    return true
  }

  /** Gives the new segment the name that makes it stand. Throws BrokerError; nothing changed. */
  #commit(range: OffsetRange): void {
    const core = this.#core
    const { files } = core.context
    const cleaned = this.#path(range, CLEANED_SUFFIX)
    const swap = this.#path(range, SWAP_SUFFIX)
    let isNamed = false
    try {
      files.rename(cleaned, swap)
      isNamed = true
      core.isDirectoryDirty = true
      core.syncDirectory()
    } catch (error) {
      if (isTemporary(error)) {
        if (isNamed) core.orFail(() => files.rename(swap, cleaned))
      } else if (error instanceof Error) core.fail(error)
      throw error
    }
  }

  #replace(inputs: readonly Segment[], range: OffsetRange): void {
    const core = this.#core
    const { files, deletedFiles } = core.context
    const [first] = inputs
    assert(first !== undefined)
    // The first one as well, whose name is taken next: to free its blocks is what a file system may
    // be slow at, and everybody who has it sync a directory waits for that.
    for (const segment of inputs) {
      const retired = core.segments.retire(segment)
      if (retired !== null) deletedFiles.add(retired, core.options.fileDeleteDelayMs)
    }
    core.isDirectoryDirty = true
    core.syncDirectory()
    files.rename(this.#path(range, SWAP_SUFFIX), core.segments.path(first, LOG_SUFFIX))
    core.isDirectoryDirty = true
    core.syncDirectory()
    for (const suffix of [INDEX_SUFFIX, TIME_INDEX_SUFFIX]) {
      files.rename(this.#path(range, suffix + CLEANED_SUFFIX), core.segments.path(first, suffix))
    }
    core.isDirectoryDirty = true
  }

  #path(range: OffsetRange, suffix: string): string {
    return joinPath(this.#core.directory, rangeName(range, suffix))
  }

  /** See PartitionLog.endCompaction. */
  end(endOffset: number | null): void {
    const core = this.#core
    const running = this.#running
    assert(running !== null)
    this.#running = null
    removeCleaned(core.context.files, core.directory)
    core.isDirectoryDirty = true
    if (endOffset === null || core.failure !== null) return
    if (core.truncations !== running.truncations) return
    // Nothing may have been swapped: nothing was replaced, and all of it is clean all the same.
    if (core.compactedTo < endOffset) core.writeState({ compactedTo: running.endOffset })
    writeCleanerCheckpoint(core, endOffset)
    core.isChanged = true
  }
}

/** Sealed, and no flush or write needs its files. */
function isSettled(segment: Segment): boolean {
  const { isSealed, isDirty, isFlushing, isPinned, unflushedFiles } = segment
  return isSealed && !isDirty && !isFlushing && !isPinned && unflushedFiles.length === 0
}

function sealedSegment(compacted: CompactedSegment): Segment {
  const segment = new Segment(compacted.baseOffset, true)
  segment.isSealed = true
  segment.bytes = compacted.bytes
  segment.stagedBytes = compacted.bytes
  segment.maxTimestamp = compacted.maxTimestamp
  segment.maxTimestampOffset = compacted.maxTimestampOffset
  return segment
}

function lastBatches({ producers }: LogCore): Float64Array {
  const words = new Float64Array(producers.count * PRODUCER_WORDS)
  let at = 0
  for (const [id, state] of producers.entries()) {
    const count = state[BATCH_COUNT_WORD] as number
    words[at] = id
    words[at + 1] = state[PRODUCER_EPOCH_WORD] as number
    words[at + 2] = count === 0 ? -1 : (state[batchWord(count - 1) + BATCH_LAST_OFFSET] as number)
    at += PRODUCER_WORDS
  }
  return words
}
