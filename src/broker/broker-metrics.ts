import type { Sample } from '../metrics/registry.ts'
import type { ShardStats } from '../shard/control.ts'
import type { Broker } from './broker.ts'

/**
 * What `/metrics` says of a broker. One control message a shard; labels are bounded by the shards.
 */
const SHARD_SAMPLES: readonly [keyof ShardStats, string, string][] = [
  ['partitions', 'millrace_shard_partitions', 'Partitions that the shard owns'],
  ['openLogs', 'millrace_shard_open_logs', 'Partitions whose log is open'],
  ['logBytes', 'millrace_shard_log_bytes', 'Bytes in the open logs'],
  ['appends', 'millrace_shard_appends_total', 'Runs of batches appended or refused'],
  ['appendedBytes', 'millrace_shard_appended_bytes_total', 'Bytes appended'],
  ['reads', 'millrace_shard_reads_total', 'Reads of one partition'],
  ['readBytes', 'millrace_shard_read_bytes_total', 'Bytes read'],
  ['flushes', 'millrace_shard_flushes_total', 'Flushes started'],
  [
    'deletedSegments',
    'millrace_shard_deleted_segments_total',
    'Segments that retention has deleted',
  ],
  ['deletedBytes', 'millrace_shard_deleted_bytes_total', 'Bytes that retention has deleted'],
  ['turns', 'millrace_shard_turns_total', 'Rounds of work'],
  ['parks', 'millrace_shard_parks_total', 'Times the shard went to sleep'],
  ['egressBytesInUse', 'millrace_shard_egress_bytes', 'Arena bytes that hold read results'],
]

const DIRECTORY_CONDITIONS = [
  ['offline', '1 while the log directory is offline, until a restart'],
  ['short', '1 while the log directory refuses writes, for want of room or descriptors'],
] as const

export async function brokerSamples(broker: Broker): Promise<readonly Sample[]> {
  const samples: Sample[] = [
    {
      name: 'millrace_topics',
      help: 'Topics of the cluster',
      value: broker.image.topicsByName.size,
    },
    {
      name: 'millrace_partitions',
      help: 'Partitions of the cluster',
      value: broker.image.partitions.count,
    },
    {
      name: 'millrace_ingress_bytes',
      help: 'Arena bytes that hold received requests',
      value: broker.arena.bytesInUse,
    },
    {
      name: 'millrace_fetch_sessions',
      help: 'Incremental fetch sessions',
      value: broker.fetchSessions.size,
    },
  ]
  for (const { path, condition } of broker.directoryStates.all) {
    for (const [kind, help] of DIRECTORY_CONDITIONS) {
      const name = `millrace_log_directory_${kind}`
      samples.push({ name, help, labels: { directory: path }, value: Number(condition === kind) })
    }
  }
  const replies = await Promise.all(
    broker.hub.host.proxies.map((proxy) => proxy.control({ kind: 'stats' })),
  )
  for (const [shard, reply] of replies.entries()) {
    if (reply.kind !== 'stats') continue
    const labels = { shard: String(shard) }
    for (const [key, name, help] of SHARD_SAMPLES) {
      samples.push({ name, help, labels, value: reply.stats[key] })
    }
    samples.push({
      name: 'millrace_shard_cpu_seconds_total',
      help: 'CPU time of the thread',
      labels,
      value: reply.stats.threadCpuMicros / 1e6,
    })
  }
  return samples
}
