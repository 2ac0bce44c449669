import { ErrorCode } from '../errors/error-code.ts'
import type { Topic } from '../metadata/image.ts'
import { BatchBuilder } from '../record/batch-builder.ts'
import { partitionOfKey } from '../record/murmur2.ts'
import type { Broker } from './broker.ts'

/**
 * Records that came one by one, for those who cannot build batches: chooses their partitions, as
 * Kafka's producers do, and builds one batch for each. Runs on main.
 */
export interface PlainRecord {
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly { readonly key: string; readonly value: Uint8Array | null }[]
  /** Null: now. */
  readonly timestampMs: number | null
}

export interface PlainBatch {
  readonly partition: number
  readonly handle: number
  readonly bytes: Uint8Array
}

export interface PlainPlan {
  readonly batches: readonly PlainBatch[]
  /**
   * For each record two numbers: its batch, as an index, and its place in it. Numbers, because they
   * are kept until the answer, and a record of one byte would cost a hundred.
   */
  readonly places: Int32Array
}

/** Where records without a key go next, by topic id. */
const nextPartition = new WeakMap<Topic, number>()

/**
 * Plans the appends of `records` to `topic`; to `partition` all of them, or where their keys say.
 * UNKNOWN_TOPIC_OR_PARTITION when there is no such partition; INVALID_TIMESTAMP when a batch cannot
 * hold times so far apart: each record has its distance from the first one.
 */
export function planRecords(
  broker: Broker,
  topic: Topic,
  asked: { partition: number | null; records: readonly PlainRecord[] },
): PlainPlan | ErrorCode {
  const count = topic.handles.length
  const fixed = asked.partition
  if (fixed !== null && (fixed < 0 || fixed >= count)) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
  const now = broker.clock.wallMs()
  const keyless = (nextPartition.get(topic) ?? 0) % count
  nextPartition.set(topic, keyless + 1)
  const builders = new Map<number, { builder: BatchBuilder; index: number; baseMs: number }>()
  const places = new Int32Array(2 * asked.records.length)
  let at = 0
  for (const { key, value, headers, timestampMs } of asked.records) {
    const partition = fixed ?? (key === null ? keyless : partitionOfKey(key, count))
    const ms = timestampMs ?? now
    let target = builders.get(partition)
    if (target === undefined) {
      target = { builder: new BatchBuilder(), index: builders.size, baseMs: ms }
      builders.set(partition, target)
    }
    if (!Number.isSafeInteger(ms - target.baseMs)) return ErrorCode.INVALID_TIMESTAMP
    places[at++] = target.index
    places[at++] = target.builder.recordsCount
    target.builder.append(ms, key, value, headers)
  }
  const batches = [...builders].map(([partition, { builder }]) => ({
    partition,
    handle: topic.handles[partition] as number,
    bytes: builder.buildSync(),
  }))
  return { batches, places }
}
