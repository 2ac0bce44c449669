/**
 * Opening a log. After a clean close nothing is read but the names. Otherwise the batches from the
 * recovery point's segment on are walked: headers below the recovery point, CRCs above it; the log
 * is cut at the first thing that is no batch of this place, and indexes, leader epochs and producer
 * state are rebuilt. Everything that remains is durable before anyone sees it.
 *
 * Damage below the recovery point is never cut away: opening throws, because those bytes were
 * promised.
 */
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { BatchScanner } from './batch-scanner.ts'
import type { Flusher } from './flusher.ts'
import type { LogCore } from './log-core.ts'
import { readLogState } from './log-state.ts'
import type { LogHint } from './log-types.ts'
import { writeLossMark } from './loss-mark.ts'
import { RELATIVE_OFFSET_MAX, Segment } from './segment.ts'
import {
  CLEANED_SUFFIX,
  DELETED_SUFFIX,
  joinPath,
  LOG_SUFFIX,
  type OffsetRange,
  offsetName,
  parseName,
  parseRange,
  SIDE_SUFFIXES,
  SNAPSHOT_SUFFIX,
  SWAP_SUFFIX,
  TEMPORARY_SUFFIX,
} from './segment-names.ts'

const PROGRESS_STEP_BYTES = 64 * 1024 * 1024

export function openLog(core: LogCore, flusher: Flusher, hint: LogHint | null): void {
  const names = core.context.files.list(core.directory)
  core.doesDirectoryExist = names.length > 0
  if (hint?.clean && openClean(core, names, hint)) return
  new Recovery(core, flusher, hint).run(names)
}

/** False when the files contradict the hint. */
function openClean(core: LogCore, names: readonly string[], hint: LogHint): boolean {
  const { bases, snapshots, leftovers, deleted } = sort(names)
  const isPossible =
    leftovers.length === 0 &&
    hint.logStartOffset <= hint.logEndOffset &&
    (bases.at(-1) ?? 0) <= hint.logEndOffset &&
    (bases.length > 0 || hint.logStartOffset === hint.logEndOffset)
  if (!isPossible) {
    core.warn('the clean-shutdown checkpoint does not fit the files: it is not trusted')
    return false
  }
  for (const name of deleted) {
    core.context.deletedFiles.add(joinPath(core.directory, name), core.options.fileDeleteDelayMs)
  }
  addSegments(core, bases)
  core.snapshots = snapshots
  core.logStartOffset = hint.logStartOffset
  core.logEndOffset = hint.logEndOffset
  core.recoveryPoint = hint.logEndOffset
  core.truncations = hint.truncations
  core.bytes = hint.bytes
  core.countedOffset = hint.logEndOffset
  core.highWatermark = core.isReplicated ? knownWatermark(core, hint) : hint.logEndOffset
  core.highWatermarkPosition = -1
  return true
}

/** What the checkpoint knows of a replicated log's high watermark, inside the log. */
function knownWatermark(core: LogCore, hint: LogHint | null): number {
  const known = hint?.highWatermark ?? core.logStartOffset
  return Math.max(core.logStartOffset, Math.min(known, core.logEndOffset))
}

class Recovery {
  readonly #core: LogCore
  readonly #flusher: Flusher
  readonly #hint: LogHint | null
  #bytesDone = 0
  #bytesTotal = 0
  #reportAt = PROGRESS_STEP_BYTES
  /** The newest leader epoch that the checkpoint knows. */
  #knownEpoch = -1
  /** Of the batch before the one that is judged. */
  #latestEpoch = -1
  /** The high watermark that the hint may be trusted with; it may lie outside the log. */
  #watermark = 0

  constructor(core: LogCore, flusher: Flusher, hint: LogHint | null) {
    this.#core = core
    this.#flusher = flusher
    this.#hint = hint
  }

  run(names: readonly string[]): void {
    const core = this.#core
    const { bases, snapshots } = this.#clearLeftovers(names)
    core.snapshots = snapshots
    const recoveryPoint = this.#readState(bases)
    addSegments(core, bases)
    this.#dropBelowStart()

    const promised = this.#scan(recoveryPoint)
    if (core.logEndOffset < promised) {
      // A checkpoint newer than the log (a restored disk, say) says nothing about this log.
      core.warn(
        `the recovery point ${promised} lies past the end of the log at ${core.logEndOffset}: ` +
          'it is not trusted and the whole log is scanned',
      )
      this.#scan(0)
      if (core.logEndOffset < promised) this.#markLoss()
    }
    if (core.logEndOffset < core.logStartOffset) this.#startOver()
    // That checkpoint stays on disk: it must not speak for what is appended from here on.
    const watermark = core.isReplicated ? this.#watermark : 0
    const mayBeBelow = Math.max(promised, core.compactedTo, watermark)
    core.highWatermark = Math.max(core.logStartOffset, Math.min(watermark, core.logEndOffset))
    if (mayBeBelow > core.logEndOffset) core.noteTruncation(core.logEndOffset)
    // Until the flush at the end no more than before is known to be durable.
    core.recoveryPoint = promised > core.logEndOffset ? 0 : promised
    this.#finish()
  }

