/**
 * The broker's options: Kafka's name, default and rule where Kafka has the option, `millrace.…`
 * where it has none. A row is all there is to an option: files, environment, flags, DescribeConfigs
 * and the generated help work from this table. The table is sorted by what an option is about.
 */

import { checkRoles, parseControllers } from './cluster-config.ts'
import { parseEndpoint } from './listeners.ts'
import { checkLogLevels } from './log-levels.ts'
import { boolean, double, int, list, long, type Option, oneOf, secret, text } from './option.ts'
import { REPLICA_OPTIONS } from './replica-options.ts'

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB
const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const UNLIMITED = Number.POSITIVE_INFINITY
const INT_MAX = 2 ** 31 - 1

/** The smallest segment that Kafka accepts since KIP-1030. */
export const SEGMENT_BYTES_MIN = MIB

/** Fails for a list that names a cleanup policy twice or one that does not exist. */
export function checkCleanupPolicy(items: readonly string[]): string | null {
  const known = items.every((item) => item === 'compact' || item === 'delete')
  if (known && new Set(items).size === items.length) return null
  return 'delete, compact, or both'
}

function checkDirectories(items: readonly string[]): string | null {
  if (items.length === 0) return 'at least one directory'
  return new Set(items).size === items.length ? null : 'directories that differ'
}

function checkOrigins(items: readonly string[]): string | null {
  const isOrigin = (item: string): boolean => item === '*' || /^[a-z+.-]+:\/\/[^/\s]+$/.test(item)
  return items.every(isOrigin) ? null : 'origins such as https://console.example, or *'
}

