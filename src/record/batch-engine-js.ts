import { assert } from '../base/assert.ts'
import { readInt64, viewOf, writeInt64 } from '../base/bytes.ts'
import { ErrorCode } from '../errors/error-code.ts'
import {
  type BatchEngine,
  STAMP_ALLOW_CONTROL,
  STAMP_APPEND_TIME_MS,
  STAMP_BASE_OFFSET,
  STAMP_BATCH_BYTES_MAX,
  STAMP_LEADER_EPOCH,
  STAMP_TIMESTAMP_MAX,
  STAMP_WORDS,
} from './batch-engine.ts'
import {
  ATTRIBUTES,
  BASE_OFFSET,
  BASE_SEQUENCE,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH,
  COMPRESSION_MASK,
  CONTROL_BIT,
  CRC,
  INFO_ATTRIBUTES,
  INFO_BASE_OFFSET,
  INFO_BASE_SEQUENCE,
  INFO_BYTES,
  INFO_MAX_TIMESTAMP,
  INFO_POSITION,
  INFO_PRODUCER_EPOCH,
  INFO_PRODUCER_ID,
  INFO_RECORDS_COUNT,
  INFO_WORDS,
  LAST_OFFSET_DELTA,
  LEADER_EPOCH,
  LENGTH_PREFIX_BYTES,
  LOG_APPEND_TIME_BIT,
  MAGIC,
  MAX_TIMESTAMP,
  PRODUCER_EPOCH,
  PRODUCER_ID,
  RECORDS_COUNT,
} from './batch-layout.ts'
import { crc32c } from './crc32c.ts'

/**
 * The batch engine in JavaScript: what runs where the addon does not load, and the twin that
 * `native/src/batch.rs` is held equal to. The rules stand in `batch-engine.ts`; a change of one is
 * a change of all three. Any thread; the run belongs to the caller alone during the call.
 */
export const jsBatchEngine: BatchEngine = { name: 'javascript', crc32c, validateAndStamp }

const COMPRESSION_MAX = 4

function validateAndStamp(
  bytes: Uint8Array,
  offset: number,
  length: number,
  stamp: Float64Array,
  info: Float64Array,
): number {
  assert(offset >= 0 && length >= 0 && offset + length <= bytes.length)
  checkStamp(stamp)
  const view = viewOf(bytes)
  const end = offset + length
  let count = 0
  for (let at = offset; at < end; ) {
    if ((count + 1) * INFO_WORDS > info.length) return -ErrorCode.INVALID_RECORD
    const code = check(bytes, view, at, end, stamp)
    if (code !== ErrorCode.NONE) return -code
    describe(view, at, at - offset, info, count * INFO_WORDS)
    at += info[count * INFO_WORDS + INFO_BYTES]!
    count++
  }
  if (count === 0) return -ErrorCode.CORRUPT_MESSAGE

  let baseOffset = stamp[STAMP_BASE_OFFSET]!
  for (let words = 0; words < count * INFO_WORDS; words += INFO_WORDS) {
    const at = offset + info[words + INFO_POSITION]!
    write(bytes, view, at, stamp, baseOffset)
    info[words + INFO_ATTRIBUTES] = view.getInt16(at + ATTRIBUTES)
    info[words + INFO_BASE_OFFSET] = baseOffset
    info[words + INFO_MAX_TIMESTAMP] = readInt64(view, at + MAX_TIMESTAMP)
    baseOffset += info[words + INFO_RECORDS_COUNT]!
  }
  return count
}

function checkStamp(stamp: Float64Array): void {
  assert(stamp.length >= STAMP_WORDS)
  const baseOffset = stamp[STAMP_BASE_OFFSET]!
  assert(Number.isSafeInteger(baseOffset) && baseOffset >= 0)
  assert((stamp[STAMP_LEADER_EPOCH]! | 0) === stamp[STAMP_LEADER_EPOCH])
  const appendTimeMs = stamp[STAMP_APPEND_TIME_MS]!
  assert(Number.isSafeInteger(appendTimeMs) && appendTimeMs >= -1)
}