  /** Removes half-written files, finishes deletions and replacements that were decided. */
  #clearLeftovers(names: readonly string[]): SortedNames {
    const { files } = this.#core.context
    const { directory } = this.#core
    const sorted = sort(names)
    const { leftovers, deleted } = sorted
    if (leftovers.length + deleted.length === 0) return sorted
    for (const name of leftovers) {
      const range = parseRange(name, SWAP_SUFFIX)
      if (range !== null) this.#finishSwap(name, range, sorted.bases)
    }
    for (const name of [...leftovers, ...deleted]) files.remove(joinPath(directory, name))
    files.syncDirectory(directory)
    return sort(files.list(directory))
  }

  /** A compacted segment was about to replace those of its range: it is whole and durable. */
  #finishSwap(name: string, range: OffsetRange, bases: readonly number[]): void {
    const { files } = this.#core.context
    const { directory } = this.#core
    const path = (offset: number, suffix: string): string =>
      joinPath(directory, offsetName(offset, suffix))
    const inputs = bases.filter((base) => base > range.baseOffset && base < range.endOffset)
    // Of the first one the indexes may be there without the log, which was renamed aside.
    for (const base of [range.baseOffset, ...inputs]) {
      for (const suffix of SIDE_SUFFIXES) files.remove(path(base, suffix))
    }
    for (const base of inputs) files.remove(path(base, LOG_SUFFIX))
    files.syncDirectory(directory) // Before the new one stands: nothing may overlap it.
    files.rename(joinPath(directory, name), path(range.baseOffset, LOG_SUFFIX))
    files.syncDirectory(directory)
  }

  /** Sets the log start; returns the recovery point that may be trusted. */
  #readState(bases: readonly number[]): number {
    const core = this.#core
    const hint = this.#hint
    const state = readLogState(core.context, core.directory)
    core.logStartOffset = hint?.logStartOffset ?? 0
    core.truncations = hint?.truncations ?? 0
    this.#watermark = hint?.highWatermark ?? 0
    if (state === null) return hint?.recoveryPoint ?? 0
    if (state === 'damaged') {
      core.warn('its log-state checkpoint is damaged: the recovery point is not trusted')
      // What was compacted is not known either: holes are taken for such below the last segment.
      const compactedTo = bases.at(-1) ?? 0
      this.#watermark = 0
      core.writeState({ truncations: core.truncations + 1, truncatedTo: 0, compactedTo })
      return 0
    }
    core.state = state
    core.truncations = state.truncations
    if (hint === null || state.truncations > hint.truncations) {
      core.logStartOffset = state.logStartOffset
      this.#watermark = Math.min(this.#watermark, state.truncatedTo)
      return Math.min(hint?.recoveryPoint ?? 0, state.truncatedTo)
    }
    core.logStartOffset = Math.max(hint.logStartOffset, state.logStartOffset)
    return hint.recoveryPoint
  }

  #dropBelowStart(): void {
    const core = this.#core
    const { all } = core.segments
    while (all.length > 1 && (all[1] as Segment).baseOffset <= core.logStartOffset) {
      core.segments.remove(all.shift() as Segment)
      core.isDirectoryDirty = true
    }
    core.logStartOffset = Math.max(core.logStartOffset, all[0]?.baseOffset ?? 0)
  }

  /**
   * Walks the log from the segment of `recoveryPoint` on and cuts it where it stops making sense.
   * Returns the recovery point.
   */
  #scan(recoveryPoint: number): number {
    const core = this.#core
    const { segments } = core
    // The segment that ends at the recovery point counts: its indexes may not be durable.
    const first = Math.max(0, segments.find(recoveryPoint - 1))
    const base = segments.all[first]?.baseOffset ?? core.logStartOffset
    core.loadEpochs()
    this.#knownEpoch = Math.max(this.#knownEpoch, core.epochs.latest)
    // Below compactedTo the file is durable, and knows of epochs whose first batches are gone.
    core.epochs.truncateTo(Math.max(base, core.compactedTo))
    this.#latestEpoch = core.epochs.latestBelow(base)
    core.replayRange(core.loadSnapshot(base), base)

    this.#bytesDone = 0
    this.#bytesTotal = 0
    core.bytes = 0
    for (const [i, segment] of segments.all.entries()) {
      const bytes = segments.bytesOf(segment)
      core.bytes += bytes
      if (i >= first) this.#bytesTotal += bytes
    }
    this.#report()
    let expected = base
    for (let i = first; i < segments.all.length; i++) {
      const segment = segments.all[i] as Segment
      const walk = this.#walk(segment, expected, recoveryPoint)
      expected = walk.endOffset
      if (walk.problem !== null) {
        this.#cut(i, walk, recoveryPoint)
        break
      }
      if (walk.endOffset > recoveryPoint) segments.markDirty(segment)
      if (segment !== segments.last) this.#finishSealed(segment)
      this.#report()
    }
    core.logEndOffset = expected
    return recoveryPoint
  }

  /** Indexes one segment's sound batches; `problem` says why the walk stopped before its end. */
  #walk(segment: Segment, start: number, recoveryPoint: number): Walk {
    const core = this.#core
    const { scanner } = core
    let endOffset = start
    let endPosition = 0
    if (segment.baseOffset !== start) {
      return { endOffset, endPosition, problem: `the segment before it ends at offset ${start}` }
    }
    segment.resetIndexes()
    const file = core.segments.open(segment)
    // After a failed flush the kernel calls pages clean that never reached the disk. What is
    // judged, and then called durable, is what the disk has.
    core.context.files.dropCached(file, 0, segment.bytes)
    scanner.start(file, 0, segment.bytes)
    while (scanner.next()) {
      const problem = this.#judge(scanner, { segment, expected: endOffset, recoveryPoint })
      if (problem !== null) return { endOffset, endPosition, problem }
      segment.index(scanner.position, scanner, core.options.indexIntervalBytes)
      core.epochs.assign(scanner.leaderEpoch, scanner.baseOffset)
      this.#latestEpoch = scanner.leaderEpoch
      core.replay(scanner)
      endOffset = scanner.lastOffset + 1
      endPosition = scanner.position + scanner.bytes
      this.#bytesDone += scanner.bytes
      if (this.#bytesDone >= this.#reportAt) this.#report()
    }
    return { endOffset, endPosition, problem: scanner.problem }
  }

  #judge(
    batch: BatchScanner,
    at: { segment: Segment; expected: number; recoveryPoint: number },
  ): string | null {
    const core = this.#core
    const isHole = at.expected < batch.baseOffset && batch.baseOffset < core.compactedTo
    if (batch.baseOffset !== at.expected && !isHole) {
      return `offset ${batch.baseOffset} follows where ${at.expected} is due`
    }
    if (batch.lastOffset - at.segment.baseOffset > RELATIVE_OFFSET_MAX) {
      return `offset ${batch.lastOffset} is out of the segment's range`
    }
    // Bytes of an earlier life of the file, left by a truncation that did not reach the disk.
    if (batch.leaderEpoch < this.#latestEpoch) {
      return `leader epoch ${batch.leaderEpoch} follows ${this.#latestEpoch}`
    }
    if (batch.lastOffset < at.recoveryPoint) return null
    return batch.isIntact(core.context.engine) ? null : 'the CRC does not match'
  }

  /** Drops everything from the bad place in segment `index` on, durably. */
  #cut(index: number, walk: Walk, recoveryPoint: number): void {
    const core = this.#core
    const { segments } = core
    const segment = segments.all[index] as Segment
    const where = `offset ${walk.endOffset} (segment ${segment.baseOffset}, position ${walk.endPosition})`
    if (walk.endOffset < recoveryPoint) {
      throw new BrokerError(
        ErrorCode.CORRUPT_MESSAGE,
        `open ${core.directory}: damaged at ${where}, below its recovery point ${recoveryPoint}: ` +
          `${walk.problem}. Nothing was changed; restore the partition, or remove the checkpoint ` +
          'files of the log directory to keep what lies before the damage',
      )
    }
    this.#noteLoss(index)
    let lost = 0
    for (let i = segments.all.length - 1; i > index; i--) {
      const later = segments.all.pop() as Segment
      lost += later.bytes
      segments.remove(later)
      core.isDirectoryDirty = true
    }
    lost += segment.bytes - walk.endPosition
    core.bytes -= lost
    if (segment.baseOffset !== walk.endOffset && walk.endPosition === 0) {
      segments.all.pop()
      segments.remove(segment)
      core.isDirectoryDirty = true
    } else {
      this.#shorten(segment, walk.endPosition)
    }
    core.warn(`cut at ${where}: ${walk.problem}; ${lost} bytes that were not flushed are gone`)
  }

  /**
   * An append that a process did not live to finish was acknowledged to nobody. Anything else can
   * have been: pages of a failed flush that the system has dropped, or damage.
   */
  #noteLoss(index: number): void {
    const core = this.#core
    const { all } = core.segments
    const isTorn = index === all.length - 1 && (core.scanner.isTorn || core.options.preallocate)
    if (!isTorn) this.#markLoss()
  }

  #markLoss(): void {
    const core = this.#core
    if (!core.isReplicated) return
    writeLossMark(core.context.files, core.directory.slice(0, core.directory.lastIndexOf('/')))
    core.hasLost = true
  }

  #shorten(segment: Segment, bytes: number): void {
    const core = this.#core
    core.context.files.truncate(core.segments.open(segment), bytes)
    segment.bytes = bytes
    segment.stagedBytes = bytes
    core.segments.markDirty(segment)
  }

  /** The log ends before it starts: its records were deleted, and what is left is older. */
  #startOver(): void {
    const core = this.#core
    const { all } = core.segments
    while (all.length > 0) core.segments.remove(all.shift() as Segment)
    core.isDirectoryDirty = core.doesDirectoryExist
    core.logEndOffset = core.logStartOffset
    core.bytes = 0
    core.epochs.clear()
  }

  #finish(): void {
    const core = this.#core
    const { segments } = core
    core.dropSnapshotsAbove(core.logEndOffset)
    core.epochs.truncateTo(core.logEndOffset)
    // Retention deleted every record, and with them what told of the epoch that ends here.
    const { logStartOffset, logEndOffset } = core
    const isEmptied = logStartOffset === logEndOffset && segments.last?.baseOffset === logEndOffset
    if (isEmptied && this.#knownEpoch >= 0) core.epochs.assign(this.#knownEpoch, logEndOffset)
    core.epochs.startAt(core.logStartOffset)
    if (segments.last !== undefined) segments.unseal(segments.last)
    core.distrustNames()
    if (core.doesDirectoryExist) this.#flusher.flushRecovered()
    else core.recoveryPoint = core.logEndOffset
    core.resetToEnd()
    core.isAwake = true
    core.isChanged = core.doesDirectoryExist
  }

  /** At once and durably, so that a scan of many segments holds neither indexes nor descriptors. */
  #finishSealed(segment: Segment): void {
    const { segments, context } = this.#core
    segment.completeTimeIndex()
    segments.writeIndexes(segment)
    segments.flushIndexes(segment)
    if (segment.isDirty) context.files.flushNow(segments.open(segment))
    segments.markClean(segment)
    this.#core.isDirectoryDirty = true
  }

  #report(): void {
    this.#reportAt = this.#bytesDone + PROGRESS_STEP_BYTES
    const { context, directory } = this.#core
    context.onRecoveryProgress?.(directory, this.#bytesDone, this.#bytesTotal)
  }
}

