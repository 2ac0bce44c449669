/**
 * LZ4 in its frame format, the one Kafka uses. The library decodes a frame into a buffer that grows
 * without a limit, so this file first walks the frame without decompressing: the sequences of a
 * block tell its exact size, and most frames are small enough for a bound from the block sizes.
 *
 *   magic 04 22 4d 18 │ FLG │ BD │ [content size u64] │ [dictionary id u32] │ header checksum u8
 *   then each block: size u32 (top bit: stored as is), data, [checksum u32]; a size of 0 ends them
 *   [content checksum u32]                                                    (all little-endian)
 */
import lz4 from 'lz4-napi'
import { viewOf } from '../base/bytes.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { RecordError } from './record-error.ts'

const MAGIC = 0x184d2204
const FLAG_VERSION_MASK = 0xc0
const FLAG_VERSION_1 = 0x40
const FLAG_BLOCK_CHECKSUM = 0x10
const FLAG_CONTENT_SIZE = 0x08
const FLAG_CONTENT_CHECKSUM = 0x04
const FLAG_DICTIONARY = 0x01
const BLOCK_SIZE_ID_MIN = 4
const STORED_BIT = 0x8000_0000
/** A byte of a match length adds 255 bytes: no LZ4 block grows by more. */
const EXPANSION_MAX = 255
const MATCH_BYTES_MIN = 4

export function encodeLz4(bytes: Uint8Array): Uint8Array {
  return lz4.compressFrameSync(asBuffer(bytes))
}

/** Decompresses exactly one frame that fills `bytes`. Throws RecordError. */
export function decompressLz4(bytes: Uint8Array, bytesMax: number): Uint8Array {
  if (measureFrame(bytes, bytesMax) > bytesMax) {
    const message = `The LZ4 data exceeds ${bytesMax} bytes once decompressed`
    throw new RecordError(ErrorCode.MESSAGE_TOO_LARGE, message)
  }
  try {
    return lz4.decompressFrameSync(asBuffer(bytes))
  } catch (error) {
    throw corrupt('The LZ4 data is corrupt', error)
  }
}

/** The frame's decompressed size, or an upper bound within `bytesMax`. */
function measureFrame(bytes: Uint8Array, bytesMax: number): number {
  const frame = readDescriptor(bytes)
  const bound = walkBlocks(bytes, frame, boundBlock)
  return bound <= bytesMax ? bound : walkBlocks(bytes, frame, measureBlock)
}

interface Frame {
  /** Index of the first block. */
  readonly start: number
  readonly blockBytesMax: number
  readonly blockChecksumBytes: number
  readonly contentChecksumBytes: number
}

function readDescriptor(bytes: Uint8Array): Frame {
  const view = viewOf(bytes)
  if (bytes.length < 7 || view.getUint32(0, true) !== MAGIC) throw corrupt('This is no LZ4 frame')
  const flags = view.getUint8(4)
  if ((flags & FLAG_VERSION_MASK) !== FLAG_VERSION_1) throw corrupt('The LZ4 version is not known')
  if ((flags & FLAG_DICTIONARY) !== 0) throw corrupt('The LZ4 frame needs a dictionary')
  const blockSizeId = (view.getUint8(5) >> 4) & 7
  if (blockSizeId < BLOCK_SIZE_ID_MIN) throw corrupt('The LZ4 block size is not known')
  return {
    start: 7 + ((flags & FLAG_CONTENT_SIZE) === 0 ? 0 : 8),
    blockBytesMax: 2 ** (8 + 2 * blockSizeId), // 64 KiB, 256 KiB, 1 MiB, 4 MiB.
    blockChecksumBytes: (flags & FLAG_BLOCK_CHECKSUM) === 0 ? 0 : 4,
    contentChecksumBytes: (flags & FLAG_CONTENT_CHECKSUM) === 0 ? 0 : 4,
  }
}

type SizeOfBlock = (bytes: Uint8Array, start: number, end: number, blockBytesMax: number) => number

/** Adds up the blocks' sizes; checks that they, their checksums and the end mark fill `bytes`. */
function walkBlocks(bytes: Uint8Array, frame: Frame, sizeOf: SizeOfBlock): number {
  const view = viewOf(bytes)
  let total = 0
  let position = frame.start
  for (;;) {
    if (position + 4 > bytes.length) throw corrupt('The LZ4 frame is cut off')
    const word = view.getUint32(position, true)
    position += 4
    if (word === 0) break
    const isStored = word >= STORED_BIT
    const size = isStored ? word - STORED_BIT : word
    const end = position + size
    if (size > frame.blockBytesMax || end > bytes.length) throw corrupt('An LZ4 block is cut off')
    total += isStored ? size : sizeOf(bytes, position, end, frame.blockBytesMax)
    position = end + frame.blockChecksumBytes
  }
  if (position + frame.contentChecksumBytes !== bytes.length) {
    throw corrupt('The LZ4 frame does not end where its bytes do')
  }
  return total
}

function boundBlock(_: Uint8Array, start: number, end: number, blockBytesMax: number): number {
  return Math.min(blockBytesMax, (end - start) * EXPANSION_MAX)
}

/** Follows a block's sequences (token, literals, match) and adds up what they would write. */
function measureBlock(
  bytes: Uint8Array,
  start: number,
  end: number,
  blockBytesMax: number,
): number {
  let total = 0
  let position = start
  while (position < end) {
    const token = bytes[position++] as number
    let literals = token >> 4
    if (literals === 15) {
      for (let byte = 255; byte === 255 && position < end; literals += byte) {
        byte = bytes[position++] as number
      }
    }
    position += literals
    total += literals
    if (position === end) break // The last sequence has no match.
    position += 2 // The match's distance.
    let match = token & 15
    if (match === 15) {
      for (let byte = 255; byte === 255 && position < end; match += byte) {
        byte = bytes[position++] as number
      }
    }
    total += match + MATCH_BYTES_MIN
  }
  if (position !== end || total > blockBytesMax) throw corrupt('An LZ4 block is malformed')
  return total
}

function corrupt(message: string, cause?: unknown): RecordError {
  return new RecordError(ErrorCode.CORRUPT_MESSAGE, message, cause)
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
