/**
 * The state of one log, shared by the parts that work on it (appender, reader, flusher, truncation,
 * recovery). It keeps the offsets consistent with each other and decides nothing else.
 */
import { assert } from '../base/assert.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { murmur2 } from '../record/murmur2.ts'
import { type BatchScanner, scannerOf } from './batch-scanner.ts'
import { dropCleanerCheckpoint } from './compaction/cleaner-checkpoint.ts'
import { readWhole, replace } from './file-io.ts'
import type { FileId } from './files.ts'
import { LeaderEpochs } from './leader-epochs.ts'
import { INITIAL_STATE, type LogState, readLogState, writeLogState } from './log-state.ts'
import type { LogContext, LogHint, LogOptions } from './log-types.ts'
import { decodeProducerSnapshot, encodeProducerSnapshot } from './producer-snapshot.ts'
import {
  newProducerBatch,
  type ProducerBatch,
  ProducerState,
  type RefusedStarts,
} from './producer-state.ts'
import type { Segment } from './segment.ts'
import { areBelow, SegmentList } from './segment-list.ts'
import { joinPath, offsetName, parentOf, SNAPSHOT_SUFFIX } from './segment-names.ts'

export class LogCore {
  readonly context: LogContext
  readonly directory: string
  options: LogOptions
  readonly segments: SegmentList
  readonly producers: ProducerState
  readonly epochs = new LeaderEpochs()
  /** Offsets of the snapshot files that exist, ascending. */
  snapshots: number[] = []
  /** The durable facts; null = the file was not read yet (a clean hint says what matters). */
  state: LogState | null = null
  truncations = 0

  logStartOffset = 0
  /** Written, exclusive. */
  logEndOffset = 0
  highWatermark = 0
  /** Others have copies, and the high watermark is set by whoever knows how far these are. */
  isReplicated = false
  /**
   * Of a replicated log: what the high watermark would be without others; exclusive. Not kept up
   * else.
   */
  countedOffset = 0
  /** Where the high watermark lies in its segment, or −1 when that has to be looked up. */
  highWatermarkPosition = 0
  /** Durable, exclusive. */
  recoveryPoint = 0
  /** Bytes of all segments, staged ones excluded. */
  bytes = 0

  /** The last segment is open, its indexes and the producer state are in memory. */
  isAwake = false
  /** Something was written since the clean close that the hint tells of. */
  isChanged = false
  doesDirectoryExist = false
  /** Names were created or removed since the last sync of the directory. */
  isDirectoryDirty = false
  /** The clean-shutdown mark that it was opened with says what the files do not. */
  isMarkStale = false
  /** Opening it cut what may have been acknowledged. */
  hasLost = false
  /** The log takes nothing any more; the first failure stands. */
  failure: Error | null = null
  readonly #replayed: ProducerBatch = newProducerBatch()

  constructor(
    context: LogContext,
    directory: string,
    options: LogOptions,
    refusedStarts?: RefusedStarts,
  ) {
    this.context = context
    this.directory = directory
    this.options = options
    this.producers = new ProducerState(refusedStarts)
    this.segments = new SegmentList(context.files, directory, context.onWarning)
  }

  get scanner(): BatchScanner {
    return scannerOf(this.context.files)
  }

  fail(error: Error): void {
    this.failure ??= error
  }

