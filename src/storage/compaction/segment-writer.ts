/**
 * Writes a compacted segment and its indexes under names that are no part of the log yet, through
 * one buffer; whole and durable once `finish` has returned.
 */
import { assert } from '../../base/assert.ts'
import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import { writeFully, writeNew } from '../file-io.ts'
import type { FileId, Files } from '../files.ts'
import { type IndexedBatch, NO_FILE, SEGMENT_BYTES_LIMIT, Segment } from '../segment.ts'
import {
  CLEANED_SUFFIX,
  INDEX_SUFFIX,
  joinPath,
  type OffsetRange,
  rangeName,
  TIME_INDEX_SUFFIX,
} from '../segment-names.ts'
import type { CompactedSegment } from './compaction-job.ts'

const BUFFER_BYTES = 1024 * 1024

export class SegmentWriter {
  readonly #files: Files
  readonly #directory: string
  readonly #range: OffsetRange
  readonly #indexIntervalBytes: number
  readonly #segment: Segment
  readonly #buffer = new Uint8Array(BUFFER_BYTES)
  #buffered = 0
  #written = 0
  #file: FileId = NO_FILE

  constructor(
    files: Files,
    at: { readonly directory: string; readonly range: OffsetRange },
    indexIntervalBytes: number,
  ) {
    this.#files = files
    this.#directory = at.directory
    this.#range = at.range
    this.#indexIntervalBytes = indexIntervalBytes
    this.#segment = new Segment(at.range.baseOffset, false)
    this.#file = writeNew(files, this.#path(CLEANED_SUFFIX), new Uint8Array(0))
  }

  get bytes(): number {
    return this.#written + this.#buffered
  }

  /** Appends a whole batch. Throws BrokerError. */
  add(batch: Uint8Array, { lastOffset, maxTimestamp }: Omit<IndexedBatch, 'bytes'>): void {
    if (this.bytes + batch.length > SEGMENT_BYTES_LIMIT) {
      const what = `compact ${this.#directory}: segment ${this.#range.baseOffset} grows too large`
      throw new BrokerError(ErrorCode.CORRUPT_MESSAGE, what)
    }
    const indexed = { bytes: batch.length, lastOffset, maxTimestamp }
    this.#segment.index(this.bytes, indexed, this.#indexIntervalBytes)
    if (this.#buffered + batch.length > BUFFER_BYTES) this.#drain()
    if (batch.length > BUFFER_BYTES) {
      writeFully(this.#files, this.#file, this.#written, batch)
      this.#written += batch.length
      return
    }
    this.#buffer.set(batch, this.#buffered)
    this.#buffered += batch.length
  }

  /** Makes all of it durable, except for the names. Throws BrokerError. */
  finish(): CompactedSegment {
    this.#drain()
    const segment = this.#segment
    segment.completeTimeIndex()
    const { indexes } = segment
    assert(indexes !== null)
    this.#files.flushNow(this.#file)
    this.#files.dropCached(this.#file, 0, this.#written)
    this.close()
    for (const [suffix, bytes] of [
      [INDEX_SUFFIX, indexes.offsets.encode()],
      [TIME_INDEX_SUFFIX, indexes.times.encode()],
    ] as const) {
      const file = writeNew(this.#files, this.#path(suffix + CLEANED_SUFFIX), bytes)
      try {
        this.#files.flushNow(file)
      } finally {
        this.#files.close(file)
      }
    }
    const { maxTimestamp, maxTimestampOffset } = segment
    return { ...this.#range, bytes: this.#written, maxTimestamp, maxTimestampOffset }
  }

  /** Takes everything back. */
  discard(): void {
    this.close()
    this.#files.remove(this.#path(CLEANED_SUFFIX))
  }

  close(): void {
    if (this.#file === NO_FILE) return
    const file = this.#file
    this.#file = NO_FILE
    this.#files.close(file)
  }

  #drain(): void {
    if (this.#buffered === 0) return
    const bytes = this.#buffer.subarray(0, this.#buffered)
    writeFully(this.#files, this.#file, this.#written, bytes)
    this.#files.startWriteback(this.#file, this.#written, this.#buffered, true)
    this.#written += this.#buffered
    this.#buffered = 0
  }

  #path(suffix: string): string {
    return joinPath(this.#directory, rangeName(this.#range, suffix))
  }
}

/** Removes what a run has written and nobody wants any more. Throws BrokerError. */
export function removeCleaned(files: Files, directory: string): void {
  for (const name of files.list(directory)) {
    if (name.endsWith(CLEANED_SUFFIX)) files.remove(joinPath(directory, name))
  }
}
