/**
 * A run of batches as a leader's log has them: walked batch by batch, judged by what recovery would
 * say of them. Offsets, epochs and timestamps are the leader's and stay; batches may have lost
 * records, or all of them, to compaction, so that offsets may be missing between two. The bytes
 * come from another machine: nothing in them is taken for granted.
 *
 * One walk serves a thread: it is over before the next starts.
 */
import { readInt64, viewOf } from '../base/bytes.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { BatchEngine } from '../record/batch-engine.ts'
import {
  ATTRIBUTES,
  BASE_OFFSET,
  BASE_SEQUENCE,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH,
  COMPRESSION_MASK,
  CONTROL_BIT,
  CRC,
  LAST_OFFSET_DELTA,
  LEADER_EPOCH,
  LENGTH_PREFIX_BYTES,
  MAGIC,
  MAX_TIMESTAMP,
  PRODUCER_EPOCH,
  PRODUCER_ID,
  RECORDS_COUNT,
  TRANSACTIONAL_BIT,
} from '../record/batch-layout.ts'
import { BATCH_BYTES_LIMIT, COMPRESSION_MAX } from './batch-scanner.ts'
import type { ByteRange } from './files.ts'
import { newProducerBatch, type ProducerBatch } from './producer-state.ts'
import { RELATIVE_OFFSET_MAX } from './segment.ts'

/** Where a run is to follow: nothing in it may be below. */
export interface RunPlace {
  readonly endOffset: number
  readonly latestEpoch: number
}

/** What a sound run would make of the log. */
export interface RunShape {
  /** Of the first batch; −1 when the run holds no whole batch. */
  readonly baseOffset: number
  /** Exclusive. */
  readonly endOffset: number
  /** Offsets are missing before or between its batches. */
  readonly hasGaps: boolean
}

export class LeaderRun {
  // —— the current batch; valid after `next` returned true ——
  /** Index in the run's memory. */
  at = 0
  /** Whole batch, prefix included. */
  bytes = 0
  /** Inclusive. */
  lastOffset = 0
  leaderEpoch = 0
  maxTimestamp = 0
  /** As the producer state sees the batch; one object, reused. */
  readonly producer: ProducerBatch = newProducerBatch()

  #memory: Uint8Array = new Uint8Array(0)
  #view = viewOf(this.#memory)
  #next = 0
  #end = 0

  get baseOffset(): number {
    return this.producer.baseOffset
  }

  start({ bytes, offset, length }: ByteRange): void {
    if (this.#memory !== bytes) {
      this.#memory = bytes
      this.#view = viewOf(bytes)
    }
    this.#next = offset
    this.#end = offset + length
  }

  /**
   * Moves to the next whole batch: true; NONE at the end or where only a part of one follows, as a
   * response to a fetch may end; another code at bytes that are no batch.
   */
  next(): true | ErrorCode {
    const at = this.#next
    const view = this.#view
    const left = this.#end - at
    if (left < BATCH_HEADER_BYTES) return ErrorCode.NONE
    const bytes = view.getInt32(at + BATCH_LENGTH) + LENGTH_PREFIX_BYTES
    if (bytes < BATCH_HEADER_BYTES || bytes > BATCH_BYTES_LIMIT) return ErrorCode.CORRUPT_MESSAGE
    if (view.getInt8(at + MAGIC) !== 2) return ErrorCode.CORRUPT_MESSAGE
    if (bytes > left) return ErrorCode.NONE
    this.at = at
    this.bytes = bytes
    this.leaderEpoch = view.getInt32(at + LEADER_EPOCH)
    this.maxTimestamp = readInt64(view, at + MAX_TIMESTAMP)
    const { producer } = this
    const attributes = view.getInt16(at + ATTRIBUTES)
    producer.producerId = readInt64(view, at + PRODUCER_ID)
    producer.producerEpoch = view.getInt16(at + PRODUCER_EPOCH)
    producer.baseSequence = view.getInt32(at + BASE_SEQUENCE)
    producer.baseOffset = readInt64(view, at + BASE_OFFSET)
    producer.lastOffsetDelta = view.getInt32(at + LAST_OFFSET_DELTA)
    producer.maxTimestamp = this.maxTimestamp
    producer.isTransactional = (attributes & TRANSACTIONAL_BIT) !== 0
    producer.isControl = (attributes & CONTROL_BIT) !== 0
    this.lastOffset = producer.baseOffset + producer.lastOffsetDelta
    this.#next = at + bytes
    return true
  }

  /**
   * Walks the run once: its shape, or why it cannot follow at `place`. CORRUPT_MESSAGE: the bytes
   * are no batches; INVALID_RECORD: they are, but not of this place in a log.
   */
  judge(run: ByteRange, place: RunPlace, engine: BatchEngine): RunShape | ErrorCode {
    this.start(run)
    let { endOffset, latestEpoch } = place
    let baseOffset = -1
    let hasGaps = false
    for (;;) {
      const step = this.next()
      if (step === ErrorCode.NONE) return { baseOffset, endOffset, hasGaps }
      if (step !== true) return step
      const code = this.#judgeBatch(engine)
      if (code !== ErrorCode.NONE) return code
      const isInPlace = this.baseOffset >= endOffset && this.leaderEpoch >= latestEpoch
      // A hole is never wider than a segment: no leader has such a one.
      if (!isInPlace || this.lastOffset - endOffset > RELATIVE_OFFSET_MAX) {
        return ErrorCode.INVALID_RECORD
      }
      if (baseOffset < 0) baseOffset = this.baseOffset
      hasGaps ||= this.baseOffset > endOffset
      endOffset = this.lastOffset + 1
      latestEpoch = this.leaderEpoch
    }
  }

  /** Where the run's first batch begins, if that is below `offset` and its end is not; else −1. */
  startBefore(run: ByteRange, offset: number): number {
    this.start(run)
    if (this.next() !== true) return -1
    const { baseOffset, lastOffset } = this
    return baseOffset >= 0 && baseOffset < offset && lastOffset >= offset ? baseOffset : -1
  }

  #judgeBatch(engine: BatchEngine): ErrorCode {
    const { at, bytes, producer } = this
    const view = this.#view
    const crc = engine.crc32c(this.#memory, at + ATTRIBUTES, at + bytes)
    if (crc >>> 0 !== view.getUint32(at + CRC)) return ErrorCode.CORRUPT_MESSAGE
    if ((view.getInt16(at + ATTRIBUTES) & COMPRESSION_MASK) > COMPRESSION_MAX) {
      return ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
    }
    const recordsCount = view.getInt32(at + RECORDS_COUNT)
    const { baseOffset, lastOffsetDelta, producerId, producerEpoch, baseSequence } = producer
    const isShaped =
      lastOffsetDelta >= 0 && recordsCount >= 0 && recordsCount <= lastOffsetDelta + 1
    const isPlaced = baseOffset >= 0 && Number.isSafeInteger(this.lastOffset)
    const isSequenced = producerEpoch >= 0 && (producer.isControl || baseSequence >= 0)
    const isProduced = producerId < 0 || (isSequenced && Number.isSafeInteger(producerId))
    const isTimed = this.maxTimestamp >= -1 && Number.isSafeInteger(this.maxTimestamp)
    const isSound = isShaped && isPlaced && isProduced && isTimed
    return isSound ? ErrorCode.NONE : ErrorCode.INVALID_RECORD
  }
}

/** The walk of this thread. */
export const LEADER_RUN = new LeaderRun()
