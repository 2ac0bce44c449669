/**
 * The segments of a log in offset order, and their files: opened when needed, closed again when too
 * many sealed ones are open, indexes loaded on demand and rebuilt from the batches when the files
 * are missing or make no sense.
 */
import { assert } from '../base/assert.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { scannerOf } from './batch-scanner.ts'
import { isTemporary, readWhole, writeNew } from './file-io.ts'
import type { FileId, Files } from './files.ts'
import { OffsetIndex } from './offset-index.ts'
import { type Indexes, NO_FILE, RELATIVE_OFFSET_MAX, Segment } from './segment.ts'
import {
  DELETED_SUFFIX,
  INDEX_SUFFIX,
  joinPath,
  LOG_SUFFIX,
  offsetName,
  SIDE_SUFFIXES,
  TIME_INDEX_SUFFIX,
} from './segment-names.ts'
import { TimeIndex } from './time-index.ts'

/** Sealed segments kept open for readers, with their indexes in memory. */
const OPEN_SEALED_MAX = 4

export class SegmentList {
  readonly directory: string
  /** Ascending base offsets; staged ones (from the log end on) stand at the end. */
  readonly all: Segment[] = []
  readonly #files: Files
  readonly #onWarning: (message: string) => void
  /** Segments with something that no started flush covers, in no particular order. */
  readonly dirty: Segment[] = []
  #uses = 0
  readonly #openSealed = new Set<Segment>()

  constructor(files: Files, directory: string, onWarning: (message: string) => void) {
    this.#files = files
    this.directory = directory
    this.#onWarning = onWarning
  }

  get last(): Segment | undefined {
    return this.all.at(-1)
  }