export const BROKER_OPTIONS = {
  // —— who and where ——
  'node.id': int(1, 'The id of this broker in its cluster.', { min: 0 }),
  listeners: text(
    'PLAINTEXT://127.0.0.1:9092',
    'Where Kafka clients connect: NAME://HOST:PORT, comma-separated. Port 0 takes any free one.',
  ),
  'advertised.listeners': text(
    null,
    'The addresses that clients are told to connect to, by listener name. Unset: the listeners.',
  ),
  'listener.security.protocol.map': text(
    'PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL',
    'The security protocol of each listener name.',
  ),
  'millrace.http.listener': text(
    '127.0.0.1:8080',
    'HOST:PORT of health, metrics and everything else over HTTP; "off" for none.',
  ),
  'millrace.http.engine': oneOf(
    ['auto', 'native', 'uws', 'node'],
    'auto',
    'Who serves HTTP and WebSockets: the addon, uWebSockets.js, Node; auto takes the first there is.',
  ),
  'millrace.http.allowed.origins': list(
    '',
    'Web pages that may connect, besides those of this broker and of loopback: origins, or *.',
    checkOrigins,
  ),
  'millrace.http.max.connections': int(
    10_000,
    'HTTP and WebSocket connections that are accepted in all.',
    { min: 1 },
  ),
  'millrace.http.max.connections.per.ip': int(
    INT_MAX,
    'HTTP and WebSocket connections that are accepted from one address.',
    { min: 1 },
  ),
  'millrace.insecure': boolean(
    false,
    'Allows listeners beyond loopback without authentication (the flag --insecure).',
  ),

  // —— several brokers ——
  'controller.quorum.voters': text(
    null,
    'The controllers of the cluster, ID@HOST:PORT of their cluster listeners, comma-separated. ' +
      'Unset: this broker is alone.',
    (value) => (parseControllers(value) === null ? 'ID@HOST:PORT, comma-separated' : null),
  ),
  'process.roles': text(
    'broker,controller',
    'What this node does in a cluster: broker, controller, or both. A node that is not named in ' +
      'controller.quorum.voters is a broker only; a controller that is no broker has no partitions ' +
      'and serves no clients.',
    checkRoles,
  ),
  'millrace.cluster.listener': text(
    null,
    'HOST:PORT where the other brokers connect. Unset: what controller.quorum.voters says of this ' +
      'node.',
    (value) => (parseEndpoint(value) === null ? 'HOST:PORT' : null),
  ),
  'millrace.cluster.id': text(
    null,
    'The id of the cluster to join. Unset: at the first start it follows from the secret and the ' +
      'controllers, afterwards it is what the data directories say.',
    (value) => (/^[A-Za-z0-9_-]{21}[AQgw]$/.test(value) ? null : 'an id of 22 characters'),
  ),
  'millrace.cluster.secret': secret(
    'What all brokers of a cluster know and nobody else: needed to talk to one of them.',
  ),
  'broker.rack': text(
    null,
    'Where this broker stands: replicas are spread over racks, and read from one nearby (KIP-392).',
  ),
  'broker.heartbeat.interval.ms': int(
    200,
    'A broker tells the controller so often that it is there.',
    { min: 10 },
  ),
  'broker.session.timeout.ms': int(
    1000,
    'A broker that says nothing for so long is fenced: others lead its partitions.',
    { min: 100 },
  ),
  'controller.quorum.election.timeout.ms': int(
    300,
    'Controllers that do not hear their leader for so long, and up to two thirds longer, elect ' +
      'another one; where it is often late they wait longer, up to three times.',
    { min: 50 },
  ),
  'metadata.log.max.record.bytes.between.snapshots': long(
    20 * 1024 * 1024,
    'After so much of new metadata a node of a cluster takes a snapshot of it, and drops what the ' +
      'one before holds from its log.',
    { min: 1 },
  ),
  'metadata.log.max.snapshot.interval.ms': long(
    HOUR_MS,
    'After so long a snapshot is taken whenever anything has changed; 0: never because of time.',
    { min: 0 },
  ),
  ...REPLICA_OPTIONS,

  // —— threads, memory, tiers ——
  'millrace.shards': int(
    0,
    'Worker threads that own partitions; 0 takes one per core less one, as many as there is ' +
      'memory for, at least one.',
    { min: 0, max: 256 },
  ),
  'millrace.pin.threads': boolean(
    true,
    'Pins each shard to a core, where there are cores to spare.',
  ),
  'millrace.native.tier': oneOf(
    ['auto', 'portable', 'native', 'io_uring'],
    'auto',
    'How files and sockets are driven; auto takes the best that loads, a forced one must load.',
  ),
  'millrace.arena.ingress.bytes': int(
    256 * MIB,
    'Memory for received batches that are not written yet, in all; by default less where a cgroup ' +
      'allows less.',
    { min: 16 * MIB, max: GIB },
  ),
  'millrace.arena.egress.bytes': int(
    64 * MIB,
    'Memory for fetched data that is not sent yet, for each shard; by default less where a cgroup ' +
      'allows less.',
    { min: 4 * MIB, max: GIB },
  ),
  'millrace.page.cache.window.bytes': long(
    64 * MIB,
    "The part of a partition's tail that is kept in the page cache for its readers.",
    { min: MIB },
  ),
  'millrace.log.level': text(
    'info',
    'The least severe line that is logged, for all and by component: info,storage=debug,kafka=warn.',
    checkLogLevels,
  ),
  'millrace.log.format': oneOf(
    ['auto', 'json', 'pretty'],
    'auto',
    'How lines are written; auto is pretty on a terminal, else JSON.',
  ),

  'millrace.metrics.topics.max': int(
    1000,
    'Topics that have series of their own in /metrics; the others are in the sums only.',
    { min: 0 },
  ),
  'millrace.metrics.partitions.max': int(
    10_000,
    'Partitions that have series of their own in /metrics.',
    { min: 0 },
  ),

  // —— connections and requests ——
  'socket.request.max.bytes': int(100 * MIB, 'The largest request that is accepted.', { min: 1 }),
  'connections.max.idle.ms': long(
    10 * MINUTE_MS,
    'A connection without a request for so long is closed; -1 for never.',
    { min: -1 },
  ),
  'millrace.first.request.timeout.ms': long(
    30 * SECOND_MS,
    'A Kafka connection that has not completed its first request by then is closed.',
    { min: 1 },
  ),
  'max.connections': int(INT_MAX, 'Connections that are accepted in all.', { min: 0 }),
  'max.connections.per.ip': int(INT_MAX, 'Connections that are accepted from one address.', {
    min: 0,
  }),
  'fetch.max.bytes': int(55 * MIB, 'The most that one Fetch response carries.', { min: KIB }),
  'max.incremental.fetch.session.cache.slots': int(
    1000,
    'Incremental fetch sessions that are kept (KIP-227).',
    { min: 0 },
  ),

  // —— topics ——
  'auto.create.topics.enable': boolean(
    true,
    'Creates a topic when a client that allows it asks for its metadata.',
  ),
  'delete.topic.enable': boolean(true, 'Whether topics can be deleted.'),
  'num.partitions': int(1, 'Partitions of a topic whose creator names no number.', { min: 1 }),
  'default.replication.factor': int(1, 'Replicas of a topic whose creator names no number.', {
    min: 1,
    max: 32_767,
  }),
  'min.insync.replicas': int(
    1,
    'In-sync replicas that acks=all needs. Unset: 2 for topics of 3 or more replicas, else 1.',
    { min: 1 },
  ),
  'unclean.leader.election.enable': boolean(
    false,
    'Whether a replica that is not in sync may lead, at the price of losing records.',
  ),

  // —— the log ——
  'log.dirs': list(
    'millrace-data',
    'Directories that hold the data, one per disk.',
    checkDirectories,
  ),
  'message.max.bytes': int(MIB + 12, 'The largest record batch that is accepted.', { min: 0 }),
  'log.segment.bytes': int(GIB, 'A segment of this size is closed and a new one begun.', {
    min: SEGMENT_BYTES_MIN,
  }),
  'log.roll.ms': long(null, 'A segment of this age is closed. Unset: log.roll.hours.', { min: 1 }),
  'log.roll.hours': int(168, 'As log.roll.ms, in hours.', { min: 1 }),
  'log.roll.jitter.ms': long(
    null,
    'Up to so much is taken off log.roll.ms at random. Unset: log.roll.jitter.hours.',
    { min: 0 },
  ),
  'log.roll.jitter.hours': int(0, 'As log.roll.jitter.ms, in hours.', { min: 0 }),
  'log.retention.ms': long(
    null,
    'A segment is deleted when its newest record is older; -1 for never. Unset: ' +
      'log.retention.minutes.',
    { min: -1 },
  ),
  'log.retention.minutes': int(
    null,
    'As log.retention.ms, in minutes. Unset: log.retention.hours.',
    { min: -1 },
  ),
  'log.retention.hours': int(168, 'As log.retention.ms, in hours.', { min: -1 }),
  'log.retention.bytes': long(
    -1,
    'Closed segments are deleted while so much is kept without them; -1 for never.',
    { min: -1 },
  ),
  'log.retention.check.interval.ms': long(
    5 * MINUTE_MS,
    'How often the log looks for segments that retention deletes.',
    { min: 1 },
  ),
  'log.segment.delete.delay.ms': long(
    MINUTE_MS,
    'How long the file of a deleted segment stays on disk.',
    { min: 0 },
  ),
  'log.index.interval.bytes': int(4096, 'Bytes of log from one index entry to the next.', {
    min: 0,
  }),
  'log.index.size.max.bytes': int(
    10 * MIB,
    'The largest index file; a full one rolls the segment.',
    {
      min: 4,
    },
  ),
  'log.preallocate': boolean(false, 'Reserves disk space for a whole segment when it is begun.'),
  'log.flush.interval.messages': long(
    UNLIMITED,
    'Records after which a partition is flushed to disk before they are acknowledged.',
    { min: 1 },
  ),
  'log.flush.interval.ms': long(
    null,
    'How long a record may stay unflushed. Unset: log.flush.scheduler.interval.ms.',
    { min: 0 },
  ),
  'log.flush.scheduler.interval.ms': long(
    UNLIMITED,
    'How often the log looks for partitions to flush.',
    { min: 0 },
  ),
  'log.flush.offset.checkpoint.interval.ms': int(
    MINUTE_MS,
    'How often recovery points are written: less is read again after a crash.',
    { min: 0 },
  ),
  'log.message.timestamp.type': oneOf(
    ['CreateTime', 'LogAppendTime'],
    'CreateTime',
    'Whose clock stamps a record: the producer’s or the broker’s.',
  ),
  'log.message.timestamp.before.max.ms': long(
    UNLIMITED,
    'How far a record’s timestamp may lie before the broker’s clock.',
    { min: 0 },
  ),
  'log.message.timestamp.after.max.ms': long(
    HOUR_MS,
    'How far a record’s timestamp may lie after the broker’s clock.',
    { min: 0 },
  ),
  'log.cleanup.policy': list(
    'delete',
    'What becomes of old segments: delete, compact, or both.',
    checkCleanupPolicy,
  ),
  'log.cleaner.delete.retention.ms': long(DAY_MS, 'How long compaction keeps tombstones.', {
    min: 0,
  }),
  'log.cleaner.min.compaction.lag.ms': long(0, 'A record younger than this is not compacted.', {
    min: 0,
  }),
  'log.cleaner.max.compaction.lag.ms': long(
    UNLIMITED,
    'A record older than this makes its partition due for compaction.',
    { min: 1 },
  ),
  'log.cleaner.min.cleanable.ratio': double(
    0.5,
    'The share of uncompacted bytes from which a partition is due for compaction.',
    { min: 0, max: 1 },
  ),
  'log.cleaner.enable': boolean(true, 'Whether topics with the compact policy are compacted.'),
  'log.cleaner.threads': int(1, 'Threads that compact; never more than shards.', {
    min: 1,
    max: 64,
  }),
  'log.cleaner.backoff.ms': long(
    15_000,
    'How often partitions are looked at that may be due for compaction; every 100 ms at most.',
    { min: 0, max: INT_MAX },
  ),
  'log.cleaner.dedupe.buffer.size': long(
    128 * 2 ** 20,
    'The most memory that the keys of one compaction take, 24 bytes a key; at most an eighth ' +
      'of what the broker may use.',
    { min: 1024, max: INT_MAX },
  ),
  'log.cleaner.io.buffer.load.factor': double(
    0.9,
    'The share of log.cleaner.dedupe.buffer.size that is filled: more is slower.',
    { min: 0.1, max: 0.99 },
  ),
  'log.cleaner.io.max.bytes.per.second': double(
    Number.MAX_VALUE,
    'What one thread that compacts may read and write in a second.',
    { min: 1024 },
  ),
  'log.local.retention.ms': long(-2, 'With tiered storage: as log.retention.ms; -2 for the same.', {
    min: -2,
  }),
  'log.local.retention.bytes': long(
    -2,
    'With tiered storage: as log.retention.bytes; -2 for the same.',
    { min: -2 },
  ),
  'compression.type': oneOf(
    ['producer'],
    'producer',
    'The codec batches are kept in: producer leaves them as they come.',
  ),
  'compression.gzip.level': int(-1, 'The level of gzip; -1 for its own default.', {
    min: -1,
    max: 9,
  }),
  'compression.lz4.level': int(9, 'The level of LZ4.', { min: 1, max: 17 }),
  'compression.zstd.level': int(3, 'The level of zstd.', { min: -131_072, max: 22 }),

  // —— producers ——
  'producer.id.expiration.ms': int(
    DAY_MS,
    'A producer that is silent for so long loses its sequence numbers on a partition.',
    { min: 1 },
  ),

  // —— groups ——
  'group.initial.rebalance.delay.ms': int(
    3000,
    'How long the first round of an empty group waits for others to join.',
    { min: 0 },
  ),
  'group.min.session.timeout.ms': int(6000, 'The shortest session that a member may ask for.', {
    min: 0,
  }),
  'group.max.session.timeout.ms': int(
    30 * MINUTE_MS,
    'The longest session that a member may ask for.',
    { min: 0 },
  ),
  'group.max.size': int(INT_MAX, 'Members of one group.', { min: 1 }),
  'group.consumer.session.timeout.ms': int(
    45_000,
    'A member of a consumer group (KIP-848) that is silent for so long is removed.',
    { min: 1 },
  ),
  'group.consumer.heartbeat.interval.ms': int(
    5000,
    'How often members of consumer groups are told to send heartbeats.',
    { min: 1 },
  ),
  'group.consumer.min.session.timeout.ms': int(
    45_000,
    'The shortest session that a consumer group may be given.',
    { min: 1 },
  ),
  'group.consumer.max.session.timeout.ms': int(
    60_000,
    'The longest session that a consumer group may be given.',
    { min: 1 },
  ),
  'group.consumer.min.heartbeat.interval.ms': int(
    5000,
    'The shortest interval of heartbeats that a consumer group may be given.',
    { min: 1 },
  ),
  'group.consumer.max.heartbeat.interval.ms': int(
    15_000,
    'The longest interval of heartbeats that a consumer group may be given.',
    { min: 1 },
  ),
  'group.consumer.max.size': int(INT_MAX, 'Members of one consumer group.', { min: 1 }),
  'group.consumer.assignors': list(
    'uniform,range',
    'The assignors of consumer groups; the first is that of groups whose members name none.',
    (names) =>
      names.length > 0 && names.every((name) => name === 'uniform' || name === 'range')
        ? null
        : 'a list of uniform and range',
  ),
  'group.consumer.migration.policy': oneOf(
    ['disabled', 'upgrade', 'downgrade', 'bidirectional'],
    'bidirectional',
    'Which way groups go over to another protocol while they have members: upgrade, to the ' +
      'consumer protocol when a member of it joins; downgrade, to the classic one when the last ' +
      'such member leaves; both or neither.',
  ),
  'offset.metadata.max.bytes': int(4096, 'The most that a committed offset says besides itself.', {
    min: 0,
  }),
  'offsets.retention.minutes': int(
    7 * 24 * 60,
    'How long the offsets of a group are kept once nobody is in it.',
    { min: 1 },
  ),
  'offsets.retention.check.interval.ms': long(
    10 * MINUTE_MS,
    'How often offsets are looked through for old ones.',
    { min: 1, max: INT_MAX },
  ),
  'offsets.topic.num.partitions': int(
    50,
    'Partitions of __consumer_offsets when it is made; never to be changed afterwards.',
    { min: 1, max: 10_000 },
  ),
  'offsets.topic.replication.factor': int(
    null,
    'Replicas of each partition of __consumer_offsets when it is made. Unset: 3, at most as many as ' +
      'the cluster has brokers; with fewer there at that time groups wait for the others.',
    { min: 1, max: 32_767 },
  ),
} as const satisfies Record<string, Option>

