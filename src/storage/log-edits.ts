/**
 * Changes to what a log already holds: its tail is truncated (a follower that reconciles with its
 * leader), its head is deleted (DeleteRecords, retention). Each is durable in the order that makes
 * a crash at any point harmless: what is about to become untrue is first declared so.
 */
import { assert } from '../base/assert.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { isTemporary } from './file-io.ts'
import type { Flusher } from './flusher.ts'
import type { LogCore } from './log-core.ts'
import type { LogReader } from './log-reader.ts'
import type { Segment } from './segment.ts'
import { LOG_SUFFIX } from './segment-names.ts'

export class LogEdits {
  readonly #core: LogCore
  readonly #flusher: Flusher
  readonly #reader: LogReader

  constructor(core: LogCore, flusher: Flusher, reader: LogReader) {
    this.#core = core
    this.#flusher = flusher
    this.#reader = reader
  }

  /** See PartitionLog.truncateTo. */
  truncateTo(offset: number): void {
    const core = this.#core
    assert(offset >= core.logStartOffset && !this.#flusher.isFlushing)
    if (offset >= core.logEndOffset) return
    core.wake()
    const { segments } = core
    const index = segments.find(offset)
    const segment = segments.all[index] as Segment
    const position = this.#reader.positionOf(segment, offset)
    const endOffset = this.#endOffsetBefore(segment, position, offset)
    // A checkpoint may remember any of them.
    const { recoveryPoint, logStartOffset, compactedTo } = core
    const highWatermark = core.isReplicated ? core.highWatermark : 0
    if (endOffset < Math.max(recoveryPoint, logStartOffset, compactedTo, highWatermark)) {
      this.#note(endOffset)
    }
    core.orFail(() => {
      // Later segments first and durably: a crash must not leave a hole with segments behind it.
      while (segments.all.length > index + 1) {
        const later = segments.all.pop() as Segment
        core.bytes -= segments.bytesOf(later)
        segments.remove(later)
      }
      core.dropSnapshotsAbove(endOffset)
      core.isDirectoryDirty = true
      core.syncDirectory()
      this.#shorten(segment, position)
      core.epochs.truncateTo(endOffset)
      core.logEndOffset = endOffset
      core.logStartOffset = Math.min(core.logStartOffset, endOffset)
      this.#settle()
    })
  }

  /** See PartitionLog.truncateFullyAndStartAt. */
  truncateFullyAndStartAt(offset: number): void {
    const core = this.#core
    assert(Number.isSafeInteger(offset) && offset >= 0 && !this.#flusher.isFlushing)
    core.wake()
    this.#note(Math.min(offset, core.logStartOffset))
    core.orFail(() => {
      const { all } = core.segments
      // From the end: what a crash leaves is the beginning of the log, and not its end alone.
      while (all.length > 0) core.segments.remove(all.pop() as Segment)
      core.dropSnapshotsAbove(-1)
      core.isDirectoryDirty = true
      core.syncDirectory()
      core.epochs.clear()
      core.producers.forgetRefused()
      core.logEndOffset = offset
      core.logStartOffset = offset
      core.highWatermark = offset
      core.bytes = 0
      core.writeState({ logStartOffset: offset })
      this.#settle()
    })
  }

  /** Declares a truncation. Where there is no room for that, nothing has changed. */
  #note(offset: number): void {
    const core = this.#core
    try {
      core.noteTruncation(offset)
    } catch (error) {
      if (!isTemporary(error) && error instanceof Error) core.fail(error)
      throw error
    }
  }

  /** See PartitionLog.deleteRecordsTo. */
  deleteRecordsTo(offset: number): ErrorCode {
    const core = this.#core
    if (offset > core.highWatermark || offset < 0) return ErrorCode.OFFSET_OUT_OF_RANGE
    if (core.failure !== null) return ErrorCode.KAFKA_STORAGE_ERROR
    if (offset <= core.logStartOffset) return ErrorCode.NONE
    core.loadEpochs()
    core.writeState({ logStartOffset: offset })
    core.logStartOffset = offset
    core.isChanged = true
    core.epochs.startAt(offset)
    this.removeObsolete()
    return ErrorCode.NONE
  }

  /** Removes segments that lie wholly below the log start, unless a flush still uses them. */
  removeObsolete(): void {
    const core = this.#core
    const { all } = core.segments
    while (all.length > 1 && (all[1] as Segment).baseOffset <= core.logStartOffset) {
      const oldest = all[0] as Segment
      if (oldest.isFlushing) return
      const bytes = core.segments.bytesOf(oldest)
      this.#keepForAWhile(core.segments.retire(oldest))
      core.isDirectoryDirty = true
      core.bytes -= bytes
      all.shift()
    }
  }

  /**
   * Deletes the oldest segment, which lies below the high watermark and is neither the last nor
   * being flushed, and moves the log start behind it. The name of the first segment says where a
   * log starts, so one sync of the directory makes both durable, and a full disk is no obstacle.
   * Returns the bytes of the segment. Throws BrokerError.
   */
  deleteOldest(): number {
    const core = this.#core
    const [oldest, next] = core.segments.all
    assert(oldest !== undefined && next !== undefined && !oldest.isFlushing)
    assert(next.baseOffset <= core.highWatermark)
    core.loadEpochs()
    const bytes = core.segments.bytesOf(oldest)
    const { isDirty } = oldest
    const path = core.segments.retire(oldest)
    this.#syncRetired(oldest, path, isDirty)
    // Nobody has seen the new start before this line, and no crash takes it back after it.
    core.segments.all.shift()
    core.bytes -= bytes
    core.logStartOffset = Math.max(core.logStartOffset, next.baseOffset)
    core.isChanged = true
    core.epochs.startAt(core.logStartOffset)
    this.#keepForAWhile(path)
    return bytes
  }

  /** Makes the retired segment's name durable, or takes the whole deletion back. */
  #syncRetired(segment: Segment, path: string | null, wasDirty: boolean): void {
    const core = this.#core
    core.isDirectoryDirty = true
    try {
      core.syncDirectory()
    } catch (error) {
      if (path !== null && isTemporary(error)) {
        core.orFail(() => core.segments.restore(segment, path))
        if (wasDirty) core.segments.markDirty(segment)
      } else if (error instanceof Error) core.fail(error)
      throw error
    }
  }

