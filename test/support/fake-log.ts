/**
 * The partitions of the fake server: the broker's own checks of batches and of producers'
 * sequences, over arrays in memory.
 */
import { viewOf } from '../../src/base/bytes.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import {
  batchBaseSequence,
  batchLastOffset,
  batchLastOffsetDelta,
  batchMaxTimestamp,
  batchProducerEpoch,
  batchProducerId,
  decodeBatchSync,
} from '../../src/record/batch.ts'
import {
  STAMP_ALLOW_CONTROL,
  STAMP_APPEND_TIME_MS,
  STAMP_BASE_OFFSET,
  STAMP_BATCH_BYTES_MAX,
  STAMP_LEADER_EPOCH,
  STAMP_TIMESTAMP_MAX,
  STAMP_WORDS,
} from '../../src/record/batch-engine.ts'
import { jsBatchEngine } from '../../src/record/batch-engine-js.ts'
import { INFO_WORDS } from '../../src/record/batch-layout.ts'
import type { BatchRecord } from '../../src/record/record-reader.ts'
import { newProducerBatch, ProducerState } from '../../src/storage/producer-state.ts'

export interface Appended {
  readonly code: ErrorCode
  readonly baseOffset: number
}

interface StoredBatch {
  readonly lastOffset: number
  readonly bytes: Uint8Array
}

export class FakePartition {
  readonly batches: StoredBatch[] = []
  logStartOffset = 0
  logEndOffset = 0
  batchBytesMax = 1024 * 1024
  /** So many batches are refused as out of sequence, whatever they are. */
  refuseSequences = 0
  #producers = new ProducerState()
  readonly #stamp = new Float64Array(STAMP_WORDS)
  readonly #info = new Float64Array(INFO_WORDS)

  /** Appends one batch, or says why not. `allowControl`: for tests that write markers. */
  append(batch: Uint8Array, allowControl = false): Appended {
    const bytes = new Uint8Array(batch)
    this.#stamp[STAMP_BASE_OFFSET] = this.logEndOffset
    this.#stamp[STAMP_LEADER_EPOCH] = 0
    this.#stamp[STAMP_APPEND_TIME_MS] = -1
    this.#stamp[STAMP_BATCH_BYTES_MAX] = this.batchBytesMax
    this.#stamp[STAMP_TIMESTAMP_MAX] = Number.MAX_SAFE_INTEGER
    this.#stamp[STAMP_ALLOW_CONTROL] = allowControl ? 1 : 0
    const { length } = bytes
    const count = jsBatchEngine.validateAndStamp(bytes, 0, length, this.#stamp, this.#info)
    if (count !== 1) {
      const code = count < 0 ? (-count as ErrorCode) : ErrorCode.INVALID_RECORD
      return { code, baseOffset: -1 }
    }
    const view = viewOf(bytes)
    const lastOffset = batchLastOffset(view, 0)
    if (batchProducerId(view, 0) >= 0) {
      if (this.refuseSequences > 0) {
        this.refuseSequences--
        return { code: ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, baseOffset: -1 }
      }
      const producerBatch = this.#producerBatch(view)
      if (this.#producers.findDuplicate(producerBatch)) {
        return { code: ErrorCode.NONE, baseOffset: this.#producers.duplicateBaseOffset }
      }
      const code = this.#producers.check(producerBatch)
      if (code !== ErrorCode.NONE) return { code, baseOffset: -1 }
      this.#producers.apply(producerBatch, 0)
    }
    const baseOffset = this.logEndOffset
    this.logEndOffset = lastOffset + 1
    this.batches.push({ lastOffset, bytes })
    return { code: ErrorCode.NONE, baseOffset }
  }

  #producerBatch(view: DataView) {
    const batch = newProducerBatch()
    batch.producerId = batchProducerId(view, 0)
    batch.producerEpoch = batchProducerEpoch(view, 0)
    batch.baseSequence = batchBaseSequence(view, 0)
    batch.baseOffset = this.logEndOffset
    batch.lastOffsetDelta = batchLastOffsetDelta(view, 0)
    batch.maxTimestamp = batchMaxTimestamp(view, 0)
    return batch
  }

  /** The broker forgets its producers, as after their expiry. */
  forgetProducers(): void {
    this.#producers = new ProducerState()
  }

  /** Whole batches from the one that holds `offset` on, at most `bytesMax`, at least one. */
  read(offset: number, bytesMax: number): { bytes: Uint8Array; nextOffset: number } {
    const pieces: Uint8Array[] = []
    let size = 0
    let nextOffset = offset
    for (const { lastOffset, bytes } of this.batches) {
      if (lastOffset < offset || lastOffset < this.logStartOffset) continue
      if (pieces.length > 0 && size + bytes.length > bytesMax) break
      pieces.push(bytes)
      size += bytes.length
      nextOffset = lastOffset + 1
    }
    return { bytes: new Uint8Array(Buffer.concat(pieces)), nextOffset }
  }

  /** Every record, in order. */
  records(): BatchRecord[] {
    const options = { recordsBytesMax: 64 * 1024 * 1024 }
    return this.batches.flatMap(({ bytes }) => [...decodeBatchSync(bytes, 0, options)])
  }
}
