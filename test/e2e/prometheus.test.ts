/**
 * A real Prometheus scrapes a broker and answers what dashboards ask: those of kafka_exporter,
 * which are public ("Kafka Exporter Overview", Grafana 7589, and what the exporter's repository
 * has), and our own. What a dashboard asks is written down here as facts: which metric, which
 * labels it selects by, what it does with it, by which labels the answer is told apart.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { ZERO_UUID } from '../../src/base/uuid.ts'
import { SECTIONS } from '../../src/metrics/dashboard.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import { startBroker, type TestBroker } from '../support/broker.ts'
import { appendOk, batchOf, createTopic, fetch as fetchFrom } from '../support/kafka.ts'
import {
  checkMetrics,
  Prometheus,
  prometheusAvailable,
  type Series,
} from '../support/prometheus.ts'
import { RawClient } from '../support/raw-client.ts'
import { skipUnless } from './clients/client.ts'

interface Question {
  readonly panel: string
  readonly metric: string
  /** Labels that it selects by; the test puts in what the dashboard's variables would hold. */
  readonly selects: readonly ('instance' | 'topic' | 'consumergroup')[]
  /** What it does with the series before it sums them. */
  readonly over?: { readonly operation: 'rate' | 'delta'; readonly window: string }
  /** Divides by it: `delta` of five minutes, for one. */
  readonly per?: number
  readonly by: readonly string[]
}

const MINUTE = { operation: 'rate', window: '1m' } as const
const FIVE_MINUTES = { operation: 'delta', window: '5m' } as const

const ANSWERED: readonly Question[] = [
  {
    panel: 'messages in, per second',
    metric: 'kafka_topic_partition_current_offset',
    selects: ['instance', 'topic'],
    over: MINUTE,
    by: ['topic'],
  },
  {
    panel: 'messages in, per minute',
    metric: 'kafka_topic_partition_current_offset',
    selects: ['instance', 'topic'],
    over: FIVE_MINUTES,
    per: 5,
    by: ['topic'],
  },
  {
    panel: 'partitions, by topic',
    metric: 'kafka_topic_partitions',
    selects: ['instance', 'topic'],
    by: ['topic'],
  },
]

/** There are no consumer groups yet, so nothing may be said of them. */
const PENDING: readonly Question[] = [
  {
    panel: 'lag, by consumer group',
    metric: 'kafka_consumergroup_lag',
    selects: ['instance', 'topic'],
    by: ['consumergroup', 'topic'],
  },
  {
    panel: 'messages consumed, per minute',
    metric: 'kafka_consumergroup_current_offset',
    selects: ['instance', 'topic'],
    over: FIVE_MINUTES,
    per: 5,
    by: ['consumergroup', 'topic'],
  },
  {
    panel: 'offset consumed, by partition',
    metric: 'kafka_consumergroup_current_offset',
    selects: ['instance', 'topic', 'consumergroup'],
    by: ['consumergroup', 'topic', 'partition'],
  },
  {
    panel: 'offsets not consumed, by partition',
    metric: 'kafka_consumergroup_uncommitted_offsets',
    selects: ['instance', 'topic', 'consumergroup'],
    by: ['consumergroup', 'topic', 'partition'],
  },
  {
    panel: 'lag in milliseconds, by partition',
    metric: 'kafka_consumer_lag_millis',
    selects: ['instance', 'topic', 'consumergroup'],
    by: ['consumergroup', 'topic', 'partition'],
  },
]

const PARTITIONS = 3
const FIRST = 10
const THEN = 90

const skip = skipUnless(prometheusAvailable())

