/**
 * Whether every record of a batch has a key: what a compacted topic asks. Nothing could ever
 * replace a record without one.
 */
import { ErrorCode } from '../errors/error-code.ts'
import { RecordError } from './record-error.ts'
import { RecordSlices } from './record-slices.ts'

/** Of a compressed batch for a compacted topic; who sends more is to send smaller batches. */
export const KEYED_BYTES_MAX = 16 * 1024 * 1024

const SLICES = new RecordSlices()

/** INVALID_RECORD unless the records, decompressed, are sound and all have keys. */
export function checkKeys(
  records: Uint8Array,
  { recordsCount, lastOffsetDelta }: { recordsCount: number; lastOffsetDelta: number },
): ErrorCode {
  try {
    SLICES.walk(records, recordsCount, lastOffsetDelta)
    while (SLICES.next()) if (SLICES.keyBytes < 0) return ErrorCode.INVALID_RECORD
    return ErrorCode.NONE
  } catch (error) {
    return refusalOf(error)
  }
}

/** The indexes of the records without a key, at most `countMax`. Throws RecordError. */
export function keylessRecords(
  records: Uint8Array,
  { recordsCount, lastOffsetDelta }: { recordsCount: number; lastOffsetDelta: number },
  countMax: number,
): number[] {
  const keyless: number[] = []
  SLICES.walk(records, recordsCount, lastOffsetDelta)
  for (let i = 0; keyless.length < countMax && SLICES.next(); i++) {
    if (SLICES.keyBytes < 0) keyless.push(i)
  }
  return keyless
}

/** What a batch is refused with that cannot be looked into. */
export function refusalOf(error: unknown): ErrorCode {
  if (!(error instanceof RecordError)) throw error
  // Java producers split a batch that is too large and try again.
  const isTooLarge = error.code === ErrorCode.MESSAGE_TOO_LARGE
  return isTooLarge ? ErrorCode.MESSAGE_TOO_LARGE : ErrorCode.INVALID_RECORD
}
