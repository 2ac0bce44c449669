/**
 * The options of a topic: Kafka's 34 (TopicConfig of 4.3 and the two replication throttles), each
 * with the broker options that give its default, in the order in which they are asked.
 *
 * A topic stores only what its creator set, as text. What holds for the topic comes from there,
 * else from the broker's options, and is resolved when asked: a changed broker default reaches
 * every topic that did not set its own.
 */
import type { BrokerConfig } from './broker-config.ts'
import { boolean, double, int, list, long, type Option, oneOf } from './option.ts'
import { type BrokerOptionName, checkCleanupPolicy, SEGMENT_BYTES_MIN } from './options.ts'
import { didYouMean } from './suggest.ts'
import { checkThrottledReplicas } from './throttled-replicas.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const UNLIMITED = Number.POSITIVE_INFINITY

/** Where a topic option's default comes from: broker options, the first that is set. */
export interface BrokerSynonym {
  readonly name: BrokerOptionName
  /** What the broker option's number is multiplied with: log.retention.hours → retention.ms. */
  readonly unit: number
}

export interface TopicOption {
  readonly option: Option
  readonly synonyms: readonly BrokerSynonym[]
  /** What this version does not do: the only text that it accepts, and why. */
  readonly only?: { readonly text: string; readonly because: string }
}

function topic(option: Option, ...synonyms: (BrokerOptionName | BrokerSynonym)[]): TopicOption {
  const full = synonyms.map((one) => (typeof one === 'string' ? { name: one, unit: 1 } : one))
  return { option, synonyms: full }
}

const TIERED = { text: 'false', because: 'tiered storage does not exist in this version' }