  /** Index of the last segment whose base offset is ≤ `offset`, −1 when there is none. */
  find(offset: number): number {
    let low = 0
    let high = this.all.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.all[middle] as Segment).baseOffset <= offset) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  /** First offset after segment `index`, given where the log ends; exclusive. */
  endOffset(index: number, logEndOffset: number): number {
    const next = this.all[index + 1]
    return next === undefined ? logEndOffset : Math.min(next.baseOffset, logEndOffset)
  }

  path(segment: Segment, suffix: string): string {
    return joinPath(this.directory, offsetName(segment.baseOffset, suffix))
  }

  /** The segment's file, opened if it is not, and its size known. Throws BrokerError. */
  open(segment: Segment): FileId {
    segment.lastUse = ++this.#uses
    if (segment.file !== NO_FILE) return segment.file
    if (segment.isSealed) this.closeIdle(OPEN_SEALED_MAX - 1)
    const file = this.#files.open(
      this.path(segment, LOG_SUFFIX),
      segment.isCreated ? 'write' : 'create',
    )
    segment.file = file
    segment.isCreated = true
    if (segment.isSealed) this.#openSealed.add(segment)
    if (segment.bytes < 0) this.#learnBytes(segment, file)
    return file
  }

  #learnBytes(segment: Segment, file: FileId): void {
    try {
      segment.bytes = this.#files.size(file)
      segment.stagedBytes = segment.bytes
    } finally {
      if (segment.bytes < 0) this.close(segment)
    }
  }

  /** Written bytes of the segment, asking the disk if they are unknown. */
  bytesOf(segment: Segment): number {
    if (segment.bytes < 0) this.open(segment)
    return segment.bytes
  }

  markDirty(segment: Segment): void {
    if (segment.isDirty) return
    segment.isDirty = true
    this.dirty.push(segment)
  }

  /** Its data is durable, about to be, or gone. */
  markClean(segment: Segment): void {
    if (!segment.isDirty) return
    segment.isDirty = false
    this.dirty.splice(this.dirty.indexOf(segment), 1)
  }

  seal(segment: Segment): void {
    if (segment.isSealed) return
    segment.isSealed = true
    if (segment.file !== NO_FILE) this.#openSealed.add(segment)
  }

  unseal(segment: Segment): void {
    if (!segment.isSealed) return
    segment.isSealed = false
    this.#openSealed.delete(segment)
  }

  /** Closes the files; forgets indexes that are on disk. */
  close(segment: Segment): void {
    for (const file of segment.unflushedFiles) this.#files.close(file)
    segment.unflushedFiles = []
    if (!segment.isIndexDirty && segment.bytes >= 0) segment.indexes = null
    if (segment.file === NO_FILE) return
    const file = segment.file
    segment.file = NO_FILE
    this.#openSealed.delete(segment)
    this.#files.close(file)
  }

  /** Closes every segment, also when some of them fail to: then the first failure is thrown. */
  closeAll(): void {
    let failure: { readonly error: unknown } | null = null
    for (const segment of this.all) {
      try {
        this.close(segment)
      } catch (error) {
        failure ??= { error }
      }
    }
    if (failure !== null) throw failure.error
  }

  /**
   * Closes least recently used sealed segments, and forgets their indexes, until at most `kept` are
   * open. Those that wait for a flush or a write stay: call it again after each flush.
   */
  closeIdle(kept = OPEN_SEALED_MAX): void {
    while (this.#openSealed.size > kept) {
      let oldest: Segment | null = null
      for (const segment of this.#openSealed) {
        if (!isIdle(segment)) continue
        if (oldest === null || segment.lastUse < oldest.lastUse) oldest = segment
      }
      if (oldest === null) return
      this.close(oldest)
    }
  }

  /** Removes every file of the segment; durable after a sync of the directory. */
  remove(segment: Segment): void {
    this.close(segment)
    this.markClean(segment)
    this.#files.remove(this.path(segment, LOG_SUFFIX))
    this.removeSideFiles(segment)
  }

  /**
   * Takes the segment's file out of the log by its name, and removes what can be rebuilt from it;
   * durable after a sync of the directory. Returns the new path, null when there was no room for
   * the name and the file is gone at once. Throws BrokerError: then nothing is lost.
   */
  retire(segment: Segment): string | null {
    this.close(segment)
    this.markClean(segment)
    this.removeSideFiles(segment)
    const path = this.path(segment, LOG_SUFFIX)
    try {
      this.#files.rename(path, path + DELETED_SUFFIX)
    } catch (error) {
      if (!isTemporary(error)) throw error
      this.#files.remove(path)
      return null
    }
    return path + DELETED_SUFFIX
  }

  /** Takes back a `retire` that could not be made durable. Throws BrokerError. */
  restore(segment: Segment, retiredPath: string): void {
    this.#files.rename(retiredPath, this.path(segment, LOG_SUFFIX))
  }

  removeSideFiles(segment: Segment): void {
    for (const suffix of SIDE_SUFFIXES) this.#files.remove(this.path(segment, suffix))
  }

  /** The indexes, loaded from their files or rebuilt from the batches. Throws BrokerError. */
  indexes(segment: Segment, intervalBytes: number): Indexes {
    if (segment.indexes !== null) return segment.indexes
    const file = this.open(segment)
    const loaded = this.#load(segment)
    if (loaded !== null) segment.adoptIndexes(loaded)
    else this.rebuild(segment, file, intervalBytes)
    assert(segment.indexes !== null)
    return segment.indexes
  }

  /**
   * Rebuilds the indexes from the written batches, whose headers must be sound: all or nothing.
   * Those of a sealed segment go to disk, so that this happens once. Throws BrokerError.
   */
  rebuild(segment: Segment, file: FileId, intervalBytes: number): void {
    if (segment.isPinned) {
      // Not damage: whoever asks is to ask again.
      const action = `index ${this.path(segment, LOG_SUFFIX)}: a write to it is under way`
      throw new BrokerError(ErrorCode.REQUEST_TIMED_OUT, action)
    }
    const scanner = scannerOf(this.#files)
    const fresh = new Segment(segment.baseOffset, false)
    let expected = segment.baseOffset
    scanner.start(file, 0, segment.bytes)
    while (scanner.next()) {
      const { position, baseOffset, lastOffset } = scanner
      if (baseOffset < expected || lastOffset - segment.baseOffset > RELATIVE_OFFSET_MAX) {
        const what = `offsets ${baseOffset} to ${lastOffset} where ${expected} is due`
        throw this.#unindexable(segment, position, what)
      }
      fresh.index(position, scanner, intervalBytes)
      expected = lastOffset + 1
    }
    if (scanner.problem !== null) {
      throw this.#unindexable(segment, scanner.position + scanner.bytes, scanner.problem)
    }
    segment.takeIndexes(fresh)
    if (!segment.isSealed) return
    segment.completeTimeIndex()
    this.#keepIndexes(segment)
  }

  #unindexable(segment: Segment, position: number, problem: string): BrokerError {
    const where = `${this.path(segment, LOG_SUFFIX)} at position ${position}`
    return new BrokerError(ErrorCode.CORRUPT_MESSAGE, `index ${where}: ${problem}`)
  }

  /** Readers do not depend on it: a disk that refuses costs them the next rebuild. */
  #keepIndexes(segment: Segment): void {
    const wasDirty = segment.isDirty
    try {
      this.writeIndexes(segment)
      this.flushIndexes(segment)
      if (!wasDirty) this.markClean(segment)
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      segment.isIndexDirty = false
      this.#onWarning(`the rebuilt indexes are not kept: ${error.message}`)
    }
  }

  /**
   * Writes the index files if they lag behind and keeps them open for the next flush. A full disk
   * is no failure: indexes can be rebuilt, so what there is of the files is removed, and those of a
   * sealed segment wait for whoever needs them and finds no file.
   */
  writeIndexes(segment: Segment): void {
    const indexes = segment.indexes
    if (indexes === null || !segment.isIndexDirty) return
    for (const file of segment.unflushedFiles) this.#files.close(file)
    segment.unflushedFiles = []
    try {
      for (const [suffix, bytes] of [
        [INDEX_SUFFIX, indexes.offsets.encode()],
        [TIME_INDEX_SUFFIX, indexes.times.encode()],
      ] as const) {
        segment.unflushedFiles.push(writeNew(this.#files, this.path(segment, suffix), bytes))
      }
      segment.isIndexDirty = false
      this.markDirty(segment) // So that the recovery point passes it only after a flush of these.
    } catch (error) {
      if (!isTemporary(error)) throw error
      for (const file of segment.unflushedFiles) this.#files.close(file)
      segment.unflushedFiles = []
      this.removeSideFiles(segment)
      if (segment.isSealed) segment.isIndexDirty = false
      this.#onWarning(`no room for the indexes of ${this.path(segment, LOG_SUFFIX)}`)
    }
  }

  /** Makes written index files durable and closes each, also when that fails: BrokerError. */
  flushIndexes(segment: Segment): void {
    while (segment.unflushedFiles.length > 0) {
      const file = segment.unflushedFiles.shift() as FileId
      try {
        this.#files.flushNow(file)
      } finally {
        this.#files.close(file)
      }
    }
  }

  #load(segment: Segment): Indexes | null {
    const offsetBytes = readWhole(this.#files, this.path(segment, INDEX_SUFFIX))
    if (offsetBytes === null) return null
    const timeBytes = readWhole(this.#files, this.path(segment, TIME_INDEX_SUFFIX))
    if (timeBytes === null) return null
    const offsets = OffsetIndex.decode(offsetBytes, segment.bytes)
    const times = TimeIndex.decode(timeBytes, segment.bytes)
    if (offsets === null || times === null || !this.#doesFit(segment, { offsets, times })) {
      this.#onWarning(`the indexes of ${this.path(segment, LOG_SUFFIX)} are damaged: rebuilt`)
      return null
    }
    return { offsets, times }
  }

  /** No entry lies past the segment. Where the last one ends is for its log to check. */
  #doesFit(segment: Segment, indexes: Indexes): boolean {
    const next = this.all[this.find(segment.baseOffset) + 1]
    return next === undefined || areBelow(indexes, next.baseOffset - segment.baseOffset)
  }
}

/** True when every entry is of a relative offset below `end`; offsets in an index increase. */
export function areBelow({ offsets, times }: Indexes, end: number): boolean {
  if (offsets.count > 0 && offsets.relativeOffset(offsets.count - 1) >= end) return false
  return times.count === 0 || times.relativeOffset(times.count - 1) < end
}

/** No flush needs its files, no write that may be taken back its indexes. */
function isIdle(segment: Segment): boolean {
  if (segment.isDirty || segment.isFlushing || segment.unflushedFiles.length > 0) return false
  return !segment.isPinned
}
