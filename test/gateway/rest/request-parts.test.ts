/** What a request's line and headers say: paths, queries, content types, origins. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answerTypeOf, contentTypeOf } from '../../../src/gateway/rest/negotiate.ts'
import { openApi } from '../../../src/gateway/rest/openapi.ts'
import { OPERATIONS } from '../../../src/gateway/rest/operations.ts'
import { checkPage } from '../../../src/gateway/rest/page-rules.ts'
import { QueryReader } from '../../../src/gateway/rest/read-query.ts'
import { RestError } from '../../../src/gateway/rest/rest-error.ts'
import { match, methodsAt } from '../../../src/gateway/rest/router.ts'
import type { WebRequest } from '../../../src/gateway/web/web-server.ts'

function requestWith(headers: Readonly<Record<string, string>>): WebRequest {
  return { header: (name: string) => headers[name] } as unknown as WebRequest
}

function refused(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    assert.ok(error instanceof RestError, String(error))
    assert.ok(error.message.length > 20, 'it says what to do')
    return `${error.status} ${error.error}`
  }
  return 'taken'
}

test('match, a path and a method, find their operation', () => {
  const { name, topic, partition } = match('GET', '/topics/a%2Db/partitions/12/events')
  assert.deepEqual([name, topic, partition], ['readEvents', 'a-b', 12])
  assert.equal(match('HEAD', '/topics').name, 'listTopics')
  assert.equal(match('PATCH', '/topics/x/').name, 'alterTopic')
  assert.equal(methodsAt('/topics/x'), 'GET, PATCH, DELETE, HEAD, OPTIONS')
})

test('match, what is no such path, is refused', () => {
  const cases: [string, string, string][] = [
    ['GET', '/topics/x/y', '404 NOT_FOUND'],
    ['GET', '/topics/a/b/c/d/e/f', '404 NOT_FOUND'],
    ['PUT', '/topics', '405 METHOD_NOT_ALLOWED'],
    ['GET', '/topics/x/produce', '405 METHOD_NOT_ALLOWED'],
    ['GET', '/topics/..', '400 INVALID_TOPIC_EXCEPTION'],
    ['GET', '/topics/%2e%2e', '400 INVALID_TOPIC_EXCEPTION'],
    ['GET', '/topics/..%2f..%2fetc', '400 INVALID_TOPIC_EXCEPTION'],
    ['GET', '/topics/%00', '400 INVALID_TOPIC_EXCEPTION'],
    ['GET', `/topics/${'x'.repeat(250)}`, '400 INVALID_TOPIC_EXCEPTION'],
    ['GET', '/topics/%zz', '400 INVALID_REQUEST'],
    ['GET', '/topics/%ff', '400 INVALID_REQUEST'],
    ['GET', '/topics/x/partitions/-1/events', '400 INVALID_REQUEST'],
    ['GET', '/topics/x/partitions/1e3/events', '400 INVALID_REQUEST'],
  ]
  for (const [method, path, expected] of cases) {
    assert.equal(
      refused(() => match(method, path)),
      expected,
      path,
    )
  }
})

test('QueryReader, reads numbers, booleans and lists, where the shape has them', () => {
  const events = new QueryReader(OPERATIONS.readEvents.query)
  assert.deepEqual(events.read('offset=12&follow=true&format=text'), {
    offset: 12,
    follow: true,
    format: 'text',
  })
  assert.deepEqual(events.read('offset=latest'), { offset: 'latest' })
  assert.deepEqual(events.read(''), {})
  const produce = new QueryReader(OPERATIONS.produce.query)
  assert.deepEqual(produce.read('key=12&header=a:1&header=b%3A+2'), {
    key: '12',
    header: ['a:1', 'b: 2'],
  })
})

test('QueryReader, what does not fit, is refused', () => {
  const events = new QueryReader(OPERATIONS.readEvents.query)
  for (const query of [
    'offset=-1',
    'offset=99999999999999999999',
    'offset=9007199254740993',
    'offset=1.5',
    'offset=',
    'max_bytes=0',
    'wait_ms=60001',
    'follow=yes',
    'ofset=1',
    'offset=1&offset=1',
    '__proto__=1',
    'constructor=1',
    'a=%',
  ]) {
    assert.equal(
      refused(() => events.read(query)),
      '400 INVALID_REQUEST',
      query,
    )
  }
})

test('contentTypeOf, takes what is declared, in UTF-8, and nothing that a form can send', () => {
  const type = (said: string) =>
    contentTypeOf(requestWith({ 'content-type': said }), OPERATIONS.produce)
  assert.equal(type('Application/JSON; charset=utf-8'), 'application/json')
  assert.equal(type('application/x-ndjson'), 'application/x-ndjson')
  for (const said of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/json; charset=utf-16',
    '__proto__',
  ]) {
    assert.equal(
      refused(() => type(said)),
      '415 UNSUPPORTED_MEDIA_TYPE',
      said,
    )
  }
  assert.equal(
    refused(() => contentTypeOf(requestWith({}), OPERATIONS.createTopic)),
    '415 UNSUPPORTED_MEDIA_TYPE',
  )
})

test('answerTypeOf, gives what the reader prefers of what there is', () => {
  const type = (accept: string) => answerTypeOf(requestWith({ accept }), OPERATIONS.readEvents)
  assert.equal(answerTypeOf(requestWith({}), OPERATIONS.readEvents), 'application/json')
  assert.equal(type('*/*'), 'application/json')
  assert.equal(type('application/x-ndjson'), 'application/x-ndjson')
  assert.equal(type('application/json;q=0.5, application/x-ndjson'), 'application/x-ndjson')
  assert.equal(type('application/json;q=0, application/*'), 'application/x-ndjson')
  assert.equal(type('text/html, application/xhtml+xml, */*;q=0.8'), 'application/json')
  assert.equal(
    refused(() => type('text/html')),
    '406 NOT_ACCEPTABLE',
  )
})

