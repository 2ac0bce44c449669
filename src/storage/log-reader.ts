/**
 * Reads of one log: where the bytes of an offset lie, and the bytes themselves, in whole batches.
 * Sequential readers are remembered (the end of a read is where the next one starts), so that the
 * index and the headers are only searched for a reader's first read.
 */
import { assert } from '../base/assert.ts'
import { readInt64, viewOf } from '../base/bytes.ts'
import { ErrorCode } from '../errors/error-code.ts'
import {
  ATTRIBUTES,
  BASE_OFFSET,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH,
  CRC,
  LAST_OFFSET_DELTA,
  LEADER_EPOCH,
  LENGTH_PREFIX_BYTES,
  MAGIC,
} from '../record/batch-layout.ts'
import { readFully } from './file-io.ts'
import type { FileId } from './files.ts'
import type { LogCore } from './log-core.ts'
import type { LocateOptions, ReadBound, ReadCheck, ReadLocation } from './log-types.ts'
import { NO_FILE, type Segment } from './segment.ts'

/** Readers remembered; each costs two numbers. */
const CURSORS = 16

interface Location extends ReadLocation {
  file: FileId
  position: number
  length: number
  offset: number
  segmentBaseOffset: number
  endOffset: number
  tooSmall: boolean
  isDeferrable: boolean
  layout: number
  check: ReadCheck
}