export const TOPIC_OPTIONS: Readonly<Record<string, TopicOption>> = {
  'cleanup.policy': topic(
    list('delete', 'What becomes of old segments: delete, compact, or both.', checkCleanupPolicy),
    'log.cleanup.policy',
  ),
  'compression.gzip.level': topic(
    int(-1, 'The level of gzip; -1 for its own default.', { min: -1, max: 9 }),
    'compression.gzip.level',
  ),
  'compression.lz4.level': topic(
    int(9, 'The level of LZ4.', { min: 1, max: 17 }),
    'compression.lz4.level',
  ),
  'compression.type': {
    ...topic(
      oneOf(
        ['uncompressed', 'zstd', 'lz4', 'snappy', 'gzip', 'producer'],
        'producer',
        'The codec batches are kept in: producer leaves them as they come.',
      ),
      'compression.type',
    ),
    only: { text: 'producer', because: 'batches are kept as producers send them' },
  },
  'compression.zstd.level': topic(
    int(3, 'The level of zstd.', { min: -131_072, max: 22 }),
    'compression.zstd.level',
  ),
  'delete.retention.ms': topic(
    long(DAY_MS, 'How long compaction keeps tombstones.', { min: 0 }),
    'log.cleaner.delete.retention.ms',
  ),
  'file.delete.delay.ms': topic(
    long(60_000, 'How long the file of a deleted segment stays on disk.', { min: 0 }),
    'log.segment.delete.delay.ms',
  ),
  'flush.messages': topic(
    long(
      UNLIMITED,
      'Records after which a partition is flushed to disk before they are acknowledged.',
      { min: 1 },
    ),
    'log.flush.interval.messages',
  ),
  'flush.ms': topic(
    long(UNLIMITED, 'How long a record may stay unflushed.', { min: 0 }),
    'log.flush.interval.ms',
    'log.flush.scheduler.interval.ms',
  ),
  'follower.replication.throttled.replicas': topic(
    list(
      '',
      'Replicas whose copying is throttled where they follow: * or PARTITION:BROKER.',
      checkThrottledReplicas,
    ),
  ),
  'index.interval.bytes': topic(
    int(4096, 'Bytes of log from one index entry to the next.', { min: 0 }),
    'log.index.interval.bytes',
  ),
  'leader.replication.throttled.replicas': topic(
    list(
      '',
      'Replicas whose copying is throttled where they lead: * or PARTITION:BROKER.',
      checkThrottledReplicas,
    ),
  ),
  'local.retention.bytes': topic(
    long(-2, 'With tiered storage: as retention.bytes; -2 for the same.', { min: -2 }),
    'log.local.retention.bytes',
  ),
  'local.retention.ms': topic(
    long(-2, 'With tiered storage: as retention.ms; -2 for the same.', { min: -2 }),
    'log.local.retention.ms',
  ),
  'max.compaction.lag.ms': topic(
    long(UNLIMITED, 'A record older than this makes its partition due for compaction.', { min: 1 }),
    'log.cleaner.max.compaction.lag.ms',
  ),
  'max.message.bytes': topic(
    int(1_048_588, 'The largest record batch that is accepted.', { min: 0 }),
    'message.max.bytes',
  ),
  'message.downconversion.enable': topic(
    boolean(true, 'Without effect: no client of today asks for older message formats.'),
  ),
  'message.timestamp.after.max.ms': topic(
    long(HOUR_MS, 'How far a record’s timestamp may lie after the broker’s clock.', { min: 0 }),
    'log.message.timestamp.after.max.ms',
  ),
  'message.timestamp.before.max.ms': topic(
    long(UNLIMITED, 'How far a record’s timestamp may lie before the broker’s clock.', { min: 0 }),
    'log.message.timestamp.before.max.ms',
  ),
  'message.timestamp.type': topic(
    oneOf(
      ['CreateTime', 'LogAppendTime'],
      'CreateTime',
      'Whose clock stamps a record: the producer’s or the broker’s.',
    ),
    'log.message.timestamp.type',
  ),
  'min.cleanable.dirty.ratio': topic(
    double(0.5, 'The share of uncompacted bytes from which a partition is due for compaction.', {
      min: 0,
      max: 1,
    }),
    'log.cleaner.min.cleanable.ratio',
  ),
  'min.compaction.lag.ms': topic(
    long(0, 'A record younger than this is not compacted.', { min: 0 }),
    'log.cleaner.min.compaction.lag.ms',
  ),
  'min.insync.replicas': topic(
    int(1, 'In-sync replicas that acks=all needs.', { min: 1 }),
    'min.insync.replicas',
  ),
  preallocate: topic(
    boolean(false, 'Reserves disk space for a whole segment when it is begun.'),
    'log.preallocate',
  ),
  'remote.log.copy.disable': topic(boolean(false, 'With tiered storage: copies no more segments.')),
  'remote.log.delete.on.disable': topic(
    boolean(false, 'With tiered storage: whether disabling it deletes the copies.'),
  ),
  'remote.storage.enable': {
    ...topic(boolean(false, 'Whether closed segments are copied to tiered storage.')),
    only: TIERED,
  },
  'retention.bytes': topic(
    long(-1, 'Closed segments are deleted while so much is kept without them; -1 for never.', {
      min: -1,
    }),
    'log.retention.bytes',
  ),
  'retention.ms': topic(
    long(7 * DAY_MS, 'A segment is deleted when its newest record is older; -1 for never.', {
      min: -1,
    }),
    'log.retention.ms',
    { name: 'log.retention.minutes', unit: 60_000 },
    { name: 'log.retention.hours', unit: HOUR_MS },
  ),
  'segment.bytes': topic(
    int(2 ** 30, 'A segment of this size is closed and a new one begun.', {
      min: SEGMENT_BYTES_MIN,
    }),
    'log.segment.bytes',
  ),
  'segment.index.bytes': topic(
    int(10 * 2 ** 20, 'The largest index file; a full one rolls the segment.', { min: 4 }),
    'log.index.size.max.bytes',
  ),
  'segment.jitter.ms': topic(
    long(0, 'Up to so much is taken off segment.ms at random.', { min: 0 }),
    'log.roll.jitter.ms',
    { name: 'log.roll.jitter.hours', unit: HOUR_MS },
  ),
  'segment.ms': topic(
    long(7 * DAY_MS, 'A segment of this age is closed.', { min: 1 }),
    'log.roll.ms',
    { name: 'log.roll.hours', unit: HOUR_MS },
  ),
  'unclean.leader.election.enable': topic(
    boolean(false, 'Whether a replica that is not in sync may lead, losing records.'),
    'unclean.leader.election.enable',
  ),
}

