/**
 * What compaction leaves of one batch. A batch keeps its offsets, its producer and its sequence,
 * whatever goes; its records are copied as they are, except that the first pass which sees a
 * tombstone writes into the batch until when it must stay (the delete horizon, KIP-534): the
 * horizon takes the place of the base timestamp, and timestamps are written anew relative to it.
 */
import { viewOf, writeInt64 } from '../../base/bytes.ts'
import { sizeOfVarlong, writeVarint, writeVarlong } from '../../base/varint.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { BatchHeader, Crc32c } from '../../record/batch-header.ts'
import {
  ATTRIBUTES,
  BASE_SEQUENCE,
  BASE_TIMESTAMP,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH,
  COMPRESSION_MASK,
  CRC,
  DELETE_HORIZON_BIT,
  LENGTH_PREFIX_BYTES,
  LOG_APPEND_TIME_BIT,
  MAX_TIMESTAMP,
  PRODUCER_EPOCH,
  PRODUCER_ID,
  RECORDS_COUNT,
} from '../../record/batch-layout.ts'
import { RecordError } from '../../record/record-error.ts'
import { RecordSlices } from '../../record/record-slices.ts'
import type { OffsetMap } from './offset-map.ts'

const NO_TIMESTAMP = -1
/** delete.retention.ms may be Long.MAX_VALUE, and timestamps relative to it must stay exact. */
const HORIZON_MAX_MS = 2 ** 52
/** A length and a timestamp delta at their longest, instead of at their shortest. */
const RECORD_GROWTH_MAX = 13

export interface FilterTerms {
  readonly map: OffsetMap
  /** Wall clock of the pass. */
  readonly nowMs: number
  readonly deleteRetentionMs: number
}

/** The records that stay, still to be compressed as the batch was. */
export interface Kept {
  readonly records: Uint8Array
  readonly count: number
  readonly baseTimestamp: number
  readonly maxTimestamp: number
  readonly hasDeleteHorizon: boolean
}

export class BatchFilter {
  readonly #terms: FilterTerms
  readonly #slices = new RecordSlices()
  recordsDropped = 0

  constructor(terms: FilterTerms) {
    this.#terms = terms
  }

  /**
   * What stays of a data batch with these records: 'all' of it as it is, or less, or with another
   * base timestamp. Throws RecordError when the records are malformed, or have timestamps that
   * cannot be written anew.
   */
  filter(header: BatchHeader, records: Uint8Array): Kept | 'all' {
    const slices = this.#slices
    const kept: number[] = []
    let seen = 0
    let tombstones = 0
    slices.walk(records, header.recordsCount, header.lastOffsetDelta)
    while (slices.next()) {
      seen++
      if (!this.#isKept(header, records)) continue
      kept.push(slices.start)
      if (!slices.hasValue) tombstones++
    }
    const mustStamp = tombstones > 0 && !header.hasDeleteHorizon
    if (kept.length === seen && !mustStamp) return 'all'
    const baseTimestamp = mustStamp ? this.#horizonMs : header.baseTimestamp
    const copy = this.#copy(header, records, { kept, baseTimestamp })
    this.recordsDropped += seen - kept.length
    return { ...copy, baseTimestamp, hasDeleteHorizon: mustStamp || header.hasDeleteHorizon }
  }

  /** A control batch with a delete horizon: its marker may go then. Throws as `filter` does. */
  stamp(header: BatchHeader, records: Uint8Array): Kept {
    const kept: number[] = []
    this.#slices.walk(records, header.recordsCount, header.lastOffsetDelta)
    while (this.#slices.next()) kept.push(this.#slices.start)
    const baseTimestamp = this.#horizonMs
    const copy = this.#copy(header, records, { kept, baseTimestamp })
    return { ...copy, baseTimestamp, hasDeleteHorizon: true }
  }

  isPastHorizon(header: BatchHeader): boolean {
    return header.hasDeleteHorizon && header.baseTimestamp <= this.#terms.nowMs
  }

  get #horizonMs(): number {
    const { nowMs, deleteRetentionMs } = this.#terms
    return Math.min(nowMs + deleteRetentionMs, HORIZON_MAX_MS)
  }

  #isKept(header: BatchHeader, records: Uint8Array): boolean {
    const { keyStart, keyBytes, hasValue, offsetDelta } = this.#slices
    // From before the topic was compacted: nothing can ever replace it, as in Kafka.
    if (keyBytes < 0) return false
    const latest = this.#terms.map.get(records, keyStart, keyStart + keyBytes)
    if (latest > header.baseOffset + offsetDelta) return false
    return hasValue || !this.isPastHorizon(header)
  }

