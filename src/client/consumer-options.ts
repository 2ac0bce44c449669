/** What a consumer can be told, and what it gives. */
import type { RecordHeader } from '../record/record-reader.ts'
import { positive } from './producer-options.ts'

/** Where reading begins: an offset (inclusive), an end of the log, or the first event not older. */
export type StartOffset =
  | number
  | 'earliest'
  | 'latest'
  | {
      /** Milliseconds since the Unix epoch, inclusive; the log's end when every event is older. */
      readonly timestamp: number
    }

export interface Assignment {
  readonly topic: string
  readonly partition: number
  /** Default: the consumer's `from`. */
  readonly offset?: StartOffset
}

export interface ConsumerOptions {
  /** Partitions to read. */
  readonly assignments?: readonly Assignment[]
  /** Topics to read all partitions of, those that are added later from their beginning. */
  readonly topics?: readonly string[]
  /** Where partitions without an offset of their own begin. Default: 'latest'. */
  readonly from?: StartOffset
  /** When an offset is no longer, or not yet, in the log. Default: 'error'. */
  readonly offsetReset?: 'earliest' | 'latest' | 'error'
  /**
   * Batches that the server may send ahead of the application, all partitions together, bytes; each
   * partition may exceed its part by one push. Default: 8 MiB.
   */
  readonly bufferBytes?: number
  /** What one batch may take once decompressed, bytes. Default: 64 MiB. */
  readonly decompressedBytes?: number
  /** How often `topics` are asked for new partitions. Default: 60000. */
  readonly metadataRefreshMs?: number
  /** How long until a refused subscription is tried again; doubles. Default: 100 to 5000. */
  readonly retryMinMs?: number
  readonly retryMaxMs?: number
  /** Ends every wait of the consumer's iterators, with the signal's reason. */
  readonly signal?: AbortSignal
}

/**
 * An event. Without compression `key` and `value` are views of the message they came in: copy what
 * is kept for long.
 */
export interface ConsumerRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** Milliseconds since the Unix epoch; −1 when the producer gave none. */
  readonly timestamp: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly RecordHeader[]
}

/** Events of one partition, at least one, in the order of their offsets. */
export interface ConsumerBatch {
  readonly topic: string
  readonly partition: number
  readonly records: readonly ConsumerRecord[]
}

export interface ConsumerSettings {
  readonly from: StartOffset
  readonly offsetReset: 'earliest' | 'latest' | 'error'
  readonly bufferBytes: number
  readonly decompressedBytes: number
  readonly metadataRefreshMs: number
  readonly retry: { readonly minMs: number; readonly maxMs: number }
}

/** Throws TypeError or RangeError for what is wrong. */
export function consumerSettings(options: ConsumerOptions): ConsumerSettings {
  if (options.assignments === undefined && (options.topics?.length ?? 0) === 0) {
    throw new TypeError('a consumer needs assignments or topics')
  }
  const { from = 'latest', offsetReset = 'error' } = options
  if (!['earliest', 'latest', 'error'].includes(offsetReset)) {
    throw new TypeError("offsetReset is 'earliest', 'latest' or 'error'")
  }
  for (const { offset } of options.assignments ?? []) checkStart(offset ?? from)
  checkStart(from)
  const minMs = positive('retryMinMs', options.retryMinMs ?? 100)
  return {
    from,
    offsetReset,
    bufferBytes: positive('bufferBytes', options.bufferBytes ?? 8 * 1024 * 1024),
    decompressedBytes: positive('decompressedBytes', options.decompressedBytes ?? 64 * 1024 * 1024),
    metadataRefreshMs: positive('metadataRefreshMs', options.metadataRefreshMs ?? 60_000),
    retry: { minMs, maxMs: Math.max(minMs, options.retryMaxMs ?? 5000) },
  }
}

/** Throws RangeError unless `start` says where to begin. */
export function checkStart(start: StartOffset): void {
  if (start === 'earliest' || start === 'latest') return
  const value = typeof start === 'number' ? start : start?.timestamp
  if (Number.isSafeInteger(value) && value >= 0) return
  throw new RangeError(`an offset is 'earliest', 'latest', a timestamp or an integer from 0`)
}
