/**
 * How large zstd data gets, told from its frames without decompressing (RFC 8878). The library
 * decodes into a buffer that grows without a limit, so nothing reaches it that is not proven to
 * stay within the caller's bound. The declared content size proves nothing: it is checked at the
 * end.
 *
 *   magic 28 b5 2f fd │ descriptor u8 │ [window u8] │ [dictionary id] │ [content size]
 *   then each block: 24-bit header (last, type, size), data; [checksum u32]      (little-endian)
 *
 * A block makes at most 128 KiB: the number of blocks bounds most data well enough. Where that
 * bound is too high (encoders may cut small blocks), `zstd-block.ts` measures the blocks exactly.
 */
import { viewOf } from '../base/bytes.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { RecordError } from './record-error.ts'
import { ZstdBlockMeter } from './zstd-block.ts'

const MAGIC = 0xfd2fb528
const SKIPPABLE_MAGIC = 0x184d2a50
const SKIPPABLE_MASK = 0xffff_fff0
const BLOCK_BYTES_MAX = 128 * 1024
const BLOCK_HEADER_BYTES = 3
const BLOCK_RAW = 0
const BLOCK_RLE = 1
const BLOCK_COMPRESSED = 2
const WINDOW_LOG_MIN = 10
const CONTENT_SIZE_UNKNOWN = -1

interface Frame {
  /** Index of the window descriptor, −1 when the frame has none (a single segment). */
  readonly windowAt: number
  readonly windowBytes: number
  readonly contentBytes: number
  readonly checksumBytes: number
  /** Index of the first block. */
  readonly start: number
}

/**
 * Checks that `bytes` are whole zstd frames which decompress to at most `bytesMax` bytes
 * (inclusive) and returns what to give the library: the same bytes, or a copy whose window is cut
 * down to what the content can use, since the decoder allocates the window. Throws RecordError.
 */
export function checkZstd(bytes: Uint8Array, bytesMax: number): Uint8Array {
  let checked = bytes
  let budget = bytesMax
  let position = 0
  const view = viewOf(bytes)
  while (position < bytes.length) {
    if (isSkippable(view, position)) {
      position = skipFrame(view, position)
      continue
    }
    const frame = readFrameHeader(view, position)
    if (frame.contentBytes > budget) throw tooLarge(bytesMax)
    const bound = walkBlocks(bytes, frame, null)
    let size = bound.size
    if (size > budget) size = walkBlocks(bytes, frame, new ZstdBlockMeter()).size
    if (size > budget) throw tooLarge(bytesMax)
    if (frame.windowAt >= 0 && frame.windowBytes > Math.max(bytesMax, BLOCK_BYTES_MAX) * 2) {
      if (checked === bytes) checked = bytes.slice()
      checked[frame.windowAt] = windowDescriptor(Math.max(bytesMax, BLOCK_BYTES_MAX))
    }
    budget -= size
    position = bound.end
  }
  if (position !== bytes.length) throw corrupt('A zstd frame is cut off')
  return checked
}

function isSkippable(view: DataView, at: number): boolean {
  if (at + 8 > view.byteLength) return false
  return (view.getUint32(at, true) & SKIPPABLE_MASK) >>> 0 === SKIPPABLE_MAGIC
}

function skipFrame(view: DataView, at: number): number {
  const end = at + 8 + view.getUint32(at + 4, true)
  if (end > view.byteLength) throw corrupt('A zstd frame is cut off')
  return end
}

function readFrameHeader(view: DataView, at: number): Frame {
  if (at + 6 > view.byteLength || view.getUint32(at, true) !== MAGIC) {
    throw corrupt('This is no zstd frame')
  }
  const descriptor = view.getUint8(at + 4)
  const isSingleSegment = (descriptor & 0x20) !== 0
  if ((descriptor & 0x08) !== 0) throw corrupt('The zstd frame uses a reserved bit')
  if ((descriptor & 0x03) !== 0) throw corrupt('The zstd frame needs a dictionary')
  const sizeCode = descriptor >> 6
  const sizeBytes = sizeCode === 0 ? (isSingleSegment ? 1 : 0) : 2 ** sizeCode
  const windowAt = isSingleSegment ? -1 : at + 5
  const sizeAt = at + 5 + (isSingleSegment ? 0 : 1)
  const start = sizeAt + sizeBytes
  if (start > view.byteLength) throw corrupt('The zstd header is cut off')
  const contentBytes = readContentSize(view, sizeAt, sizeBytes)
  return {
    windowAt,
    windowBytes: isSingleSegment ? contentBytes : windowSize(view.getUint8(windowAt)),
    contentBytes,
    checksumBytes: (descriptor & 0x04) === 0 ? 0 : 4,
    start,
  }
}

function readContentSize(view: DataView, at: number, bytes: number): number {
  switch (bytes) {
    case 0:
      return CONTENT_SIZE_UNKNOWN
    case 1:
      return view.getUint8(at)
    case 2:
      return view.getUint16(at, true) + 256
    case 4:
      return view.getUint32(at, true)
    default:
      return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32
  }
}

function windowSize(descriptor: number): number {
  const base = 2 ** (WINDOW_LOG_MIN + (descriptor >> 3))
  return base + (base / 8) * (descriptor & 7)
}

/** The smallest power of two of at least `bytes`, as a window descriptor. */
function windowDescriptor(bytes: number): number {
  return Math.max(Math.ceil(Math.log2(bytes)) - WINDOW_LOG_MIN, 0) << 3
}

/** Adds up the blocks of a frame, exactly with a meter, else as an upper bound. */
function walkBlocks(
  bytes: Uint8Array,
  frame: Frame,
  meter: ZstdBlockMeter | null,
): { size: number; end: number } {
  const blockBytesMax = Math.min(frame.windowBytes, BLOCK_BYTES_MAX)
  let total = 0
  let position = frame.start
  for (let isLast = false; !isLast; ) {
    if (position + BLOCK_HEADER_BYTES > bytes.length) throw corrupt('A zstd frame is cut off')
    const header =
      (bytes[position] as number) |
      ((bytes[position + 1] as number) << 8) |
      ((bytes[position + 2] as number) << 16)
    position += BLOCK_HEADER_BYTES
    isLast = (header & 1) !== 0
    const type = (header >> 1) & 3
    const size = header >> 3
    const end = position + (type === BLOCK_RLE ? 1 : size)
    if (type > BLOCK_COMPRESSED || size > blockBytesMax || end > bytes.length) {
      throw corrupt('A zstd block is malformed')
    }
    if (type === BLOCK_RAW || type === BLOCK_RLE) total += size
    else total += meter === null ? blockBytesMax : meter.measure(bytes, position, end)
    position = end
  }
  position += frame.checksumBytes
  if (position > bytes.length) throw corrupt('A zstd frame is cut off')
  return { size: total, end: position }
}

function corrupt(message: string): RecordError {
  return new RecordError(ErrorCode.CORRUPT_MESSAGE, message)
}

function tooLarge(bytesMax: number): RecordError {
  const message = `The zstd data exceeds ${bytesMax} bytes once decompressed`
  return new RecordError(ErrorCode.MESSAGE_TOO_LARGE, message)
}