describe('dashboards, asked through a real Prometheus', { skip }, () => {
  let broker: TestBroker
  let prometheus: Prometheus
  let instance: string

  before(async () => {
    broker = await startBroker({ shards: 2 })
    instance = broker.httpUrl.replace('http://', '')
    const client = await RawClient.open(broker.port)
    await createTopic(client, { name: 'orders', partitions: PARTITIONS })
    await appendEvents(client, FIRST)
    prometheus = await Prometheus.start(instance)
    await sees(`sum(kafka_topic_partition_current_offset)`, FIRST)
    await appendEvents(client, THEN)
    await fetchFrom(client, { topic: 'orders', partitions: [{ partition: 0, fetchOffset: 0 }] })
    // An error, so that the panel of errors has something to show.
    await client.request(ApiKey.METADATA, 12, {
      topics: [{ topicId: ZERO_UUID, name: 'no such topic' }],
      allowAutoTopicCreation: false,
      includeTopicAuthorizedOperations: false,
    })
    client.close()
    await sees(`sum(kafka_topic_partition_current_offset)`, FIRST + THEN)
    await prometheus.until('errors are seen to rise', async () => {
      const found = await prometheus.query(
        'count_over_time(millrace_request_errors_total[1m]) >= 2',
      )
      return found.length > 0
    })
  })

  after(async () => {
    await prometheus?.stop()
    await broker?.stop()
    broker?.cleanUp()
  })

  for (const question of ANSWERED) {
    test(`kafka_exporter's "${question.panel}" has an answer`, async () => {
      const [answer, ...more] = await prometheus.query(expression(question, instance))
      assert.deepEqual(more, [])
      assert.deepEqual(Object.keys(answer!.labels), question.by)
      assert.equal(answer!.labels.topic, 'orders')
      if (question.over === undefined) assert.equal(answer!.value, PARTITIONS)
      else assert.ok(answer!.value > 0, `${answer!.value}`)
    })
  }

  test('the list of topics that dashboards offer is that of the broker', async () => {
    const match = `kafka_topic_partition_current_offset{instance='${instance}',topic!='__consumer_offsets',topic!='--kafka'}`
    assert.deepEqual(await prometheus.labelValues(match, 'topic'), ['orders'])
  })

  test('what is asked about consumer groups has no answer yet, and no false one', async () => {
    for (const question of PENDING) {
      assert.deepEqual(await prometheus.query(expression(question, instance)), [], question.panel)
    }
    const groups = await prometheus.query('count({__name__=~"kafka_consumer.*"})')
    assert.deepEqual(groups, [])
  })

  for (const { title, queries } of SECTIONS.flatMap(({ panels }) => panels)) {
    test(`our panel "${title}" has data`, async () => {
      for (const { expr } of queries) {
        const series = await prometheus.query(filled(expr))
        assert.ok(series.length > 0, expr)
        for (const { value } of series) assert.ok(!Number.isNaN(value) || isQuiet(expr), expr)
      }
    })
  }

  test('Prometheus counts what was done, to the event', async () => {
    const one = async (expr: string): Promise<number> => (await prometheus.query(expr))[0]!.value
    assert.equal(await one('sum(millrace_topic_records_in_total{topic="orders"})'), FIRST + THEN)
    assert.equal(await one('kafka_brokers'), 1)
    assert.equal(await one('sum(kafka_topic_partition_in_sync_replica)'), PARTITIONS)
    assert.equal(await one('sum(kafka_topic_partition_under_replicated_partition)'), 0)
    assert.equal(await one('count(up == 1)'), 1)
  })

  test('promtool has no complaint about the text', async () => {
    const text = await (await fetch(`${broker.httpUrl}/metrics`)).text()
    assert.equal(checkMetrics(text), '')
  })

  async function sees(expr: string, value: number): Promise<void> {
    const is = ([first]: readonly Series[]): boolean => first?.value === value
    await prometheus.until(`${expr} = ${value}`, async () => is(await prometheus.query(expr)))
  }
})

async function appendEvents(client: RawClient, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    await appendOk(client, { topic: 'orders', partition: i % PARTITIONS }, batchOf())
  }
}

function expression({ metric, selects, over, per, by }: Question, instance: string): string {
  const values = { instance, topic: 'orders|nothing', consumergroup: '.*' }
  const match = selects.map((label) => `${label}=~"${values[label]}"`).join(',')
  const series = `${metric}{${match}}`
  const changed = over === undefined ? series : `${over.operation}(${series}[${over.window}])`
  return `sum by (${by.join(',')}) (${changed}${per === undefined ? '' : `/${per}`})`
}

/** What Grafana puts in for its variables. */
function filled(expr: string): string {
  return expr
    .replaceAll('$job', '.*')
    .replaceAll('$instance', '.*')
    .replaceAll('$topic', '.*')
    .replaceAll('$__rate_interval', '1m')
}

/** A quantile of nothing is NaN: an API that was asked once, before the first scrape. */
function isQuiet(expr: string): boolean {
  return expr.startsWith('histogram_quantile')
}
