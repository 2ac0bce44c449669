/**
 * A topic's options as the log and the broker use them: typed, in one object, resolved from what
 * the topic set and what the broker gives. Sizes and times without a limit are `Infinity`,
 * whichever way (−1 or Long.MAX_VALUE) the text says it.
 */
import type { BrokerConfig } from './broker-config.ts'
import type { OptionValue } from './option.ts'
import { type TopicOverrides, topicOption, topicOptionText } from './topic-options.ts'

export type TimestampType = 'CreateTime' | 'LogAppendTime'

export interface TopicConfig {
  /** Old segments are deleted by age and size. */
  readonly cleanupDelete: boolean
  /** Old records are dropped by key. Both may hold. */
  readonly cleanupCompact: boolean
  readonly deleteRetentionMs: number
  readonly fileDeleteDelayMs: number
  readonly flushMessages: number
  readonly flushMs: number
  readonly indexIntervalBytes: number
  readonly maxMessageBytes: number
  readonly maxCompactionLagMs: number
  readonly minCompactionLagMs: number
  readonly messageTimestampType: TimestampType
  readonly messageTimestampAfterMaxMs: number
  readonly messageTimestampBeforeMaxMs: number
  readonly minCleanableDirtyRatio: number
  readonly minInsyncReplicas: number
  readonly preallocate: boolean
  readonly retentionBytes: number
  readonly retentionMs: number
  readonly segmentBytes: number
  readonly segmentIndexBytes: number
  readonly segmentJitterMs: number
  readonly segmentMs: number
  readonly uncleanLeaderElectionEnable: boolean
}

/**
 * What holds for a topic. `overrides` have passed `validateTopicConfigs`; a stored value that a
 * later version no longer accepts gives way to the broker's default.
 */
export function resolveTopicConfig(
  overrides: TopicOverrides,
  broker: BrokerConfig,
  replicationFactor = 1,
): TopicConfig {
  const value = (name: string): OptionValue => {
    const text = topicOptionText(name, overrides, broker, replicationFactor)
    const parsed = text === null ? undefined : topicOption(name)?.option.parse(text)
    if (parsed?.ok === true) return parsed.value
    if (overrides.get(name) == null) return null
    const inherited = topicOptionText(name, NONE, broker, replicationFactor)
    const again = inherited === null ? undefined : topicOption(name)?.option.parse(inherited)
    return again?.ok === true ? again.value : null
  }
  const count = (name: string): number => value(name) as number
  const limit = (name: string): number => (count(name) < 0 ? Number.POSITIVE_INFINITY : count(name))
  const flag = (name: string): boolean => value(name) as boolean
  const cleanup = value('cleanup.policy') as readonly string[]
  return {
    cleanupDelete: cleanup.includes('delete'),
    cleanupCompact: cleanup.includes('compact'),
    deleteRetentionMs: count('delete.retention.ms'),
    fileDeleteDelayMs: count('file.delete.delay.ms'),
    flushMessages: count('flush.messages'),
    flushMs: count('flush.ms'),
    indexIntervalBytes: count('index.interval.bytes'),
    maxMessageBytes: count('max.message.bytes'),
    maxCompactionLagMs: count('max.compaction.lag.ms'),
    minCompactionLagMs: count('min.compaction.lag.ms'),
    messageTimestampType: value('message.timestamp.type') as TimestampType,
    messageTimestampAfterMaxMs: count('message.timestamp.after.max.ms'),
    messageTimestampBeforeMaxMs: count('message.timestamp.before.max.ms'),
    minCleanableDirtyRatio: count('min.cleanable.dirty.ratio'),
    minInsyncReplicas: count('min.insync.replicas'),
    preallocate: flag('preallocate'),
    retentionBytes: limit('retention.bytes'),
    retentionMs: limit('retention.ms'),
    segmentBytes: (value('internal.segment.bytes') as number | null) ?? count('segment.bytes'),
    segmentIndexBytes: count('segment.index.bytes'),
    segmentJitterMs: count('segment.jitter.ms'),
    segmentMs: count('segment.ms'),
    uncleanLeaderElectionEnable: flag('unclean.leader.election.enable'),
  }
}

const NONE: TopicOverrides = new Map()
