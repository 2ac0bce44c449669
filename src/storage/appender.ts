/**
 * Appends: validate, check sequences, assign offsets, place in segments, write. Staging is memory
 * only; `write` touches the disk once for everything staged and either all of it is in the log
 * afterwards or nothing is: offsets, producer state, epochs, indexes, files and file sizes go back.
 */
import { assert } from '../base/assert.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode, errorInfo } from '../errors/error-code.ts'
import {
  INFO_BYTES,
  INFO_MAX_TIMESTAMP,
  INFO_POSITION,
  INFO_PRODUCER_ID,
  INFO_RECORDS_COUNT,
} from '../record/batch-layout.ts'
import { isTemporary } from './file-io.ts'
import type { ByteRange, FileId } from './files.ts'
import type { Flusher } from './flusher.ts'
import { checkRunKeys } from './keyed-run.ts'
import type { EpochsMark } from './leader-epochs.ts'
import { LEADER_RUN, type RunShape } from './leader-run.ts'
import type { LogCore } from './log-core.ts'
import type { AppendResult } from './log-types.ts'
import { PageCacheWindow } from './page-cache-window.ts'
import type { ProducerBatch } from './producer-state.ts'
import {
  type IndexedBatch,
  RELATIVE_OFFSET_MAX,
  SEGMENT_BYTES_LIMIT,
  Segment,
  type SegmentMark,
} from './segment.ts'
import { StagedWrites } from './staged-writes.ts'
import {
  info,
  producerBatch,
  type RunTerms,
  stampedAppendTimeMs,
  validateRun,
} from './validated-run.ts'

/** Reused by every log of the thread: lives only during one `append`. */
const PLACED = { bytes: 0, lastOffset: 0, maxTimestamp: 0 }

/** What is true of the log before anything staged. */
interface StageMark {
  readonly segmentCount: number
  readonly last: Segment | null
  readonly lastMark: SegmentMark | null
  readonly wasLastSealed: boolean
}

/** Past a hole that is declared, so that not each run of a compacted log writes to the disk. */
const HOLES_DECLARED_AHEAD = 1 << 20

/** Of the append under way; one for the thread. 0.5: its fields hold doubles from the start. */
const TERMS: RunTerms = { baseOffset: 0.5, leaderEpoch: 0, nowMs: 0.5, allowControl: false }

interface Sealed {
  readonly segment: Segment
  /** First offset after the segment. */
  readonly endOffset: number
  /** Producer state as of there. */
  readonly snapshot: Uint8Array
}

export class Appender {
  readonly #core: LogCore
  readonly #flusher: Flusher
  readonly #staged = new StagedWrites()
  readonly #window: PageCacheWindow
  readonly #sealed: Sealed[] = []
  readonly #open: (segment: Segment) => FileId
  #mark: StageMark | null = null
  #epochsMark: EpochsMark | null = null
  /** Next offset to assign: the log end plus what is staged. */
  #stagedEnd = 0
  #isRollDue = false

  constructor(core: LogCore, flusher: Flusher) {
    this.#core = core
    this.#flusher = flusher
    this.#window = new PageCacheWindow(core.context.files)
    this.#open = (segment) => core.segments.open(segment)
  }

  get hasStaged(): boolean {
    return this.#mark !== null
  }

  /** What it has written and left in the page cache. */
  get window(): Pick<PageCacheWindow, 'keptBytes' | 'unstartedBytes'> {
    return this.#window
  }

  /** The next append starts a new segment. */
  rollNext(): void {
    this.#isRollDue = true
  }

