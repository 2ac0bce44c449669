/**
 * The file form of the producer state: Kafka's `.snapshot`, followed by what Kafka's lacks (the
 * batches before the last one). Kafka's tool reads the array and ignores the rest; the CRC covers
 * both.
 *
 *   0 version i16 = 1 │ 2 crc32c u32 of all that follows │ 6 count i32
 *     │ 10 producers, 46 bytes each:
 *       producerId i64 │ epoch i16 │ lastSequence i32 │ lastOffset i64 │ offsetDelta i32
 *       │ timestamp i64 │ coordinatorEpoch i32 │ currentTxnFirstOffset i64
 *   then our extension, in the same order of producers:
 *     extension version i16 = 1 │ each: batches i16 │ lastSeenMs i64
 *       │ all but the last batch, oldest
 *       first: lastSequence i32, lastOffset i64, offsetDelta i32, timestamp i64
 *         │ timestamp of the last i64
 */
import { readInt64, viewOf, writeInt64 } from '../base/bytes.ts'
import type { BatchEngine } from '../record/batch-engine.ts'
import {
  BATCH_COUNT_WORD,
  BATCH_LAST_OFFSET,
  BATCH_LAST_SEQUENCE,
  BATCH_OFFSET_DELTA,
  BATCH_TIMESTAMP,
  BATCHES_KEPT,
  batchWord,
  COORDINATOR_EPOCH_WORD,
  LAST_SEEN_WORD,
  PRODUCER_EPOCH_WORD,
  PRODUCER_WORDS,
  type ProducerState,
  TIMESTAMP_WORD,
  TXN_FIRST_OFFSET_WORD,
} from './producer-state.ts'

const VERSION = 1
const CRC_AT = 2
const CRC_FROM = 6
const ENTRIES_AT = 10
const ENTRY_BYTES = 46
const EXTENSION_VERSION = 1
const EXTENSION_ENTRY_BYTES = 18
const EXTENSION_BATCH_BYTES = 24

export function encodeProducerSnapshot(state: ProducerState, engine: BatchEngine): Uint8Array {
  let bytesMax = ENTRIES_AT + 2
  for (const [, producer] of state.entries()) {
    const older = Math.max(0, (producer[BATCH_COUNT_WORD] as number) - 1)
    bytesMax += ENTRY_BYTES + EXTENSION_ENTRY_BYTES + older * EXTENSION_BATCH_BYTES
  }
  const bytes = new Uint8Array(bytesMax)
  const view = viewOf(bytes)
  view.setInt16(0, VERSION)
  view.setInt32(CRC_FROM, state.count)
  let at = ENTRIES_AT
  for (const [producerId, producer] of state.entries()) {
    writeInt64(view, at, producerId)
    encodeEntry(view, at, producer)
    at += ENTRY_BYTES
  }
  view.setInt16(at, EXTENSION_VERSION)
  at += 2
  for (const [, producer] of state.entries()) at = encodeExtension(view, at, producer)
  view.setUint32(CRC_AT, engine.crc32c(bytes, CRC_FROM, bytes.length))
  return bytes
}

function encodeEntry(view: DataView, at: number, producer: Float64Array): void {
  const count = producer[BATCH_COUNT_WORD] as number
  const last = batchWord(count - 1)
  view.setInt16(at + 8, producer[PRODUCER_EPOCH_WORD] as number)
  view.setInt32(at + 10, count === 0 ? -1 : (producer[last + BATCH_LAST_SEQUENCE] as number))
  writeInt64(view, at + 14, count === 0 ? -1 : (producer[last + BATCH_LAST_OFFSET] as number))
  view.setInt32(at + 22, count === 0 ? 0 : (producer[last + BATCH_OFFSET_DELTA] as number))
  writeInt64(view, at + 26, producer[TIMESTAMP_WORD] as number)
  view.setInt32(at + 34, producer[COORDINATOR_EPOCH_WORD] as number)
  writeInt64(view, at + 38, producer[TXN_FIRST_OFFSET_WORD] as number)
}