/**
 * Options that tests of the log set on a topic and that no list shows, as in Kafka:
 * `internal.segment.bytes` is segment.bytes without its lower limit (KIP-1030).
 */
const INTERNAL_OPTIONS: Readonly<Record<string, TopicOption>> = {
  'internal.segment.bytes': topic(int(null, 'segment.bytes, for tests.', { min: 256 })),
}

export function topicOption(name: string): TopicOption | null {
  if (Object.hasOwn(TOPIC_OPTIONS, name)) return TOPIC_OPTIONS[name] as TopicOption
  return Object.hasOwn(INTERNAL_OPTIONS, name) ? (INTERNAL_OPTIONS[name] as TopicOption) : null
}

/** What a topic's creator set: option name → text. A null value means "not set". */
export type TopicOverrides = ReadonlyMap<string, string | null>

/** Null when every entry is a known option with a good value, else what is wrong, in one line. */
export function validateTopicConfigs(overrides: TopicOverrides): string | null {
  for (const [name, value] of overrides) {
    const known = topicOption(name)
    if (known === null) {
      return `Unknown topic config name: ${name}${didYouMean(name, Object.keys(TOPIC_OPTIONS))}`
    }
    if (value === null) continue
    const parsed = known.option.parse(value.trim())
    if (!parsed.ok) return `Invalid value ${value} for ${name}: expected ${parsed.expected}`
    if (known.only !== undefined && value.trim() !== known.only.text) {
      return `Invalid value ${value} for ${name}: only ${known.only.text}, ${known.only.because}`
    }
  }
  return validateTogether(overrides)
}

function validateTogether(overrides: TopicOverrides): string | null {
  const min = numberOf(overrides, 'min.compaction.lag.ms') ?? 0
  const max = numberOf(overrides, 'max.compaction.lag.ms') ?? UNLIMITED
  return min <= max ? null : 'min.compaction.lag.ms must not exceed max.compaction.lag.ms'
}

function numberOf(overrides: TopicOverrides, name: string): number | null {
  const value = overrides.get(name)
  const parsed = value == null ? null : topicOption(name)?.option.parse(value.trim())
  return parsed?.ok === true && typeof parsed.value === 'number' ? parsed.value : null
}

/** The text that a topic option has, set or by default; `min.insync.replicas` knows the factor. */
export function topicOptionText(
  name: string,
  overrides: TopicOverrides,
  broker: BrokerConfig,
  replicationFactor: number,
): string | null {
  const own = overrides.get(name)
  if (own != null) return own.trim()
  const known = topicOption(name)
  if (known === null) return null
  if (name === 'min.insync.replicas' && broker.source(name) === 'default') {
    return String(defaultMinInSyncReplicas(replicationFactor))
  }
  for (const { name: brokerName, unit } of known.synonyms) {
    const brokerText = broker.text(brokerName)
    if (brokerText === null) continue
    // −1 is "never" in every unit.
    return unit === 1 || brokerText === '-1' ? brokerText : String(Number(brokerText) * unit)
  }
  return known.option.defaultText
}

/** `min.insync.replicas` where nobody set it: with three replicas a record is on two. */
export function defaultMinInSyncReplicas(replicationFactor: number): number {
  return replicationFactor >= 3 ? 2 : 1
}