  /**
   * Begins a new, empty segment at the log end, so that the last one may be deleted: its name, and
   * the producer state that nobody could read from batches any more, are durable. Not with
   * something staged. Throws BrokerError; nothing has changed then, or the log is `failed`.
   */
  rollNow(): void {
    const core = this.#core
    const { segments } = core
    assert(this.#mark === null)
    core.wake()
    const { last } = segments
    assert(last !== undefined && last.bytes > 0)
    const endOffset = core.logEndOffset
    const segment = new Segment(endOffset, false)
    try {
      core.writeSnapshot(endOffset, core.encodeSnapshot(), true)
      this.#create(segment)
      core.syncDirectory()
    } catch (error) {
      core.isDirectoryDirty = true
      core.orFail(() => segments.remove(segment))
      if (!isTemporary(error) && error instanceof Error) core.fail(error)
      throw error
    }
    last.completeTimeIndex()
    segments.seal(last)
    segments.all.push(segment)
    core.isChanged = true
    this.#isRollDue = false
  }

  append(run: ByteRange, leaderEpoch: number, out: AppendResult, allowControl: boolean): void {
    const core = this.#core
    clear(out)
    const terms = TERMS
    terms.leaderEpoch = leaderEpoch
    terms.nowMs = core.context.clock.wallMs()
    terms.allowControl = allowControl
    const count = this.#prepare(run, terms, out)
    if (count === 0) return
    out.baseOffset = this.#stagedEnd
    out.appendTimeMs = stampedAppendTimeMs()
    this.#stage(run, count, terms)
    out.endOffset = this.#stagedEnd
  }

  /** See PartitionLog.appendAsFollower. */
  appendAsFollower(run: ByteRange, out: AppendResult, mayHaveGaps: boolean): void {
    const core = this.#core
    clear(out)
    if (!this.#isReady(out)) return
    const place = { endOffset: this.#stagedEnd, latestEpoch: core.epochs.latest }
    const shape = LEADER_RUN.judge(run, place, core.context.engine)
    if (typeof shape === 'number') {
      refuse(out, shape)
      return
    }
    if (shape.hasGaps && !mayHaveGaps) {
      refuse(out, ErrorCode.INVALID_RECORD)
      return
    }
    if (shape.hasGaps && !this.#declareHoles(shape, out)) return
    out.baseOffset = shape.baseOffset
    out.endOffset = shape.endOffset
    if (shape.baseOffset >= 0) this.#stageLeaderRun(run)
  }

  /** Durably says that offsets may be missing there, before they are. */
  #declareHoles({ endOffset }: RunShape, out: AppendResult): boolean {
    const core = this.#core
    try {
      if (core.compactedTo < endOffset) {
        core.writeState({ compactedTo: endOffset + HOLES_DECLARED_AHEAD })
      }
      return true
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      if (!isTemporary(error)) core.fail(error)
      refuse(out, ErrorCode.KAFKA_STORAGE_ERROR, error.message)
      return false
    }
  }

  /** Checks everything; the number of batches to stage, or 0 when `out` is the answer already. */
  #prepare(run: ByteRange, terms: RunTerms, out: AppendResult): number {
    const core = this.#core
    if (!this.#isReady(out)) return 0
    if (terms.leaderEpoch < core.epochs.latest) return refuse(out, ErrorCode.FENCED_LEADER_EPOCH)
    terms.baseOffset = this.#stagedEnd
    const count = validateRun(core, run, terms)
    if (count < 0) return refuse(out, -count as ErrorCode)
    if (core.options.isCompacted) {
      const code = checkRunKeys(run, count)
      if (code !== ErrorCode.NONE) return refuse(out, code)
    }
    return this.#checkProducers(count, terms.nowMs, out) ? count : 0
  }

  /** Whether the log takes anything; it is awake then. Else `out` is the answer. */
  #isReady(out: AppendResult): boolean {
    const core = this.#core
    if (core.failure !== null) {
      refuse(out, ErrorCode.KAFKA_STORAGE_ERROR, core.failure.message)
      return false
    }
    try {
      core.wake()
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      refuse(out, ErrorCode.KAFKA_STORAGE_ERROR, error.message)
      return false
    }
    if (this.#mark === null) this.#stagedEnd = core.logEndOffset
    return true
  }

  /**
   * Checks each batch against the state that the batches before it leave. False when the run must
   * not be staged: refused, or in the log already.
   */
  #checkProducers(count: number, nowMs: number, out: AppendResult): boolean {
    const { producers } = this.#core
    const mark = producers.mark()
    let duplicates = 0
    for (let i = 0; i < count; i++) {
      if (info(i, INFO_PRODUCER_ID) < 0) continue
      const batch = producerBatch(i)
      if (producers.findDuplicate(batch)) {
        if (duplicates++ === 0) out.baseOffset = producers.duplicateBaseOffset
        out.endOffset = producers.duplicateLastOffset + 1
        if (this.#core.options.timestampType === 'LogAppendTime') {
          out.appendTimeMs = producers.duplicateTimestamp
        }
        continue
      }
      const code = producers.check(batch)
      if (code !== ErrorCode.NONE) {
        producers.rollback(mark)
        refuse(out, code)
        return false
      }
      // The next batch of the run is checked as if this one were in the log.
      if (count > 1) this.#applyProducer(batch, nowMs)
    }
    // Staging applies them for good, each in its place: a roll in between takes a snapshot.
    producers.rollback(mark)
    if (duplicates === 0) return true
    if (duplicates === count) {
      out.duplicate = true
    } else {
      // A retry repeats a run as it was: partly new means that a sequence was reused.
      out.appendTimeMs = -1
      refuse(out, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    }
    return false
  }

  #applyProducer(batch: ProducerBatch, nowMs: number): void {
    this.#core.producers.save(batch.producerId)
    this.#core.producers.apply(batch, nowMs)
  }

  // —— staging ——

  #stage(run: ByteRange, count: number, { leaderEpoch, nowMs }: RunTerms): void {
    const core = this.#core
    this.#mark ??= this.#newMark()
    if (leaderEpoch > core.epochs.latest) {
      this.#epochsMark ??= core.epochs.mark()
      core.epochs.assign(leaderEpoch, this.#stagedEnd)
    }
    const placed = PLACED
    for (let i = 0; i < count; i++) {
      placed.bytes = info(i, INFO_BYTES)
      placed.lastOffset = this.#stagedEnd + info(i, INFO_RECORDS_COUNT) - 1
      placed.maxTimestamp = info(i, INFO_MAX_TIMESTAMP)
      this.#place(placed, run.bytes, run.offset + info(i, INFO_POSITION))
      if (info(i, INFO_PRODUCER_ID) >= 0) this.#applyProducer(producerBatch(i), nowMs)
    }
  }

  /** Stages a run that has been judged, as it lies. */
  #stageLeaderRun(run: ByteRange): void {
    const core = this.#core
    this.#mark ??= this.#newMark()
    const nowMs = core.context.clock.wallMs()
    const batch = LEADER_RUN
    batch.start(run)
    while (batch.next() === true) {
      if (batch.leaderEpoch > core.epochs.latest) {
        this.#epochsMark ??= core.epochs.mark()
        core.epochs.assign(batch.leaderEpoch, batch.baseOffset)
      }
      this.#place(batch, run.bytes, batch.at)
      if (batch.producer.producerId >= 0) this.#applyProducer(batch.producer, nowMs)
    }
  }

  /** Puts the batch at memory[at…] behind what is staged. */
  #place(placed: IndexedBatch, memory: Uint8Array, at: number): void {
    const segment = this.#segmentFor(placed)
    segment.index(segment.stagedBytes, placed, this.#core.options.indexIntervalBytes)
    this.#staged.add(segment, memory, at, placed.bytes)
    segment.stagedBytes += placed.bytes
    this.#stagedEnd = placed.lastOffset + 1
  }

  #newMark(): StageMark {
    const { segments } = this.#core
    const last = segments.last ?? null
    if (last !== null) last.isPinned = true
    return {
      segmentCount: segments.all.length,
      last,
      lastMark: last === null || last.indexes === null ? null : last.mark(),
      wasLastSealed: last?.isSealed ?? false,
    }
  }

