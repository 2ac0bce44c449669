/**
 * One partition's log: batches in segments, indexes, producer state, leader epochs, what is durable
 * and what readers may see. Owned by one thread, synchronous throughout; disk, time and batch work
 * are arguments, so that the simulator runs this very code. This file only joins the parts:
 *
 *   appender  validate, sequence, place, write │ log-reader, time-lookup  find and read
 *   flusher   durability, high watermark       │ log-edits  truncate, delete records
 *   retention delete by age and size           │ log-core   the offsets and state they share
 *   recovery  open after a crash               │ compaction replace by key
 */
import { assert } from '../base/assert.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { Appender } from './appender.ts'
import type { CompactedSegment, CompactionJob } from './compaction/compaction-job.ts'
import { LogCompaction } from './compaction/log-compaction.ts'
import type { ByteRange } from './files.ts'
import { Flusher } from './flusher.ts'
import type { LeaderEpochs } from './leader-epochs.ts'
import { LEADER_RUN } from './leader-run.ts'
import { LogCore } from './log-core.ts'
import { LogEdits } from './log-edits.ts'
import { LogReader } from './log-reader.ts'
import type {
  AppendResult,
  EpochEnd,
  LocateOptions,
  LogContext,
  LogHint,
  LogOptions,
  LogReport,
  ReadBound,
  ReadLocation,
  RetentionBounds,
  TimestampedBatch,
} from './log-types.ts'
import { verifyLog } from './log-verifier.ts'
import type { ProducerState, RefusedStarts } from './producer-state.ts'
import { openLog } from './recovery.ts'
import { removeReplica } from './removal.ts'
import { Retention } from './retention.ts'
import { NO_FILE } from './segment.ts'
import { TimeLookup } from './time-lookup.ts'

export * from './log-types.ts'
export type { RefusedStarts } from './producer-state.ts'
export { firstRecordAtOrAfter, hasAppendTime, type TimestampedRecord } from './time-lookup.ts'

/** As Kafka's producer.id.expiration.check.interval.ms. */
const EXPIRY_INTERVAL_MS = 600_000

export interface LogSetup {
  readonly directory: string
  readonly options: LogOptions
  readonly hint: LogHint | null
  /** See `PartitionLog.isReplicated`; false by default. */
  readonly isReplicated?: boolean
  /** As the log had them when it was closed; none by default. */
  readonly refusedStarts?: RefusedStarts
}

export class PartitionLog {
  readonly #core: LogCore
  readonly #flusher: Flusher
  readonly #appender: Appender
  readonly #reader: LogReader
  readonly #times: TimeLookup
  readonly #edits: LogEdits
  readonly #retention: Retention
  readonly #compaction: LogCompaction
  #nextExpiryMs: number
  #isClosed = false
  /** Deleted while a flush was under way: the files go with its last report. */
  #isRemovalDue = false
  #mayComeBack = false

  private constructor(core: LogCore) {
    this.#core = core
    this.#flusher = new Flusher(core)
    this.#appender = new Appender(core, this.#flusher)
    this.#reader = new LogReader(core)
    this.#times = new TimeLookup(core, this.#reader)
    this.#edits = new LogEdits(core, this.#flusher, this.#reader)
    this.#retention = new Retention(core, this.#edits, this.#appender)
    this.#compaction = new LogCompaction(core, this.#reader)
    this.#nextExpiryMs = core.context.clock.monotonicMs() + EXPIRY_INTERVAL_MS
  }