  /** Runs what must not fail halfway: an error marks the log failed and is thrown on. */
  orFail<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      if (error instanceof Error) this.fail(error)
      throw error
    }
  }

  warn(message: string): void {
    this.context.onWarning(`${this.directory}: ${message}`)
  }

  corrupt(what: string): BrokerError {
    return new BrokerError(ErrorCode.CORRUPT_MESSAGE, `read ${this.directory}: ${what}`)
  }

  /** Makes the log directory exist. Its own name is made durable with the first flush. */
  createDirectory(): void {
    if (this.doesDirectoryExist) return
    this.context.files.makeDirectory(this.directory)
    this.doesDirectoryExist = true
    this.isDirectoryDirty = true
    this.#isParentDirty = true
  }
  #isParentDirty = false

  /**
   * Makes the next sync cover every name, that of the directory included: which of them the process
   * before made durable is not known after a crash.
   */
  distrustNames(): void {
    if (!this.doesDirectoryExist) return
    this.isDirectoryDirty = true
    this.#isParentDirty = true
  }

  syncDirectory(): void {
    if (!this.isDirectoryDirty) return
    if (this.#isParentDirty) this.context.files.syncDirectory(parentOf(this.directory))
    this.#isParentDirty = false
    this.context.files.syncDirectory(this.directory)
    this.isDirectoryDirty = false
  }

  /** Changes the durable facts of the log. Throws BrokerError. */
  writeState(change: Partial<LogState>): void {
    this.state ??= this.#readState()
    const state = { ...this.state, ...change }
    this.createDirectory()
    writeLogState(this.context, this.directory, state)
    this.state = state
    this.truncations = state.truncations
    this.isDirectoryDirty = true // The name of the directory may not be durable yet.
    this.syncDirectory()
  }

  /**
   * Durably notes that the tail goes down to `offset`, below what a checkpoint may call flushed:
   * recovery points from before it are worth nothing above.
   */
  noteTruncation(offset: number): void {
    this.state ??= this.#readState()
    dropCleanerCheckpoint(this) // Durable with the state: it must not speak of what comes next.
    this.writeState({
      compactedTo: Math.min(this.state.compactedTo, offset),
      truncations: this.state.truncations + 1,
      truncatedTo: Math.min(offset, this.state.truncations === 0 ? offset : this.state.truncatedTo),
      logStartOffset: Math.min(this.logStartOffset, offset),
    })
  }

  /** Below it batches may be missing between two others. See LogState. Throws BrokerError. */
  get compactedTo(): number {
    this.state ??= this.#readState()
    return this.state.compactedTo
  }

  #readState(): LogState {
    const state = readLogState(this.context, this.directory)
    if (state !== null && state !== 'damaged') return state
    // Zero is the safe side: no recovery point from before counts.
    const { logStartOffset, truncations } = this
    const compactedTo = state === 'damaged' ? this.lastBaseOffset : 0
    return { ...INITIAL_STATE, logStartOffset, truncations, compactedTo }
  }

  /** Whatever was compacted lies below it; 0 without a segment. */
  get lastBaseOffset(): number {
    return this.segments.last?.baseOffset ?? 0
  }

  hint(clean: boolean): LogHint {
    const hint = {
      clean,
      recoveryPoint: this.recoveryPoint,
      logStartOffset: this.logStartOffset,
      logEndOffset: this.logEndOffset,
      truncations: this.truncations,
      bytes: this.bytes,
    }
    return this.isReplicated ? { ...hint, highWatermark: this.highWatermark } : hint
  }

  /**
   * The age at which a segment is rolled. The jitter is always the same for a segment, and differs
   * between partitions: those that began together do not all roll at once.
   */
  rollMs(segment: Segment): number {
    const { segmentJitterMs, isCompacted, maxCompactionLagMs } = this.options
    // What takes appends is not compacted: it must not be older than anything may be.
    const segmentMs = Math.min(this.options.segmentMs, isCompacted ? maxCompactionLagMs : Infinity)
    if (segmentJitterMs === 0) return segmentMs
    const name = new TextEncoder().encode(`${this.directory}/${segment.baseOffset}`)
    const fraction = (murmur2(name) >>> 0) / 2 ** 32
    return segmentMs - Math.floor(fraction * Math.min(segmentJitterMs, segmentMs))
  }

  /**
   * Everything in the log is durable, and may be read where nobody else decides about that: after
   * opening and after a truncation.
   */
  resetToEnd(): void {
    this.recoveryPoint = Math.min(this.recoveryPoint, this.logEndOffset)
    this.countedOffset = this.logEndOffset
    const known = this.isReplicated ? this.highWatermark : this.logEndOffset
    this.moveHighWatermark(Math.min(known, this.logEndOffset))
  }

  /** Sets the high watermark, wherever it was; `offset` lies in the log. */
  moveHighWatermark(offset: number): void {
    assert(offset >= this.logStartOffset && offset <= this.logEndOffset)
    this.highWatermark = offset
    this.highWatermarkPosition = offset === this.logEndOffset ? this.endPosition() : -1
  }

  /** Where the written log ends in the segment that holds its last record. */
  endPosition(): number {
    return this.segments.all[this.segments.find(this.logEndOffset - 1)]?.bytes ?? 0
  }

  // —— producer state ——

  /** Notes the scanner's batch in the producer state. */
  replay(batch: BatchScanner): void {
    if (batch.producerId < 0) return
    const replayed = this.#replayed
    replayed.producerId = batch.producerId
    replayed.producerEpoch = batch.producerEpoch
    replayed.baseSequence = batch.baseSequence
    replayed.baseOffset = batch.baseOffset
    replayed.lastOffsetDelta = batch.lastOffset - batch.baseOffset
    replayed.maxTimestamp = batch.maxTimestamp
    replayed.isTransactional = batch.isTransactional
    replayed.isControl = batch.isControl
    this.producers.apply(replayed, this.context.clock.wallMs())
  }

  /** Loads the newest sound snapshot at or below `offset`; returns its offset, or the log start. */
  loadSnapshot(offset: number): number {
    this.producers.clear()
    const firstOffset = this.segments.all[0]?.baseOffset ?? this.logStartOffset
    for (let i = this.snapshots.length - 1; i >= 0; i--) {
      const at = this.snapshots[i] as number
      if (at > offset) continue
      // What lay between it and the first segment is deleted: it would tell of sequences long gone.
      if (at < firstOffset) break
      const bytes = readWhole(this.context.files, this.#snapshotPath(at))
      const { engine } = this.context
      if (bytes !== null && decodeProducerSnapshot(bytes, engine, this.producers)) return at
      this.warn(`the producer snapshot at offset ${at} is damaged: using an older one`)
    }
    return firstOffset
  }

  /** Producer state as of `offset`: a snapshot and the batches between it and there. */
  rebuildProducers(offset: number): void {
    const from = this.loadSnapshot(offset)
    this.replayRange(from, offset)
  }

  /** Replays the written batches of [from, to), which must be sound. */
  replayRange(from: number, to: number): void {
    if (from >= to) return
    const { segments, scanner } = this
    for (let i = Math.max(0, segments.find(from)); i < segments.all.length; i++) {
      const segment = segments.all[i] as Segment
      if (segment.baseOffset >= to) return
      const file = segments.open(segment)
      scanner.start(file, 0, segment.bytes)
      while (scanner.next()) {
        if (scanner.baseOffset >= to) return
        if (scanner.baseOffset >= from) this.replay(scanner)
      }
      if (scanner.problem !== null) {
        throw this.corrupt(`segment ${segment.baseOffset}: ${scanner.problem}`)
      }
    }
  }

  encodeSnapshot(): Uint8Array {
    return encodeProducerSnapshot(this.producers, this.context.engine)
  }

  /** Writes a snapshot and drops those that neither a segment nor a newer truncation needs. */
  writeSnapshot(offset: number, bytes: Uint8Array, durably: boolean): void {
    replace(this.context.files, this.#snapshotPath(offset), bytes, durably)
    this.isDirectoryDirty = true
    if (this.snapshots.at(-1) === offset) return
    assert((this.snapshots.at(-1) ?? -1) < offset)
    this.snapshots.push(offset)
    this.#dropStraySnapshots()
  }

  /** Removes snapshots above `offset`: the log will say something else there. */
  dropSnapshotsAbove(offset: number): void {
    while ((this.snapshots.at(-1) ?? -1) > offset) {
      this.context.files.remove(this.#snapshotPath(this.snapshots.pop() as number))
      this.isDirectoryDirty = true
    }
  }

  /** Keeps the newest two and those at the base of a segment (a truncation to it starts there). */
  #dropStraySnapshots(): void {
    const { all } = this.segments
    const kept: number[] = []
    for (const [i, offset] of this.snapshots.entries()) {
      const isNew = i >= this.snapshots.length - 2
      const segment = all[this.segments.find(offset)]
      if (isNew || segment?.baseOffset === offset) kept.push(offset)
      else this.context.files.remove(this.#snapshotPath(offset))
    }
    if (kept.length !== this.snapshots.length) this.isDirectoryDirty = true
    this.snapshots = kept
  }

  #snapshotPath(offset: number): string {
    return joinPath(this.directory, offsetName(offset, SNAPSHOT_SUFFIX))
  }

  // —— waking ——

  /** The leader epochs from their file; from the batches when it is damaged. */
  loadEpochs(): void {
    if (this.#areEpochsLoaded) return
    if (!this.epochs.load(this.context.files, this.directory)) this.#readEpochsFromBatches()
    this.#areEpochsLoaded = true
  }
  #areEpochsLoaded = false

  #readEpochsFromBatches(): void {
    this.warn('the leader-epoch checkpoint is damaged: epochs are read from the batches')
    this.epochs.clear()
    const { segments, scanner } = this
    for (const segment of segments.all) {
      scanner.start(segments.open(segment), 0, segment.bytes)
      while (scanner.next()) this.epochs.assign(scanner.leaderEpoch, scanner.baseOffset)
    }
  }

  /**
   * Makes a cleanly closed log ready for appends: opens its last segment and checks that it ends
   * where the hint says (a stale clean mark must not pass), loads indexes and producer state.
   * Throws BrokerError.
   */
  wake(): void {
    if (this.isAwake) return
    this.loadEpochs()
    const segment = this.segments.last
    if (segment !== undefined) {
      const file = this.segments.open(segment)
      this.#checkEnd(segment, file)
      const { scanner } = this
      scanner.start(file, 0, segment.bytes)
      segment.firstTimestamp = scanner.next() ? scanner.maxTimestamp : -1
    }
    this.dropSnapshotsAbove(this.logEndOffset)
    this.rebuildProducers(this.logEndOffset)
    this.isAwake = true
  }

  #checkEnd(segment: Segment, file: FileId): void {
    const { indexIntervalBytes } = this.options
    if (this.#endOffsetOf(segment, file) === this.logEndOffset) return
    // Indexes carry no checksum: rebuild them once before the checkpoint is blamed.
    this.warn(`the index of segment ${segment.baseOffset} does not fit its end: rebuilt`)
    this.segments.rebuild(segment, file, indexIntervalBytes)
    const endOffset = this.#endOffsetOf(segment, file)
    if (endOffset === this.logEndOffset) return
    this.isMarkStale = true
    throw this.corrupt(
      `the clean-shutdown checkpoint says that it ends at offset ${this.logEndOffset}, its last ` +
        `segment ends at ${endOffset}: its files were changed, and the log is scanned`,
    )
  }

  /** Where the last segment ends, walking from its last index entry; −1 when that is no batch. */
  #endOffsetOf(segment: Segment, file: FileId): number {
    const indexes = this.segments.indexes(segment, this.options.indexIntervalBytes)
    // What is appended to an index must lie above what is in it.
    if (!areBelow(indexes, this.logEndOffset - segment.baseOffset)) return -1
    const { offsets } = indexes
    const { scanner } = this
    const last = offsets.count - 1
    scanner.start(file, last < 0 ? 0 : offsets.position(last), segment.bytes)
    let endOffset = segment.baseOffset
    while (scanner.next()) endOffset = scanner.lastOffset + 1
    return scanner.problem === null ? endOffset : -1
  }
}