  /** The segment that takes the batch; a new one when the last must be rolled first. */
  #segmentFor(batch: IndexedBatch): Segment {
    const { segments, context } = this.#core
    const last = segments.last
    if (last !== undefined && !last.isSealed && !this.#mustRoll(last, batch)) {
      if (last.firstAppendMs === Infinity) last.firstAppendMs = context.clock.monotonicMs()
      return last
    }
    if (last !== undefined && !last.isSealed) {
      last.completeTimeIndex()
      segments.seal(last)
      const snapshot = this.#core.encodeSnapshot()
      this.#sealed.push({ segment: last, endOffset: this.#stagedEnd, snapshot })
    }
    this.#isRollDue = false
    const segment = new Segment(this.#stagedEnd, false)
    segment.firstAppendMs = context.clock.monotonicMs()
    segments.all.push(segment)
    return segment
  }

  #mustRoll(segment: Segment, batch: IndexedBatch): boolean {
    if (segment.stagedBytes === 0) {
      return batch.lastOffset - segment.baseOffset > RELATIVE_OFFSET_MAX
    }
    const { options } = this.#core
    const bytesMax = Math.min(options.segmentBytes, SEGMENT_BYTES_LIMIT)
    if (this.#isRollDue || segment.stagedBytes + batch.bytes > bytesMax) return true
    if (batch.lastOffset - segment.baseOffset > RELATIVE_OFFSET_MAX) return true
    if (segment.isIndexFull(options.segmentIndexBytes)) return true
    const { firstTimestamp } = segment
    return firstTimestamp >= 0 && batch.maxTimestamp - firstTimestamp > this.#core.rollMs(segment)
  }

  // —— writing ——

