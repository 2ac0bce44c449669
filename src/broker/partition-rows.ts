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
 * message, one message a shard at a time. In the order of topics and partitions. Most partitions of
 * a large cluster lie elsewhere: of these there is a row and no numbers.
 */
export class PartitionRows {
  /** Partitions of `topics[i]` are the rows from `starts[i]` to `starts[i + 1]`, exclusive. */
  readonly topics: readonly Topic[]
  readonly starts: readonly number[]
  readonly handles: Int32Array
  /** Where the numbers of each row begin; −1: it has none. */
  readonly #places: Int32Array
  #numbers = new Float64Array(0)

  private constructor(topics: readonly Topic[]) {
    this.topics = topics
    const starts = [0]
    for (const { handles } of topics) starts.push((starts.at(-1) as number) + handles.length)
    this.starts = starts
    this.handles = new Int32Array(starts.at(-1) as number)
    for (const [i, { handles }] of topics.entries()) this.handles.set(handles, starts[i])
    this.#places = new Int32Array(this.handles.length).fill(-1)
  }

  static async load(broker: Broker, topics: readonly Topic[]): Promise<PartitionRows> {
    const rows = new PartitionRows(topics)
    const { proxies } = broker.hub.host
    const byShard: number[][] = proxies.map(() => [])
    let size = 0
    for (const [row, handle] of rows.handles.entries()) {
      if (row % ROWS_BETWEEN_BREATHS === 0) await new Promise(setImmediate)
      if (!broker.hasReplica(handle)) continue
      byShard[broker.placement.shardOf(handle)]?.push(row)
      rows.#places[row] = size
      size += PARTITION_STATS_STRIDE
    }
    rows.#numbers = new Float64Array(size).fill(Number.NaN)
    await Promise.all(byShard.map((list, shard) => rows.#ask(broker, shard, list)))
    return rows
  }

  /** NaN: it lies elsewhere, its log is not open, or the topic was deleted meanwhile. */
  get(row: number, field: PartitionStatsField): number {
    const place = this.#places[row] as number
    if (place < 0) return Number.NaN
    return this.#numbers[place + PARTITION_STATS_FIELDS.indexOf(field)] as number
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
        this.#numbers.set(one, this.#places[row])
      }
    }
  }
}

const ROWS_BETWEEN_BREATHS = 10_000