export class LogReader {
  readonly #core: LogCore
  readonly #location: Location = {
    file: NO_FILE,
    position: 0,
    length: 0,
    offset: 0,
    segmentBaseOffset: 0,
    endOffset: 0,
    tooSmall: false,
    isDeferrable: false,
    layout: 0,
    check: 'offsets',
  }
  /** Offset → position pairs, overwritten round robin; an offset of −1 is empty. */
  readonly #cursors = new Float64Array(CURSORS * 2).fill(-1)
  #nextCursor = 0
  /** Counts how often positions changed their meaning. */
  #layout = 0
  readonly #prefix = new Uint8Array(LENGTH_PREFIX_BYTES)
  readonly #prefixView = viewOf(this.#prefix)
  /** The view of the last memory read into: callers read into the same one again and again. */
  #intoView: DataView | null = null

  constructor(core: LogCore) {
    this.#core = core
  }

  /** Positions are no longer what they were: after a truncation or a compaction. */
  reset(): void {
    this.#layout++
    this.#cursors.fill(-1)
  }

  boundOf(upTo: ReadBound): number {
    return upTo === 'logEnd' ? this.#core.logEndOffset : this.#core.highWatermark
  }

  /** See PartitionLog.locate. Throws BrokerError. */
  locate(offset: number, maxBytes: number, options: LocateOptions): ReadLocation | ErrorCode {
    const core = this.#core
    if (offset < core.logStartOffset || offset > core.logEndOffset) {
      return ErrorCode.OFFSET_OUT_OF_RANGE
    }
    const location = this.#location
    location.file = NO_FILE
    location.position = 0
    location.length = 0
    location.offset = offset
    location.segmentBaseOffset = offset
    location.endOffset = offset
    location.tooSmall = false
    location.isDeferrable = false
    location.layout = this.#layout
    location.check = 'offsets'
    const bound = this.boundOf(options.upTo)
    if (offset >= bound) return location

    const index = core.segments.find(offset)
    const segment = core.segments.all[index]
    if (segment === undefined) throw core.corrupt(`no segment holds offset ${offset}`)
    location.segmentBaseOffset = segment.baseOffset
    location.file = core.segments.open(segment)
    const position = this.positionOf(segment, offset)
    const available = this.#endPosition(index, bound) - position
    if (available <= 0) throw core.corrupt(`offset ${offset} lies at ${position}, past its end`)
    location.endOffset = Math.min(bound, core.segments.endOffset(index, core.logEndOffset))
    location.position = position
    const isSealed = segment !== core.segments.last
    if (isSealed) location.check = 'checksums'
    if (options.verify === true) location.check = 'epochs'
    const isCold = isSealed || segment.bytes - position > core.options.pageCacheWindowBytes
    if (isCold && options.mayDefer === true && maxBytes >= BATCH_HEADER_BYTES) {
      location.isDeferrable = true
      location.length = Math.min(available, maxBytes)
      return location
    }
    if (available <= maxBytes) {
      location.length = available
      return location
    }
    const firstBytes = this.#batchBytesAt(location.file, position)
    if (firstBytes > available) throw core.corrupt(`a batch of ${firstBytes} bytes at ${position}`)
    if (firstBytes <= maxBytes) location.length = maxBytes
    else if (options.minOneBatch) location.length = firstBytes
    else location.tooSmall = true
    return location
  }

  /** See PartitionLog.read. Throws BrokerError. */
  read(location: ReadLocation, into: Uint8Array, at: number): number {
    const { length, position, file } = location
    assert(length > 0 && at >= 0 && at + length <= into.length)
    const { files } = this.#core.context
    const count = readFully(files, file, position, { bytes: into, offset: at, length })
    if (count < length) {
      throw this.#core.corrupt(`${count} of ${length} bytes are there at position ${position}`)
    }
    const bytes = this.finish(location, into, at)
    if (bytes === 0) throw this.#core.corrupt(`no whole batch at position ${position}`)
    return bytes
  }

  /**
   * The range has been read to into[at…]: the length of the whole batches in it, 0 when the first
   * one is longer than the range. Throws BrokerError; also where it is not what was written, as far
   * as `location.check` says.
   */
  finish(location: ReadLocation, into: Uint8Array, at: number): number {
    const { length, position } = location
    const view = this.#viewOf(into)
    let bytes = 0
    let expected = -1
    while (length - bytes >= BATCH_HEADER_BYTES) {
      const batch = at + bytes
      const batchBytes = view.getInt32(batch + BATCH_LENGTH) + LENGTH_PREFIX_BYTES
      const baseOffset = readInt64(view, batch + BASE_OFFSET)
      const lastOffset = baseOffset + view.getInt32(batch + LAST_OFFSET_DELTA)
      const isSound =
        batchBytes >= BATCH_HEADER_BYTES &&
        view.getInt8(batch + MAGIC) === 2 &&
        lastOffset >= baseOffset &&
        lastOffset < location.endOffset &&
        // Compaction leaves holes, so only going back is impossible.
        (expected < 0
          ? baseOffset >= location.segmentBaseOffset && lastOffset >= location.offset
          : baseOffset >= expected)
      if (!isSound) {
        const where = `position ${position + bytes} of segment ${location.segmentBaseOffset}`
        throw this.#core.corrupt(`no batch with an offset from ${location.offset} at ${where}`)
      }
      if (batchBytes > length - bytes) break
      if (location.check !== 'offsets' && !this.#isIntact(into, batch, batchBytes)) {
        const where = `position ${position + bytes} of segment ${location.segmentBaseOffset}`
        throw this.#core.corrupt(`the CRC of the batch at ${where} does not match`)
      }
      if (location.check === 'epochs') {
        this.#checkEpoch(view.getInt32(batch + LEADER_EPOCH), lastOffset)
      }
      bytes += batchBytes
      expected = lastOffset + 1
    }
    if (bytes > 0 && location.layout === this.#layout) this.#remember(expected, position + bytes)
    return bytes
  }

  /**
   * Position of the batch that holds `offset` (or, in a compacted segment, of the first one after
   * it). The offset must lie in the segment and below the log end. Throws BrokerError.
   */
  positionOf(segment: Segment, offset: number): number {
    if (offset === segment.baseOffset) return 0
    for (let i = 0; i < CURSORS; i++) {
      if (this.#cursors[i * 2] === offset) return this.#cursors[i * 2 + 1] as number
    }
    const found = this.#search(segment, offset)
    if (found >= 0) return found
    // Indexes carry no checksum: rebuild them once before the log itself is blamed.
    const core = this.#core
    core.warn(`the index of segment ${segment.baseOffset} does not fit it: rebuilt`)
    core.segments.rebuild(segment, core.segments.open(segment), core.options.indexIntervalBytes)
    const again = this.#search(segment, offset)
    if (again < 0) {
      throw core.corrupt(`segment ${segment.baseOffset} holds no batch with offset ${offset}`)
    }
    return again
  }

  #search(segment: Segment, offset: number): number {
    const core = this.#core
    const file = core.segments.open(segment)
    const { offsets } = core.segments.indexes(segment, core.options.indexIntervalBytes)
    const entry = offsets.find(offset - segment.baseOffset)
    const from = entry < 0 ? 0 : offsets.position(entry)
    const { scanner } = core
    scanner.start(file, from, segment.bytes)
    let isFirst = true
    while (scanner.next()) {
      if (isFirst && entry >= 0) {
        const promised = segment.baseOffset + offsets.relativeOffset(entry)
        if (scanner.lastOffset !== promised) return -1
      }
      isFirst = false
      if (scanner.lastOffset >= offset) return scanner.position
    }
    return -1
  }

  /** Where in segment `index` readers must stop; `bound` is above the segment's base offset. */
  #endPosition(index: number, bound: number): number {
    const core = this.#core
    const segment = core.segments.all[index] as Segment
    if (bound >= core.segments.endOffset(index, core.logEndOffset)) {
      return core.segments.bytesOf(segment)
    }
    if (bound !== core.highWatermark) return this.positionOf(segment, bound)
    if (core.highWatermarkPosition < 0) {
      core.highWatermarkPosition = this.positionOf(segment, bound)
    }
    return core.highWatermarkPosition
  }

  #isIntact(bytes: Uint8Array, batch: number, length: number): boolean {
    const { engine } = this.#core.context
    const crc = engine.crc32c(bytes, batch + ATTRIBUTES, batch + length)
    return crc >>> 0 === this.#viewOf(bytes).getUint32(batch + CRC)
  }

  /** Throws BrokerError. */
  #checkEpoch(epoch: number, lastOffset: number): void {
    const core = this.#core
    const expected = core.epochs.latestBelow(lastOffset + 1)
    // The log may have begun to start later while it was read.
    if (expected < 0 || epoch === expected) return
    const which = `the batch that ends with offset ${lastOffset}`
    throw core.corrupt(`${which} is of leader epoch ${epoch}, and not of ${expected} as it was`)
  }

  #batchBytesAt(file: FileId, position: number): number {
    const range = { bytes: this.#prefix, offset: 0, length: LENGTH_PREFIX_BYTES }
    const count = readFully(this.#core.context.files, file, position, range)
    if (count < LENGTH_PREFIX_BYTES)
      throw this.#core.corrupt(`the file ends at ${position + count}`)
    const bytes = this.#prefixView.getInt32(BATCH_LENGTH) + LENGTH_PREFIX_BYTES
    if (bytes < BATCH_HEADER_BYTES) throw this.#core.corrupt(`no batch at position ${position}`)
    return bytes
  }

  #remember(offset: number, position: number): void {
    const core = this.#core
    const at = this.#nextCursor * 2
    this.#nextCursor = (this.#nextCursor + 1) % CURSORS
    // A new segment starts at 0, whatever the end of the one before it.
    assert(offset <= core.logEndOffset)
    this.#cursors[at] = offset
    this.#cursors[at + 1] = position
  }

  #viewOf(bytes: Uint8Array): DataView {
    const view = this.#intoView
    if (
      view !== null &&
      view.buffer === bytes.buffer &&
      view.byteOffset === bytes.byteOffset &&
      view.byteLength === bytes.byteLength
    ) {
      return view
    }
    this.#intoView = viewOf(bytes)
    return this.#intoView
  }
}
