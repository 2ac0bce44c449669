import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { SECTIONS } from '../../src/metrics/dashboard.ts'
import { Exposition, labelText } from '../../src/metrics/exposition.ts'
import { METRICS, type MetricInfo } from '../../src/metrics/metric-table.ts'
import { MetricsRegistry } from '../../src/metrics/registry.ts'
import { RequestMetrics } from '../../src/metrics/request-metrics.ts'
import { readSamples } from '../support/metrics.ts'

const textOf = (exposition: Exposition): string => Buffer.from(exposition.finish()).toString()

describe('Exposition', () => {
  test('escapes what a label must not hold', () => {
    assert.equal(labelText({ a: 'x"y\\z\nw', b: 3 }), '{a="x\\"y\\\\z\\nw",b="3"}')
    assert.equal(labelText({}), '')
  })

  test('writes a histogram cumulatively, in seconds, with what lies beyond the last bound', () => {
    const exposition = new Exposition()
    exposition.begin('millrace_shard_turn_seconds')
    // Up to 1 ms, up to 10 ms, beyond; the sum in milliseconds.
    exposition.histogram([3, 2, 1, 1500], '{shard="0"}', [1, 10])
    const lines = textOf(exposition).trimEnd().split('\n')
    assert.deepEqual(lines.slice(1), [
      '# TYPE millrace_shard_turn_seconds histogram',
      'millrace_shard_turn_seconds_bucket{shard="0",le="0.001"} 3',
      'millrace_shard_turn_seconds_bucket{shard="0",le="0.01"} 5',
      'millrace_shard_turn_seconds_bucket{shard="0",le="+Inf"} 6',
      'millrace_shard_turn_seconds_sum{shard="0"} 1.5',
      'millrace_shard_turn_seconds_count{shard="0"} 6',
    ])
  })

  test('loses nothing between pieces', () => {
    const exposition = new Exposition()
    exposition.begin('kafka_topic_partitions')
    const count = 20_000
    for (let i = 0; i < count; i++) exposition.put(i, labelText({ topic: `topic-${i}` }))
    const samples = readSamples(textOf(exposition))
    assert.equal(samples.size, count)
    assert.equal(samples.get('kafka_topic_partitions{topic="topic-19999"}'), 19_999)
  })

  test('lets others run when it has gone on for long', async () => {
    const exposition = new Exposition()
    let others = 0
    setImmediate(() => others++)
    const until = performance.now() + 10
    while (performance.now() < until);
    await exposition.breathe()
    assert.equal(others, 1)
  })

  test('a family is written once', () => {
    const exposition = new Exposition()
    exposition.begin('kafka_brokers')
    assert.throws(() => exposition.begin('kafka_brokers'), /twice/)
  })
})

describe('MetricsRegistry', () => {
  test('scrapes that come while one is collected share it', async () => {
    const registry = new MetricsRegistry()
    let collections = 0
    const collect = async (exposition: Exposition): Promise<void> => {
      collections++
      await new Promise(setImmediate)
      exposition.single('kafka_brokers', 1)
    }
    const [a, b] = await Promise.all([registry.text(collect), registry.text(collect)])
    assert.equal(a, b)
    assert.equal(collections, 1)
    await registry.text(collect)
    assert.equal(collections, 2)
    registry.close()
  })

  test('a collection that fails fails its scrapes, and no later one', async () => {
    const registry = new MetricsRegistry()
    const failure = new Error('no')
    await assert.rejects(
      registry.text(() => Promise.reject(failure)),
      failure,
    )
    assert.match(Buffer.from(await registry.text(null)).toString(), /^process_cpu_seconds_total /m)
    registry.close()
  })
})

describe('RequestMetrics', () => {
  test('has a bounded number of rows, whatever it is asked for', () => {
    const metrics = new RequestMetrics()
    for (let i = 0; i < 10_000; i++) metrics.row('rest', `GET /made-up-${i}`).latency.observe(1)
    const exposition = new Exposition()
    metrics.write(exposition)
    const samples = readSamples(textOf(exposition))
    const counts = [...samples].filter(([name]) =>
      name.startsWith('millrace_request_seconds_count'),
    )
    assert.ok(counts.length <= 201, `${counts.length} rows`)
    const sum = counts.reduce((total, [, value]) => total + value, 0)
    assert.equal(sum, 10_000)
    assert.ok((samples.get('millrace_request_seconds_count{door="rest",api="other"}') ?? 0) > 9000)
  })
})

describe('the table of metrics', () => {
  for (const [name, info] of Object.entries<MetricInfo>(METRICS)) {
    test(`${name} says its unit and type`, () => {
      assert.match(name, /^(millrace|kafka|redpanda)_[a-z0-9_]+$/)
      assert.equal(name.endsWith('_total'), info.type === 'counter', 'counters end in _total')
      assert.doesNotMatch(name, /_(ms|millis|kb|mb|milliseconds)(_|$)/, 'base units only')
      if (info.type === 'histogram') assert.match(name, /_seconds$/)
      assert.match(info.help, /^[A-Z1].*[^.]$/)
    })
  }

  test('holds every metric that the dashboard asks for', () => {
    const own = /\b(?:millrace|kafka|redpanda)_[a-z0-9_]+/g
    for (const { queries } of SECTIONS.flatMap(({ panels }) => panels)) {
      for (const { expr } of queries) {
        for (const [name] of expr.matchAll(own)) {
          assert.ok(name.replace(/_(bucket|count|sum)$/, '') in METRICS, name)
        }
      }
    }
  })
})
