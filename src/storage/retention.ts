/**
 * Retention: which segment is due to be deleted, by size or by age. As in Kafka only whole segments
 * go, from the oldest on, up to the first that stays, and only those below the high watermark:
 *
 *   retention.bytes   the log would keep at least so much without the segment
 *   retention.ms      the newest record of the segment is older; without timestamps the file is
 *
 * The segment that takes appends is never deleted by size. When all of it is too old a new, empty
 * one is begun first. A newest record in the future keeps its segment until that time has passed.
 */
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { Appender } from './appender.ts'
import type { LogCore } from './log-core.ts'
import type { LogEdits } from './log-edits.ts'
import type { RetentionBounds } from './log-types.ts'
import type { Segment } from './segment.ts'

const NEVER: RetentionBounds = { atMs: Infinity, atBytes: Infinity }
/** So far ahead an honest clock is not. As the default of message.timestamp.after.max.ms. */
const FUTURE_MS = 3_600_000

export class Retention {
  readonly #core: LogCore
  readonly #edits: LogEdits
  readonly #appender: Appender
  /** Base offset of the segment that an operator has been warned of. */
  #warnedOf = -1

  constructor(core: LogCore, edits: LogEdits, appender: Appender) {
    this.#core = core
    this.#edits = edits
    this.#appender = appender
  }

  /** See PartitionLog.retentionBounds. Memory only. */
  bounds(): RetentionBounds {
    const { segments, options, logEndOffset, failure } = this.#core
    const [oldest, next] = segments.all
    if (failure !== null || oldest === undefined || oldest.baseOffset === logEndOffset) return NEVER
    const { retentionMs, retentionBytes } = options
    // The newest timestamp only rises until the segment is sealed: too early is only a vain look.
    const newestMs = oldest.maxTimestamp >= 0 ? oldest.maxTimestamp : -Infinity
    const bytes = Math.max(0, oldest.bytes)
    return {
      atMs: retentionMs === Infinity ? Infinity : newestMs + retentionMs + 1,
      atBytes: next === undefined ? Infinity : retentionBytes + bytes,
    }
  }

  /** See PartitionLog.isTooLarge. Memory only. */
  get isTooLarge(): boolean {
    const { segments, options, bytes } = this.#core
    const { all } = segments
    if (options.retentionBytes === Infinity || all.length < 2) return false
    return bytes - Math.max(0, (all[0] as Segment).bytes) >= options.retentionBytes
  }

  /** See PartitionLog.isRetentionDue. Memory only. */
  isDue(wallMs: number): boolean {
    const { atMs, atBytes } = this.bounds()
    return wallMs >= atMs || this.#core.bytes >= atBytes || this.#isWarningDue(wallMs)
  }

  /** See PartitionLog.retain. */
  retain(wallMs: number): number {
    const core = this.#core
    if (core.failure !== null) return 0
    this.#edits.removeObsolete()
    const { all } = core.segments
    const oldest = all[0]
    if (oldest === undefined || !this.#isDeletable(oldest, wallMs)) return 0
    if (all.length === 1) this.#appender.rollNow()
    return this.#edits.deleteOldest()
  }

  #isDeletable(oldest: Segment, wallMs: number): boolean {
    const { segments, options, highWatermark, logEndOffset, bytes } = this.#core
    const next = segments.all[1]
    const endOffset = next?.baseOffset ?? logEndOffset
    if (oldest.isFlushing || endOffset > highWatermark) return false
    if (endOffset === oldest.baseOffset) return false // Empty: everything before it is gone.
    const kept = bytes - segments.bytesOf(oldest)
    if (next !== undefined && kept >= options.retentionBytes) return true
    return options.retentionMs !== Infinity && this.#isTooOld(oldest, wallMs)
  }

  #isTooOld(segment: Segment, wallMs: number): boolean {
    const { options } = this.#core
    const newestMs = this.#newestMs(segment)
    if (this.#isWarningDue(wallMs)) {
      this.#warnedOf = segment.baseOffset
      this.#core.warn(
        `segment ${segment.baseOffset} has a record of the future (timestamp ${newestMs}): ` +
          'retention.ms deletes neither it nor what follows it before then',
      )
    }
    return wallMs - newestMs > options.retentionMs
  }

  #isWarningDue(wallMs: number): boolean {
    const { segments, options } = this.#core
    const oldest = segments.all[0]
    if (oldest === undefined || options.retentionMs === Infinity) return false
    return oldest.maxTimestamp - wallMs > FUTURE_MS && this.#warnedOf !== oldest.baseOffset
  }

  /** The largest timestamp, or when the file was last written if no record has one. */
  #newestMs(segment: Segment): number {
    const { segments, options, context } = this.#core
    try {
      // Kept when a sealed segment's indexes are evicted: it changes no more.
      if (segment.maxTimestamp < 0) segments.indexes(segment, options.indexIntervalBytes)
    } catch (error) {
      // Damage must not keep the segment for ever.
      if (!(error instanceof BrokerError) || error.code !== ErrorCode.CORRUPT_MESSAGE) throw error
    }
    if (segment.maxTimestamp >= 0) return segment.maxTimestamp
    return context.files.modifiedMs(segments.open(segment))
  }
}