/** Judges the batch at `at`; its run ends at `end`, exclusive. */
function check(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  end: number,
  stamp: Float64Array,
): ErrorCode {
  if (end - at < BATCH_HEADER_BYTES) return ErrorCode.CORRUPT_MESSAGE
  const size = LENGTH_PREFIX_BYTES + view.getInt32(at + BATCH_LENGTH)
  if (size < BATCH_HEADER_BYTES || size > end - at) return ErrorCode.CORRUPT_MESSAGE
  if (size > stamp[STAMP_BATCH_BYTES_MAX]!) return ErrorCode.MESSAGE_TOO_LARGE
  if (bytes[at + MAGIC] !== 2) return ErrorCode.CORRUPT_MESSAGE
  const crc = crc32c(bytes, at + ATTRIBUTES, at + size)
  if (crc !== view.getUint32(at + CRC)) return ErrorCode.CORRUPT_MESSAGE

  const attributes = view.getInt16(at + ATTRIBUTES)
  const control = (attributes & CONTROL_BIT) !== 0
  if (control && stamp[STAMP_ALLOW_CONTROL] === 0) return ErrorCode.INVALID_RECORD
  if ((attributes & COMPRESSION_MASK) > COMPRESSION_MAX) {
    return ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
  }
  const recordsCount = view.getInt32(at + RECORDS_COUNT)
  if (recordsCount <= 0 || view.getInt32(at + LAST_OFFSET_DELTA) !== recordsCount - 1) {
    return ErrorCode.INVALID_RECORD
  }
  const producerId = readInt64(view, at + PRODUCER_ID)
  if (producerId >= 0) {
    const sequenced = control || view.getInt32(at + BASE_SEQUENCE) >= 0
    if (view.getInt16(at + PRODUCER_EPOCH) < 0 || !sequenced) return ErrorCode.INVALID_RECORD
    if (producerId > Number.MAX_SAFE_INTEGER) return ErrorCode.INVALID_RECORD
  }
  const maxTimestamp = readInt64(view, at + MAX_TIMESTAMP)
  // Not `>`: a limit that is not a number refuses.
  const inTime = maxTimestamp >= -1 && maxTimestamp <= stamp[STAMP_TIMESTAMP_MAX]!
  return inTime ? ErrorCode.NONE : ErrorCode.INVALID_TIMESTAMP
}

/** What validation tells of one batch; the words of stamping follow later. */
function describe(
  view: DataView,
  at: number,
  position: number,
  info: Float64Array,
  words: number,
): void {
  info[words + INFO_POSITION] = position
  info[words + INFO_BYTES] = LENGTH_PREFIX_BYTES + view.getInt32(at + BATCH_LENGTH)
  info[words + INFO_RECORDS_COUNT] = view.getInt32(at + RECORDS_COUNT)
  info[words + INFO_PRODUCER_ID] = Math.max(-1, readInt64(view, at + PRODUCER_ID))
  info[words + INFO_PRODUCER_EPOCH] = view.getInt16(at + PRODUCER_EPOCH)
  info[words + INFO_BASE_SEQUENCE] = view.getInt32(at + BASE_SEQUENCE)
}

/** Stamps one valid batch in place. */
function write(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  stamp: Float64Array,
  baseOffset: number,
): void {
  writeInt64(view, at + BASE_OFFSET, baseOffset)
  view.setInt32(at + LEADER_EPOCH, stamp[STAMP_LEADER_EPOCH]!)

  const before = view.getInt16(at + ATTRIBUTES)
  const appendTimeMs = stamp[STAMP_APPEND_TIME_MS]!
  if (appendTimeMs >= 0) {
    view.setInt16(at + ATTRIBUTES, before | LOG_APPEND_TIME_BIT)
    writeInt64(view, at + MAX_TIMESTAMP, appendTimeMs)
  } else if ((before & LOG_APPEND_TIME_BIT) !== 0) {
    view.setInt16(at + ATTRIBUTES, before & ~LOG_APPEND_TIME_BIT)
  } else {
    return // Nothing that the CRC covers has changed.
  }
  const size = LENGTH_PREFIX_BYTES + view.getInt32(at + BATCH_LENGTH)
  view.setUint32(at + CRC, crc32c(bytes, at + ATTRIBUTES, at + size))
}