function encodeExtension(view: DataView, start: number, producer: Float64Array): number {
  const count = producer[BATCH_COUNT_WORD] as number
  let at = start
  view.setInt16(at, count)
  writeInt64(view, at + 2, Math.trunc(producer[LAST_SEEN_WORD] as number))
  at += 10
  for (let i = 0; i < count - 1; i++) {
    const word = batchWord(i)
    view.setInt32(at, producer[word + BATCH_LAST_SEQUENCE] as number)
    writeInt64(view, at + 4, producer[word + BATCH_LAST_OFFSET] as number)
    view.setInt32(at + 12, producer[word + BATCH_OFFSET_DELTA] as number)
    writeInt64(view, at + 16, producer[word + BATCH_TIMESTAMP] as number)
    at += EXTENSION_BATCH_BYTES
  }
  const last = batchWord(count - 1)
  writeInt64(view, at, count === 0 ? -1 : (producer[last + BATCH_TIMESTAMP] as number))
  return at + 8
}

/** Adds what the snapshot holds to an empty state. False (state untouched) when it is damaged. */
export function decodeProducerSnapshot(
  bytes: Uint8Array,
  engine: BatchEngine,
  into: ProducerState,
): boolean {
  if (bytes.length < ENTRIES_AT) return false
  const view = viewOf(bytes)
  if (view.getInt16(0) !== VERSION) return false
  if (engine.crc32c(bytes, CRC_FROM, bytes.length) >>> 0 !== view.getUint32(CRC_AT)) return false
  const count = view.getInt32(CRC_FROM)
  if (count < 0 || count > (bytes.length - ENTRIES_AT) / ENTRY_BYTES) return false
  const ids: number[] = []
  const producers: Float64Array[] = []
  let at = ENTRIES_AT
  for (let i = 0; i < count; i++) {
    ids.push(readInt64(view, at))
    producers.push(decodeEntry(view, at))
    at += ENTRY_BYTES
  }
  // A snapshot that Kafka wrote has no extension: one batch of history then.
  if (at < bytes.length) {
    if (bytes.length - at < 2 || view.getInt16(at) !== EXTENSION_VERSION) return false
    at += 2
    for (const producer of producers) {
      at = decodeExtension(view, at, producer)
      if (at < 0) return false
    }
  }
  for (let i = 0; i < count; i++) into.restore(ids[i] as number, producers[i] as Float64Array)
  return true
}

function decodeEntry(view: DataView, at: number): Float64Array {
  const producer = new Float64Array(PRODUCER_WORDS)
  producer[PRODUCER_EPOCH_WORD] = view.getInt16(at + 8)
  producer[TIMESTAMP_WORD] = readInt64(view, at + 26)
  producer[LAST_SEEN_WORD] = readInt64(view, at + 26)
  producer[COORDINATOR_EPOCH_WORD] = view.getInt32(at + 34)
  producer[TXN_FIRST_OFFSET_WORD] = readInt64(view, at + 38)
  const lastOffset = readInt64(view, at + 14)
  if (lastOffset < 0) return producer
  producer[BATCH_COUNT_WORD] = 1
  const word = batchWord(0)
  producer[word + BATCH_LAST_SEQUENCE] = view.getInt32(at + 10)
  producer[word + BATCH_LAST_OFFSET] = lastOffset
  producer[word + BATCH_OFFSET_DELTA] = view.getInt32(at + 22)
  producer[word + BATCH_TIMESTAMP] = readInt64(view, at + 26)
  return producer
}

/** Returns where the next producer's extension starts, or −1. */
function decodeExtension(view: DataView, start: number, producer: Float64Array): number {
  const left = view.byteLength - start
  if (left < EXTENSION_ENTRY_BYTES) return -1
  const count = view.getInt16(start)
  const older = Math.max(0, count - 1)
  if (count < 0 || count > BATCHES_KEPT) return -1
  if (left < EXTENSION_ENTRY_BYTES + older * EXTENSION_BATCH_BYTES) return -1
  producer[LAST_SEEN_WORD] = readInt64(view, start + 2)
  if (count > 0 && count !== 1) {
    producer.copyWithin(batchWord(older), batchWord(0), batchWord(1))
  }
  let at = start + 10
  for (let i = 0; i < older; i++) {
    const word = batchWord(i)
    producer[word + BATCH_LAST_SEQUENCE] = view.getInt32(at)
    producer[word + BATCH_LAST_OFFSET] = readInt64(view, at + 4)
    producer[word + BATCH_OFFSET_DELTA] = view.getInt32(at + 12)
    producer[word + BATCH_TIMESTAMP] = readInt64(view, at + 16)
    at += EXTENSION_BATCH_BYTES
  }
  if (count > 0) producer[batchWord(older) + BATCH_TIMESTAMP] = readInt64(view, at)
  producer[BATCH_COUNT_WORD] = count
  return at + 8
}
