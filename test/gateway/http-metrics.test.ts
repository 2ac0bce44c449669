import assert from 'node:assert/strict'
import { test } from 'node:test'
import { routeOf, timedRequests } from '../../src/gateway/http-metrics.ts'
import { OPERATIONS } from '../../src/gateway/rest/operations.ts'
import type { WebRequest } from '../../src/gateway/web/web-server.ts'
import { Exposition } from '../../src/metrics/exposition.ts'
import { RequestMetrics } from '../../src/metrics/request-metrics.ts'
import { readSamples } from '../support/metrics.ts'

const request = (method: string, path: string): WebRequest =>
  ({ method, path }) as unknown as WebRequest

test('a route is its path without names and numbers', () => {
  assert.equal(routeOf('/topics'), '/topics')
  assert.equal(routeOf('/topics/orders'), '/topics/{topic}')
  assert.equal(routeOf('/topics/orders/produce'), '/topics/{topic}/produce')
  assert.equal(
    routeOf('/topics/orders/partitions/3/events'),
    '/topics/{topic}/partitions/{partition}/events',
  )
  assert.equal(routeOf('/metrics'), '/metrics')
})

test('a route of REST is the path that its operation declares, names taken out', () => {
  for (const { path } of Object.values(OPERATIONS)) {
    assert.equal(routeOf(path.replaceAll(/\{\w+\}/g, 'name')), path)
  }
})

test('only what is served has a row of its own, whatever is asked for', async () => {
  const metrics = new RequestMetrics()
  const serve = timedRequests(
    () => metrics,
    ({ path }) => {
      if (path === '/boom') throw new TypeError('boom')
      const status = path.startsWith('/topics/') ? (path.includes('lost') ? 404 : 200) : 400
      return { status, headers: {}, body: '' }
    },
  )
  for (let i = 0; i < 1000; i++) await serve(request('GET', `/made/up/${i}`))
  for (const name of ['a', 'b', 'lost']) await serve(request('POST', `/topics/${name}/produce`))
  await assert.rejects(async () => serve(request('GET', '/boom')), /boom/)

  const exposition = new Exposition()
  metrics.write(exposition)
  const samples = readSamples(Buffer.from(exposition.finish()).toString())
  const produce = 'door="rest",api="POST /topics/{topic}/produce"'
  assert.equal(samples.get(`millrace_request_seconds_count{${produce}}`), 3)
  assert.equal(samples.get(`millrace_request_errors_total{${produce},error="404"}`), 1)
  assert.equal(samples.get('millrace_request_seconds_count{door="rest",api="other"}'), 1001)
  assert.equal(
    samples.get('millrace_request_errors_total{door="rest",api="other",error="400"}'),
    1000,
  )
  const rows = [...samples.keys()].filter((key) => key.startsWith('millrace_request_seconds_count'))
  assert.equal(rows.length, 2)
})
