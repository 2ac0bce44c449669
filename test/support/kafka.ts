/**
 * What most protocol tests do with a `RawClient`: create topics, build and append batches, read a
 * partition back, record by record. Versions are the newest that name topics, unless told
 * otherwise.
 */
import assert from 'node:assert/strict'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { type BatchHeader, type DecodedBatch, decodeBatch } from '../../src/record/batch.ts'
import { BatchBuilder, type BuildOptions } from '../../src/record/batch-builder.ts'
import { ApiKey, type RequestInit, type ResponseOf } from '../../src/wire/kafka/api.ts'
import type { RawClient } from './raw-client.ts'

/** A fixed point in time: files made from it do not depend on the clock. */
export const TIMESTAMP_MS = 1_700_000_000_000
export const PRODUCE_BY_NAME = 12
export const FETCH_BY_NAME = 12
export const PRODUCE_LATEST = 13
export const FETCH_LATEST = 18
const RECORDS_BYTES_MAX = 64 * 1024 * 1024
const FETCH_BYTES = 1024 * 1024

export type ProduceAnswer = ResponseOf<
  typeof ApiKey.PRODUCE
>['responses'][number]['partitionResponses'][number]
export type FetchAnswer = ResponseOf<typeof ApiKey.FETCH>['responses'][number]['partitions'][number]

export interface TopicSpec {
  readonly name: string
  readonly partitions: number
  readonly configs?: Readonly<Record<string, string>>
}

/** Creates a topic and returns its id. */
export async function createTopic(client: RawClient, topic: TopicSpec): Promise<string> {
  const answer = await client.request(ApiKey.CREATE_TOPICS, 7, {
    topics: [
      {
        name: topic.name,
        numPartitions: topic.partitions,
        replicationFactor: 1,
        assignments: [],
        configs: Object.entries(topic.configs ?? {}).map(([name, value]) => ({ name, value })),
      },
    ],
    timeoutMs: 30_000,
    validateOnly: false,
  })
  const created = answer.topics[0]!
  assert.equal(created.errorCode, ErrorCode.NONE, created.errorMessage ?? '')
  return created.topicId
}

export interface BatchSpec extends BuildOptions {
  /** One record for each; default: one record "x". */
  readonly values?: readonly (string | Uint8Array)[]
  readonly timestamp?: number
  /** Each value is its own key. Default: there are none. */
  readonly isKeyed?: boolean
}

export function batchOf(spec: BatchSpec = {}): Uint8Array {
  const builder = new BatchBuilder()
  for (const value of spec.values ?? ['x']) {
    const key = spec.isKeyed === true ? Buffer.from(value) : null
    builder.append(spec.timestamp ?? TIMESTAMP_MS, key, Buffer.from(value))
  }
  return builder.buildSync(spec)
}

export interface PartitionRecords {
  readonly topic: string
  readonly partition: number
  readonly records: Uint8Array | null
}

/** A Produce body that names topics; partitions of one topic are grouped. */
export function produceBody(
  parts: readonly PartitionRecords[],
  acks = -1,
): RequestInit<typeof ApiKey.PRODUCE> {
  const topics = new Map<string, { index: number; records: Uint8Array | null }[]>()
  for (const { topic, partition, records } of parts) {
    const list = topics.get(topic) ?? []
    topics.set(topic, list)
    list.push({ index: partition, records })
  }
  return {
    acks,
    timeoutMs: 30_000,
    topicData: [...topics].map(([name, partitionData]) => ({ name, partitionData })),
  }
}

/** Appends to one partition and returns its answer, whatever it says. */
export async function append(
  client: RawClient,
  to: { readonly topic: string; readonly partition: number },
  records: Uint8Array,
): Promise<ProduceAnswer> {
  const body = produceBody([{ ...to, records }])
  const answer = await client.request(ApiKey.PRODUCE, PRODUCE_BY_NAME, body)
  return answer.responses[0]!.partitionResponses[0]!
}

/** Appends, expects success, and returns the base offset. */
export async function appendOk(
  client: RawClient,
  to: { readonly topic: string; readonly partition: number },
  records: Uint8Array,
): Promise<number> {
  const answer = await append(client, to, records)
  assert.equal(answer.errorCode, ErrorCode.NONE, answer.errorMessage ?? '')
  return answer.baseOffset
}

export interface FetchSpec {
  readonly topic?: string
  readonly topicId?: string
  readonly partitions: readonly {
    readonly partition: number
    readonly fetchOffset: number
    readonly partitionMaxBytes?: number
    readonly currentLeaderEpoch?: number
  }[]
  readonly maxWaitMs?: number
  readonly minBytes?: number
  readonly maxBytes?: number
  readonly sessionId?: number
  readonly sessionEpoch?: number
}

