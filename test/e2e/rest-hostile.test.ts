/** What REST refuses, on two engines, and that nothing of it is stored. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Topics } from '../../src/gateway/rest/shapes.ts'
import { RawHttp, rawRequest } from '../support/raw-http.ts'
import { JSON_HEADERS } from '../support/rest.ts'
import {
  BYTES_HEADERS,
  LINES_HEADERS,
  NOT_UTF8,
  onRestEngines,
  type RestBroker,
} from '../support/rest-broker.ts'

onRestEngines('REST, refusals', refusalTests)

function refusalTests(at: RestBroker): void {
  test('what is no request of this door is refused, and says what to do', async () => {
    const topic = await at.newTopic()
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
      ['POST', produce, json('{"value":1.00000000000000000001}'), '400 INVALID_REQUEST'],
      ['POST', produce, json('{"events":[{"value":1},]}'), '400 INVALID_REQUEST'],
      ['POST', produce, json('{"events":[{"value":1}],"events":[]}'), '400 INVALID_REQUEST'],
      ['POST', produce, json('{"events":[{"value":1}]}}'), '400 INVALID_REQUEST'],
      [
        'POST',
        '/topics/__consumer_offsets/produce',
        json('{"value":1}'),
        '400 INVALID_TOPIC_EXCEPTION',
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
      assert.equal(await at.rest.refusal(method, path, init), expected, what)
    }
    const large = await RawHttp.open(at.port)
    const head = `POST ${produce} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`
    large.write(`${head}Content-Length: 5000000\r\n\r\n{`)
    assert.match(await large.ended, /^HTTP\/1.1 413 .*BODY_TOO_LARGE/s)
    assert.equal((await at.rest.page(topic)).highWatermark, 0, 'nothing of it was stored')
    const absent = (await at.rest.take(Topics, { method: 'GET', path: '/topics' })).topics
    assert.ok(!absent.some(({ name }) => name === 'a'))
    const after = await at.rest.produce(`${topic}/produce`, { value: 1 })
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
      const { status, body } = await rawRequest(at.port, `${line}\r\nHost: localhost\r\n\r\n`)
      assert.match(`${status} ${JSON.parse(body).error}`, expected, line)
    }
    const http = await RawHttp.open(at.port)
    http.write(`GET /topics/${'x'.repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    const said = await http.ended
    assert.ok(said === '' || /^HTTP\/1.1 (431|400) /.test(said), said.slice(0, 200))
    assert.equal((await at.rest.ask('GET', '/health/ready')).status, 200)
  })

  test('a foreign page and a foreign name change nothing', async () => {
    const topic = await at.newTopic()
    const path = `/topics/${topic}/produce`
    const body = '{"value":1}'
    const say = (headers: string) =>
      rawRequest(
        at.port,
        `POST ${path} HTTP/1.1\r\n${headers}Content-Type: application/json\r\n` +
          `Content-Length: ${body.length}\r\n\r\n${body}`,
      )
    const foreign = await say('Host: localhost\r\nOrigin: https://evil.example\r\n')
    assert.deepEqual([foreign.status, JSON.parse(foreign.body).error], [403, 'ORIGIN_NOT_ALLOWED'])
    const rebound = await say('Host: evil.example\r\nOrigin: http://evil.example\r\n')
    assert.deepEqual([rebound.status, JSON.parse(rebound.body).error], [403, 'HOST_NOT_ALLOWED'])
    const preflight = await rawRequest(
      at.port,
      `OPTIONS ${path} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\n`,
    )
    assert.equal(preflight.status, 403)
    assert.equal((await at.rest.page(topic)).highWatermark, 0)
    const own = await say('Host: localhost\r\nOrigin: http://localhost:5173\r\n')
    assert.equal(own.status, 200)
    assert.equal(own.headers.get('access-control-allow-origin'), 'http://localhost:5173')
  })
}