  #keepForAWhile(retiredPath: string | null): void {
    const { context, options } = this.#core
    if (retiredPath !== null) context.deletedFiles.add(retiredPath, options.fileDeleteDelayMs)
  }

  /** Cuts the file and everything derived from it; the segment takes appends again. */
  #shorten(segment: Segment, position: number): void {
    const core = this.#core
    const { segments } = core
    core.bytes -= segments.bytesOf(segment) - position
    segments.unseal(segment)
    for (const file of segment.unflushedFiles) core.context.files.close(file)
    segment.unflushedFiles = []
    segments.removeSideFiles(segment)
    const file = segments.open(segment)
    core.context.files.truncate(file, position)
    segment.bytes = position
    segment.stagedBytes = position
    segments.markDirty(segment)
    segments.rebuild(segment, file, core.options.indexIntervalBytes)
    segment.isIndexDirty = true
  }

  /** Makes the shorter log durable and everything in memory agree with it. */
  #settle(): void {
    const core = this.#core
    core.isChanged = true
    this.#reader.reset()
    core.rebuildProducers(core.logEndOffset)
    core.recoveryPoint = Math.min(core.recoveryPoint, core.logEndOffset)
    this.#flusher.flushNow()
    core.resetToEnd()
  }

  /** Where the log ends without the batch at `position`, the first with something from `offset`. */
  #endOffsetBefore(segment: Segment, position: number, offset: number): number {
    const core = this.#core
    const { scanner } = core
    const file = core.segments.open(segment)
    scanner.start(file, position, segment.bytes)
    if (!scanner.next())
      throw core.corrupt(`${core.segments.path(segment, LOG_SUFFIX)}: ${position}`)
    const { baseOffset } = scanner
    if (baseOffset <= offset && core.compactedTo <= segment.baseOffset) return baseOffset
    // Compaction may have left a hole before it: the log ends with the batch before the hole.
    let endOffset = segment.baseOffset
    scanner.start(file, 0, position)
    while (scanner.next()) endOffset = scanner.lastOffset + 1
    return endOffset
  }
}
