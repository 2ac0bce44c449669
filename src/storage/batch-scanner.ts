/**
 * Walks the batches of a segment file from header to header, through one read buffer that is
 * reused. Headers alone are read where the bodies are not needed. It judges a header by what any
 * batch must satisfy; what fits the place in the log (offsets, epochs) is for its caller to check.
 *
 * One scanner serves a thread: a walk is over before the next starts.
 */
import { readInt64, viewOf } from '../base/bytes.ts'
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
import { readFully } from './file-io.ts'
import type { FileId, Files } from './files.ts'

const MAGIC_V2 = 2
/** No arena takes a batch of more: a torn length must not cost the memory that it asks for. */
export const BATCH_BYTES_LIMIT = 128 * 1024 * 1024
export const COMPRESSION_MAX = 4
/** First read of a walk: an index interval and a bit. */
const FIRST_READ_BYTES = 8 * 1024
const READ_AHEAD_BYTES = 128 * 1024
/** From this batch size on, reading only the headers beats reading ahead. */
const SPARSE_BATCH_BYTES = 8 * 1024
const SPARSE_READ_BYTES = 256
/** A buffer that one huge batch made larger is given back. */
const BUFFER_KEEP_BYTES = 4 * 1024 * 1024

export class BatchScanner {
  // —— the current batch; valid after `next` returned true ——
  position = 0
  /** Whole batch, prefix included; 0 before the first. */
  bytes = 0
  baseOffset = 0
  /** Inclusive. */
  lastOffset = 0
  leaderEpoch = 0
  attributes = 0
  maxTimestamp = 0
  producerId = -1
  producerEpoch = -1
  baseSequence = -1
  recordsCount = 0
  /** Why the walk stopped before its end, or null. */
  problem: string | null = null
  /** The problem is that the end comes too soon, as where a process died while it appended. */
  isTorn = false

  readonly #files: Files
  #file: FileId = -1
  #end = 0
  #next = 0
  #buffer = new Uint8Array(READ_AHEAD_BYTES)
  #view = viewOf(this.#buffer)
  /** Buffer content: file bytes [#bufferFrom, #bufferTo). */
  #bufferFrom = 0
  #bufferTo = 0
  #isFirstRead = true
  #isWhole = false

  constructor(files: Files) {
    this.#files = files
  }

  get isTransactional(): boolean {
    return (this.attributes & TRANSACTIONAL_BIT) !== 0
  }

  get isControl(): boolean {
    return (this.attributes & CONTROL_BIT) !== 0
  }

