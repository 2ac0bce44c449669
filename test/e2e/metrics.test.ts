/** What `/metrics` says must be what was done: N events, requests, errors, bytes are exactly N. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ZERO_UUID } from '../../src/base/uuid.ts'
import { createClient } from '../../src/index.ts'
import { METRICS, type MetricInfo } from '../../src/metrics/metric-table.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import { startBroker, withBroker } from '../support/broker.ts'
import {
  append,
  appendOk,
  batchOf,
  createTopic,
  fetchBody,
  fetch as fetchFrom,
} from '../support/kafka.ts'
import { readSamples, scrape } from '../support/metrics.ts'
import { RawClient } from '../support/raw-client.ts'

const APPENDS = 20
const RECORDS = 5

describe('/metrics', () => {
  test('counts events, bytes, requests and errors by topic, API and door', () =>
    withBroker({ shards: 2 }, async (broker) => {
      const client = await RawClient.open(broker.port)
      await createTopic(client, { name: 'orders', partitions: 2 })
      const batch = batchOf({ values: Array.from({ length: RECORDS }, (_, i) => `event ${i}`) })
      for (let i = 0; i < APPENDS; i++) {
        await appendOk(client, { topic: 'orders', partition: i % 2 }, batch)
      }
      await append(client, { topic: 'nothing', partition: 0 }, batch)
      const [read] = await fetchFrom(client, {
        topic: 'orders',
        partitions: [{ partition: 0, fetchOffset: 0 }],
      })
      assert.equal(read!.records.length, (APPENDS / 2) * batch.length)

      const at = await scrape(broker.httpUrl)
      const bytes = APPENDS * batch.length
      assert.equal(at.get('millrace_topic_records_in_total{topic="orders"}'), APPENDS * RECORDS)
      assert.equal(at.get('millrace_topic_bytes_in_total{topic="orders"}'), bytes)
      assert.equal(at.get('millrace_topic_bytes_out_total{topic="orders"}'), bytes / 2)
      assert.equal(at.get('millrace_topic_log_bytes{topic="orders"}'), bytes)
      for (const partition of [0, 1]) {
        const labels = `{topic="orders",partition="${partition}"}`
        const end = (APPENDS / 2) * RECORDS
        assert.equal(at.get(`millrace_partition_log_end_offset${labels}`), end)
        assert.equal(at.get(`kafka_topic_partition_current_offset${labels}`), end)
        assert.equal(at.get(`kafka_topic_partition_oldest_offset${labels}`), 0)
      }
      const produce = 'door="kafka",api="produce"'
      assert.equal(at.get(`millrace_request_seconds_count{${produce}}`), APPENDS + 1)
      assert.equal(at.get(`millrace_request_seconds_bucket{${produce},le="+Inf"}`), APPENDS + 1)
      const error = 'error="UNKNOWN_TOPIC_OR_PARTITION"'
      assert.equal(at.get(`millrace_request_errors_total{${produce},${error}}`), 1)
      assert.equal(at.get('millrace_connections{door="kafka"}'), 1)
      client.close()
    }))

  test('an idempotent batch that is sent again counts once', () =>
    withBroker({ shards: 1 }, async (broker) => {
      const client = await RawClient.open(broker.port)
      await createTopic(client, { name: 'once', partitions: 1 })
      const { producerId } = await client.request(ApiKey.INIT_PRODUCER_ID, 4, {
        transactionalId: null,
        transactionTimeoutMs: 0,
        producerId: -1,
        producerEpoch: -1,
      })
      const batch = batchOf({ values: ['a', 'b'], producerId, producerEpoch: 0, baseSequence: 0 })
      for (let i = 0; i < 3; i++) await appendOk(client, { topic: 'once', partition: 0 }, batch)
      const at = await scrape(broker.httpUrl)
      assert.equal(at.get('millrace_topic_records_in_total{topic="once"}'), 2)
      assert.equal(at.get('millrace_topic_bytes_in_total{topic="once"}'), batch.length)
      client.close()
    }))

  test('a long poll that reads again and again sends once', () =>
    withBroker({ shards: 1 }, async (broker) => {
      const client = await RawClient.open(broker.port)
      await createTopic(client, { name: 'polled', partitions: 1 })
      const batch = batchOf()
      await appendOk(client, { topic: 'polled', partition: 0 }, batch)
      const body = fetchBody({
        topic: 'polled',
        partitions: [{ partition: 0, fetchOffset: 0 }],
        minBytes: 10 * batch.length,
        maxWaitMs: 200,
      })
      await client.request(ApiKey.FETCH, 12, body)
      const at = await scrape(broker.httpUrl)
      assert.equal(at.get('millrace_topic_bytes_out_total{topic="polled"}'), batch.length)
      assert.ok(at.get('millrace_shard_read_bytes_total{shard="0"}')! > batch.length)
      client.close()
    }))

  test('counts what WebSocket clients do', () =>
    withBroker({ shards: 1 }, async (broker) => {
      const url = `${broker.httpUrl.replace('http', 'ws')}/ws`
      await using client = createClient({ url })
      await client.admin().createTopic({ name: 'clicks', partitions: 1 })
      const producer = client.producer()
      for (let i = 0; i < 7; i++) await producer.send({ topic: 'clicks', value: `click ${i}` })
      let seen = 0
      for await (const event of client.consumer({ topics: ['clicks'], from: 'earliest' })) {
        if (seen === 0) {
          const open = await scrape(broker.httpUrl)
          assert.equal(open.get('millrace_websocket_subscriptions'), 1)
          assert.equal(open.get('millrace_connections{door="websocket"}'), 1)
        }
        if (++seen === 7) break
        assert.ok(event.offset >= 0)
      }
      const at = await scrape(broker.httpUrl)
      assert.equal(at.get('millrace_topic_records_in_total{topic="clicks"}'), 7)
      const bytesIn = at.get('millrace_topic_bytes_in_total{topic="clicks"}')
      assert.equal(at.get('millrace_topic_bytes_out_total{topic="clicks"}'), bytesIn)
      assert.equal(at.get('millrace_request_seconds_count{door="websocket",api="produce"}'), 7)
    }))

  test('bounds its series, and says how many topics and partitions it leaves out', () =>
    withBroker(
      {
        shards: 2,
        set: { 'millrace.metrics.topics.max': '2', 'millrace.metrics.partitions.max': '3' },
      },
      async (broker) => {
        const client = await RawClient.open(broker.port)
        for (const name of ['a', 'b', 'c']) await createTopic(client, { name, partitions: 2 })
        await appendOk(client, { topic: 'c', partition: 0 }, batchOf())
        const at = await scrape(broker.httpUrl)
        const topics = [...at.keys()].filter((key) => key.startsWith('kafka_topic_partitions{'))
        const partitions = [...at.keys()].filter((key) =>
          key.startsWith('kafka_topic_partition_leader{'),
        )
        assert.equal(topics.length, 2)
        assert.equal(partitions.length, 3)
        assert.equal(at.get('millrace_metrics_topics_omitted'), 1)
        assert.equal(at.get('millrace_metrics_partitions_omitted'), 3)
        assert.equal(at.get('millrace_partitions'), 6)
        client.close()
      },
    ))

  test('knows the offsets of logs that nobody has opened since a clean stop, and opens none', async () => {
    const first = await startBroker({ shards: 1 })
    const client = await RawClient.open(first.port)
    await createTopic(client, { name: 'idle', partitions: 3 })
    for (let i = 0; i < 4; i++) await appendOk(client, { topic: 'idle', partition: 1 }, batchOf())
    client.close()
    await first.stop()
    try {
      await withBroker({ shards: 1, dataDirs: first.dataDirs }, async (broker) => {
        const at = await scrape(broker.httpUrl)
        const labels = '{topic="idle",partition="1"}'
        assert.equal(at.get(`kafka_topic_partition_current_offset${labels}`), 4)
        assert.equal(at.get(`millrace_topic_records_in_total{topic="idle"}`), 0)
        // The metadata log's own.
        assert.equal(at.get('millrace_shard_open_logs{shard="0"}'), 1)
        assert.equal(at.get('millrace_recovery_partitions'), 0)
      })
    } finally {
      first.cleanUp()
    }
  })

  test('says what a start had to recover', async () => {
    const first = await startBroker({ shards: 2 })
    const client = await RawClient.open(first.port)
    await createTopic(client, { name: 'torn', partitions: 4 })
    for (let i = 0; i < 4; i++) await appendOk(client, { topic: 'torn', partition: i }, batchOf())
    client.close()
    await first.kill()
    try {
      await withBroker({ shards: 2, dataDirs: first.dataDirs }, async (broker) => {
        const at = await scrape(broker.httpUrl)
        assert.equal(at.get('millrace_recovery_partitions'), 4)
        assert.ok(at.get('millrace_recovery_bytes')! >= 4 * batchOf().length)
        assert.equal(at.get('kafka_topic_partition_current_offset{topic="torn",partition="3"}'), 1)
      })
    } finally {
      first.cleanUp()
    }
  })

  test('writes every metric of its table, and counts peers that break the protocol', () =>
    withBroker({ shards: 1 }, async (broker) => {
      const client = await RawClient.open(broker.port)
      await createTopic(client, { name: 'all', partitions: 1 })
      await client.request(ApiKey.METADATA, 12, {
        topics: [{ topicId: ZERO_UUID, name: 'no such topic' }],
        allowAutoTopicCreation: false,
        includeTopicAuthorizedOperations: false,
      })
      const text = await (await fetch(`${broker.httpUrl}/metrics`)).text()
      for (const [name, { type }] of Object.entries(METRICS)) {
        assert.ok(text.includes(`\n# TYPE ${name} ${type}\n`), name)
      }
      for (const sample of readSamples(text).keys()) {
        const [, family = '', labels = ''] = /^(\w+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})?$/.exec(
          sample,
        )!
        const info = Object.entries<MetricInfo>(METRICS).find(([name]) => name === family)?.[1]
        if (info === undefined) {
          assert.match(family, /^(process|nodejs)_/, 'prom-client knows it, or the table')
          continue
        }
        const names = [...labels.matchAll(/(\w+)="/g)].map(([, name]) => name)
        assert.deepEqual(
          names.filter((name) => name !== 'le'),
          info.labels,
          sample,
        )
      }
      client.close()
    }))
})
