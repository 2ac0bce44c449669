/**
 * Takes a compaction from step to step: at once, for tests and the simulator, or with pauses and
 * asynchronous codecs, for the thread that compacts.
 */

import { ErrorCode } from '../../errors/error-code.ts'
import { compress, compressSync, decompress, decompressSync } from '../../record/compression.ts'
import { COMPRESSION_ZSTD } from '../../record/compression-code.ts'
import { RecordError } from '../../record/record-error.ts'
import type {
  CompactedSegment,
  CompactionStep,
  CompactionSteps,
  CompactionSummary,
} from './compaction-job.ts'

export interface Drive {
  readonly onCompacted: (segment: CompactedSegment) => void
  /** After so many bytes; false = stop. */
  readonly onPace: (bytes: number) => Promise<boolean>
}

/** Null when it was stopped. Rejects with what the run throws. */
export async function drive(
  steps: CompactionSteps,
  { onCompacted, onPace }: Drive,
): Promise<CompactionSummary | null> {
  let next = steps.next()
  for (;;) {
    if (next.done === true) return next.value
    const step = next.value
    if (step.kind === 'compacted') {
      onCompacted(step.segment)
      next = steps.next()
    } else if (step.kind === 'pace') {
      if (!(await onPace(step.bytes))) {
        steps.return(undefined as never)
        return null
      }
      next = steps.next()
    } else next = await answer(steps, step)
  }
}

type CodecStep = Extract<CompactionStep, { kind: 'compress' | 'decompress' }>

async function answer(
  steps: CompactionSteps,
  step: CodecStep,
): Promise<IteratorResult<CompactionStep, CompactionSummary>> {
  let bytes: Uint8Array
  try {
    bytes = await (step.kind === 'compress'
      ? compress(step.code, step.bytes)
      : decompress(step.code, step.bytes, step.bytesMax))
  } catch (error) {
    return steps.throw(error)
  }
  return steps.next(bytes)
}

/**
 * One step further, at once; null at the end of the run or with what came of it. Without zstd,
 * whose batches then stay as they are.
 */
export function advance(
  steps: CompactionSteps,
  step: CompactionStep | null,
): IteratorResult<CompactionStep, CompactionSummary> {
  if (step === null || step.kind === 'pace' || step.kind === 'compacted') return steps.next()
  if (step.code === COMPRESSION_ZSTD) {
    return steps.throw(new RecordError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, 'not synchronously'))
  }
  let bytes: Uint8Array
  try {
    bytes =
      step.kind === 'compress'
        ? compressSync(step.code, step.bytes)
        : decompressSync(step.code, step.bytes, step.bytesMax)
  } catch (error) {
    return steps.throw(error)
  }
  return steps.next(bytes)
}
