/**
 * The check that a compacted log adds to those of `validated-run.ts`: every record has a key.
 * Batches are decompressed for it, within bounds; those of zstd, whose library has no synchronous
 * call, must have been looked at before (`broker/key-checks.ts`).
 */
import { ErrorCode } from '../errors/error-code.ts'
import { checkKeys, KEYED_BYTES_MAX, refusalOf } from '../record/batch-keys.ts'
import {
  BATCH_HEADER_BYTES,
  COMPRESSION_MASK,
  CONTROL_BIT,
  INFO_ATTRIBUTES,
  INFO_BYTES,
  INFO_POSITION,
  INFO_RECORDS_COUNT,
} from '../record/batch-layout.ts'
import {
  COMPRESSION_NONE,
  COMPRESSION_ZSTD,
  type CompressionCode,
  decompressSync,
} from '../record/compression.ts'
import type { ByteRange } from './files.ts'
import { info } from './validated-run.ts'

/** Of the run that was validated last, of `count` batches. */
export function checkRunKeys(run: ByteRange, count: number): ErrorCode {
  for (let i = 0; i < count; i++) {
    const attributes = info(i, INFO_ATTRIBUTES)
    const code = (attributes & COMPRESSION_MASK) as CompressionCode
    if ((attributes & CONTROL_BIT) !== 0 || code === COMPRESSION_ZSTD) continue
    const start = run.offset + info(i, INFO_POSITION)
    const bytes = run.bytes.subarray(start + BATCH_HEADER_BYTES, start + info(i, INFO_BYTES))
    const recordsCount = info(i, INFO_RECORDS_COUNT)
    let records = bytes
    try {
      if (code !== COMPRESSION_NONE) records = decompressSync(code, bytes, KEYED_BYTES_MAX)
    } catch (error) {
      return refusalOf(error)
    }
    const problem = checkKeys(records, { recordsCount, lastOffsetDelta: recordsCount - 1 })
    if (problem !== ErrorCode.NONE) return problem
  }
  return ErrorCode.NONE
}
