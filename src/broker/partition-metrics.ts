import type { MetadataImage, Topic } from '../metadata/image.ts'
import { type Exposition, escapeLabel } from '../metrics/exposition.ts'
import type { MetricName } from '../metrics/metric-table.ts'
import type { PartitionStatsField } from '../shard/partition-stats.ts'
import type { Broker } from './broker.ts'
import { writeGroupMetrics } from './group-metrics.ts'
import { PartitionRows } from './partition-rows.ts'

/**
 * Topics and partitions in `/metrics`, under our names and under Kafka's. How many have series is
 * bounded by two options; what was left out is itself a number, and the shards' sums hold it. The
 * text is written family by family, as the format wants it, with pauses.
 */
const ROWS_BETWEEN_BREATHS = 500

/** Each offset under its names. */
const PARTITION_METRICS: readonly [MetricName, PartitionStatsField][] = [
  ['millrace_partition_log_bytes', 'logBytes'],
  ['millrace_partition_log_start_offset', 'logStartOffset'],
  ['millrace_partition_high_watermark', 'highWatermark'],
  ['millrace_partition_log_end_offset', 'logEndOffset'],
  ['kafka_topic_partition_current_offset', 'highWatermark'],
  ['kafka_topic_partition_oldest_offset', 'logStartOffset'],
]

export async function writePartitionMetrics(broker: Broker, exposition: Exposition): Promise<void> {
  const { image, config } = broker
  const topicsMax = config.get('millrace.metrics.topics.max')
  const topics = topicsToShow(image, broker.nodeId, topicsMax)
  const rows = await PartitionRows.load(broker, topics)
  exposition.resumed()
  await writeTopics(broker, exposition, rows)
  const shown = await labelRows(rows, exposition, config.get('millrace.metrics.partitions.max'))
  for (const [name, field] of PARTITION_METRICS) {
    await writeFamily(exposition, name, shown, (row) => rows.get(row, field))
  }
  await writeReplicas(broker, exposition, { rows, shown })
  await writeGroupMetrics(broker, exposition, rows)
  exposition.single('millrace_metrics_topics_omitted', image.topicsByName.size - topics.length)
  const omitted = image.partitions.count - shown.length
  exposition.single('millrace_metrics_partitions_omitted', Math.max(0, omitted))
}

/**
 * At most `max`: those with partitions on this broker first, as the others of a large cluster are
 * shown by the brokers that have them.
 */
export function topicsToShow(image: MetadataImage, nodeId: number, max: number): Topic[] {
  if (image.topicsByName.size <= max) return [...image.topicsByName.values()]
  const { partitions } = image
  const shown = new Set<Topic>()
  for (const handle of partitions.handlesOf(({ replicas }) => replicas.includes(nodeId))) {
    if (shown.size >= max) break
    shown.add(partitions.topic(handle) as Topic)
  }
  for (const topic of image.topicsByName.values()) {
    if (shown.size >= max) break
    shown.add(topic)
  }
  return [...shown]
}

/** A row that has series, and its labels as text. */
interface ShownRow {
  readonly row: number
  readonly labels: string
}

/** At most `max` rows, without those that nobody knows. */
async function labelRows(
  rows: PartitionRows,
  exposition: Exposition,
  max: number,
): Promise<ShownRow[]> {
  const shown: ShownRow[] = []
  for (const [i, topic] of rows.topics.entries()) {
    const prefix = `{topic="${escapeLabel(topic.name)}",partition="`
    const start = rows.starts[i] as number
    for (let row = start; row < (rows.starts[i + 1] as number); row++) {
      if (shown.length >= max) return shown
      if (Number.isNaN(rows.get(row, 'logEndOffset'))) continue
      shown.push({ row, labels: `${prefix}${row - start}"}` })
    }
    await exposition.breathe()
  }
  return shown
}

async function writeFamily(
  exposition: Exposition,
  name: MetricName,
  shown: readonly ShownRow[],
  value: (row: number) => number,
): Promise<void> {
  exposition.begin(name)
  for (const [i, { row, labels }] of shown.entries()) {
    exposition.put(value(row), labels)
    if (i % ROWS_BETWEEN_BREATHS === 0) await exposition.breathe()
  }
}

async function writeTopics(
  broker: Broker,
  exposition: Exposition,
  rows: PartitionRows,
): Promise<void> {
  const { sent } = broker.hub.host
  const topics = []
  for (const [i, { name, handles }] of rows.topics.entries()) {
    let bytesOut = 0
    for (const handle of handles) bytesOut += sent.of(handle)
    topics.push({
      labels: `{topic="${escapeLabel(name)}"}`,
      partitions: handles.length,
      recordsIn: rows.sum(i, 'recordsIn'),
      bytesIn: rows.sum(i, 'bytesIn'),
      bytesOut,
      logBytes: rows.sum(i, 'logBytes'),
    })
    await exposition.breathe()
  }
  for (const [name, field] of [
    ['millrace_topic_records_in_total', 'recordsIn'],
    ['millrace_topic_bytes_in_total', 'bytesIn'],
    ['millrace_topic_bytes_out_total', 'bytesOut'],
    ['millrace_topic_log_bytes', 'logBytes'],
    ['kafka_topic_partitions', 'partitions'],
    ['kafka_server_brokertopicmetrics_messagesin_total', 'recordsIn'],
    ['kafka_server_brokertopicmetrics_bytesin_total', 'bytesIn'],
    ['kafka_server_brokertopicmetrics_bytesout_total', 'bytesOut'],
  ] as const) {
    exposition.begin(name)
    for (const topic of topics) exposition.put(topic[field], topic.labels)
    await exposition.breathe()
  }
}

interface Shown {
  readonly rows: PartitionRows
  readonly shown: readonly ShownRow[]
}

/** Who leads and follows, as the metadata says it; of a partition that is gone, nobody. */
async function writeReplicas(
  broker: Broker,
  exposition: Exposition,
  { rows, shown }: Shown,
): Promise<void> {
  const { partitions } = broker.image
  const replicas = (handle: number): number => partitions.replicas(handle).length
  const inSync = (handle: number): number => partitions.inSyncReplicas(handle).length
  const isPreferred = (handle: number): boolean =>
    partitions.leader(handle) === partitions.replicas(handle)[0]
  for (const [name, value] of [
    ['kafka_topic_partition_leader', (handle: number) => partitions.leader(handle)],
    ['kafka_topic_partition_leader_is_preferred', (handle: number) => Number(isPreferred(handle))],
    ['kafka_topic_partition_replicas', replicas],
    ['kafka_topic_partition_in_sync_replica', inSync],
    [
      'kafka_topic_partition_under_replicated_partition',
      (handle: number) => Number(inSync(handle) < replicas(handle)),
    ],
  ] as const) {
    await writeFamily(exposition, name, shown, (row) => value(rows.handles[row] as number))
  }
}