export function fetchBody(spec: FetchSpec): RequestInit<typeof ApiKey.FETCH> {
  const topics = [
    {
      ...(spec.topic === undefined ? {} : { topic: spec.topic }),
      ...(spec.topicId === undefined ? {} : { topicId: spec.topicId }),
      partitions: spec.partitions.map((one) => ({ partitionMaxBytes: FETCH_BYTES, ...one })),
    },
  ]
  return {
    maxWaitMs: spec.maxWaitMs ?? 0,
    minBytes: spec.minBytes ?? 1,
    maxBytes: spec.maxBytes ?? 16 * FETCH_BYTES,
    sessionId: spec.sessionId ?? 0,
    sessionEpoch: spec.sessionEpoch ?? -1,
    topics: spec.partitions.length === 0 ? [] : topics,
    forgottenTopicsData: [],
  }
}

export interface Fetched {
  readonly partition: FetchAnswer
  /** Whole batches, in memory of their own. */
  readonly records: Buffer
}

/** Fetches once; one entry per partition of the answer, in its order. */
export async function fetch(
  client: RawClient,
  spec: FetchSpec,
  version = FETCH_BY_NAME,
): Promise<Fetched[]> {
  const { body, frame } = await client.exchange(ApiKey.FETCH, version, fetchBody(spec))
  assert.equal(body.errorCode, ErrorCode.NONE)
  return body.responses.flatMap((topic) =>
    topic.partitions.map((partition) => {
      const { offset, length } = partition.records ?? { offset: 0, length: 0 }
      return { partition, records: Buffer.from(frame.subarray(offset, offset + length)) }
    }),
  )
}

export interface ReadRecord {
  readonly offset: number
  readonly timestamp: number
  readonly value: string
  readonly batch: BatchHeader
}

/** The whole batches of `bytes`; a rest that is no whole batch fails. */
export async function decodeAll(bytes: Uint8Array): Promise<DecodedBatch[]> {
  const batches: DecodedBatch[] = []
  let at = 0
  while (at < bytes.length) {
    const batch = await decodeBatch(bytes, at, { recordsBytesMax: RECORDS_BYTES_MAX })
    batches.push(batch)
    at += batch.header.bytes
  }
  return batches
}

/**
 * Every record of a partition from `from` to the high watermark; fails on a hole in the offsets.
 */
export async function readPartition(
  client: RawClient,
  of: { readonly topic: string; readonly partition: number },
  from = 0,
): Promise<ReadRecord[]> {
  const read: ReadRecord[] = []
  let next = from
  for (;;) {
    const partitions = [{ partition: of.partition, fetchOffset: next }]
    const [fetched] = await fetch(client, { topic: of.topic, partitions })
    const { partition, records } = fetched!
    assert.equal(partition.errorCode, ErrorCode.NONE, `${of.topic}-${of.partition}`)
    if (records.length === 0) {
      assert.equal(next, Math.max(from, partition.highWatermark))
      return read
    }
    for (const batch of await decodeAll(records)) {
      for (const { offset, timestamp, value } of batch) {
        if (offset < next) continue // The batch that holds the offset comes whole.
        assert.equal(offset, next, `${of.topic}-${of.partition} has a hole`)
        const text = Buffer.from(value ?? []).toString()
        read.push({ offset, timestamp, value: text, batch: batch.header })
        next++
      }
    }
  }
}

export async function values(
  client: RawClient,
  of: { readonly topic: string; readonly partition: number },
): Promise<string[]> {
  return (await readPartition(client, of)).map((record) => record.value)
}

/** ListOffsets for one partition: −1 latest, −2 earliest, −3 largest timestamp, else by time. */
export async function listOffset(
  client: RawClient,
  of: { readonly topic: string; readonly partition: number },
  timestamp: number,
) {
  const answer = await client.request(ApiKey.LIST_OFFSETS, 8, {
    replicaId: -1,
    isolationLevel: 0,
    topics: [{ name: of.topic, partitions: [{ partitionIndex: of.partition, timestamp }] }],
  })
  return answer.topics[0]!.partitions[0]!
}

export async function newProducerId(client: RawClient): Promise<number> {
  const answer = await client.request(ApiKey.INIT_PRODUCER_ID, 4, {
    transactionalId: null,
    transactionTimeoutMs: 60_000,
  })
  assert.equal(answer.errorCode, ErrorCode.NONE)
  return answer.producerId
}
