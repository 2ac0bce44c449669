/**
 * The checks of a run that need no state: what the batch engine does, plus the limits of segments
 * and of old timestamps. The engine's numbers of each batch stay readable until the next run is
 * validated; the arrays are shared by every log of the thread.
 */
import { ErrorCode } from '../errors/error-code.ts'
import {
  STAMP_ALLOW_CONTROL,
  STAMP_APPEND_TIME_MS,
  STAMP_BASE_OFFSET,
  STAMP_BATCH_BYTES_MAX,
  STAMP_LEADER_EPOCH,
  STAMP_TIMESTAMP_MAX,
  STAMP_WORDS,
} from '../record/batch-engine.ts'
import {
  CONTROL_BIT,
  INFO_ATTRIBUTES,
  INFO_BASE_OFFSET,
  INFO_BASE_SEQUENCE,
  INFO_BYTES,
  INFO_MAX_TIMESTAMP,
  INFO_PRODUCER_EPOCH,
  INFO_PRODUCER_ID,
  INFO_RECORDS_COUNT,
  INFO_WORDS,
  TRANSACTIONAL_BIT,
} from '../record/batch-layout.ts'
import type { ByteRange } from './files.ts'
import type { LogCore } from './log-core.ts'
import { newProducerBatch, type ProducerBatch } from './producer-state.ts'
import { SEGMENT_BYTES_LIMIT } from './segment.ts'

/** Batches of one run; more are refused by the engine. */
const BATCHES_PER_RUN_MAX = 1024

const STAMP = new Float64Array(STAMP_WORDS)
const INFO = new Float64Array(BATCHES_PER_RUN_MAX * INFO_WORDS)
const BATCH: ProducerBatch = newProducerBatch()

export interface RunTerms {
  baseOffset: number
  leaderEpoch: number
  nowMs: number
  allowControl: boolean
}

/** Validates and stamps; the number of batches, or minus an ErrorCode. */
export function validateRun(core: LogCore, run: ByteRange, terms: Readonly<RunTerms>): number {
  const { options, context } = core
  const isAppendTime = options.timestampType === 'LogAppendTime'
  STAMP[STAMP_BASE_OFFSET] = terms.baseOffset
  STAMP[STAMP_LEADER_EPOCH] = terms.leaderEpoch
  STAMP[STAMP_APPEND_TIME_MS] = isAppendTime ? terms.nowMs : -1
  STAMP[STAMP_BATCH_BYTES_MAX] = options.batchBytesMax
  const timestampMax = terms.nowMs + options.timestampAfterMaxMs
  // Whatever the producer wrote is replaced by the append time.
  STAMP[STAMP_TIMESTAMP_MAX] = isAppendTime
    ? Number.MAX_SAFE_INTEGER
    : Math.min(timestampMax, Number.MAX_SAFE_INTEGER)
  STAMP[STAMP_ALLOW_CONTROL] = terms.allowControl ? 1 : 0
  const count = context.engine.validateAndStamp(run.bytes, run.offset, run.length, STAMP, INFO)

  const segmentBytesMax = Math.min(options.segmentBytes, SEGMENT_BYTES_LIMIT)
  const timestampMin = isAppendTime ? -Infinity : terms.nowMs - options.timestampBeforeMaxMs
  for (let i = 0; i < count; i++) {
    if (info(i, INFO_BYTES) > segmentBytesMax) return -ErrorCode.RECORD_LIST_TOO_LARGE
    const timestamp = info(i, INFO_MAX_TIMESTAMP)
    if (timestamp >= 0 && timestamp < timestampMin) return -ErrorCode.INVALID_TIMESTAMP
  }
  return count
}

/** −1 = CreateTime. */
export function stampedAppendTimeMs(): number {
  return STAMP[STAMP_APPEND_TIME_MS] as number
}

/** A word of what validation told of batch `index`. */
export function info(index: number, word: number): number {
  return INFO[index * INFO_WORDS + word] as number
}

/** Batch `index` as the producer state sees it; one object, reused. */
export function producerBatch(index: number): ProducerBatch {
  const attributes = info(index, INFO_ATTRIBUTES)
  BATCH.producerId = info(index, INFO_PRODUCER_ID)
  BATCH.producerEpoch = info(index, INFO_PRODUCER_EPOCH)
  BATCH.baseSequence = info(index, INFO_BASE_SEQUENCE)
  BATCH.baseOffset = info(index, INFO_BASE_OFFSET)
  BATCH.lastOffsetDelta = info(index, INFO_RECORDS_COUNT) - 1
  BATCH.maxTimestamp = info(index, INFO_MAX_TIMESTAMP)
  BATCH.isTransactional = (attributes & TRANSACTIONAL_BIT) !== 0
  BATCH.isControl = (attributes & CONTROL_BIT) !== 0
  return BATCH
}
