/**
 * REST against a real broker, on two engines: what it writes Kafka's protocol reads and the other
 * way round, byte by byte; what it refuses and how; what is left when clients go.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { z } from 'zod'
import { Deleted, DeletedEvents, Topic, Topics } from '../../src/gateway/rest/shapes.ts'
import { loadUws } from '../../src/gateway/web/uws-library.ts'
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
  createTopic,
  decodeAll,
  fetch as fetchBatches,
  listOffset,
  TIMESTAMP_MS,
} from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'
import { RawHttp, rawRequest } from '../support/raw-http.ts'
import { JSON_HEADERS, Rest } from '../support/rest.ts'

const BYTES_HEADERS = { 'content-type': 'application/octet-stream' }
const LINES_HEADERS = { 'content-type': 'application/x-ndjson' }
const NOT_UTF8 = Buffer.from([0xff, 0, 0xc3, 10])

for (const engine of ['native', 'uws'] as const) {
  const isThere = engine === 'native' || loadUws() !== null
  const skip = isThere ? false : 'SKIPPED: uWebSockets.js does not load'
  // Where there is no addon, auto is node:http, whose HTTP is the same.
  const set = { 'millrace.http.engine': engine === 'native' ? 'auto' : engine }
  describe(`REST, ${engine}`, { skip, timeout: 180_000 }, () => restTests(set))
}

function restTests(set: Readonly<Record<string, string>>): void {
  let broker: TestBroker
  let client: RawClient
  let rest: Rest
  let port = 0
  let topics = 0

  before(async () => {
    broker = await startBroker({ shards: 2, set })
    client = await RawClient.open(broker.port)
    rest = new Rest(broker.httpUrl)
    port = Number(new URL(broker.httpUrl).port)
  })

  after(async () => {
    client?.close()
    await broker?.stop()
    broker?.cleanUp()
  })

  async function newTopic(partitions = 1, configs: Record<string, string> = {}): Promise<string> {
    const name = `topic-${topics++}`
    await createTopic(client, { name, partitions, configs })
    return name
  }

  /** As Kafka's clients see them. */
  async function records(topic: string, partition = 0) {
    const [fetched] = await fetchBatches(client, {
      topic,
      partitions: [{ partition, fetchOffset: 0 }],
    })
    const batches = await decodeAll(fetched!.records)
    return batches.flatMap((batch) => [...batch])
  }

  const text = (bytes: Uint8Array | null) => (bytes === null ? null : Buffer.from(bytes).toString())

  test('what is written in JSON is what Kafka reads, and comes back equal', async () => {
    const topic = await newTopic()
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
    const at = await rest.produce(`${topic}/produce`, { events })
    assert.deepEqual(
      at,
      [0, 1, 2, 3, 4].map((offset) => [0, offset]),
    )
    assert.deepEqual(await rest.produce(`${topic}/produce`, { value: 7, partition: 0 }), [[0, 5]])
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
    const shown = await rest.all(topic)
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
    const topic = await newTopic(2)
    const base64 = NOT_UTF8.toString('base64')
    await rest.produce(`${topic}/produce`, {
      format: 'base64',
      partition: 1,
      events: [{ key: base64, value: base64, headers: [{ key: 'h', value: base64 }] }],
    })
    await rest.produce(`${topic}/produce?format=text&partition=1`, { key: 'k', value: 'plain' })
    const lines = '{"value":{"n":1}}\n\n{"key":"k","value":"x","valueFormat":"text"}\r\n'
    const path = `/topics/${topic}/produce`
    const sent = await rest.ask('POST', `${path}?partition=1`, {
      headers: LINES_HEADERS,
      body: lines,
    })
    assert.equal(sent.text, '{"offsets":[{"partition":1,"offset":2},{"partition":1,"offset":3}]}\n')
    const raw = await rest.ask(
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
    const [first, second] = await rest.all(topic, 'format=base64', 1)
    assert.deepEqual(
      [first?.key, first?.value, first?.headers?.[0]?.value],
      [base64, base64, base64],
    )
    assert.equal(second?.value, Buffer.from('plain').toString('base64'))
    const [asText] = await rest.all(topic, 'format=text', 1)
    assert.deepEqual([asText?.valueFormat, asText?.keyFormat], ['base64', 'base64'])
  })

  test('what Kafka writes is read in every codec, from any offset in a batch', async () => {
    const topic = await newTopic()
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
      await appendOk(client, { topic, partition: 0 }, await builder.build({ compression }))
    }
    const expected = codecs.flatMap((c) => Array.from({ length: 100 }, (_, i) => ({ c, i })))
    const events = await rest.all(topic, 'max_events=33')
    assert.deepEqual(
      events.map(({ value }) => value),
      expected,
    )
    assert.deepEqual(
      events.map(({ offset }) => offset),
      expected.map((_, i) => i),
    )
    assert.ok(events.every(({ keyFormat }) => keyFormat === 'base64'))
    const small = await rest.page(topic, 'offset=150&max_bytes=1')
    assert.deepEqual([small.events.length, small.nextOffset], [1, 151], 'one event at least')
    const lines = await rest.ask('GET', `/topics/${topic}/partitions/0/events?offset=498`, {
      headers: { accept: 'application/x-ndjson' },
    })
    assert.equal(lines.text.trim().split('\n').length, 2)
    assert.equal(lines.headers.get('x-next-offset'), '500')
    const later = await rest.page(topic, `timestamp=${TIMESTAMP_MS + 42}&max_events=1`)
    assert.equal(later.events[0]?.offset, 42)
    const end = await rest.page(topic, `timestamp=${TIMESTAMP_MS + 1_000_000}`)
    assert.deepEqual([end.events, end.nextOffset], [[], 500])
  })

  test('a large answer comes in pieces, complete and in order', async () => {
    const topic = await newTopic()
    const value = 'v'.repeat(1000)
    const events = Array.from({ length: 3000 }, (_, i) => ({ value: `${i} ${value}` }))
    const at = await rest.produce(`${topic}/produce?format=text`, { events })
    assert.deepEqual(at[2999], [0, 2999], 'several batches, one after the other')
    const page = await rest.page(topic, 'max_bytes=4000000&format=text')
    assert.ok(page.events.length > 900)
    const read = await rest.all(topic, 'max_bytes=1000000&format=text')
    assert.deepEqual(
      read.map((event) => event.value),
      events.map((event) => event.value),
    )
    const { offset } = await listOffset(client, { topic, partition: 0 }, -1)
    assert.equal(offset, 3000)
  })

  test('equal keys go to one partition, and a new topic is made as for Kafka', async () => {
    const topic = `made-${topics++}`
    await rest.produce(`${topic}/produce`, { value: 1 })
    assert.equal(
      (await rest.take(Topics, { method: 'GET', path: '/topics' })).topics.some(
        ({ name }) => name === topic,
      ),
      true,
    )
    const many = await newTopic(8)
    const events = Array.from({ length: 40 }, (_, i) => ({ key: `k${i % 10}`, value: i }))
    const at = await rest.produce(`${many}/produce`, { events })
    for (const [i, [partition]] of at.entries()) assert.equal(partition, at[i % 10]?.[0])
    assert.ok(new Set(at.map(([partition]) => partition)).size > 2)
  })

  test('of several events those that are too large fail, and say so', async () => {
    const topic = await newTopic(2, { 'max.message.bytes': '1000' })
    const large = { value: 'x'.repeat(2000), partition: 1 }
    const some = await rest.ask('POST', `/topics/${topic}/produce`, {
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
    const all = await rest.refusal('POST', `/topics/${topic}/produce`, {
      headers: JSON_HEADERS,
      body,
    })
    assert.equal(all, '413 MESSAGE_TOO_LARGE')
  })

  test('a long poll ends with the event, or with its time', async () => {
    const topic = await newTopic()
    const waiting = rest.page(topic, 'wait_ms=60000')
    await appendOk(client, { topic, partition: 0 }, batchOf({ values: ['"now"'] }))
    assert.deepEqual(
      (await waiting).events.map(({ value }) => value),
      ['now'],
    )
    const nothing = await rest.page(topic, 'offset=latest&wait_ms=50')
    assert.deepEqual([nothing.events, nothing.nextOffset], [[], 1])
  })

  test('a stream follows, and ends with its topic', async () => {
    const topic = await newTopic()
    const stream = await rest.follow(`/topics/${topic}/partitions/0/events?follow=true&format=text`)
    for (let i = 0; i < 5; i++) {
      await appendOk(client, { topic, partition: 0 }, batchOf({ values: [`a${i}`, `b${i}`] }))
      const got = [(await stream.event()).value, (await stream.event()).value]
      assert.deepEqual(got, [`a${i}`, `b${i}`])
    }
    const bounded = await rest.follow(
      `/topics/${topic}/partitions/0/events?follow=true&offset=8&max_events=2&format=text`,
    )
    assert.equal((await bounded.event()).value, 'a4')
    assert.equal((await bounded.event()).value, 'b4')
    assert.equal(await bounded.line(), null)
    await rest.take(Deleted, { method: 'DELETE', path: `/topics/${topic}` })
    const last = JSON.parse((await stream.line()) ?? '{}')
    assert.equal(last.error, 'UNKNOWN_TOPIC_OR_PARTITION')
    assert.equal(await stream.line(), null)
  })

  test('clients that go leave nothing behind: bodies, long polls, streams, slow readers', async () => {
    const topic = await newTopic()
    const value = 'v'.repeat(10_000)
    for (let i = 0; i < 10; i++) {
      await appendOk(client, { topic, partition: 0 }, batchOf({ values: Array(90).fill(value) }))
    }
    const open: RawHttp[] = []
    const path = `/topics/${topic}/partitions/0/events`
    for (let i = 0; i < 20; i++) {
      const http = await RawHttp.open(port)
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
    const slow = (await rest.page(topic, 'offset=0&max_events=1')).events
    assert.equal(slow.length, 1, 'others are served meanwhile')
    for (const http of open) http.socket.destroy()
    for (;;) {
      const metrics = (await rest.ask('GET', '/metrics')).text
      const inUse = [...metrics.matchAll(/^millrace_shard_egress_bytes\{.*\} (\d+)$/gm)]
      assert.equal(inUse.length, 2)
      if (inUse.every(([, bytes]) => bytes === '0')) break
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    assert.equal((await rest.page(topic, 'max_events=1')).events.length, 1)
  })

  test('topics are created, described, altered and deleted', async () => {
    const name = `life-${topics++}`
    const body = {
      name,
      partitions: 2,
      configs: { 'retention.ms': 1000, 'cleanup.policy': 'delete' },
    }
    const created = await rest.take(Topic, { method: 'POST', path: '/topics', body })
    assert.equal(created.partitions.length, 2)
    assert.deepEqual(created.configs['retention.ms'], { value: '1000', source: 'topic' })
    const path = `/topics/${name}`
    const again = { headers: JSON_HEADERS, body: JSON.stringify(body) }
    assert.equal(await rest.refusal('POST', '/topics', again), '409 TOPIC_ALREADY_EXISTS')
    await rest.produce(`${name}/produce`, { value: 'x'.repeat(500), partition: 1 })
    const altered = await rest.take(Topic, {
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
      const said = await rest.refusal('POST', `${path}/produce`, init)
      assert.equal(said, '413 MESSAGE_TOO_LARGE', 'logs that are open follow')
    }
    const patch = (change: object) =>
      rest.refusal('PATCH', path, { headers: JSON_HEADERS, body: JSON.stringify(change) })
    assert.equal(await patch({ partitions: 1 }), '400 INVALID_PARTITIONS')
    assert.equal(await patch({ configs: { 'retention.ns': '1' } }), '400 INVALID_CONFIG')
    assert.equal(
      await patch({ configs: { 'retention.ms': 'soon' }, partitions: 9 }),
      '400 INVALID_CONFIG',
    )
    assert.equal(await patch({}), '400 INVALID_REQUEST')
    const page = await rest.take(Topic, {
      method: 'GET',
      path: `${path}?first_partition=1&max_partitions=1`,
    })
    assert.deepEqual(
      page.partitions.map(({ partition }) => partition),
      [1],
    )
    assert.equal(page.partitionsCount, 3)
    const before = await rest.take(DeletedEvents, {
      method: 'DELETE',
      path: `${path}/partitions/1/events?before=latest`,
    })
    assert.equal(before.logStartOffset, 1)
    assert.equal(
      await rest.refusal('GET', `${path}/partitions/1/events?offset=0`),
      '416 OFFSET_OUT_OF_RANGE',
    )
    await rest.take(Deleted, { method: 'DELETE', path })
    assert.equal(await rest.refusal('GET', path), '404 UNKNOWN_TOPIC_OR_PARTITION')
  })

  test('what is no request of this door is refused, and says what to do', async () => {
    const topic = await newTopic()
    const produce = `/topics/${topic}/produce`
    const events = `/topics/${topic}/partitions/0/events`
    const json = (body: string) => ({ headers: JSON_HEADERS, body })
    const deep = '['.repeat(10_000) + ']'.repeat(10_000)
    const cases: [string, string, RequestInit, string][] = [
      ['GET', '/nothing', {}, '404 NOT_FOUND'],
      ['GET', '/topics/x/nothing', {}, '404 NOT_FOUND'],
      ['PUT', '/topics', {}, '405 METHOD_NOT_ALLOWED'],
      ['DELETE', '/', {}, '405 METHOD_NOT_ALLOWED'],
      ['GET', '/topics', { headers: { accept: 'text/html' } }, '406 NOT_ACCEPTABLE'],
      ['POST', produce, { body: 'value=1' }, '415 UNSUPPORTED_MEDIA_TYPE'],
      ['POST', produce, json(''), '400 INVALID_REQUEST'],
      ['POST', produce, json('{"value":1'), '400 INVALID_REQUEST'],
      ['POST', produce, json('null'), '400 INVALID_REQUEST'],
      ['POST', produce, json('{}'), '400 INVALID_REQUEST'],
      ['POST', produce, json('{"events":[]}'), '400 INVALID_REQUEST'],
      ['POST', produce, json('{"events":{}}'), '400 INVALID_REQUEST'],
      ['POST', produce, json('{"events":[{"vlaue":1}]}'), '400 INVALID_REQUEST'],
      ['POST', produce, json('{"value":1,"__proto__":{}}'), '400 INVALID_REQUEST'],
      ['POST', produce, json('{"value":1,"value":2}'), '400 INVALID_REQUEST'],
      ['POST', produce, json(`{"value":${deep}}`), '400 INVALID_REQUEST'],
      ['POST', produce, json('{"value":9007199254740993}'), '400 INVALID_REQUEST'],
      ['POST', produce, json('{"value":1e999}'), '400 INVALID_REQUEST'],
      ['POST', produce, json('{"key":"\\ud800","value":1}'), '400 INVALID_REQUEST'],
      ['POST', produce, json('{"value":1,"partition":1.5}'), '400 INVALID_REQUEST'],
      ['POST', produce, json('{"value":1,"partition":-1}'), '400 INVALID_REQUEST'],
      ['POST', produce, json('{"value":1,"timestamp":9e18}'), '400 INVALID_REQUEST'],
      ['POST', produce, json('{"value":1,"timestamp":9007199254740991}'), '400 INVALID_TIMESTAMP'],
      ['POST', produce, json('{"events":[{"value":1}],"acks":0}'), '400 INVALID_REQUEST'],
      ['POST', produce, json('{"value":1,"partition":1}'), '404 UNKNOWN_TOPIC_OR_PARTITION'],
      ['POST', `${produce}?key=a`, json('{"value":1}'), '400 INVALID_REQUEST'],
      [
        'POST',
        `${produce}?partition=7`,
        { headers: BYTES_HEADERS, body: 'x' },
        '404 UNKNOWN_TOPIC_OR_PARTITION',
      ],
      ['POST', produce, { headers: JSON_HEADERS, body: NOT_UTF8 }, '400 INVALID_REQUEST'],
      [
        'POST',
        produce,
        { headers: LINES_HEADERS, body: '{"value":1}\n{"value":}\n' },
        '400 INVALID_REQUEST',
      ],
      [
        'POST',
        produce,
        { headers: LINES_HEADERS, body: '{"value":1},{"value":2}' },
        '400 INVALID_REQUEST',
      ],
      [
        'POST',
        produce,
        json(`{"events":[${Array(10_001).fill('{"value":1}')}]}`),
        '400 INVALID_REQUEST',
      ],
      ['POST', '/topics', json('{"name":"../x"}'), '400 INVALID_TOPIC_EXCEPTION'],
      ['POST', '/topics', json('{"name":""}'), '400 INVALID_REQUEST'],
      ['POST', '/topics', json('{"name":"a","partitions":0}'), '400 INVALID_REQUEST'],
      [
        'POST',
        '/topics',
        json('{"name":"a","replicationFactor":3}'),
        '400 INVALID_REPLICATION_FACTOR',
      ],
      ['POST', '/topics', json('{"name":"a","configs":{"__proto__":"1"}}'), '400 INVALID_REQUEST'],
      ['GET', `${events}?offset=x`, {}, '400 INVALID_REQUEST'],
      ['GET', `${events}?offset=1`, {}, '416 OFFSET_OUT_OF_RANGE'],
      ['GET', `${events}?offset=0&timestamp=0`, {}, '400 INVALID_REQUEST'],
      ['GET', `${events}?what=ever`, {}, '400 INVALID_REQUEST'],
      ['GET', `/topics/${topic}/partitions/1/events`, {}, '404 UNKNOWN_TOPIC_OR_PARTITION'],
      ['GET', '/topics/absent/partitions/0/events', {}, '404 UNKNOWN_TOPIC_OR_PARTITION'],
      ['DELETE', `${events}?before=1`, {}, '416 OFFSET_OUT_OF_RANGE'],
      ['DELETE', events, {}, '400 INVALID_REQUEST'],
    ]
    for (const [method, path, init, expected] of cases) {
      const what = `${method} ${path} ${String(init.body ?? '').slice(0, 60)}`
      assert.equal(await rest.refusal(method, path, init), expected, what)
    }
    const large = await RawHttp.open(port)
    const head = `POST ${produce} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`
    large.write(`${head}Content-Length: 5000000\r\n\r\n{`)
    assert.match(await large.ended, /^HTTP\/1.1 413 .*BODY_TOO_LARGE/s)
    assert.equal((await rest.page(topic)).highWatermark, 0, 'nothing of it was stored')
    const absent = (await rest.take(Topics, { method: 'GET', path: '/topics' })).topics
    assert.ok(!absent.some(({ name }) => name === 'a'))
    const after = await rest.produce(`${topic}/produce`, { value: 1 })
    assert.deepEqual(after, [[0, 0]])
  })

  test('lines of a request that fetch would not send are refused as well', async () => {
    const cases: [string, RegExp][] = [
      ['GET /topics/%zz HTTP/1.1', /^400 INVALID_REQUEST$/],
      ['GET /topics/%2e%2e%2f%2e%2e HTTP/1.1', /^400 INVALID_TOPIC_EXCEPTION$/],
      ['GET /topics/../../etc/passwd HTTP/1.1', /^404 NOT_FOUND$/],
      ['TRACE /topics HTTP/1.1', /^405 METHOD_NOT_ALLOWED$/],
    ]
    for (const [line, expected] of cases) {
      const { status, body } = await rawRequest(port, `${line}\r\nHost: localhost\r\n\r\n`)
      assert.match(`${status} ${JSON.parse(body).error}`, expected, line)
    }
    const http = await RawHttp.open(port)
    http.write(`GET /topics/${'x'.repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    const said = await http.ended
    assert.ok(said === '' || /^HTTP\/1.1 (431|400) /.test(said), said.slice(0, 200))
    assert.equal((await rest.ask('GET', '/health/ready')).status, 200)
  })

  test('a foreign page and a foreign name change nothing', async () => {
    const topic = await newTopic()
    const path = `/topics/${topic}/produce`
    const body = '{"value":1}'
    const say = (headers: string) =>
      rawRequest(
        port,
        `POST ${path} HTTP/1.1\r\n${headers}Content-Type: application/json\r\n` +
          `Content-Length: ${body.length}\r\n\r\n${body}`,
      )
    const foreign = await say('Host: localhost\r\nOrigin: https://evil.example\r\n')
    assert.deepEqual([foreign.status, JSON.parse(foreign.body).error], [403, 'ORIGIN_NOT_ALLOWED'])
    const rebound = await say('Host: evil.example\r\nOrigin: http://evil.example\r\n')
    assert.deepEqual([rebound.status, JSON.parse(rebound.body).error], [403, 'HOST_NOT_ALLOWED'])
    const preflight = await rawRequest(
      port,
      `OPTIONS ${path} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\n`,
    )
    assert.equal(preflight.status, 403)
    assert.equal((await rest.page(topic)).highWatermark, 0)
    const own = await say('Host: localhost\r\nOrigin: http://localhost:5173\r\n')
    assert.equal(own.status, 200)
    assert.equal(own.headers.get('access-control-allow-origin'), 'http://localhost:5173')
  })

  test('it describes itself', async () => {
    const { operations } = await rest.take(z.looseObject({ operations: z.array(z.string()) }), {
      method: 'GET',
      path: '/',
    })
    assert.equal(operations.length, 8)
    const openApi = z.looseObject({
      openapi: z.literal('3.1.0'),
      paths: z.record(z.string(), z.unknown()),
    })
    const { paths } = await rest.take(openApi, { method: 'GET', path: '/openapi.json' })
    assert.equal(Object.keys(paths).length, 4)
    assert.equal((await rest.ask('HEAD', '/topics')).text, '')
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
