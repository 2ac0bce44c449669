/**
 * Fetch and ListOffsets against a real broker process with three shards, with skewed load: one
 * partition holds most of the data.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { ZERO_UUID } from '../../src/base/uuid.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import { COMPRESSION_NAMES, type CompressionCode } from '../../src/record/compression.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import { startBroker, type TestBroker } from '../support/broker.ts'
import {
  appendOk,
  batchOf,
  createTopic,
  decodeAll,
  FETCH_BY_NAME,
  FETCH_LATEST,
  fetch,
  fetchBody,
  listOffset,
  readPartition,
  TIMESTAMP_MS,
} from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'

const TOPIC = 'skewed'
const PARTITIONS = 6
const HOT = 3
const HOT_BATCHES = 40
const BATCH_RECORDS = 5
const VALUE = 'v'.repeat(200)
const EARLIEST = -2
const LATEST = -1
const MAX_TIMESTAMP = -3

let broker: TestBroker
let client: RawClient
let topicId: string
let batchBytes: number

before(async () => {
  broker = await startBroker({ shards: 3 })
  client = await RawClient.open(broker.port)
  topicId = await createTopic(client, { name: TOPIC, partitions: PARTITIONS })
  const values = Array.from({ length: BATCH_RECORDS }, () => VALUE)
  batchBytes = batchOf({ values }).length
  await Promise.all(
    Array.from({ length: HOT_BATCHES }, () =>
      appendOk(client, { topic: TOPIC, partition: HOT }, batchOf({ values })),
    ),
  )
  await appendOk(client, { topic: TOPIC, partition: 1 }, batchOf({ values: ['one'] }))
})

after(async () => {
  client?.close()
  await broker?.stop()
  broker?.cleanUp()
})

const all = Array.from({ length: PARTITIONS }, (_, partition) => ({ partition, fetchOffset: 0 }))

describe('Fetch', () => {
  test('every version from 4 to 12 reads by name, and 13 to 18 by id', async () => {
    for (let version = 4; version <= FETCH_LATEST; version++) {
      const name = version <= FETCH_BY_NAME ? { topic: TOPIC } : { topicId }
      const fetched = await fetch(client, { ...name, partitions: all }, version)
      assert.equal(fetched.length, PARTITIONS, `version ${version}`)
      const counts = new Map<number, number>()
      for (const { partition, records } of fetched) {
        assert.equal(partition.errorCode, ErrorCode.NONE)
        let count = 0
        for (const batch of await decodeAll(records)) count += batch.header.recordsCount
        counts.set(partition.partitionIndex, count)
      }
      assert.deepEqual([counts.get(0), counts.get(1)], [0, 1], `version ${version}`)
      assert.equal(counts.get(HOT), HOT_BATCHES * BATCH_RECORDS, `version ${version}`)
    }
  })

  test('names what it does not know: topic, partition, id', async () => {
    const at = [{ partition: 0, fetchOffset: 0 }]
    const [name] = await fetch(client, { topic: 'nowhere', partitions: at })
    assert.equal(name!.partition.errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    const far = [{ partition: 99, fetchOffset: 0 }]
    const [partition] = await fetch(client, { topic: TOPIC, partitions: far })
    assert.equal(partition!.partition.errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    const unknownId = 'QUJDREVGR0hJSktMTU5PUA'
    const [id] = await fetch(client, { topicId: unknownId, partitions: at }, FETCH_LATEST)
    assert.equal(id!.partition.errorCode, ErrorCode.UNKNOWN_TOPIC_ID)
  })

  test('an offset below the start or above the end is out of range, the end is not', async () => {
    const end = HOT_BATCHES * BATCH_RECORDS
    for (const [fetchOffset, code] of [
      [-1, ErrorCode.OFFSET_OUT_OF_RANGE],
      [end + 1, ErrorCode.OFFSET_OUT_OF_RANGE],
      [end, ErrorCode.NONE],
    ] as const) {
      const partitions = [{ partition: HOT, fetchOffset }]
      const [fetched] = await fetch(client, { topic: TOPIC, partitions })
      assert.equal(fetched!.partition.errorCode, code, `offset ${fetchOffset}`)
      assert.equal(fetched!.records.length, 0)
    }
  })

  test('an offset inside a batch gives that whole batch first', async () => {
    const fetchOffset = 3 * BATCH_RECORDS + 2
    const partitions = [{ partition: HOT, fetchOffset, partitionMaxBytes: 1 }]
    const [fetched] = await fetch(client, { topic: TOPIC, partitions })
    const batches = await decodeAll(fetched!.records)
    assert.deepEqual(
      batches.map((batch) => batch.header.baseOffset),
      [3 * BATCH_RECORDS],
    )
  })

  test('limits in bytes cut between batches, and the first batch comes whole', async () => {
    for (const limit of [0, 1, batchBytes - 1, batchBytes, 2 * batchBytes + 7, 5 * batchBytes]) {
      const expected = Math.max(1, Math.floor(limit / batchBytes)) * batchBytes
      const one = { partition: HOT, fetchOffset: 0 }
      const byPartition = await fetch(client, {
        topic: TOPIC,
        partitions: [{ ...one, partitionMaxBytes: limit }],
      })
      assert.equal(byPartition[0]!.records.length, expected, `partition limit ${limit}`)
      const byRequest = await fetch(client, { topic: TOPIC, partitions: [one], maxBytes: limit })
      assert.equal(byRequest[0]!.records.length, expected, `request limit ${limit}`)
    }
  })

  test('the request limit holds over partitions of several shards', async () => {
    const two = [HOT, 1].map((partition) => ({ partition, fetchOffset: 0 }))
    const fetched = await fetch(client, { topic: TOPIC, partitions: two, maxBytes: batchBytes })
    const sizes = fetched.map(({ records }) => records.length)
    assert.deepEqual(sizes, [batchBytes, 0])
    // A batch larger than the limit comes only as the very first thing.
    const empty = [0, HOT, 1].map((partition) => ({ partition, fetchOffset: 0 }))
    const small = await fetch(client, { topic: TOPIC, partitions: empty, maxBytes: 10 })
    assert.equal(
      small.reduce((sum, { records }) => sum + records.length, 0),
      batchBytes,
    )
  })

  test('a client that reads on gets every batch once, by any limit', async () => {
    for (const partitionMaxBytes of [1, 3 * batchBytes + 1]) {
      let next = 0
      while (next < HOT_BATCHES * BATCH_RECORDS) {
        const partitions = [{ partition: HOT, fetchOffset: next, partitionMaxBytes }]
        const [fetched] = await fetch(client, { topic: TOPIC, partitions })
        for (const batch of await decodeAll(fetched!.records)) {
          assert.equal(batch.header.baseOffset, next)
          next += batch.header.recordsCount
        }
      }
    }
  })

  test('a follower is refused: replication does not exist yet', async () => {
    const body = { ...fetchBody({ topic: TOPIC, partitions: all }), replicaId: 2 }
    const answer = await client.request(ApiKey.FETCH, FETCH_BY_NAME, body)
    assert.notEqual(answer.errorCode, ErrorCode.NONE)
  })
})

describe('a long poll', () => {
  const topic = 'poll'
  before(() => createTopic(client, { name: topic, partitions: PARTITIONS }))

  /** A poll of all partitions that only data ends: its time is longer than the test may take. */
  async function poll(offsets: readonly number[], minBytes = 1) {
    const one = await RawClient.open(broker.port)
    const partitions = offsets.map((fetchOffset, partition) => ({ partition, fetchOffset }))
    const spec = { topic, partitions, maxWaitMs: 300_000, minBytes }
    return fetch(one, spec).finally(() => one.close())
  }

  test('is ended by data in any partition of any shard', async () => {
    const ends = new Array<number>(PARTITIONS).fill(0)
    for (let round = 0; round < 5; round++) {
      for (let partition = 0; partition < PARTITIONS; partition++) {
        const polled = poll(ends)
        // Sometimes before the poll has reached the shards, sometimes after.
        if (round > 0) await new Promise((resolve) => setTimeout(resolve, round))
        await appendOk(client, { topic, partition }, batchOf())
        const fetched = await polled
        const lengths = fetched.map(({ records }) => records.length)
        assert.ok((lengths[partition] as number) > 0, `partition ${partition}: ${lengths}`)
        ends[partition] = (ends[partition] as number) + 1
      }
    }
  })

  test('for more bytes than one append brings is ended by the append that completes them', async () => {
    const ends = await Promise.all(
      all.map(async ({ partition }) => (await listOffset(client, { topic, partition }, -1)).offset),
    )
    const size = batchOf().length
    let isDone = false
    const polled = poll(ends, 3 * size).finally(() => {
      isDone = true
    })
    await appendOk(client, { topic, partition: 0 }, batchOf())
    await appendOk(client, { topic, partition: 1 }, batchOf())
    await new Promise((resolve) => setTimeout(resolve, 60))
    assert.equal(isDone, false)
    await appendOk(client, { topic, partition: 2 }, batchOf())
    const sum = (await polled).reduce((bytes, { records }) => bytes + records.length, 0)
    assert.equal(sum, 3 * size)
  })

  test('without data ends when its time is over, empty', async () => {
    const { offset } = await listOffset(client, { topic, partition: 0 }, LATEST)
    const partitions = [{ partition: 0, fetchOffset: offset }]
    const fetched = await fetch(client, { topic, partitions, maxWaitMs: 30 })
    assert.equal(fetched[0]!.records.length, 0)
  })

  test('ends at once when one of its partitions has an error', async () => {
    const partitions = [
      { partition: 0, fetchOffset: 1_000_000 },
      { partition: 5, fetchOffset: 5 },
    ]
    const fetched = await fetch(client, { topic, partitions, maxWaitMs: 300_000 })
    assert.equal(fetched[0]!.partition.errorCode, ErrorCode.OFFSET_OUT_OF_RANGE)
  })

  test('of a topic that is deleted ends with an error', async () => {
    const name = 'poll-deleted'
    const id = await createTopic(client, { name, partitions: 3 })
    const one = await RawClient.open(broker.port)
    try {
      const partitions = [{ partition: 1, fetchOffset: 0 }]
      const spec = { topicId: id, partitions, maxWaitMs: 300_000 }
      const polled = fetch(one, spec, FETCH_LATEST)
      await new Promise((resolve) => setTimeout(resolve, 30))
      await client.request(ApiKey.DELETE_TOPICS, 6, {
        topics: [{ name, topicId: ZERO_UUID }],
        timeoutMs: 30_000,
      })
      const [fetched] = await polled
      assert.notEqual(fetched!.partition.errorCode, ErrorCode.NONE)
    } finally {
      one.close()
    }
  })
})

