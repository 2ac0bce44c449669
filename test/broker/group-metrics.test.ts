import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Broker } from '../../src/broker/broker.ts'
import { writeGroupMetrics } from '../../src/broker/group-metrics.ts'
import type { PartitionRows } from '../../src/broker/partition-rows.ts'
import { Exposition } from '../../src/metrics/exposition.ts'
import { readSamples } from '../support/metrics.ts'

/** Committed offsets by partition, by topic. */
type Offsets = Readonly<Record<string, readonly number[]>>

async function samplesOf(max: number, groups: Readonly<Record<string, Offsets>>) {
  const topicsOf = (groupId: string) =>
    Object.entries(groups[groupId] ?? {}).map(([topic, offsets]) => {
      return [topic, new Map(offsets.map((offset, i) => [i, { offset }]))] as const
    })
  const coordinator = {
    groups: new Map(Object.keys(groups).map((groupId) => [groupId, { members: new Map() }])),
    offsets: { topics: (groupId: string) => new Map(topicsOf(groupId)) },
  }
  const broker = {
    config: { get: () => max },
    groups: { coordinators: () => [coordinator] },
  } as unknown as Broker
  // Every partition ends at 100, and of "b", which follows "a", there are two.
  const rows = {
    topics: [{ name: 'a' }, { name: 'b' }],
    starts: [0, 1, 3],
    get: () => 100,
  } as unknown as PartitionRows
  const exposition = new Exposition()
  await writeGroupMetrics(broker, exposition, rows)
  return readSamples(Buffer.from(exposition.finish()).toString())
}

test('a topic of a group is shown whole, or left out and counted', async () => {
  const samples = await samplesOf(3, { g: { a: [40], b: [1, 2] }, h: { b: [5, 6] } })
  assert.equal(samples.get('kafka_consumergroup_lag_sum{consumergroup="g",topic="b"}'), 197)
  const ofOther = [...samples.keys()].filter((key) => /"h",topic=/.test(key))
  assert.deepEqual(ofOther, [], 'a sum of nothing would say that nothing is left')
  assert.equal(samples.get('millrace_metrics_group_offsets_omitted'), 2)
  const partial = await samplesOf(2, { g: { a: [40], b: [1, 2] } })
  assert.ok(!partial.has('kafka_consumergroup_lag_sum{consumergroup="g",topic="b"}'))
  assert.equal(partial.get('millrace_metrics_group_offsets_omitted'), 2)
})

test('a committed offset of a partition that is not there has no lag', async () => {
  const samples = await samplesOf(9, { g: { a: [40, 70] } })
  const of = (partition: number) => `{consumergroup="g",topic="a",partition="${partition}"}`
  assert.equal(samples.get(`kafka_consumergroup_lag${of(0)}`), 60)
  assert.equal(samples.get(`kafka_consumergroup_current_offset${of(1)}`), 70)
  assert.ok(!samples.has(`kafka_consumergroup_lag${of(1)}`), 'not that of the next topic')
})
