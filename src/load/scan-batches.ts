/** Walks record batches by their headers: counting needs no more. Pure. */
import { viewOf } from '../base/bytes.ts'
import {
  BATCH_MAGIC,
  batchBaseOffset,
  batchBytes,
  batchCrc,
  batchLastOffset,
  batchMagic,
} from '../record/batch-header.ts'
import { ATTRIBUTES, BATCH_HEADER_BYTES } from '../record/batch-layout.ts'
import { crc32c } from '../record/crc32c.ts'

/** Where one batch lies in a partition; offsets inclusive. */
export type VisitBatch = (baseOffset: number, lastOffset: number, bytes: number) => void

/**
 * Visits every whole batch of bytes[start, end) in order. Kafka may cut the last one off: it comes
 * again with the next answer. Returns what is wrong with a batch, or null.
 */
export function scanBatches(
  bytes: Uint8Array,
  range: { readonly start: number; readonly end: number; readonly checkCrc: boolean },
  visit: VisitBatch,
): string | null {
  const { start, end, checkCrc } = range
  const view = viewOf(bytes)
  for (let at = start; end - at >= BATCH_HEADER_BYTES; ) {
    const size = batchBytes(view, at)
    if (batchMagic(view, at) !== BATCH_MAGIC) return `a batch of magic ${batchMagic(view, at)}`
    if (size < BATCH_HEADER_BYTES) return `a batch of ${size} bytes`
    if (size > end - at) return null
    const baseOffset = batchBaseOffset(view, at)
    if (checkCrc && crc32c(bytes, at + ATTRIBUTES, at + size) !== batchCrc(view, at)) {
      return `the batch at offset ${baseOffset} fails its CRC`
    }
    visit(baseOffset, batchLastOffset(view, at), size)
    at += size
  }
  return null
}
