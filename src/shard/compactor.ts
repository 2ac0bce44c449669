import { BrokerError } from '../errors/broker-error.ts'
import type { ErrorCode } from '../errors/error-code.ts'
import type {
  CompactedSegment,
  CompactionJob,
  CompactionSummary,
} from '../storage/compaction/compaction-job.ts'

/**
 * What compacts for a shard, on another thread: one job at a time, whose reports come back in
 * order. The simulator has one of its own.
 */
export interface Compactor {
  start(job: CompactionJob): void
  /** Hands out what has been reported; returns how much. */
  drain(handler: (report: CompactionReport) => void): number
  /** Ends the job under way; when it returns the job touches no file, and nothing of it follows. */
  stop(): void
}

export type CompactionReport =
  | { readonly kind: 'compacted'; readonly segment: CompactedSegment }
  | { readonly kind: 'done'; readonly summary: CompactionSummary }
  | ({ readonly kind: 'failed' } & Failure)

/** A BrokerError on its way between threads. */
export interface Failure {
  readonly errorCode: number
  readonly message: string
  readonly systemCode: string
  readonly systemCall: string
}

export function errorOf({ errorCode, message, systemCode, systemCall }: Failure): BrokerError {
  const cause = Object.assign(new Error(message), { code: systemCode, syscall: systemCall })
  const action = message.replace(/^Cannot /, '')
  return new BrokerError(errorCode as ErrorCode, action, systemCode === '' ? undefined : cause)
}
