import { topicOptionText } from '../config/topic-options.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { Topic } from '../metadata/image.ts'
import { BatchBuilder } from '../record/batch-builder.ts'
import { partitionOfKey } from '../record/murmur2.ts'
import type { Broker } from './broker.ts'

/**
 * Records that came one by one, for those who cannot build batches: chooses their partitions, as
 * Kafka's producers do, and builds batches for each: one, or more where it would be larger than
 * the topic allows. Runs on main.
 */
export interface PlainRecord {
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly { readonly key: string; readonly value: Uint8Array | null }[]
  /** Null: now. */
  readonly timestampMs: number | null
  /** Null or not there: what the request says, or else the key. */
  readonly partition?: number | null
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
 * Plans the appends of `records` to `topic`; to `partition` those that name none, or where their
 * keys say. UNKNOWN_TOPIC_OR_PARTITION when there is no such partition; INVALID_TIMESTAMP when a
 * batch cannot hold times so far apart: each record has its distance from the first one.
 */
export function planRecords(
  broker: Pick<Broker, 'clock' | 'config'>,
  topic: Topic,
  asked: { partition: number | null; records: readonly PlainRecord[] },
): PlainPlan | ErrorCode {
  const count = topic.handles.length
  const now = broker.clock.wallMs()
  const keyless = (nextPartition.get(topic) ?? 0) % count
  nextPartition.set(topic, keyless + 1)
  const batchBytesMax = Number(topicOptionText(BATCH_LIMIT, topic.configs, broker.config, 1))
  const drafts: Draft[] = []
  /** The last draft of each partition. */
  const open = new Map<number, Draft>()
  const places = new Int32Array(2 * asked.records.length)
  let at = 0
  for (const record of asked.records) {
    const { key, value, headers } = record
    const fixed = record.partition ?? asked.partition
    if (fixed !== null && (fixed < 0 || fixed >= count)) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    const partition = fixed ?? (key === null ? keyless : partitionOfKey(key, count))
    const ms = record.timestampMs ?? now
    let draft = open.get(partition)
    if (draft === undefined || draft.builder.isFullFor(record, batchBytesMax)) {
      draft = { partition, builder: new BatchBuilder(), index: drafts.length, baseMs: ms }
      drafts.push(draft)
      open.set(partition, draft)
    }
    if (!Number.isSafeInteger(ms - draft.baseMs)) return ErrorCode.INVALID_TIMESTAMP
    places[at++] = draft.index
    places[at++] = draft.builder.recordsCount
    draft.builder.append(ms, key, value, headers)
  }
  const batches = drafts.map(({ partition, builder }) => ({
    partition,
    handle: topic.handles[partition] as number,
    bytes: builder.buildSync(),
  }))
  return { batches, places }
}

const BATCH_LIMIT = 'max.message.bytes'

interface Draft {
  readonly partition: number
  readonly builder: BatchBuilder
  readonly index: number
  readonly baseMs: number
}