interface Walk {
  /** Of the sound part; exclusive. */
  readonly endOffset: number
  readonly endPosition: number
  readonly problem: string | null
}

interface SortedNames {
  /** Base offsets of the segments, ascending. */
  readonly bases: number[]
  readonly snapshots: number[]
  /** Half-written files, and whole ones that were about to replace another. */
  readonly leftovers: string[]
  /** Files of deleted segments. */
  readonly deleted: string[]
}

const LEFTOVER_SUFFIXES = [TEMPORARY_SUFFIX, CLEANED_SUFFIX, SWAP_SUFFIX]

function sort(names: readonly string[]): SortedNames {
  const bases: number[] = []
  const snapshots: number[] = []
  const leftovers: string[] = []
  const deleted: string[] = []
  for (const name of names) {
    const parsed = parseName(name)
    if (parsed?.suffix === LOG_SUFFIX) bases.push(parsed.offset)
    else if (parsed?.suffix === SNAPSHOT_SUFFIX) snapshots.push(parsed.offset)
    else if (name.endsWith(DELETED_SUFFIX)) deleted.push(name)
    else if (LEFTOVER_SUFFIXES.some((suffix) => name.endsWith(suffix))) leftovers.push(name)
  }
  bases.sort((a, b) => a - b)
  snapshots.sort((a, b) => a - b)
  return { bases, snapshots, leftovers, deleted }
}

/** All but the last are sealed. */
function addSegments(core: LogCore, bases: readonly number[]): void {
  for (const [i, base] of bases.entries()) {
    const segment = new Segment(base, true)
    if (i < bases.length - 1) core.segments.seal(segment)
    core.segments.all.push(segment)
  }
}
