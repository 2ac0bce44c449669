/**
 * Every metric of `/metrics` that is ours, and what it means: the one place where names, types,
 * labels and units are decided. The exposition writes nothing that does not stand here, and the
 * table of `README.md` is made from it. Kafka's names come at the end: they say again, under names
 * that dashboards know, what ours say.
 *
 * A counter counts since the broker's start. `_seconds`, `_bytes`: the unit; `_total`: a counter.
 */
export interface MetricInfo {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  /** In the order in which they are written. */
  readonly labels: readonly string[]
}

const SHARD = ['shard'] as const
const TOPIC = ['topic'] as const
const PARTITION = ['topic', 'partition'] as const
const GROUP = ['consumergroup'] as const
const GROUP_TOPIC = ['consumergroup', 'topic'] as const
const GROUP_PARTITION = ['consumergroup', 'topic', 'partition'] as const
const REQUEST = ['door', 'api'] as const

function counter(help: string, labels: readonly string[] = []): MetricInfo {
  return { type: 'counter', help, labels }
}

function gauge(help: string, labels: readonly string[] = []): MetricInfo {
  return { type: 'gauge', help, labels }
}

function histogram(help: string, labels: readonly string[] = []): MetricInfo {
  return { type: 'histogram', help, labels }
}

export const METRICS = {
  // —— the broker ——
  millrace_broker_info: gauge('Always 1; says what runs', ['node', 'cluster', 'tier']),
  millrace_topics: gauge('Topics of the cluster'),
  millrace_partitions: gauge('Partitions of the cluster'),
  millrace_offline_partitions: gauge('Partitions whose log cannot be served'),
  millrace_log_directory_offline: gauge('1 while the log directory is offline, until a restart', [
    'directory',
  ]),
  millrace_log_directory_short: gauge(
    '1 while the log directory refuses writes, for want of room or descriptors',
    ['directory'],
  ),
  millrace_recovery_seconds: gauge(
    'How long this start recovered partitions; 0 after a clean stop',
  ),
  millrace_recovery_partitions: gauge('Partitions that this start recovered'),
  millrace_recovery_bytes: gauge('Bytes of log in the partitions that this start recovered'),

  // —— requests ——
  millrace_request_seconds: histogram(
    'From the arrival of a request until its answer was handed to the system, waits included',
    REQUEST,
  ),
  millrace_request_errors_total: counter('Errors in answers; one for each partition or topic', [
    ...REQUEST,
    'error',
  ]),

  // —— connections ——
  millrace_connections: gauge('Connections that are open', ['door']),
  millrace_connections_accepted_total: counter('Connections that were accepted', ['door']),
  millrace_connections_stalled: gauge(
    'Kafka connections that are not read: memory or room is short',
  ),
  millrace_websocket_subscriptions: gauge('Subscriptions of all WebSocket clients'),
  millrace_websocket_requests: gauge('Requests of WebSocket clients that are under way'),
  millrace_websocket_credit_bytes: gauge('Bytes that WebSocket clients may send or have under way'),
  millrace_websocket_credit_limit_bytes: gauge('The most that they may have in all'),
  millrace_websocket_waiting_sessions: gauge('WebSocket clients whose messages wait for memory'),
  millrace_fetch_sessions: gauge('Incremental fetch sessions'),
  millrace_complaints_total: counter(
    'Connections that were closed or refused, by what the peer did',
    ['door', 'kind'],
  ),
  millrace_complaints_suppressed_total: counter('Of those, how many the log does not name', [
    'door',
    'kind',
  ]),

  // —— memory and threads ——
  millrace_ingress_bytes: gauge('Arena bytes that hold received requests'),
  millrace_ingress_limit_bytes: gauge('Size of that arena'),
  millrace_quorum_election_timeout_seconds: gauge(
    'Silence of the active controller after which others are elected: longer where it is often late',
  ),
  millrace_event_loop_delay_seconds: histogram('How late a timer ran on the main thread'),
  millrace_log_lines_dropped_total: counter('Lines that the log could not be given'),

  // —— shards ——
  millrace_shard_partitions: gauge('Partitions that the shard owns', SHARD),
  millrace_shard_open_logs: gauge('Partitions whose log is open', SHARD),
  millrace_shard_log_bytes: gauge('Bytes in the open logs', SHARD),
  millrace_shard_appends_total: counter('Runs of batches appended or refused', SHARD),
  millrace_shard_appended_records_total: counter('Records appended', SHARD),
  millrace_shard_appended_bytes_total: counter('Bytes appended', SHARD),
  millrace_shard_reads_total: counter('Reads of one partition', SHARD),
  millrace_shard_read_bytes_total: counter(
    'Bytes read, also those that a waiting fetch reads again',
    SHARD,
  ),
  millrace_shard_flushes_total: counter('Flushes started', SHARD),
  millrace_shard_deleted_segments_total: counter('Segments that retention has deleted', SHARD),
  millrace_shard_deleted_bytes_total: counter('Bytes that retention has deleted', SHARD),
  millrace_shard_compactions_total: counter('Compactions of a log that came to their end', SHARD),
  millrace_shard_compacted_records_total: counter('Records that compaction has dropped', SHARD),
  millrace_shard_compaction_read_bytes_total: counter('Bytes that compaction has read', SHARD),
  millrace_shard_compaction_written_bytes_total: counter(
    'Bytes that compaction has written',
    SHARD,
  ),
  millrace_shard_compaction_seconds_total: counter('Time that compactions have taken', SHARD),
  millrace_shard_turn_seconds: histogram('Rounds of work that did something', SHARD),
  millrace_shard_turns_total: counter('Rounds of work, idle ones included', SHARD),
  millrace_shard_parks_total: counter('Times the shard went to sleep', SHARD),
  millrace_shard_cpu_seconds_total: counter('CPU time of the thread', SHARD),
  millrace_shard_requests_in_flight: gauge('Requests that the shard has not answered', SHARD),
  millrace_shard_lane_bytes: gauge('Bytes in a lane that its reader has not taken', [
    ...SHARD,
    'direction',
  ]),
  millrace_shard_lane_waiting: gauge('Messages to the shard that wait for room in its lane', SHARD),
  millrace_shard_egress_bytes: gauge('Arena bytes that hold read results', SHARD),
  millrace_shard_egress_limit_bytes: gauge('Size of that arena', SHARD),
  millrace_shard_cache_window_bytes: gauge(
    'Tails of the open logs that were written and are left in the page cache',
    SHARD,
  ),
  millrace_shard_cache_unstarted_bytes: gauge(
    'Of those, bytes that the disk has not been told to write',
    SHARD,
  ),

  // —— topics and partitions ——
  millrace_topic_records_in_total: counter('Records appended to the topic', TOPIC),
  millrace_topic_bytes_in_total: counter('Bytes of batches appended to the topic', TOPIC),
  millrace_topic_bytes_out_total: counter('Bytes of batches handed to answers and pushes', TOPIC),
  millrace_topic_log_bytes: gauge("Bytes in the topic's logs", TOPIC),
  millrace_partition_log_bytes: gauge("Bytes in the partition's log", PARTITION),
  millrace_partition_log_start_offset: gauge('First offset that can be read', PARTITION),
  millrace_partition_high_watermark: gauge('First offset that consumers do not see yet', PARTITION),
  millrace_partition_log_end_offset: gauge('Next offset to be assigned', PARTITION),
  millrace_metrics_topics_omitted: gauge(
    'Topics without series here: more than millrace.metrics.topics.max',
  ),
  millrace_metrics_partitions_omitted: gauge(
    'Partitions without series here: more than millrace.metrics.partitions.max, or unreadable',
  ),
  millrace_metrics_group_offsets_omitted: gauge('Committed offsets without series'),
  millrace_metrics_collect_seconds: gauge('How long it took to collect this text'),

  // —— Kafka's names: kafka_exporter ——
  kafka_brokers: gauge('Number of brokers in the cluster'),
  kafka_broker_info: gauge('Always 1; the address that clients are told', ['address', 'id']),
  kafka_topic_partitions: gauge('Number of partitions of the topic', TOPIC),
  kafka_topic_partition_current_offset: gauge('As millrace_partition_high_watermark', PARTITION),
  kafka_topic_partition_oldest_offset: gauge('As millrace_partition_log_start_offset', PARTITION),
  kafka_topic_partition_in_sync_replica: gauge('Number of in-sync replicas', PARTITION),
  kafka_topic_partition_leader: gauge('Node id of the leader', PARTITION),
  kafka_topic_partition_leader_is_preferred: gauge('1 when the preferred replica leads', PARTITION),
  kafka_topic_partition_replicas: gauge('Number of replicas', PARTITION),
  kafka_topic_partition_under_replicated_partition: gauge(
    '1 when a replica is not in sync',
    PARTITION,
  ),
  kafka_consumergroup_members: gauge('Members of the consumer group', GROUP),
  kafka_consumergroup_current_offset: gauge(
    'How far the consumer group has committed',
    GROUP_PARTITION,
  ),
  kafka_consumergroup_lag: gauge(
    'High watermark less what the group has committed',
    GROUP_PARTITION,
  ),
  kafka_consumergroup_uncommitted_offsets: gauge('As kafka_consumergroup_lag', GROUP_PARTITION),
  kafka_consumergroup_current_offset_sum: gauge(
    'Sum of kafka_consumergroup_current_offset of a topic',
    GROUP_TOPIC,
  ),
  kafka_consumergroup_lag_sum: gauge('Sum of kafka_consumergroup_lag of a topic', GROUP_TOPIC),
  // —— Kafka's names: the usual rules of jmx_exporter ——
  kafka_server_brokertopicmetrics_messagesin_total: counter(
    'As millrace_topic_records_in_total',
    TOPIC,
  ),
  kafka_server_brokertopicmetrics_bytesin_total: counter('As millrace_topic_bytes_in_total', TOPIC),
  kafka_server_brokertopicmetrics_bytesout_total: counter(
    'As millrace_topic_bytes_out_total',
    TOPIC,
  ),
  kafka_server_replicamanager_partitioncount: gauge('As millrace_partitions'),
  kafka_server_replicamanager_leadercount: gauge('Partitions that this broker leads'),
  kafka_server_replicamanager_underreplicatedpartitions: gauge('Partitions with too few replicas'),
  kafka_controller_kafkacontroller_activecontrollercount: gauge('1 where the controller runs'),
  kafka_controller_kafkacontroller_offlinepartitionscount: gauge('As millrace_offline_partitions'),
  // —— Redpanda's names ——
  redpanda_cluster_brokers: gauge('As kafka_brokers'),
  redpanda_cluster_topics: gauge('As millrace_topics'),
  redpanda_cluster_partitions: gauge('As millrace_partitions'),
  redpanda_cluster_unavailable_partitions: gauge('As millrace_offline_partitions'),
} as const satisfies Record<string, MetricInfo>

export type MetricName = keyof typeof METRICS
