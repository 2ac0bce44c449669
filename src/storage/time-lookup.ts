/**
 * Batches by timestamp (ListOffsets, KIP-79 and KIP-734). The log never looks into a batch: these
 * functions find the one batch whose records decide, and `firstRecordAtOrAfter` picks the record
 * from them once somebody has decoded it (which for some codecs is asynchronous).
 */
import { LOG_APPEND_TIME_BIT } from '../record/batch-layout.ts'
import { readFully } from './file-io.ts'
import type { LogCore } from './log-core.ts'
import type { LogReader } from './log-reader.ts'
import type { ReadBound, TimestampedBatch } from './log-types.ts'
import type { Segment } from './segment.ts'

export interface TimestampedRecord {
  readonly offset: number
  readonly timestamp: number
}

/**
 * The first of a batch's records that has a timestamp ≥ `ms` and an offset ≥ `fromOffset`, or null:
 * then the batch promised more than it holds and the search goes on behind it.
 */
export function firstRecordAtOrAfter(
  records: Iterable<TimestampedRecord>,
  ms: number,
  fromOffset: number,
): TimestampedRecord | null {
  for (const record of records) {
    if (record.timestamp >= ms && record.offset >= fromOffset) {
      return { offset: record.offset, timestamp: record.timestamp }
    }
  }
  return null
}

/** True when every record of the batch has the batch's maxTimestamp: no need to decode it. */
export function hasAppendTime(batch: TimestampedBatch): boolean {
  return (batch.attributes & LOG_APPEND_TIME_BIT) !== 0
}

export class TimeLookup {
  readonly #core: LogCore
  readonly #reader: LogReader

  constructor(core: LogCore, reader: LogReader) {
    this.#core = core
    this.#reader = reader
  }

  /** See PartitionLog.batchForTimestamp. */
  batchForTimestamp(ms: number, upTo: ReadBound, fromOffset: number): TimestampedBatch | null {
    const core = this.#core
    const bound = this.#reader.boundOf(upTo)
    const from = Math.max(fromOffset, core.logStartOffset)
    if (from >= bound) return null
    for (let i = Math.max(0, core.segments.find(from)); i < core.segments.all.length; i++) {
      const segment = core.segments.all[i] as Segment
      if (segment.baseOffset >= bound) return null
      if (this.#maxTimestamp(segment) < ms) continue
      const found = this.#searchSegment(segment, { ms, from, bound })
      if (found !== null) return found
    }
    return null
  }

  /** See PartitionLog.batchOfMaxTimestamp. */
  batchOfMaxTimestamp(upTo: ReadBound): TimestampedBatch | null {
    const core = this.#core
    let maxTimestamp = -1
    for (const segment of core.segments.all) {
      if (segment.baseOffset >= core.logEndOffset) break
      maxTimestamp = Math.max(maxTimestamp, this.#maxTimestamp(segment))
    }
    if (maxTimestamp < 0) return null
    const found = this.batchForTimestamp(maxTimestamp, upTo, 0)
    if (found !== null) return found
    // The newest record is not below the bound, or not above the log start: look at what is.
    return this.#scanForMax(this.#reader.boundOf(upTo))
  }

  /** See PartitionLog.readBatch. */
  readBatch(batch: TimestampedBatch): Uint8Array {
    const bytes = new Uint8Array(batch.bytes)
    const range = { bytes, offset: 0, length: bytes.length }
    const { segments, context } = this.#core
    // Opened anew: the search may have closed it again for the sake of later segments.
    const file = segments.open(segments.all[segments.find(batch.baseOffset)] as Segment)
    const count = readFully(context.files, file, batch.position, range)
    if (count < bytes.length) throw this.#core.corrupt(`the batch at offset ${batch.baseOffset}`)
    return bytes
  }

  #maxTimestamp(segment: Segment): number {
    // Kept when a sealed segment's indexes are evicted: it changes no more.
    if (segment.maxTimestamp < 0) {
      this.#core.segments.indexes(segment, this.#core.options.indexIntervalBytes)
    }
    return segment.maxTimestamp
  }

  #searchSegment(
    segment: Segment,
    { ms, from, bound }: { ms: number; from: number; bound: number },
  ): TimestampedBatch | null {
    const core = this.#core
    const file = core.segments.open(segment)
    const { times } = core.segments.indexes(segment, core.options.indexIntervalBytes)
    const entry = times.findBelow(ms)
    const known = entry < 0 ? segment.baseOffset : segment.baseOffset + times.relativeOffset(entry)
    // Everything up to `known` is older than `ms`.
    const start = Math.max(known, from, segment.baseOffset)
    if (start >= core.logEndOffset) return null
    const position = this.#reader.positionOf(segment, start)
    const { scanner } = core
    scanner.start(file, position, segment.bytes)
    while (scanner.next()) {
      if (scanner.lastOffset >= bound) return null
      if (scanner.maxTimestamp >= ms && scanner.lastOffset >= from) return describe(core)
    }
    if (scanner.problem !== null) throw core.corrupt(scanner.problem)
    return null
  }

  #scanForMax(bound: number): TimestampedBatch | null {
    const core = this.#core
    const { scanner } = core
    let best: TimestampedBatch | null = null
    for (const segment of core.segments.all) {
      if (segment.baseOffset >= bound) break
      const file = core.segments.open(segment)
      scanner.start(file, 0, segment.bytes)
      while (scanner.next() && scanner.lastOffset < bound) {
        if (scanner.lastOffset < core.logStartOffset) continue
        if (scanner.maxTimestamp > (best?.maxTimestamp ?? -1)) best = describe(core)
      }
    }
    return best
  }
}

function describe(core: LogCore): TimestampedBatch {
  const { scanner } = core
  return {
    position: scanner.position,
    bytes: scanner.bytes,
    baseOffset: scanner.baseOffset,
    lastOffset: scanner.lastOffset,
    leaderEpoch: scanner.leaderEpoch,
    maxTimestamp: scanner.maxTimestamp,
    attributes: scanner.attributes,
  }
}
