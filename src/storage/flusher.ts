/**
 * When a log's data must become durable, and what is durable (flush.messages, flush.ms, rolled
 * segments). One flush covers every dirty file of the log; its token comes back once per file. A
 * failed flush marks the log failed for ever: after it the kernel may report pages as clean that
 * never reached the disk (Rebello et al., ATC 2020), so nothing is retried.
 */
import { assert } from '../base/assert.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { isTemporary } from './file-io.ts'
import type { FileId } from './files.ts'
import type { LogCore } from './log-core.ts'
import type { Segment } from './segment.ts'

/** Until a flush that the disk had no room for is tried again. */
const RETRY_MS = 1000

export class Flusher {
  readonly #core: LogCore
  #token = -1
  /** Reports still to come. */
  #pending = 0
  #flushing: Segment[] = []
  /** Index files that the flush covers: closed when it is over. */
  #flushingFiles: FileId[] = []
  /** What the flush under way will make durable; exclusive. */
  #target = 0
  #targetPosition = 0
  /** When the oldest write was made that no started flush covers; monotonic, Infinity when none. */
  #dirtySinceMs = Infinity
  /** Until then no flush is due: the last try found no room. Monotonic, −Infinity when it did. */
  #retryAtMs = -Infinity

  constructor(core: LogCore) {
    this.#core = core
  }

  get isFlushing(): boolean {
    return this.#pending > 0
  }

  noteWrite(nowMs: number): void {
    if (nowMs < this.#dirtySinceMs) this.#dirtySinceMs = nowMs
  }

  /** A truncation or recovery made everything durable. */
  reset(): void {
    this.#dirtySinceMs = Infinity
    this.#retryAtMs = -Infinity
  }

  /**
   * Moves the high watermark after a write or a flush: to the log end, unless flush.messages asks
   * for a flush that is not done yet. Of a replicated log it moves what counts instead.
   */
  updateHighWatermark(): void {
    const core = this.#core
    if (core.isReplicated) {
      const isCounted = core.logEndOffset - core.recoveryPoint < core.options.flushMessages
      const counted = isCounted ? core.logEndOffset : core.recoveryPoint
      core.countedOffset = Math.max(core.countedOffset, counted)
    } else if (core.logEndOffset - core.recoveryPoint < core.options.flushMessages) {
      core.highWatermark = core.logEndOffset
      core.highWatermarkPosition = core.endPosition()
    } else if (core.recoveryPoint > core.highWatermark) {
      core.highWatermark = core.recoveryPoint
      core.highWatermarkPosition = this.#targetPosition
    }
  }

  isDue(nowMs: number): boolean {
    const core = this.#core
    if (this.isFlushing || core.failure !== null) return false
    if (nowMs < this.#retryAtMs) return false
    const unflushed = core.logEndOffset - core.recoveryPoint
    if (unflushed === 0) return false
    if (unflushed >= core.options.flushMessages) return true
    if (nowMs >= this.#dirtySinceMs + core.options.flushMs) return true
    // A sealed segment is done with: flushing it moves the recovery point past it.
    for (const segment of core.segments.dirty) if (segment.isSealed) return true
    return false
  }

  /**
   * When a flush is due because of time. Also while one is under way, of what it does not cover:
   * the next one starts when that is over.
   */
  deadlineMs(): number {
    if (this.#core.failure !== null) return Infinity
    if (this.#retryAtMs > 0) return this.#retryAtMs
    return this.#dirtySinceMs + this.#core.options.flushMs
  }

  start(token: number): number {
    const core = this.#core
    assert(!this.isFlushing && core.failure === null)
    this.#flushNames()
    return core.orFail(() => {
      const { files } = core.context
      this.#token = token
      this.#target = core.logEndOffset
      this.#targetPosition = core.endPosition()
      this.#dirtySinceMs = Infinity
      const { segments } = core
      for (let segment = segments.dirty[0]; segment !== undefined; segment = segments.dirty[0]) {
        files.flush(segments.open(segment), token)
        this.#pending++
        segments.markClean(segment)
        segment.isFlushing = true
        this.#flushing.push(segment)
        for (const file of segment.unflushedFiles) {
          files.flush(file, token)
          this.#pending++
          this.#flushingFiles.push(file)
        }
        segment.unflushedFiles = []
      }
      if (this.#pending === 0) this.#noteFlushed() // Only names were missing.
      return this.#pending
    })
  }

  /**
   * Names first: durable bytes in a file that nobody finds are lost. No room for them is no
   * failure, no data has been flushed yet: the flush is due again a little later.
   */
  #flushNames(): void {
    const core = this.#core
    try {
      core.epochs.write(core.context.files, core.directory)
      core.syncDirectory()
      this.#retryAtMs = -Infinity
    } catch (error) {
      if (isTemporary(error)) this.#retryAtMs = core.context.clock.monotonicMs() + RETRY_MS
      else if (error instanceof Error) core.fail(error)
      throw error
    }
  }

  /** True when this was the last report of the flush. */
  onFlushed(token: number, error: Error | null): boolean {
    const core = this.#core
    assert(token === this.#token && this.#pending > 0, 'a report of a flush that was not started')
    this.#pending--
    if (error !== null) {
      const what = `flush ${core.directory}; its directory is offline until a restart`
      core.fail(new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, what, error))
    }
    if (this.#pending > 0) return false
    for (const segment of this.#flushing) segment.isFlushing = false
    for (const file of this.#flushingFiles) core.context.files.close(file)
    this.#flushing = []
    this.#flushingFiles = []
    if (core.failure === null) this.#noteFlushed()
    return true
  }

  #noteFlushed(): void {
    this.#core.recoveryPoint = this.#target
    this.updateHighWatermark()
  }

  /** Makes everything durable and waits for it: on close, after a truncation, in recovery. */
  flushNow(): void {
    assert(!this.isFlushing)
    if (this.#core.doesDirectoryExist) this.#flushNames()
    this.#flushData()
    this.#core.recoveryPoint = this.#core.logEndOffset
    this.reset()
  }

  /**
   * The same for a log that has just been recovered, whose data may be read though a full disk has
   * no room for its leader epochs: the recovery point then stays where it is, so that a crash finds
   * the epochs in the batches again, and the flush is due once more.
   */
  flushRecovered(): void {
    try {
      this.flushNow()
    } catch (error) {
      if (!isTemporary(error) || this.#core.failure !== null) throw error
      this.#flushData()
      this.noteWrite(this.#core.context.clock.monotonicMs())
    }
  }

  #flushData(): void {
    const core = this.#core
    core.orFail(() => {
      const { files } = core.context
      for (const segment of core.segments.all) {
        if (segment.isDirty) files.flushNow(core.segments.open(segment))
        core.segments.markClean(segment)
        core.segments.flushIndexes(segment)
      }
      core.segments.closeIdle()
    })
  }
}
