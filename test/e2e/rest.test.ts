/**
 * REST against a real broker, on two engines: what it writes Kafka's protocol reads and the other
 * way round, byte by byte; what it refuses and how; what is left when clients go.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { Deleted, DeletedEvents, Topic, Topics } from '../../src/gateway/rest/shapes.ts'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import {
  COMPRESSION_GZIP,
  COMPRESSION_LZ4,
  COMPRESSION_NONE,
  COMPRESSION_SNAPPY,
  COMPRESSION_ZSTD,
} from '../../src/record/compression.ts'
import { startBroker, type TestBroker } from '../support/broker.ts'
import {
  appendOk,
  batchOf,
  decodeAll,
  fetch as fetchBatches,
  listOffset,
  TIMESTAMP_MS,
} from '../support/kafka.ts'
import { RawHttp } from '../support/raw-http.ts'
import { JSON_HEADERS, Rest } from '../support/rest.ts'

import {
  BYTES_HEADERS,
  LINES_HEADERS,
  NOT_UTF8,
  onRestEngines,
  type RestBroker,
} from '../support/rest-broker.ts'

onRestEngines('REST', restTests)

function restTests(at: RestBroker): void {
  /** As Kafka's clients see them. */
  async function records(topic: string, partition = 0) {
    const [fetched] = await fetchBatches(at.client, {
      topic,
      partitions: [{ partition, fetchOffset: 0 }],
    })
    const batches = await decodeAll(fetched!.records)
    return batches.flatMap((batch) => [...batch])
  }

  const text = (bytes: Uint8Array | null) => (bytes === null ? null : Buffer.from(bytes).toString())

  test('what is written in JSON is what Kafka reads, and comes back equal', async () => {
    const topic = await at.newTopic()
    const events = [
      { key: 'k1', value: { a: [1, 'ä', null], b: { c: 1.5 } } },
      { value: 'a string' },
      { value: null, key: 'gone' },
      {
        value: false,
        headers: [
          { key: 'h', value: 'v' },
          { key: 'h', value: null },
        ],
      },
      { value: '\ud800', timestamp: TIMESTAMP_MS },
    ]
    const places = await at.rest.produce(`${topic}/produce`, { events })
    assert.deepEqual(
      places,
      [0, 1, 2, 3, 4].map((offset) => [0, offset]),
    )
    assert.deepEqual(await at.rest.produce(`${topic}/produce`, { value: 7, partition: 0 }), [
      [0, 5],
    ])
    const read = await records(topic)
    assert.deepEqual(
      read.map(({ key, value }) => [text(key), text(value)]),
      [
        ['k1', '{"a":[1,"ä",null],"b":{"c":1.5}}'],
        [null, '"a string"'],
        ['gone', null],
        [null, 'false'],
        [null, '"\\ud800"'],
        [null, '7'],
      ],
    )
    assert.deepEqual(
      read[3]?.headers.map(({ key, value }) => [key, text(value)]),
      [
        ['h', 'v'],
        ['h', null],
      ],
    )
    assert.equal(read[4]?.timestamp, TIMESTAMP_MS)
    const shown = await at.rest.all(topic)
    assert.deepEqual(
      shown.map(({ key, value, headers }) => ({ key, value, headers })),
      [...events, { value: 7 }].map((event) => ({
        key: 'key' in event ? event.key : null,
        value: event.value,
        headers: 'headers' in event ? event.headers : undefined,
      })),
    )
  })

  test('base64, text, lines and raw bytes are the bytes that Kafka reads', async () => {
    const topic = await at.newTopic(2)
    const base64 = NOT_UTF8.toString('base64')
    await at.rest.produce(`${topic}/produce`, {
      format: 'base64',
      partition: 1,
      events: [{ key: base64, value: base64, headers: [{ key: 'h', value: base64 }] }],
    })
    await at.rest.produce(`${topic}/produce?format=text&partition=1`, { key: 'k', value: 'plain' })
    const lines = '{"value":{"n":1}}\n\n{"key":"k","value":"x","valueFormat":"text"}\r\n'
    const path = `/topics/${topic}/produce`
    const sent = await at.rest.ask('POST', `${path}?partition=1`, {
      headers: LINES_HEADERS,
      body: lines,
    })
    assert.equal(sent.text, '{"offsets":[{"partition":1,"offset":2},{"partition":1,"offset":3}]}\n')
    const raw = await at.rest.ask(
      'POST',
      `${path}?partition=1&key=a+b&header=x:%20y&header=z:&timestamp=${TIMESTAMP_MS}`,
      { headers: BYTES_HEADERS, body: NOT_UTF8 },
    )
    assert.equal(raw.status, 200, raw.text)
    const read = await records(topic, 1)
    assert.deepEqual(
      read.map(({ key, value }) => [key, value].map((one) => one && Buffer.from(one))),
      [
        [NOT_UTF8, NOT_UTF8],
        [Buffer.from('k'), Buffer.from('plain')],
        [null, Buffer.from('{"n":1}')],
        [Buffer.from('k'), Buffer.from('x')],
        [Buffer.from('a b'), NOT_UTF8],
      ],
    )
    assert.deepEqual(
      read[4]?.headers.map(({ key, value }) => [key, text(value)]),
      [
        ['x', 'y'],
        ['z', ''],
      ],
    )
    assert.equal(read[4]?.timestamp, TIMESTAMP_MS)
    const [first, second] = await at.rest.all(topic, 'format=base64', 1)
    assert.deepEqual(
      [first?.key, first?.value, first?.headers?.[0]?.value],
      [base64, base64, base64],
    )
    assert.equal(second?.value, Buffer.from('plain').toString('base64'))
    const [asText] = await at.rest.all(topic, 'format=text', 1)
    assert.deepEqual([asText?.valueFormat, asText?.keyFormat], ['base64', 'base64'])
  })

  test('what Kafka writes is read in every codec, from any offset in a batch', async () => {
    const topic = await at.newTopic()
    const codecs = [
      COMPRESSION_NONE,
      COMPRESSION_GZIP,
      COMPRESSION_SNAPPY,
      COMPRESSION_LZ4,
      COMPRESSION_ZSTD,
    ] as const
    for (const compression of codecs) {
      const builder = new BatchBuilder()
      for (let i = 0; i < 100; i++) {
        builder.append(TIMESTAMP_MS + i, NOT_UTF8, Buffer.from(`{"c": ${compression}, "i": ${i}}`))
      }
      await appendOk(at.client, { topic, partition: 0 }, await builder.build({ compression }))
    }
    const expected = codecs.flatMap((c) => Array.from({ length: 100 }, (_, i) => ({ c, i })))
    const events = await at.rest.all(topic, 'max_events=33')
    assert.deepEqual(
      events.map(({ value }) => value),
      expected,
    )
    assert.deepEqual(
      events.map(({ offset }) => offset),
      expected.map((_, i) => i),
    )
    assert.ok(events.every(({ keyFormat }) => keyFormat === 'base64'))
    const small = await at.rest.page(topic, 'offset=150&max_bytes=1')
    assert.deepEqual([small.events.length, small.nextOffset], [1, 151], 'one event at least')
    const lines = await at.rest.ask('GET', `/topics/${topic}/partitions/0/events?offset=498`, {
      headers: { accept: 'application/x-ndjson' },
    })
    assert.equal(lines.text.trim().split('\n').length, 2)
    assert.equal(lines.headers.get('x-next-offset'), '500')
    const later = await at.rest.page(topic, `timestamp=${TIMESTAMP_MS + 42}&max_events=1`)
    assert.equal(later.events[0]?.offset, 42)
    const end = await at.rest.page(topic, `timestamp=${TIMESTAMP_MS + 1_000_000}`)
    assert.deepEqual([end.events, end.nextOffset], [[], 500])
  })

  test('a large answer comes in pieces, complete and in order', async () => {
    const topic = await at.newTopic()
    const value = 'v'.repeat(1000)
    const events = Array.from({ length: 3000 }, (_, i) => ({ value: `${i} ${value}` }))
    const places = await at.rest.produce(`${topic}/produce?format=text`, { events })
    assert.deepEqual(places[2999], [0, 2999], 'several batches, one after the other')
    const page = await at.rest.page(topic, 'max_bytes=4000000&format=text')
    assert.ok(page.events.length > 900)
    const read = await at.rest.all(topic, 'max_bytes=1000000&format=text')
    assert.deepEqual(
      read.map((event) => event.value),
      events.map((event) => event.value),
    )
    const { offset } = await listOffset(at.client, { topic, partition: 0 }, -1)
    assert.equal(offset, 3000)
  })

  test('equal keys go to one partition, and a new topic is made as for Kafka', async () => {
    const topic = at.newName()
    await at.rest.produce(`${topic}/produce`, { value: 1 })
    assert.equal(
      (await at.rest.take(Topics, { method: 'GET', path: '/topics' })).topics.some(
        ({ name }) => name === topic,
      ),
      true,
    )
    const many = await at.newTopic(8)
    const events = Array.from({ length: 40 }, (_, i) => ({ key: `k${i % 10}`, value: i }))
    const places = await at.rest.produce(`${many}/produce`, { events })
    for (const [i, [partition]] of places.entries()) assert.equal(partition, places[i % 10]?.[0])
    assert.ok(new Set(places.map(([partition]) => partition)).size > 2)
  })

  test('of several events those that are too large fail, and say so', async () => {
    const topic = await at.newTopic(2, { 'max.message.bytes': '1000' })
    const large = { value: 'x'.repeat(2000), partition: 1 }
    const some = await at.rest.ask('POST', `/topics/${topic}/produce`, {
      headers: JSON_HEADERS,
      body: JSON.stringify({
        events: [{ value: 1, partition: 0 }, large, { value: 2, partition: 1 }],
      }),
    })
    assert.equal(some.status, 200)
    const { offsets, failed } = JSON.parse(some.text)
    assert.equal(failed, 1)
    assert.deepEqual(
      offsets.map((one: { offset: number; error?: string }) => [one.offset, one.error]),
      [
        [0, undefined],
        [-1, 'MESSAGE_TOO_LARGE'],
        [0, undefined],
      ],
    )
    const body = JSON.stringify(large)
    const all = await at.rest.refusal('POST', `/topics/${topic}/produce`, {
      headers: JSON_HEADERS,
      body,
    })
    assert.equal(all, '413 MESSAGE_TOO_LARGE')
  })

  test('a long poll ends with the event, or with its time', async () => {
    const topic = await at.newTopic()
    const waiting = at.rest.page(topic, 'wait_ms=60000')
    await appendOk(at.client, { topic, partition: 0 }, batchOf({ values: ['"now"'] }))
    assert.deepEqual(
      (await waiting).events.map(({ value }) => value),
      ['now'],
    )
    const nothing = await at.rest.page(topic, 'offset=latest&wait_ms=50')
    assert.deepEqual([nothing.events, nothing.nextOffset], [[], 1])
  })

  test('a stream follows, and ends with its topic', async () => {
    const topic = await at.newTopic()
    const stream = await at.rest.follow(
      `/topics/${topic}/partitions/0/events?follow=true&format=text`,
    )
    for (let i = 0; i < 5; i++) {
      await appendOk(at.client, { topic, partition: 0 }, batchOf({ values: [`a${i}`, `b${i}`] }))
      const got = [(await stream.event()).value, (await stream.event()).value]
      assert.deepEqual(got, [`a${i}`, `b${i}`])
    }
    const bounded = await at.rest.follow(
      `/topics/${topic}/partitions/0/events?follow=true&offset=8&max_events=2&format=text`,
    )
    assert.equal((await bounded.event()).value, 'a4')
    assert.equal((await bounded.event()).value, 'b4')
    assert.equal(await bounded.line(), null)
    await at.rest.take(Deleted, { method: 'DELETE', path: `/topics/${topic}` })
    const last = JSON.parse((await stream.line()) ?? '{}')
    assert.equal(last.error, 'UNKNOWN_TOPIC_OR_PARTITION')
    assert.equal(await stream.line(), null)
  })

  test('clients that go leave nothing behind: bodies, long polls, streams, slow readers', async () => {
    const topic = await at.newTopic()
    const value = 'v'.repeat(10_000)
    for (let i = 0; i < 10; i++) {
      await appendOk(at.client, { topic, partition: 0 }, batchOf({ values: Array(90).fill(value) }))
    }
    const open: RawHttp[] = []
    const path = `/topics/${topic}/partitions/0/events`
    for (let i = 0; i < 20; i++) {
      const http = await RawHttp.open(at.port)
      open.push(http)
      const get = (query: string) => `GET ${path}?${query} HTTP/1.1\r\nHost: localhost\r\n\r\n`
      if (i % 4 === 0) http.write(get('offset=latest&wait_ms=60000'))
      else if (i % 4 === 1) http.write(get('offset=latest&follow=true'))
      else if (i % 4 === 2) {
        http.socket.pause() // It takes what fits the system's buffers.
        http.write(get('follow=true'))
      } else {
        const head = `POST /topics/${topic}/produce HTTP/1.1\r\nHost: localhost\r\n`
        http.write(
          `${head}Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{"value":"`,
        )
        http.write('x'.repeat(500_000))
      }
    }
    const slow = (await at.rest.page(topic, 'offset=0&max_events=1')).events
    assert.equal(slow.length, 1, 'others are served meanwhile')
    for (const http of open) http.socket.destroy()
    for (;;) {
      const metrics = (await at.rest.ask('GET', '/metrics')).text
      const inUse = [...metrics.matchAll(/^millrace_shard_egress_bytes\{.*\} (\d+)$/gm)]
      assert.equal(inUse.length, 2)
      if (inUse.every(([, bytes]) => bytes === '0')) break
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    assert.equal((await at.rest.page(topic, 'max_events=1')).events.length, 1)
  })

  test('topics are created, described, altered and deleted', async () => {
    const name = at.newName()
    const body = {
      name,
      partitions: 2,
      configs: { 'retention.ms': 1000, 'cleanup.policy': 'delete' },
    }
    const created = await at.rest.take(Topic, { method: 'POST', path: '/topics', body })
    assert.equal(created.partitions.length, 2)
    assert.deepEqual(created.configs['retention.ms'], { value: '1000', source: 'topic' })
    const path = `/topics/${name}`
    const again = { headers: JSON_HEADERS, body: JSON.stringify(body) }
    assert.equal(await at.rest.refusal('POST', '/topics', again), '409 TOPIC_ALREADY_EXISTS')
    await at.rest.produce(`${name}/produce`, { value: 'x'.repeat(500), partition: 1 })
    const altered = await at.rest.take(Topic, {
      method: 'PATCH',
      path,
      body: { partitions: 3, configs: { 'retention.ms': null, 'max.message.bytes': 300 } },
    })
    assert.equal(altered.partitionsCount, 3)
    assert.equal(altered.configs['retention.ms']?.source, 'broker')
    assert.equal(altered.partitions[1]?.highWatermark, 1)
    for (const partition of [1, 2]) {
      const value = JSON.stringify({ value: 'x'.repeat(500), partition })
      const init = { headers: JSON_HEADERS, body: value }
      const said = await at.rest.refusal('POST', `${path}/produce`, init)
      assert.equal(said, '413 MESSAGE_TOO_LARGE', 'logs that are open follow')
    }
    const patch = (change: object) =>
      at.rest.refusal('PATCH', path, { headers: JSON_HEADERS, body: JSON.stringify(change) })
    assert.equal(await patch({ partitions: 1 }), '400 INVALID_PARTITIONS')
    assert.equal(await patch({ configs: { 'retention.ns': '1' } }), '400 INVALID_CONFIG')
    assert.equal(
      await patch({ configs: { 'retention.ms': 'soon' }, partitions: 9 }),
      '400 INVALID_CONFIG',
    )
    assert.equal(await patch({}), '400 INVALID_REQUEST')
    const page = await at.rest.take(Topic, {
      method: 'GET',
      path: `${path}?first_partition=1&max_partitions=1`,
    })
    assert.deepEqual(
      page.partitions.map(({ partition }) => partition),
      [1],
    )
    assert.equal(page.partitionsCount, 3)
    const before = await at.rest.take(DeletedEvents, {
      method: 'DELETE',
      path: `${path}/partitions/1/events?before=latest`,
    })
    assert.equal(before.logStartOffset, 1)
    assert.equal(
      await at.rest.refusal('GET', `${path}/partitions/1/events?offset=0`),
      '416 OFFSET_OUT_OF_RANGE',
    )
    await at.rest.take(Deleted, { method: 'DELETE', path })
    assert.equal(await at.rest.refusal('GET', path), '404 UNKNOWN_TOPIC_OR_PARTITION')
  })

  test('it describes itself', async () => {
    const { operations } = await at.rest.take(z.looseObject({ operations: z.array(z.string()) }), {
      method: 'GET',
      path: '/',
    })
    assert.equal(operations.length, 16)
    const openApi = z.looseObject({
      openapi: z.literal('3.1.0'),
      paths: z.record(z.string(), z.unknown()),
    })
    const { paths } = await at.rest.take(openApi, { method: 'GET', path: '/openapi.json' })
    assert.equal(Object.keys(paths).length, 11)
    assert.equal((await at.rest.ask('HEAD', '/topics')).text, '')
  })
}

test('a configuration that REST has set is there after a kill', async () => {
  const first = await startBroker({ shards: 1 })
  let second: TestBroker | null = null
  try {
    const rest = new Rest(first.httpUrl)
    const path = '/topics/kept'
    await rest.take(Topic, { method: 'POST', path: '/topics', body: { name: 'kept' } })
    await rest.take(Topic, {
      method: 'PATCH',
      path,
      body: { configs: { 'max.message.bytes': 200 } },
    })
    await first.kill()
    second = await startBroker({ shards: 1, dataDirs: first.dataDirs })
    const again = new Rest(second.httpUrl)
    const { configs } = await again.take(Topic, { method: 'GET', path })
    assert.deepEqual(configs['max.message.bytes'], { value: '200', source: 'topic' })
    const body = JSON.stringify({ value: 'x'.repeat(300) })
    const said = await again.refusal('POST', `${path}/produce`, { headers: JSON_HEADERS, body })
    assert.equal(said, '413 MESSAGE_TOO_LARGE')
  } finally {
    await (second ?? first).stop()
    first.cleanUp()
  }
})