test('checkPage, lets programs and allowed pages in, and no other', () => {
  const check = (
    headers: Readonly<Record<string, string>>,
    { isLocal = true, allowedOrigins = [] as string[] } = {},
  ) => refused(() => checkPage(requestWith(headers), { isLocal, allowedOrigins }))
  assert.equal(check({ host: '127.0.0.1:8080' }), 'taken')
  assert.equal(check({ host: 'localhost:8080' }), 'taken')
  assert.equal(check({ host: '[::1]:8080' }), 'taken')
  assert.equal(check({}), 'taken', 'HTTP/1.0 names no host')
  assert.equal(check({ host: 'evil.example:8080' }), '403 HOST_NOT_ALLOWED')
  assert.equal(check({ host: 'localhost.evil.example' }), '403 HOST_NOT_ALLOWED')
  assert.equal(check({ host: '@' }), '403 HOST_NOT_ALLOWED')
  const own = { host: 'evil.example:8080', origin: 'http://evil.example:8080' }
  assert.equal(check(own), '403 HOST_NOT_ALLOWED', 'a page whose name is made to point here')
  assert.equal(check(own, { isLocal: false }), 'taken')
  const foreign = { host: '127.0.0.1:8080', origin: 'https://evil.example' }
  assert.equal(check(foreign), '403 ORIGIN_NOT_ALLOWED')
  assert.equal(check({ ...foreign, origin: 'null' }), '403 ORIGIN_NOT_ALLOWED')
  assert.equal(check(foreign, { allowedOrigins: ['https://evil.example'] }), 'taken')
  assert.equal(check({ host: 'my.example' }, { allowedOrigins: ['https://my.example'] }), 'taken')
  const headers = checkPage(requestWith({ host: 'localhost', origin: 'http://localhost:3000' }), {
    isLocal: true,
    allowedOrigins: [],
  })
  assert.equal(headers['access-control-allow-origin'], 'http://localhost:3000')
})

test('openApi, describes every operation', () => {
  const description = JSON.parse(JSON.stringify(openApi()))
  for (const { path, method } of Object.values(OPERATIONS)) {
    const operation = description.paths[path][method.toLowerCase()]
    assert.ok(operation.summary.length > 0)
    for (const parameter of operation.parameters) assert.ok(parameter.schema, parameter.name)
  }
})
