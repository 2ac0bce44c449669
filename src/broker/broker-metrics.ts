import { type Exposition, labelText } from '../metrics/exposition.ts'
import type { MetricName } from '../metrics/metric-table.ts'
import type { ShardStats } from '../shard/control.ts'
import type { Broker } from './broker.ts'
import { writePartitionMetrics } from './partition-metrics.ts'

/**
 * What `/metrics` says of a broker and its shards: one control message a shard, and a few for its
 * partitions. Labels are bounded: by the shards, by the log directories, by two options for topics
 * and partitions.
 */
type Numbers = { [K in keyof ShardStats]: ShardStats[K] extends number ? K : never }
type NumberOfShard = Numbers[keyof ShardStats]

const SHARD_METRICS: readonly [MetricName, NumberOfShard][] = [
  ['millrace_shard_partitions', 'partitions'],
  ['millrace_shard_open_logs', 'openLogs'],
  ['millrace_shard_log_bytes', 'logBytes'],
  ['millrace_shard_appends_total', 'appends'],
  ['millrace_shard_appended_records_total', 'appendedRecords'],
  ['millrace_shard_appended_bytes_total', 'appendedBytes'],
  ['millrace_shard_reads_total', 'reads'],
  ['millrace_shard_read_bytes_total', 'readBytes'],
  ['millrace_shard_flushes_total', 'flushes'],
  ['millrace_shard_deleted_segments_total', 'deletedSegments'],
  ['millrace_shard_deleted_bytes_total', 'deletedBytes'],
  ['millrace_shard_compactions_total', 'compactions'],
  ['millrace_shard_compacted_records_total', 'compactedRecords'],
  ['millrace_shard_compaction_read_bytes_total', 'compactedBytesIn'],
  ['millrace_shard_compaction_written_bytes_total', 'compactedBytesOut'],
  ['millrace_shard_turns_total', 'turns'],
  ['millrace_shard_parks_total', 'parks'],
  ['millrace_shard_egress_bytes', 'egressBytesInUse'],
  ['millrace_shard_cache_window_bytes', 'cacheWindowBytes'],
  ['millrace_shard_cache_unstarted_bytes', 'cacheUnstartedBytes'],
]

export async function writeBrokerMetrics(broker: Broker, exposition: Exposition): Promise<void> {
  const stats = await shardStats(broker)
  exposition.resumed()
  writeCluster(broker, exposition, stats)
  writeRecovery(broker, exposition, stats)
  broker.requests.write(exposition)
  exposition.single('millrace_fetch_sessions', broker.fetchSessions.size)
  exposition.single('millrace_ingress_bytes', broker.arena.bytesInUse)
  const ingressLimit = broker.config.get('millrace.arena.ingress.bytes')
  exposition.single('millrace_ingress_limit_bytes', ingressLimit)
  await exposition.breathe()
  writeShards(broker, exposition, stats)
  await exposition.breathe()
  await writePartitionMetrics(broker, exposition)
}

async function shardStats(broker: Broker): Promise<ShardStats[]> {
  const replies = await Promise.all(
    broker.hub.host.proxies.map((proxy) => proxy.control({ kind: 'stats' })),
  )
  return replies.flatMap((reply) => (reply.kind === 'stats' ? [reply.stats] : []))
}

function sum(stats: readonly ShardStats[], field: NumberOfShard): number {
  return stats.reduce((total, one) => total + one[field], 0)
}

function writeCluster(broker: Broker, exposition: Exposition, stats: readonly ShardStats[]): void {
  const { nodeId: node, clusterId: cluster, tier } = broker
  const topics = broker.image.topicsByName.size
  const partitions = broker.image.partitions.count
  const offline = sum(stats, 'offlinePartitions')
  exposition.begin('millrace_broker_info')
  exposition.put(1, labelText({ node, cluster, tier }))
  exposition.single('millrace_topics', topics)
  exposition.single('millrace_partitions', partitions)
  exposition.single('millrace_offline_partitions', offline)
  writeDirectories(broker, exposition)
  exposition.single('kafka_brokers', broker.config.cluster?.isBroker === false ? 0 : 1)
  exposition.begin('kafka_broker_info')
  for (const { host, port } of broker.endpoints.values()) {
    exposition.put(1, labelText({ address: `${host}:${port}`, id: node }))
  }
  exposition.single('kafka_server_replicamanager_partitioncount', partitions)
  exposition.single('kafka_server_replicamanager_leadercount', partitions)
  exposition.single('kafka_server_replicamanager_underreplicatedpartitions', 0)
  exposition.single('millrace_quorum_election_timeout_seconds', broker.electionTimeoutMs() / 1000)
  exposition.single('kafka_controller_kafkacontroller_activecontrollercount', 1)
  exposition.single('kafka_controller_kafkacontroller_offlinepartitionscount', offline)
  exposition.single('redpanda_cluster_brokers', 1)
  exposition.single('redpanda_cluster_topics', topics)
  exposition.single('redpanda_cluster_partitions', partitions)
  exposition.single('redpanda_cluster_unavailable_partitions', offline)
}

const DIRECTORY_METRICS = [
  ['offline', 'millrace_log_directory_offline'],
  ['short', 'millrace_log_directory_short'],
] as const

function writeDirectories({ directoryStates }: Broker, exposition: Exposition): void {
  for (const [kind, name] of DIRECTORY_METRICS) {
    exposition.begin(name)
    for (const { path, condition } of directoryStates.all) {
      exposition.put(condition === kind ? 1 : 0, labelText({ directory: path }))
    }
  }
}

function writeRecovery(broker: Broker, exposition: Exposition, stats: readonly ShardStats[]): void {
  const { partitions, ms } = broker.recovery
  exposition.single('millrace_recovery_seconds', ms / 1000)
  exposition.single('millrace_recovery_partitions', partitions)
  exposition.single('millrace_recovery_bytes', sum(stats, 'recoveredBytes'))
}

function writeShards(broker: Broker, exposition: Exposition, stats: readonly ShardStats[]): void {
  const { proxies } = broker.hub.host
  const labels = stats.map((_, shard) => labelText({ shard }))
  for (const [name, field] of SHARD_METRICS) {
    exposition.begin(name)
    for (const [i, one] of stats.entries()) exposition.put(one[field], labels[i])
  }
  exposition.begin('millrace_shard_cpu_seconds_total')
  for (const [i, one] of stats.entries()) exposition.put(one.threadCpuMicros / 1e6, labels[i])
  exposition.begin('millrace_shard_compaction_seconds_total')
  for (const [i, one] of stats.entries()) exposition.put(one.compactionMs / 1e3, labels[i])
  exposition.begin('millrace_shard_turn_seconds')
  for (const [i, one] of stats.entries()) exposition.histogram(one.turnCells, labels[i])
  exposition.begin('millrace_shard_egress_limit_bytes')
  for (const [i, proxy] of proxies.entries()) exposition.put(proxy.egress.length, labels[i])
  exposition.begin('millrace_shard_requests_in_flight')
  for (const [i, proxy] of proxies.entries()) exposition.put(proxy.inFlight, labels[i])
  exposition.begin('millrace_shard_lane_waiting')
  for (const [i, proxy] of proxies.entries()) exposition.put(proxy.lanes.waiting, labels[i])
  exposition.begin('millrace_shard_lane_bytes')
  for (const [shard, { lanes }] of proxies.entries()) {
    exposition.put(lanes.toShard, labelText({ shard, direction: 'to_shard' }))
    exposition.put(lanes.toMain, labelText({ shard, direction: 'to_main' }))
  }
}
