/** An event that a producer has been given and has no room or no partition for yet. */
import type { RecordContent } from '../record/batch-writer.ts'
import type { FlushWaiter, Reject, Resolve } from './produce-batch.ts'
import type { ProducerRecord } from './producer-record.ts'

export interface WaitingRecord {
  readonly record: ProducerRecord
  readonly content: RecordContent
  /** What it takes in a batch at most. */
  readonly bytes: number
  readonly resolve: Resolve | undefined
  readonly reject: Reject | undefined
  /** Monotonic; when it fails. */
  readonly deadlineMs: number
  readonly flushes: FlushWaiter[]
  /** Whether the server has been asked for the partition that it names. */
  asked: boolean
  /** Nobody waits any more: the signal was aborted, or its time is over. */
  dropped: boolean
}

/** Nobody waits for it any more: flushes go on without it. */
export function releaseFlushes(waiting: WaitingRecord): void {
  for (const flush of waiting.flushes.splice(0)) if (--flush.remaining === 0) flush.done()
}