  /**
   * Starts a walk of file bytes [from, to); `from` must be the start of a batch. `isWhole`: the
   * caller will look at every batch's body.
   */
  start(file: FileId, from: number, to: number, isWhole = false): void {
    this.#isWhole = isWhole
    this.#file = file
    this.#next = from
    this.#end = to
    this.position = from
    this.bytes = 0
    this.problem = null
    this.isTorn = false
    this.#bufferFrom = 0
    this.#bufferTo = 0
    this.#isFirstRead = true
    if (this.#buffer.length > BUFFER_KEEP_BYTES) this.#resize(READ_AHEAD_BYTES)
  }

  /** Moves to the next batch. False at the end and at bytes that are no batch (then `problem`). */
  next(): boolean {
    const position = this.#next
    if (position >= this.#end || this.problem !== null) return false
    const left = this.#end - position
    if (left < BATCH_HEADER_BYTES) return this.#tear(`${left} bytes are too few for a header`)
    const at = this.#load(position, BATCH_HEADER_BYTES)
    if (at < 0) return this.#stop('the file ends inside a header')
    const view = this.#view
    const bytes = view.getInt32(at + BATCH_LENGTH) + LENGTH_PREFIX_BYTES
    const baseOffset = readInt64(view, at + BASE_OFFSET)
    const lastOffsetDelta = view.getInt32(at + LAST_OFFSET_DELTA)
    const recordsCount = view.getInt32(at + RECORDS_COUNT)
    const attributes = view.getInt16(at + ATTRIBUTES)
    if (bytes < BATCH_HEADER_BYTES || bytes > BATCH_BYTES_LIMIT) {
      return this.#stop(`a batch of ${bytes} bytes`)
    }
    if (view.getInt8(at + MAGIC) !== MAGIC_V2) return this.#stop('magic is not 2')
    if (bytes > left) return this.#tear(`a batch of ${bytes} bytes with ${left} bytes left`)
    if (lastOffsetDelta < 0 || recordsCount < 0 || recordsCount > lastOffsetDelta + 1) {
      return this.#stop(`${recordsCount} records with last offset delta ${lastOffsetDelta}`)
    }
    if (baseOffset < 0 || !Number.isSafeInteger(baseOffset + lastOffsetDelta)) {
      return this.#stop('base offset out of range')
    }
    if ((attributes & COMPRESSION_MASK) > COMPRESSION_MAX) return this.#stop('unknown compression')
    this.position = position
    this.bytes = bytes
    this.baseOffset = baseOffset
    this.lastOffset = baseOffset + lastOffsetDelta
    this.leaderEpoch = view.getInt32(at + LEADER_EPOCH)
    this.attributes = attributes
    this.maxTimestamp = readInt64(view, at + MAX_TIMESTAMP)
    this.producerId = readInt64(view, at + PRODUCER_ID)
    this.producerEpoch = view.getInt16(at + PRODUCER_EPOCH)
    this.baseSequence = view.getInt32(at + BASE_SEQUENCE)
    this.recordsCount = recordsCount
    this.#next = position + bytes
    return true
  }

  /** Reads the current batch whole and checks its CRC. */
  isIntact(engine: BatchEngine): boolean {
    const at = this.#load(this.position, this.bytes)
    if (at < 0) return false
    const crc = engine.crc32c(this.#buffer, at + ATTRIBUTES, at + this.bytes)
    return crc >>> 0 === this.#view.getUint32(at + CRC)
  }

  /** The current batch's bytes: a view, good until the next call of `next` or `start`. */
  content(): Uint8Array | null {
    const at = this.#load(this.position, this.bytes)
    return at < 0 ? null : this.#buffer.subarray(at, at + this.bytes)
  }

  #tear(problem: string): false {
    this.isTorn = true
    return this.#stop(problem)
  }

  #stop(problem: string): false {
    this.problem = problem
    return false
  }

  /**
   * Index in the buffer of file bytes [position, position + length), or −1 past the end of file.
   */
  #load(position: number, length: number): number {
    if (position >= this.#bufferFrom && position + length <= this.#bufferTo) {
      return position - this.#bufferFrom
    }
    let ahead = READ_AHEAD_BYTES
    if (length === BATCH_HEADER_BYTES && !this.#isWhole) {
      if (this.#isFirstRead) ahead = FIRST_READ_BYTES
      else if (this.bytes >= SPARSE_BATCH_BYTES) ahead = SPARSE_READ_BYTES
    }
    this.#isFirstRead = false
    const wanted = Math.min(Math.max(length, ahead), this.#end - position)
    if (wanted > this.#buffer.length) this.#resize(wanted)
    const range = { bytes: this.#buffer, offset: 0, length: wanted }
    const count = readFully(this.#files, this.#file, position, range)
    this.#bufferFrom = position
    this.#bufferTo = position + count
    return count >= length ? 0 : -1
  }

  #resize(bytes: number): void {
    this.#buffer = new Uint8Array(bytes)
    this.#view = viewOf(this.#buffer)
  }
}

const SCANNERS = new WeakMap<Files, BatchScanner>()

/** The scanner of the thread that owns `files`. */
export function scannerOf(files: Files): BatchScanner {
  let scanner = SCANNERS.get(files)
  if (scanner === undefined) {
    scanner = new BatchScanner(files)
    SCANNERS.set(files, scanner)
  }
  return scanner
}
