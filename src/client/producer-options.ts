/** What a producer can be told, with defaults and their reasons. */

import { COMPRESSION_NAMES, type CompressionCode } from '../record/compression-code.ts'
import type { QueueRules } from './partition-queue.ts'
import type { Partitioner } from './partitioner.ts'

export type CompressionName = (typeof COMPRESSION_NAMES)[number]

export interface ProducerOptions {
  /** Who must have an event before it counts as stored. Default: 'all'. */
  readonly acks?: 0 | 1 | 'all'
  /**
   * Whether retries can never store an event twice; needs `acks` 'all'. Default: with 'all' true.
   */
  readonly idempotent?: boolean
  /**
   * A batch is full at this size, before compression. Default: 64 KiB: what a message costs beyond
   * its events is then below one percent, and it fills within the linger time at 13 MB/s.
   */
  readonly batchBytes?: number
  /** How long a batch that is not full waits for more events. Default: 5. */
  readonly lingerMs?: number
  /** Batches under way for each partition; 1 to 5 when idempotent. Default: 5. */
  readonly inFlight?: number
  /** From `send` to the answer, all retries included. Default: 120000. */
  readonly deliveryTimeoutMs?: number
  /** Events that are not acknowledged, bytes; beyond it `send` waits. Default: 32 MiB. */
  readonly bufferBytes?: number
  /** Default: 'none'. */
  readonly compression?: CompressionName
  readonly partitioner?: Partitioner
  /** How long until a batch is sent again; doubles. Default: 100 to 1000. */
  readonly retryMinMs?: number
  readonly retryMaxMs?: number
  /** How often new partitions are looked for. Default: 60000. */
  readonly metadataRefreshMs?: number
  /** Whether a topic that is missing may be created, where the broker allows it. Default: true. */
  readonly createTopics?: boolean
}

/** Options that are valid, and complete. */
export interface ProducerSettings {
  readonly rules: QueueRules
  /** The size of batches that was asked for, bytes. */
  readonly batchBytes: number
  readonly acks: 0 | 1 | -1
  readonly bufferBytes: number
  readonly partitioner: Partitioner
  readonly metadataRefreshMs: number
  readonly createTopics: boolean
}

const IDEMPOTENT_IN_FLIGHT_MAX = 5

/** Throws TypeError or RangeError for what is wrong. */
export function producerSettings(options: ProducerOptions): ProducerSettings {
  const acks = options.acks ?? 'all'
  if (acks !== 0 && acks !== 1 && acks !== 'all') throw new TypeError("acks is 0, 1 or 'all'")
  const idempotent = options.idempotent ?? acks === 'all'
  if (idempotent && acks !== 'all') throw new TypeError("an idempotent producer needs acks 'all'")
  const compression = COMPRESSION_NAMES.indexOf(options.compression ?? 'none')
  if (compression < 0) {
    throw new TypeError(`compression is one of ${COMPRESSION_NAMES.join(', ')}`)
  }
  const inFlight = positive('inFlight', options.inFlight ?? 5)
  if (idempotent && inFlight > IDEMPOTENT_IN_FLIGHT_MAX) {
    // The broker remembers five batches of each producer (KIP-98).
    throw new RangeError(`inFlight is at most ${IDEMPOTENT_IN_FLIGHT_MAX} when idempotent`)
  }
  const batchBytes = positive('batchBytes', options.batchBytes ?? 64 * 1024)
  const minMs = positive('retryMinMs', options.retryMinMs ?? 100)
  return {
    rules: {
      idempotent,
      inFlightMax: inFlight,
      batchBytes,
      lingerMs: positive('lingerMs', options.lingerMs ?? 5, 0),
      deliveryTimeoutMs: positive('deliveryTimeoutMs', options.deliveryTimeoutMs ?? 120_000),
      compression: compression as CompressionCode,
      retry: { minMs, maxMs: Math.max(minMs, options.retryMaxMs ?? 1000) },
    },
    batchBytes,
    acks: acks === 'all' ? -1 : acks,
    bufferBytes: positive('bufferBytes', options.bufferBytes ?? 32 * 1024 * 1024),
    partitioner: options.partitioner ?? 'default',
    metadataRefreshMs: positive('metadataRefreshMs', options.metadataRefreshMs ?? 60_000),
    createTopics: options.createTopics ?? true,
  }
}

/** Throws RangeError unless `value` is a number of at least `min`. */
export function positive(name: string, value: number, min = 1): number {
  if (Number.isFinite(value) && value >= min) return value
  throw new RangeError(`${name} is a number of at least ${min}, not ${value}`)
}
