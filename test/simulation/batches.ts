/**
 * The batches that simulated producers send: each carries an id of its own, so that whatever is
 * read back can be traced to the one batch that it must be, byte for byte.
 */

import { readInt64, viewOf } from '../../src/base/bytes.ts'
import type { Random } from '../../src/base/random.ts'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import {
  ATTRIBUTES,
  BASE_OFFSET,
  BASE_SEQUENCE,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH,
  CRC,
  LAST_OFFSET_DELTA,
  LENGTH_PREFIX_BYTES,
  MAX_TIMESTAMP,
  PRODUCER_EPOCH,
  PRODUCER_ID,
} from '../../src/record/batch-layout.ts'
import { crc32c } from '../../src/record/crc32c.ts'
import { Violation } from './violation.ts'

export interface SentBatch {
  readonly id: number
  readonly partition: number
  readonly bytes: Uint8Array
  readonly recordsCount: number
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly maxTimestamp: number
}

/** A batch as the log holds it. */
export interface StoredBatch {
  readonly sent: SentBatch
  readonly baseOffset: number
  readonly lastOffset: number
  readonly maxTimestamp: number
}

export interface BatchTerms {
  readonly id: number
  readonly partition: number
  readonly records: number
  readonly valueBytesMax: number
  readonly timestamp: number
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
}

const ID_BYTES = 4

export function makeBatch(terms: BatchTerms, random: Random): SentBatch {
  const builder = new BatchBuilder()
  for (let i = 0; i < terms.records; i++) {
    const value = new Uint8Array(ID_BYTES + random.below(terms.valueBytesMax))
    value.fill(random.u32())
    viewOf(value).setUint32(value.length - ID_BYTES, terms.id)
    builder.append(terms.timestamp + (i % 3), `${terms.id}/${i}`, value)
  }
  const { producerId, producerEpoch, baseSequence } = terms
  const bytes = builder.buildSync({ producerId, producerEpoch, baseSequence })
  return {
    id: terms.id,
    partition: terms.partition,
    bytes,
    recordsCount: terms.records,
    producerId,
    producerEpoch,
    baseSequence,
    maxTimestamp: readInt64(viewOf(bytes), MAX_TIMESTAMP),
  }
}

/** Cuts what was served into batches, each traced to what was sent. Throws a Violation. */
export function identify(
  bytes: Uint8Array,
  sent: ReadonlyMap<number, SentBatch>,
  where: string,
): StoredBatch[] {
  const view = viewOf(bytes)
  const found: StoredBatch[] = []
  let at = 0
  while (at < bytes.length) {
    const left = bytes.length - at
    const size =
      left < BATCH_HEADER_BYTES ? -1 : view.getInt32(at + BATCH_LENGTH) + LENGTH_PREFIX_BYTES
    if (size < BATCH_HEADER_BYTES || size > left) {
      throw new Violation('nothing torn is served', `${where}: ${left} bytes, a batch of ${size}`)
    }
    if (crc32c(bytes, at + ATTRIBUTES, at + size) >>> 0 !== view.getUint32(at + CRC)) {
      throw new Violation('nothing torn is served', `${where}: CRC mismatch at byte ${at}`)
    }
    // The last record ends with its value and an empty list of headers.
    const batch = sent.get(view.getUint32(at + size - 1 - ID_BYTES))
    if (batch === undefined || !isSame(batch, view, at, size)) {
      throw new Violation('only what was sent is served', `${where}: unknown batch at byte ${at}`)
    }
    const baseOffset = readInt64(view, at + BASE_OFFSET)
    found.push({
      sent: batch,
      baseOffset,
      lastOffset: baseOffset + view.getInt32(at + LAST_OFFSET_DELTA),
      maxTimestamp: readInt64(view, at + MAX_TIMESTAMP),
    })
    at += size
  }
  return found
}

/** All but what the broker writes: offset, leader epoch, and with LogAppendTime the timestamp. */
function isSame(batch: SentBatch, view: DataView, at: number, size: number): boolean {
  if (batch.bytes.length !== size) return false
  const original = viewOf(batch.bytes)
  for (let i = BATCH_HEADER_BYTES; i < size; i++) {
    if (view.getUint8(at + i) !== batch.bytes[i]) return false
  }
  return (
    view.getInt32(at + LAST_OFFSET_DELTA) === original.getInt32(LAST_OFFSET_DELTA) &&
    readInt64(view, at + PRODUCER_ID) === batch.producerId &&
    view.getInt16(at + PRODUCER_EPOCH) === original.getInt16(PRODUCER_EPOCH) &&
    view.getInt32(at + BASE_SEQUENCE) === original.getInt32(BASE_SEQUENCE)
  )
}