export type BrokerOptionName = keyof typeof BROKER_OPTIONS

/** The typed value of an option. */
export type BrokerOptionValue<N extends BrokerOptionName> =
  (typeof BROKER_OPTIONS)[N] extends Option<infer T> ? T : never

/** Older names of the same options. */
export const OPTION_ALIASES: Readonly<Record<string, BrokerOptionName>> = {
  'broker.id': 'node.id',
  'log.dir': 'log.dirs',
}

/**
 * Kafka's options that a broker file may well hold and that change nothing here: they are accepted,
 * so that the file serves both, and a line at start says that they do nothing.
 */
export const OPTIONS_WITHOUT_EFFECT: ReadonlySet<string> = new Set([
  'auto.leader.rebalance.enable',
  'background.threads',
  'controlled.shutdown.enable',
  'controller.listener.names',
  'controller.quorum.append.linger.ms',
  'controller.quorum.bootstrap.servers',
  'controller.quorum.election.backoff.max.ms',
  'controller.quorum.fetch.timeout.ms',
  'controller.quorum.request.timeout.ms',
  'controller.quorum.retry.backoff.ms',
  'controller.socket.timeout.ms',
  'delete.records.purgatory.purge.interval.requests',
  'fetch.purgatory.purge.interval.requests',
  'group.coordinator.append.linger.ms',
  'group.coordinator.threads',
  'initial.broker.registration.timeout.ms',
  'inter.broker.listener.name',
  'leader.imbalance.check.interval.seconds',
  'log.cleaner.io.buffer.size',
  'log.dir.failure.timeout.ms',
  'log.flush.start.offset.checkpoint.interval.ms',
  'max.request.partition.size.limit',
  'metadata.log.dir',
  'metadata.log.segment.bytes',
  'metadata.log.segment.ms',
  'metadata.max.idle.interval.ms',
  'metadata.max.retention.bytes',
  'metadata.max.retention.ms',
  'metric.reporters',
  'metrics.num.samples',
  'metrics.recording.level',
  'metrics.sample.window.ms',
  'num.io.threads',
  'num.network.threads',
  'num.recovery.threads.per.data.dir',
  'num.replica.alter.log.dirs.threads',
  'num.replica.fetchers',
  'offsets.commit.timeout.ms',
  'offsets.load.buffer.size',
  'offsets.topic.segment.bytes',
  'producer.purgatory.purge.interval.requests',
  'queued.max.request.bytes',
  'queued.max.requests',
  'replica.fetch.backoff.ms',
  'replica.high.watermark.checkpoint.interval.ms',
  'replica.socket.receive.buffer.bytes',
  'replica.socket.timeout.ms',
  'request.timeout.ms',
  'share.coordinator.state.topic.min.isr',
  'share.coordinator.state.topic.replication.factor',
  'socket.connection.setup.timeout.max.ms',
  'socket.connection.setup.timeout.ms',
  'socket.listen.backlog.size',
  'socket.receive.buffer.bytes',
  'socket.send.buffer.bytes',
  'telemetry.max.bytes',
  'transaction.max.timeout.ms',
  'transaction.state.log.min.isr',
  'transaction.state.log.num.partitions',
  'transaction.state.log.replication.factor',
  'transactional.id.expiration.ms',
])

export function isBrokerOption(name: string): name is BrokerOptionName {
  return Object.hasOwn(BROKER_OPTIONS, name)
}