  #copy(
    header: BatchHeader,
    records: Uint8Array,
    { kept, baseTimestamp }: { readonly kept: readonly number[]; readonly baseTimestamp: number },
  ): { records: Uint8Array; count: number; maxTimestamp: number } {
    const slices = this.#slices
    const shift = header.baseTimestamp - baseTimestamp
    const into = new Uint8Array(
      records.length + (shift === 0 ? 0 : kept.length * RECORD_GROWTH_MAX),
    )
    let next = 0
    let index = 0
    let maxTimestamp = NO_TIMESTAMP
    slices.walk(records, header.recordsCount, header.lastOffsetDelta)
    while (index < kept.length && slices.next()) {
      if (slices.start !== kept[index]) continue
      index++
      const timestamp = header.baseTimestamp + slices.timestampDelta
      const delta = slices.timestampDelta + shift
      // Nobody checks the timestamps of single records: any producer may have sent these.
      if (!Number.isSafeInteger(timestamp) || !Number.isSafeInteger(delta)) {
        throw new RecordError(ErrorCode.INVALID_TIMESTAMP, `A record's timestamp is ${timestamp}`)
      }
      maxTimestamp = Math.max(maxTimestamp, timestamp)
      if (shift === 0) {
        into.set(records.subarray(slices.start, slices.end), next)
        next += slices.end - slices.start
        continue
      }
      const size = 1 + sizeOfVarlong(delta) + slices.end - slices.restStart
      next = writeVarint(into, next, size)
      into[next] = slices.attributes
      next = writeVarlong(into, next + 1, delta)
      into.set(records.subarray(slices.restStart, slices.end), next)
      next += slices.end - slices.restStart
    }
    return {
      records: into.subarray(0, next),
      count: kept.length,
      maxTimestamp: header.isLogAppendTime ? header.maxTimestamp : maxTimestamp,
    }
  }
}

/** The batch with what stays of its records, compressed as before. */
export function rebuildBatch(
  original: Uint8Array,
  kept: Kept,
  packed: Uint8Array,
  crc32c: Crc32c,
): Uint8Array {
  const bytes = new Uint8Array(BATCH_HEADER_BYTES + packed.length)
  bytes.set(original.subarray(0, BATCH_HEADER_BYTES))
  bytes.set(packed, BATCH_HEADER_BYTES)
  const view = viewOf(bytes)
  const horizon = kept.hasDeleteHorizon ? DELETE_HORIZON_BIT : 0
  view.setInt16(ATTRIBUTES, (view.getInt16(ATTRIBUTES) & ~DELETE_HORIZON_BIT) | horizon)
  writeInt64(view, BASE_TIMESTAMP, kept.baseTimestamp)
  writeInt64(view, MAX_TIMESTAMP, kept.maxTimestamp)
  view.setInt32(RECORDS_COUNT, kept.count)
  return seal(bytes, view, crc32c)
}

/**
 * The batch without records. It keeps the sequence of its producer, unless `isFiller`: then it says
 * only up to which offset its segment goes. No look-up by time finds it: it has no timestamp.
 */
export function emptyBatch(original: Uint8Array, isFiller: boolean, crc32c: Crc32c): Uint8Array {
  const bytes = original.slice(0, BATCH_HEADER_BYTES)
  const view = viewOf(bytes)
  const attributes = view.getInt16(ATTRIBUTES)
  view.setInt16(
    ATTRIBUTES,
    isFiller
      ? attributes & LOG_APPEND_TIME_BIT
      : attributes & ~(COMPRESSION_MASK | DELETE_HORIZON_BIT),
  )
  writeInt64(view, BASE_TIMESTAMP, NO_TIMESTAMP)
  writeInt64(view, MAX_TIMESTAMP, NO_TIMESTAMP)
  view.setInt32(RECORDS_COUNT, 0)
  if (isFiller) {
    writeInt64(view, PRODUCER_ID, -1)
    view.setInt16(PRODUCER_EPOCH, -1)
    view.setInt32(BASE_SEQUENCE, -1)
  }
  return seal(bytes, view, crc32c)
}

function seal(bytes: Uint8Array, view: DataView, crc32c: Crc32c): Uint8Array {
  view.setInt32(BATCH_LENGTH, bytes.length - LENGTH_PREFIX_BYTES)
  view.setUint32(CRC, crc32c(bytes, ATTRIBUTES, bytes.length))
  return bytes
}