  write(): void {
    const mark = this.#mark
    if (mark === null) return
    const core = this.#core
    try {
      core.createDirectory()
      for (let i = mark.segmentCount; i < core.segments.all.length; i++) {
        this.#create(core.segments.all[i] as Segment)
      }
      this.#staged.write(core.context.files, this.#open)
    } catch (error) {
      this.#rollback(mark, error)
      throw error
    }
    this.#commit(mark)
  }

  #create(segment: Segment): void {
    const core = this.#core
    core.isDirectoryDirty = true
    const file = core.segments.open(segment)
    if (core.context.files.size(file) !== 0) core.context.files.truncate(file, 0)
    if (core.options.preallocate) core.context.files.preallocate(file, core.options.segmentBytes)
  }

  #commit(mark: StageMark): void {
    const core = this.#core
    const { all } = core.segments
    const first = mark.last !== null && mark.last.stagedBytes > mark.last.bytes ? 1 : 0
    for (let i = mark.segmentCount - first; i < all.length; i++) {
      const segment = all[i] as Segment
      core.bytes += segment.stagedBytes - segment.bytes
      segment.bytes = segment.stagedBytes
      core.segments.markDirty(segment)
      const { writeBehindBytes, pageCacheWindowBytes } = core.options
      this.#window.advance(segment, writeBehindBytes, pageCacheWindowBytes)
    }
    core.logEndOffset = this.#stagedEnd
    core.isChanged = true
    core.producers.commit()
    this.#endStage()
    this.#flusher.noteWrite(core.context.clock.monotonicMs())
    for (const sealed of this.#sealed) this.#finishSealed(sealed)
    this.#sealed.length = 0
    this.#flusher.updateHighWatermark()
  }

  /** Indexes and snapshot of a sealed segment. Both can be rebuilt: a full disk may refuse them. */
  #finishSealed(sealed: Sealed): void {
    const core = this.#core
    try {
      const { segment } = sealed
      // Gives back what was reserved and not used.
      if (core.options.preallocate) {
        core.context.files.truncate(core.segments.open(segment), segment.bytes)
      }
      core.segments.writeIndexes(segment)
      core.writeSnapshot(sealed.endOffset, sealed.snapshot, false)
    } catch (error) {
      if (!isTemporary(error)) {
        if (error instanceof Error) core.fail(error)
        throw error
      }
      core.warn(`no room for the producer snapshot at offset ${sealed.endOffset}`)
    }
  }

  #rollback(mark: StageMark, error: unknown): void {
    const core = this.#core
    core.producers.refuse()
    if (this.#epochsMark !== null) core.epochs.rollback(this.#epochsMark)
    const { segments } = core
    // What is taken back must stay so after a power loss: a clean mark would vouch for it.
    core.isChanged = true
    try {
      while (segments.all.length > mark.segmentCount) {
        const segment = segments.all.pop() as Segment
        const wasCreated = segment.isCreated
        segments.unseal(segment)
        if (!wasCreated) continue
        segments.remove(segment)
        core.isDirectoryDirty = true
      }
      const { last, lastMark } = mark
      if (last !== null && lastMark !== null) {
        if (!mark.wasLastSealed) segments.unseal(last)
        last.rollback(lastMark)
        const file = segments.open(last)
        if (core.context.files.size(file) !== last.bytes) {
          core.context.files.truncate(file, last.bytes)
          segments.markDirty(last)
        }
      }
      if (!isTemporary(error)) core.fail(error instanceof Error ? error : new Error(String(error)))
    } catch (second) {
      // What is on disk now is not what the log says: recovery at the next start sorts it out.
      core.fail(second instanceof Error ? second : new Error(String(second)))
    }
    this.#sealed.length = 0
    this.#endStage()
  }

  #endStage(): void {
    this.#staged.clear()
    if (this.#mark?.last) this.#mark.last.isPinned = false
    this.#mark = null
    this.#epochsMark = null
    assert(this.#core.producers.mark() === 0)
  }

  /** The file sizes changed under the window. */
  resetWindow(): void {
    this.#window.reset()
  }
}

function clear(out: AppendResult): void {
  out.errorCode = ErrorCode.NONE
  out.errorMessage = null
  out.baseOffset = -1
  out.endOffset = -1
  out.appendTimeMs = -1
  out.duplicate = false
}

/** Fills a refusal; always 0. */
function refuse(out: AppendResult, code: ErrorCode, message: string | null = null): 0 {
  out.errorCode = code
  out.errorMessage = message ?? errorInfo(code).message
  out.baseOffset = -1
  out.endOffset = -1
  return 0
}