describe('a fetch session', () => {
  const topic = 'session'
  before(() => createTopic(client, { name: topic, partitions: 3 }))

  test('answers only what changed, and ends', async () => {
    const partitions = [0, 1, 2].map((partition) => ({ partition, fetchOffset: 0 }))
    const request = (spec: object) =>
      client.request(ApiKey.FETCH, FETCH_BY_NAME, {
        ...fetchBody({ topic, partitions: [] }),
        ...spec,
      })
    const full = await request(fetchBody({ topic, partitions, sessionEpoch: 0 }))
    const { sessionId } = full
    assert.notEqual(sessionId, 0)
    assert.equal(full.responses[0]!.partitions.length, 3)

    const quiet = await request({ sessionId, sessionEpoch: 1 })
    assert.deepEqual([quiet.errorCode, quiet.responses], [ErrorCode.NONE, []])

    await appendOk(client, { topic, partition: 1 }, batchOf())
    const news = await request({ sessionId, sessionEpoch: 2 })
    assert.deepEqual(
      news.responses.flatMap((one) => one.partitions.map((part) => part.partitionIndex)),
      [1],
    )
    // The position moves; the partition is quiet again; another one is forgotten.
    const moved = await request({
      ...fetchBody({ topic, partitions: [{ partition: 1, fetchOffset: 1 }] }),
      sessionId,
      sessionEpoch: 3,
      forgottenTopicsData: [{ topic, partitions: [2] }],
    })
    assert.deepEqual(moved.responses, [])
    await appendOk(client, { topic, partition: 2 }, batchOf())
    assert.deepEqual((await request({ sessionId, sessionEpoch: 4 })).responses, [])

    const wrongEpoch = await request({ sessionId, sessionEpoch: 7 })
    assert.equal(wrongEpoch.errorCode, ErrorCode.INVALID_FETCH_SESSION_EPOCH)
    const ended = await request({ ...fetchBody({ topic, partitions }), sessionId })
    assert.equal(ended.sessionId, 0)
    const gone = await request({ sessionId, sessionEpoch: 5 })
    assert.equal(gone.errorCode, ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
  })

  test('may be long polled: data ends the wait', async () => {
    const ends = await Promise.all(
      [0, 1, 2].map(async (partition) => ({
        partition,
        fetchOffset: (await listOffset(client, { topic, partition }, LATEST)).offset,
      })),
    )
    const one = await RawClient.open(broker.port)
    try {
      const first = fetchBody({ topic, partitions: ends, sessionEpoch: 0 })
      const { sessionId } = await one.request(ApiKey.FETCH, FETCH_BY_NAME, first)
      const again = { ...fetchBody({ topic, partitions: [] }), sessionId, sessionEpoch: 1 }
      const polled = one.request(ApiKey.FETCH, FETCH_BY_NAME, { ...again, maxWaitMs: 300_000 })
      await appendOk(client, { topic, partition: 2 }, batchOf())
      const [only] = (await polled).responses
      assert.deepEqual(
        only!.partitions.map((part) => part.partitionIndex),
        [2],
      )
    } finally {
      one.close()
    }
  })
})

describe('ListOffsets', () => {
  for (const [code, codec] of COMPRESSION_NAMES.entries()) {
    test(`finds first, next, largest timestamp and times, with ${codec}`, async () => {
      const at = { topic: `times-${codec}`, partition: 1 }
      await createTopic(client, { name: at.topic, partitions: 2 })
      // Offsets 0–9 at 0, 10, … 90; then 10–19 at 1000, 990, … 910: time runs backwards there.
      for (const timestamps of [
        Array.from({ length: 10 }, (_, i) => i * 10),
        Array.from({ length: 10 }, (_, i) => 1000 - i * 10),
      ]) {
        const builder = new BatchBuilder()
        for (const ms of timestamps) builder.append(TIMESTAMP_MS + ms, null, Buffer.from(VALUE))
        await appendOk(client, at, await builder.build({ compression: code as CompressionCode }))
      }
      assert.equal((await listOffset(client, at, EARLIEST)).offset, 0)
      assert.equal((await listOffset(client, at, LATEST)).offset, 20)
      const largest = await listOffset(client, at, MAX_TIMESTAMP)
      assert.deepEqual([largest.offset, largest.timestamp], [10, TIMESTAMP_MS + 1000])
      for (const [ms, offset, found] of [
        [-5, 0, 0],
        [0, 0, 0],
        [31, 4, 40],
        [90, 9, 90],
        [91, 10, 1000],
        [1000, 10, 1000],
      ] as const) {
        const answer = await listOffset(client, at, TIMESTAMP_MS + ms)
        assert.deepEqual([answer.offset, answer.timestamp], [offset, TIMESTAMP_MS + found])
      }
      const nothing = await listOffset(client, at, TIMESTAMP_MS + 1001)
      assert.deepEqual([nothing.errorCode, nothing.offset, nothing.timestamp], [0, -1, -1])
    })
  }

  test('answers an empty partition, and refuses an unknown one', async () => {
    const at = { topic: 'times-empty', partition: 0 }
    await createTopic(client, { name: at.topic, partitions: 1 })
    for (const [timestamp, offset] of [
      [EARLIEST, 0],
      [LATEST, 0],
      [MAX_TIMESTAMP, -1],
      [TIMESTAMP_MS, -1],
    ] as const) {
      assert.equal((await listOffset(client, at, timestamp)).offset, offset)
    }
    const unknown = await listOffset(client, { ...at, partition: 7 }, LATEST)
    assert.equal(unknown.errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
  })

  test('searches through many segments', async () => {
    const at = { topic: 'times-segments', partition: 0 }
    const configs = { 'internal.segment.bytes': '2000', 'index.interval.bytes': '100' }
    await createTopic(client, { name: at.topic, partitions: 1, configs })
    for (let i = 0; i < 60; i++) {
      await appendOk(client, at, batchOf({ values: [VALUE], timestamp: TIMESTAMP_MS + i }))
    }
    for (let i = 0; i < 60; i += 7) {
      assert.equal((await listOffset(client, at, TIMESTAMP_MS + i)).offset, i)
    }
    assert.equal((await readPartition(client, at, 17)).length, 43)
  })
})
