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

/** Of consumer groups. */
const GROUPS: readonly Question[] = [
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
]

/** How old what is not read yet is: no log is searched by time for a scrape. */
const UNANSWERED: readonly Question[] = [
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
/** Of partition 0, which has a third of all, rounded up. */
const COMMITTED = 30
const LAG = Math.ceil(FIRST / PARTITIONS) + Math.ceil(THEN / PARTITIONS) - COMMITTED

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
    await commit(client, 1)
    await sees('sum(kafka_topic_partition_current_offset{topic="orders"})', FIRST)
    await sees('sum(kafka_consumergroup_current_offset)', 1)
    await appendEvents(client, THEN)
    await fetchFrom(client, { topic: 'orders', partitions: [{ partition: 0, fetchOffset: 0 }] })
    // An error, so that the panel of errors has something to show.
    await client.request(ApiKey.METADATA, 12, {
      topics: [{ topicId: ZERO_UUID, name: 'no such topic' }],
      allowAutoTopicCreation: false,
      includeTopicAuthorizedOperations: false,
    })
    await commit(client, COMMITTED)
    client.close()
    await sees('sum(kafka_topic_partition_current_offset{topic="orders"})', FIRST + THEN)
    await sees('sum(kafka_consumergroup_current_offset)', COMMITTED)
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

  for (const question of GROUPS) {
    test(`kafka_exporter's "${question.panel}" has an answer`, async () => {
      const answers = await prometheus.query(expression(question, instance))
      assert.equal(answers.length, 1)
      const [{ labels, value } = { labels: {}, value: 0 }] = answers
      assert.deepEqual(Object.keys(labels).sort(), [...question.by].sort())
      assert.deepEqual([labels.consumergroup, labels.topic], ['shippers', 'orders'])
      if (question.metric.endsWith('offset')) assert.ok(value > 0, `${value}`)
      else assert.equal(value, LAG)
    })
  }

  test('what cannot be known has no false answer', async () => {
    for (const question of UNANSWERED) {
      assert.deepEqual(await prometheus.query(expression(question, instance)), [], question.panel)
    }
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
    assert.equal(
      await one('sum(kafka_topic_partition_in_sync_replica{topic="orders"})'),
      PARTITIONS,
    )
    assert.equal(await one('sum(kafka_topic_partition_under_replicated_partition)'), 0)
    assert.equal(await one('count(up == 1)'), 1)
  })

  test('promtool complains of nothing but two names of kafka_exporter', async () => {
    const text = await (await fetch(`${broker.httpUrl}/metrics`)).text()
    const complaints = checkMetrics(text).split('\n')
    assert.deepEqual(
      complaints.filter((line) => line !== '' && !line.startsWith('kafka_consumergroup_')),
      [],
    )
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

async function commit(client: RawClient, offset: number): Promise<void> {
  await client.request(ApiKey.FIND_COORDINATOR, 3, { key: 'shippers', keyType: 0 })
  const { topics } = await client.request(ApiKey.OFFSET_COMMIT, 8, {
    groupId: 'shippers',
    memberId: '',
    topics: [
      {
        name: 'orders',
        partitions: [{ partitionIndex: 0, committedOffset: offset, committedMetadata: null }],
      },
    ],
  })
  assert.equal(topics[0]?.partitions[0]?.errorCode, 0)
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
