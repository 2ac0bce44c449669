import { type Exposition, escapeLabel, labelText } from '../metrics/exposition.ts'
import type { Broker } from './broker.ts'
import type { PartitionRows } from './partition-rows.ts'

/**
 * Consumer groups in `/metrics`, under kafka_exporter's names: how far each is in each partition,
 * and how much it has left. Bounded as partitions are: a topic of a group is shown with all that
 * the group has committed of it, or left out, so that no sum says less than there is.
 */
interface Place {
  readonly labels: string
  readonly offset: number
  /** NaN where the log's end is not known. */
  readonly lag: number
}

const ROWS_BETWEEN_BREATHS = 500

export async function writeGroupMetrics(
  broker: Broker,
  exposition: Exposition,
  rows: PartitionRows,
): Promise<void> {
  const max = broker.config.get('millrace.metrics.partitions.max')
  const indexes = new Map(rows.topics.map(({ name }, i) => [name, i]))
  const endOf = (index: number, partition: number): number => {
    const row = (rows.starts[index] as number) + partition
    return row < (rows.starts[index + 1] as number) ? rows.get(row, 'highWatermark') : NaN
  }
  const places: Place[] = []
  const sums: { readonly labels: string; offset: number; lag: number }[] = []
  const members: { readonly labels: string; readonly count: number }[] = []
  let omitted = 0
  let seen = 0
  for (const { groups, offsets } of broker.groups.coordinators()) {
    for (const [groupId, group] of groups) {
      if (members.length < max) {
        const labels = labelText({ consumergroup: groupId })
        members.push({ labels, count: group.members.size })
      }
      const prefix = `{consumergroup="${escapeLabel(groupId)}",topic="`
      if (++seen % ROWS_BETWEEN_BREATHS === 0) await exposition.breathe()
      for (const [topic, partitions] of offsets.topics(groupId)) {
        if (places.length + partitions.size > max) {
          omitted += partitions.size
          continue
        }
        const named = `${prefix}${escapeLabel(topic)}"`
        const sum = { labels: `${named}}`, offset: 0, lag: 0 }
        const index = indexes.get(topic)
        for (const [partition, { offset }] of partitions) {
          const end = index === undefined ? NaN : endOf(index, partition)
          const lag = Math.max(0, end - offset)
          places.push({ labels: `${named},partition="${partition}"}`, offset, lag })
          sum.offset += offset
          if (!Number.isNaN(lag)) sum.lag += lag
        }
        sums.push(sum)
      }
    }
    await exposition.breathe()
  }
  const known = places.filter(({ lag }) => !Number.isNaN(lag))
  await writeAll(exposition, 'kafka_consumergroup_members', members, ({ count }) => count)
  await writeAll(exposition, 'kafka_consumergroup_current_offset', places, (one) => one.offset)
  await writeAll(exposition, 'kafka_consumergroup_lag', known, (one) => one.lag)
  await writeAll(exposition, 'kafka_consumergroup_uncommitted_offsets', known, (one) => one.lag)
  await writeAll(exposition, 'kafka_consumergroup_current_offset_sum', sums, (one) => one.offset)
  await writeAll(exposition, 'kafka_consumergroup_lag_sum', sums, (one) => one.lag)
  exposition.single('millrace_metrics_group_offsets_omitted', omitted)
}

async function writeAll<T extends { readonly labels: string }>(
  exposition: Exposition,
  name: Parameters<Exposition['begin']>[0],
  rows: readonly T[],
  value: (row: T) => number,
): Promise<void> {
  exposition.begin(name)
  for (const [i, row] of rows.entries()) {
    exposition.put(value(row), row.labels)
    if (i % ROWS_BETWEEN_BREATHS === 0) await exposition.breathe()
  }
}
