/** What a consumer that is a member of a group can be told, and what it says. */
import { NAMES_MAX } from '../wire/websocket/messages.ts'
import type { ConsumerOptions, ConsumerRecord } from './consumer-options.ts'
import { positive } from './producer-options.ts'

const TIMEOUT_MS_MAX = 2 ** 31 - 1

export interface GroupPartition {
  readonly topic: string
  readonly partition: number
}

export interface OffsetToCommit extends GroupPartition {
  /** The next offset to be read: one behind the last that was processed. */
  readonly offset: number
  readonly metadata?: string
}

/** Each may return a promise, which is waited for. */
export interface RebalanceListener {
  /** These are this member's from now on. */
  assigned?(partitions: readonly GroupPartition[]): void | Promise<void>
  /** These are to be given back: what is to be committed must be by the end of this. */
  revoked?(partitions: readonly GroupPartition[]): void | Promise<void>
  /** These are somebody else's already: nothing of them can be committed. */
  lost?(partitions: readonly GroupPartition[]): void | Promise<void>
}

export interface GroupConsumerOptions
  extends Pick<
    ConsumerOptions,
    'bufferBytes' | 'decompressedBytes' | 'retryMinMs' | 'retryMaxMs' | 'signal'
  > {
  /** The group's name: its members share the partitions of their topics. */
  readonly group: string
  readonly topics: readonly string[]
  /** Where partitions begin for which the group has committed nothing. Default: 'latest'. */
  readonly from?: 'earliest' | 'latest'
  /**
   * Whether what has been processed is committed without being asked: from time to time, before
   * partitions are given back, and at the end. Default: true.
   */
  readonly autoCommit?: boolean
  /** Default: 5000. */
  readonly autoCommitIntervalMs?: number
  /** How long until the group takes a member for dead that is not heard of. Default: 45000. */
  readonly sessionTimeoutMs?: number
  /** How long the others wait for what a member is processing. Default: 60000. */
  readonly rebalanceTimeoutMs?: number
  /** Named in descriptions of the group. Default: 'millrace'. */
  readonly clientId?: string
  readonly listener?: RebalanceListener
}

export interface RunOptions {
  /** Called for every event: one after the other within a partition. */
  readonly eachRecord: (record: ConsumerRecord) => void | Promise<void>
  /** How many partitions are processed at the same time. Default: 1. */
  readonly concurrency?: number
}

export interface GroupSettings {
  readonly group: string
  readonly topics: readonly string[]
  readonly from: 'earliest' | 'latest'
  /** 0: nothing is committed unasked. */
  readonly autoCommitMs: number
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  readonly clientId: string
  readonly retry: { readonly minMs: number; readonly maxMs: number }
}

/** Throws TypeError or RangeError for what is wrong. */
export function groupSettings(options: GroupConsumerOptions): GroupSettings {
  const { group, topics, from = 'latest' } = options
  if (typeof group !== 'string' || group === '') throw new TypeError('a group needs a name')
  if (topics.length === 0) throw new TypeError("a group's consumer needs topics")
  if (topics.length > NAMES_MAX) {
    throw new RangeError(`a group's consumer takes ${NAMES_MAX} topics, not ${topics.length}`)
  }
  if (from !== 'earliest' && from !== 'latest') {
    throw new TypeError("from is 'earliest' or 'latest' for a group's consumer")
  }
  const commitMs = positive('autoCommitIntervalMs', options.autoCommitIntervalMs ?? 5000)
  const minMs = positive('retryMinMs', options.retryMinMs ?? 100)
  return {
    group,
    topics,
    from,
    autoCommitMs: options.autoCommit === false ? 0 : commitMs,
    sessionTimeoutMs: timeout('sessionTimeoutMs', options.sessionTimeoutMs ?? 45_000),
    rebalanceTimeoutMs: timeout('rebalanceTimeoutMs', options.rebalanceTimeoutMs ?? 60_000),
    clientId: options.clientId ?? 'millrace',
    retry: { minMs, maxMs: Math.max(minMs, options.retryMaxMs ?? 5000) },
  }
}

/** As the protocol has it: anything else would cost the connection. */
function timeout(name: string, ms: number): number {
  const whole = Math.round(positive(name, ms))
  if (whole <= TIMEOUT_MS_MAX) return whole
  throw new RangeError(`${name} is at most ${TIMEOUT_MS_MAX}, not ${ms}`)
}