  /**
   * Opens a log; creates nothing: a log never written to owns no file and no directory. Recovers
   * when the hint is not clean; afterwards everything in the log is durable. Throws BrokerError
   * when the disk refuses, or when data below the recovery point is damaged (which no start may
   * hide).
   */
  static open(context: LogContext, setup: LogSetup): PartitionLog {
    const core = new LogCore(context, setup.directory, setup.options, setup.refusedStarts)
    core.isReplicated = setup.isReplicated === true
    const log = new PartitionLog(core)
    try {
      openLog(core, log.#flusher, setup.hint)
    } catch (error) {
      try {
        core.segments.closeAll()
      } catch {
        // The first failure says more.
      }
      throw error
    }
    return log
  }

  get directory(): string {
    return this.#core.directory
  }

  get options(): LogOptions {
    return this.#core.options
  }

  /** New options count from the next append on. */
  configure(options: LogOptions): void {
    this.#core.options = options
  }

  /** First readable offset, inclusive. */
  get logStartOffset(): number {
    return this.#core.logStartOffset
  }

  /** Next offset after what is written; staged batches do not count yet. */
  get logEndOffset(): number {
    return this.#core.logEndOffset
  }

  /** First offset that readers may not see; exclusive. Goes back only with a truncation. */
  get highWatermark(): number {
    return this.#core.highWatermark
  }

  /**
   * Others have copies of the log: the high watermark is what `setHighWatermark` says, and starts
   * with what the checkpoint knows.
   */
  get isReplicated(): boolean {
    return this.#core.isReplicated
  }

  /** From now on; the high watermark stays, or comes to be what counts here. */
  set isReplicated(isReplicated: boolean) {
    const core = this.#core
    if (core.isReplicated === isReplicated) return
    if (isReplicated) core.countedOffset = core.highWatermark
    else core.moveHighWatermark(core.countedOffset)
    core.isReplicated = isReplicated
  }

  /**
   * How much of the log counts here, exclusive: what is written or, with flush.messages, flushed.
   */
  get countedOffset(): number {
    return this.#core.isReplicated ? this.#core.countedOffset : this.#core.highWatermark
  }

  /** Of a replicated log: raises the high watermark, at most to the log end. Never lowers it. */
  setHighWatermark(offset: number): void {
    const core = this.#core
    assert(core.isReplicated && offset <= core.logEndOffset)
    if (offset > core.highWatermark) core.moveHighWatermark(offset)
  }

  /** Start of the oldest open transaction, else the high watermark; never above it. */
  get lastStableOffset(): number {
    const { highWatermark, producers } = this.#core
    if (producers.openTransactions === 0) return highWatermark
    return Math.min(highWatermark, producers.firstOpenTransactionOffset())
  }

  /** Durable up to here, exclusive. */
  get recoveryPoint(): number {
    return this.#core.recoveryPoint
  }

  get bytes(): number {
    return this.#core.bytes
  }

  /** What of it was written and is left in the page cache, in bytes. */
  get cacheWindow(): { readonly keptBytes: number; readonly unstartedBytes: number } {
    return this.#appender.window
  }

  get segmentCount(): number {
    return this.#core.segments.all.length
  }

  /** Why the log takes nothing any more (the disk failed), or null. Never goes back to null. */
  get failure(): Error | null {
    return this.#core.failure
  }

  /** Opening it cut more than an append that was under way: see loss-mark.ts. */
  get hasLost(): boolean {
    return this.#core.hasLost
  }

  get failed(): boolean {
    return this.#core.failure !== null
  }

  /**
   * An append has found that the log does not end where its clean-shutdown mark says: somebody has
   * changed its files. Close it, and open it with a hint that is not clean.
   */
  get isMarkStale(): boolean {
    return this.#core.isMarkStale
  }

  /** −1 when the log holds none. */
  get latestEpoch(): number {
    return this.epochs.latest
  }

  /** Not to be changed. */
  get epochs(): Pick<LeaderEpochs, 'latest' | 'endOffsetFor'> {
    this.#core.loadEpochs()
    return this.#core.epochs
  }

  /** What the next opening of the log is to be given; undefined: nothing. */
  get refusedStarts(): RefusedStarts | undefined {
    return this.#core.producers.refusedStarts
  }

  /** For tests and DescribeProducers; not to be changed. Wakes the log. */
  get producers(): ProducerState {
    this.#core.wake()
    return this.#core.producers
  }

  // —— appending ——

  /**
   * Validates a run, checks sequences, assigns offsets and stages it: its bytes must stay as they
   * are until `writeStaged` returns. Never throws for a client's mistake or a failing disk: the
   * answer is in `out`. A duplicate is answered with its first offsets and stages nothing.
   */
  append(run: ByteRange, leaderEpoch: number, out: AppendResult, allowControl = false): void {
    assert(!this.#isClosed)
    this.#appender.append(run, leaderEpoch, out, allowControl)
  }

  /**
   * Stages batches of a leader as they lie: their offsets, epochs and timestamps stay. They must
   * follow the log end; gaps are what compaction left, and refused where nothing is compacted
   * (`mayHaveGaps`). A trailing part of a batch is not taken. No sequence is checked, the producer
   * state follows. CORRUPT_MESSAGE for bytes that are no batches, INVALID_RECORD for batches that
   * do not follow; otherwise as `append`. Without a whole batch nothing is staged and `baseOffset`
   * is −1.
   */
  appendAsFollower(run: ByteRange, out: AppendResult, mayHaveGaps = true): void {
    assert(!this.#isClosed)
    this.#appender.appendAsFollower(run, out, mayHaveGaps)
  }

  /**
   * Of an empty log: where it has to start so that the run follows, whose first batch begins before
   * the log and ends in or behind it. −1 when it is not so.
   */
  startOffsetFor(run: ByteRange): number {
    const { logStartOffset, logEndOffset } = this.#core
    return logStartOffset < logEndOffset ? -1 : LEADER_RUN.startBefore(run, logEndOffset)
  }

  get hasStaged(): boolean {
    return this.#appender.hasStaged
  }

  /**
   * Writes what is staged, all or nothing. Throws BrokerError when the disk refuses: after "no
   * space" nothing staged is in the log, which goes on working; after any other error the log is
   * `failed` and only the next start tells what is in it.
   */
  writeStaged(): void {
    this.#appender.write()
  }

  // —— durability ——

  /** True when the policy (flush.messages, flush.ms, a rolled segment) wants a flush now. */
  flushDue(nowMs: number): boolean {
    return this.#flusher.isDue(nowMs)
  }

  /**
   * Starts a flush of everything written so far; at most one is under way. `files.drainFlushes`
   * gives the token back once per file: hand each report to `onFlushed`. Returns how many will
   * come. Throws BrokerError when the disk refuses; the log is then `failed`, or, when `failure` is
   * null, there was no room for the names that must be durable first: nothing was started and
   * nothing is lost. Leave the waiting acknowledgements waiting then, their records are in the log
   * and the high watermark stands where it stood, and flush again when it is due: `flushDue` and
   * `nextDeadlineMs` say when.
   */
  startFlush(token: number): number {
    return this.#flusher.start(token)
  }

  /** A report of a flush. An error marks the log failed for ever. */
  onFlushed(token: number, error: Error | null): void {
    if (!this.#flusher.onFlushed(token, error)) return
    if (this.#isRemovalDue) this.#removeFiles()
    else if (!this.failed) {
      this.#edits.removeObsolete()
      this.#core.segments.closeIdle()
    }
  }

  /** A flush was started and not all of its reports have come. */
  get flushing(): boolean {
    return this.#flusher.isFlushing
  }

  /** Earliest timer in monotonic milliseconds; Infinity when none. */
  nextDeadlineMs(): number {
    const core = this.#core
    if (core.failure !== null || this.#isClosed) return Infinity
    const { count, refusedStarts } = core.producers
    const expiry = count > 0 || refusedStarts !== undefined ? this.#nextExpiryMs : Infinity
    return Math.min(this.#flusher.deadlineMs(), this.#rollDeadlineMs(), expiry)
  }

  /** Runs what is due except flushes: roll by time, expiry of producer ids. */
  maintain(nowMs: number): void {
    const core = this.#core
    if (core.failure !== null || this.#isClosed || this.hasStaged) return
    if (nowMs >= this.#rollDeadlineMs()) {
      // The segment stays until something is appended: an idle log grows no empty segments.
      this.#appender.rollNext()
      const { last } = core.segments
      if (last !== undefined) last.firstAppendMs = Infinity
    }
    if (nowMs >= this.#nextExpiryMs) {
      this.#nextExpiryMs = nowMs + EXPIRY_INTERVAL_MS
      core.producers.expire(core.context.clock.wallMs() - core.options.producerIdExpirationMs)
    }
  }

  #rollDeadlineMs(): number {
    const { last } = this.#core.segments
    if (last === undefined || last.isSealed) return Infinity
    return last.firstAppendMs + this.#core.rollMs(last)
  }

  // —— reading ——

  /**
   * Where to read from `offset` on: from the start of the batch that holds it, at most `maxBytes`,
   * nothing at or above the bound. Length 0 when nothing is there yet. OFFSET_OUT_OF_RANGE below
   * the log start and above the log end. Throws BrokerError. The result is reused: see
   * ReadLocation.
   */
  locate(offset: number, maxBytes: number, options: LocateOptions): ReadLocation | ErrorCode {
    assert(!this.#isClosed)
    return this.#reader.locate(offset, maxBytes, options)
  }

  /**
   * Reads a location to into[at, at + location.length); returns the bytes of whole batches there,
   * at least one. Throws BrokerError (CORRUPT_MESSAGE) on bytes that are no batch of this place.
   */
  read(location: ReadLocation, into: Uint8Array, at: number): number {
    return this.#reader.read(location, into, at)
  }

  /**
   * The caller has read a deferrable location's range to into[at…]. Returns the length of the whole
   * batches there; 0 when the first is longer than the range: locate again, without deferring. The
   * log must not have been truncated since. Throws BrokerError.
   */
  finishRead(location: ReadLocation, into: Uint8Array, at: number): number {
    assert(!this.#isClosed)
    return this.#reader.finish(location, into, at)
  }

  /** The first batch at or after `fromOffset`, below the bound, whose maxTimestamp is ≥ `ms`. */
  batchForTimestamp(ms: number, upTo: ReadBound, fromOffset = 0): TimestampedBatch | null {
    assert(!this.#isClosed)
    return this.#times.batchForTimestamp(ms, upTo, fromOffset)
  }

  /** The first batch below the bound that has the largest timestamp (ListOffsets −3, KIP-734). */
  batchOfMaxTimestamp(upTo: ReadBound): TimestampedBatch | null {
    assert(!this.#isClosed)
    return this.#times.batchOfMaxTimestamp(upTo)
  }

  /** The bytes of a batch found by timestamp, in memory of their own. */
  readBatch(batch: TimestampedBatch): Uint8Array {
    return this.#times.readBatch(batch)
  }

  /** Where the largest epoch ≤ the given one ends (OffsetForLeaderEpoch, KIP-320). */
  endOffsetForEpoch(epoch: number): EpochEnd {
    return this.epochs.endOffsetFor(epoch, this.#core.logEndOffset)
  }

  // —— editing ——

  /**
   * Drops everything from the batch that holds `offset` on, durably, and what the high watermark
   * says of it. Not below the log start, not while flushing or with something staged. Throws
   * BrokerError: there was no room to declare it and nothing has changed, or the log is `failed`.
   */
  truncateTo(offset: number): void {
    assert(!this.#isClosed && !this.hasStaged)
    this.#edits.truncateTo(offset)
    this.#appender.resetWindow()
  }

  /** Drops everything and starts anew at `offset`, durably. Otherwise as truncateTo. */
  truncateFullyAndStartAt(offset: number): void {
    assert(!this.#isClosed && !this.hasStaged)
    this.#edits.truncateFullyAndStartAt(offset)
    this.#appender.resetWindow()
  }

  /**
   * Moves the log start to `offset`, durably before visibly, and removes segments wholly below it.
   * OFFSET_OUT_OF_RANGE above the high watermark. Throws BrokerError.
   */
  deleteRecordsTo(offset: number): ErrorCode {
    assert(!this.#isClosed && !this.hasStaged)
    return this.#edits.deleteRecordsTo(offset)
  }

  // —— retention ——

  /** When, or from which size on, `retain` may find something; for a log that is about to close. */
  get retentionBounds(): RetentionBounds {
    return this.#retention.bounds()
  }

  /** retention.bytes would be kept without the oldest segment. Costs no look at the disk. */
  get isTooLarge(): boolean {
    return this.#retention.isTooLarge
  }

  /** `retain` may find something now. Costs no look at the disk; perhaps too early, never late. */
  isRetentionDue(wallMs: number): boolean {
    return this.#retention.isDue(wallMs)
  }

  /**
   * Deletes the oldest segment if retention.bytes or retention.ms says so, durably before visibly;
   * returns its bytes, 0 when nothing is to be deleted: call it again until then. Throws
   * BrokerError: nothing has changed then, or the log is `failed`.
   */
  retain(wallMs: number): number {
    assert(!this.#isClosed && !this.hasStaged)
    return this.#retention.retain(wallMs)
  }

  // —— compaction ——

  /**
   * When, on the wall clock, the log is due to be compacted, as far as is known now: −Infinity = at
   * once, Infinity = not before something is appended. Throws BrokerError.
   */
  compactionDueAtMs(wallMs: number): number {
    assert(!this.#isClosed)
    return this.#compaction.dueAtMs(wallMs)
  }

  /**
   * Begins a compaction if one is due: whoever runs the job hands each segment to `swapCompacted`,
   * in order, and the end to `endCompaction`. Until then the log must not be closed. Null when none
   * is due. Throws BrokerError.
   */
  startCompaction(wallMs: number): CompactionJob | null {
    assert(!this.#isClosed && !this.hasStaged)
    return this.#compaction.start(wallMs)
  }

  /**
   * Puts a compacted segment in the place of those of its range, durably. False when the log has
   * changed under it: then the job must be stopped. Throws BrokerError: nothing has changed then,
   * or the log is `failed`.
   */
  swapCompacted(segment: CompactedSegment): boolean {
    assert(!this.#isClosed && !this.hasStaged)
    return this.#compaction.swap(segment)
  }

  /**
   * The job is over and writes nothing any more; `endOffset`: it is compacted up to there, null
   * when it did not get to its end. Throws BrokerError.
   */
  endCompaction(endOffset: number | null): void {
    assert(!this.#isClosed)
    this.#compaction.end(endOffset)
  }

  /** Everything below is compacted. Throws BrokerError. */
  get compactedOffset(): number {
    return this.#compaction.firstDirtyOffset
  }

  /** The log was truncated since the compaction began: what the job finds means nothing. */
  get isCompactionStale(): boolean {
    return this.#compaction.isStale
  }

  get isCompacting(): boolean {
    return this.#compaction.isRunning
  }

  // —— life ——

  /** What a checkpoint should remember of the running log. */
  checkpoint(): LogHint {
    return this.#core.hint(false)
  }

  /**
   * Writes indexes and producer state, cuts a preallocated tail, makes everything durable and
   * closes. Returns the hint for the clean-shutdown checkpoint, not clean when the log is `failed`.
   * Not while flushing or with something staged. Throws BrokerError.
   */
  close(): LogHint {
    assert(!this.hasStaged && !this.flushing && !this.#isClosed)
    const core = this.#core
    const isSound = core.failure === null
    try {
      if (isSound && core.isChanged && core.doesDirectoryExist) this.#settle()
      return core.hint(isSound)
    } finally {
      this.#isClosed = true
      core.segments.closeAll()
    }
  }

  #settle(): void {
    const core = this.#core
    core.wake()
    const { last } = core.segments
    if (last !== undefined && core.options.preallocate && last.file !== NO_FILE) {
      core.context.files.truncate(last.file, last.bytes)
    }
    last?.completeTimeIndex()
    for (const segment of core.segments.all) core.segments.writeIndexes(segment)
    core.writeSnapshot(core.logEndOffset, core.encodeSnapshot(), true)
    this.#flusher.flushNow()
  }

  /**
   * Closes and removes every file; while a flush is under way the removal waits for its reports.
   * `mayComeBack`: a replica that this broker may be given again: nothing may be left of it.
   */
  delete(mayComeBack = false): void {
    this.#isClosed = true
    this.#mayComeBack = mayComeBack
    if (this.flushing) this.#isRemovalDue = true
    else this.#removeFiles()
  }

  #removeFiles(): void {
    const core = this.#core
    core.fail(new BrokerError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 'use a deleted log'))
    core.segments.closeAll()
    if (!core.doesDirectoryExist) return
    const { files } = core.context
    if (this.#mayComeBack) removeReplica(files, core.directory)
    else files.removeDirectory(core.directory)
  }

  /** Scans every batch with its CRC, and the indexes against the batches. Throws BrokerError. */
  verify(): LogReport {
    assert(!this.#isClosed && !this.hasStaged)
    return verifyLog(this.#core)
  }
}
