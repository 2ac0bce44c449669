/** Batches as the server pushes them: where each is in the message, and its events. */
import { viewOf } from '../base/bytes.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { batchBytes, batchLastOffset, parseHeader } from '../record/batch-header.ts'
import { BATCH_HEADER_BYTES } from '../record/batch-layout.ts'
import { COMPRESSION_NONE } from '../record/compression-code.ts'
import { RecordError } from '../record/record-error.ts'
import { readRecords } from '../record/record-reader.ts'
import type { ConsumerRecord } from './consumer-options.ts'
import type { Platform } from './platform.ts'

/** One batch within a push. */
export interface PushedBatch {
  /** The whole push. */
  readonly payload: Uint8Array
  /** Where the batch begins in it, and its length. */
  readonly at: number
  readonly bytes: number
  /** Inclusive. */
  readonly lastOffset: number
  /** Events before it were not asked for, inclusive. */
  readonly fromOffset: number
}

/**
 * The batches of a push, in order; those that end before `fromOffset` are left out. Throws
 * RecordError when the payload is not whole batches.
 */
export function splitPush(payload: Uint8Array, fromOffset: number): PushedBatch[] {
  const view = viewOf(payload)
  const batches: PushedBatch[] = []
  let expected = fromOffset
  for (let at = 0; at < payload.length; ) {
    const left = payload.length - at
    const bytes = left < BATCH_HEADER_BYTES ? 0 : batchBytes(view, at)
    if (bytes < BATCH_HEADER_BYTES || bytes > left) {
      throw new RecordError(ErrorCode.CORRUPT_MESSAGE, 'A push is not whole batches')
    }
    const lastOffset = batchLastOffset(view, at)
    if (lastOffset >= expected) {
      batches.push({ payload, at, bytes, lastOffset, fromOffset: expected })
      expected = lastOffset + 1
    }
    at += bytes
  }
  return batches
}

/**
 * The batch's events from `fromOffset` on; none of a control batch. Throws RecordError, or rejects
 * with it.
 */
export function decodePushed(
  batch: PushedBatch,
  place: { topic: string; partition: number; decompressedBytes: number },
  platform: Platform,
): ConsumerRecord[] | Promise<ConsumerRecord[]> {
  const { payload, at, fromOffset } = batch
  const header = parseHeader(payload, at, platform.crc32c)
  if (header.isControl) return []
  const section = payload.subarray(at + BATCH_HEADER_BYTES, at + header.bytes)
  const read = (bytes: Uint8Array): ConsumerRecord[] => {
    const { topic, partition } = place
    const records: ConsumerRecord[] = []
    for (const { offset, timestamp, key, value, headers } of readRecords(bytes, header)) {
      if (offset < fromOffset) continue
      records.push({ topic, partition, offset, timestamp, key, value, headers })
    }
    return records
  }
  if (header.compression === COMPRESSION_NONE) return read(section)
  const inflated = platform.decompress(header.compression, section, place.decompressedBytes)
  return inflated instanceof Uint8Array ? read(inflated) : inflated.then(read)
}
