/** The options of copying between brokers: a part of the table in `options.ts`. */
import { int, long, text } from './option.ts'

const KIB = 1024
const MIB = 1024 * KIB
const SECOND_MS = 1000
const UNLIMITED = Number.POSITIVE_INFINITY

/** Kafka's name, so that a file serves both. */
const RACK_AWARE_SELECTOR = 'org.apache.kafka.common.replica.RackAwareReplicaSelector'

export const REPLICA_OPTIONS = {
  'replica.lag.time.max.ms': long(
    30 * SECOND_MS,
    'A follower that has not been caught up for so long leaves the in-sync replicas.',
    { min: 100 },
  ),
  'replica.fetch.max.bytes': int(MIB, 'Fetched from one partition at a time.', { min: KIB }),
  'replica.fetch.response.max.bytes': int(10 * MIB, 'Fetched at a time.', { min: KIB }),
  'replica.fetch.wait.max.ms': int(500, 'A leader without news answers a follower after so long.', {
    min: 1,
  }),
  'replica.selector.class': text(
    null,
    `Where consumers that name their rack read: ${RACK_AWARE_SELECTOR} sends them to an in-sync ` +
      'replica in their rack (KIP-392). Unset: to the leader.',
    (value) => (value === RACK_AWARE_SELECTOR ? null : RACK_AWARE_SELECTOR),
  ),
  'replica.fetch.min.bytes': int(1, 'A leader with less than so much to send waits for more.', {
    min: 1,
  }),

  'leader.replication.throttled.rate': long(
    UNLIMITED,
    'Bytes a second that this broker sends, of what leader.replication.throttled.replicas of topics ' +
      'names, to replicas that are not in sync.',
    { min: 0 },
  ),
  'follower.replication.throttled.rate': long(
    UNLIMITED,
    'Bytes a second that this broker copies, of what follower.replication.throttled.replicas of ' +
      'topics names, until it is in sync.',
    { min: 0 },
  ),
} as const
