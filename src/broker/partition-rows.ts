import type { Topic } from '../metadata/image.ts'
import {
  PARTITION_STATS_BATCH,
  PARTITION_STATS_FIELDS,
  PARTITION_STATS_STRIDE,
  type PartitionStatsField,
  rowsOfBytes,
} from '../shard/partition-stats.ts'
import type { Broker } from './broker.ts'

/**
 * Numbers of many partitions at one moment, gathered from their shards: a thousand partitions a
 * message, one message a shard at a time. In the order of topics and partitions.
 */
export class PartitionRows {
  /** Partitions of `topics[i]` are the rows from `starts[i]` to `starts[i + 1]`, exclusive. */
  readonly topics: readonly Topic[]
  readonly starts: readonly number[]
  readonly handles: Int32Array
  readonly #numbers: Float64Array

  private constructor(topics: readonly Topic[]) {
    this.topics = topics
    const starts = [0]
    for (const { handles } of topics) starts.push((starts.at(-1) as number) + handles.length)
    this.starts = starts
    this.handles = Int32Array.from(topics.flatMap(({ handles }) => handles))
    this.#numbers = new Float64Array(this.handles.length * PARTITION_STATS_STRIDE).fill(Number.NaN)
  }

  static async load(broker: Broker, topics: readonly Topic[]): Promise<PartitionRows> {
    const rows = new PartitionRows(topics)
    const { proxies } = broker.hub.host
    const byShard: number[][] = proxies.map(() => [])
    for (const [row, handle] of rows.handles.entries()) {
      byShard[broker.placement.shardOf(handle)]?.push(row)
    }
    await Promise.all(byShard.map((list, shard) => rows.#ask(broker, shard, list)))
    return rows
  }

  /** NaN: nobody knows without opening the log, or the topic was deleted meanwhile. */
  get(row: number, field: PartitionStatsField): number {
    const at = row * PARTITION_STATS_STRIDE + PARTITION_STATS_FIELDS.indexOf(field)
    return this.#numbers[at] as number
  }

  /** Of the partitions of `topics[index]` that are known. */
  sum(index: number, field: PartitionStatsField): number {
    let sum = 0
    for (let row = this.starts[index]!; row < this.starts[index + 1]!; row++) {
      sum += this.get(row, field) || 0
    }
    return sum
  }

  async #ask(broker: Broker, shard: number, rows: readonly number[]): Promise<void> {
    for (let from = 0; from < rows.length; from += PARTITION_STATS_BATCH) {
      const batch = rows.slice(from, from + PARTITION_STATS_BATCH)
      const handles = Int32Array.from(batch, (row) => this.handles[row] as number)
      const request = { kind: 'partition-stats', handles: new Uint8Array(handles.buffer) } as const
      const reply = await broker.hub.host.proxies[shard]!.control(request)
      if (reply.kind !== 'partition-stats') continue
      const numbers = rowsOfBytes(reply.rows)
      for (const [i, row] of batch.entries()) {
        const at = i * PARTITION_STATS_STRIDE
        const one = numbers.subarray(at, at + PARTITION_STATS_STRIDE)
        this.#numbers.set(one, row * PARTITION_STATS_STRIDE)
      }
    }
  }
}
