import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Broker } from '../../src/broker/broker.ts'
import { planRecords } from '../../src/broker/plain-records.ts'
import type { Topic } from '../../src/metadata/image.ts'

test('planRecords, records of two partitions, says where each is in numbers alone', () => {
  const broker = { clock: { wallMs: () => 1 } } as unknown as Broker
  const topic = { handles: [10, 11] } as unknown as Topic
  const record = { value: null, headers: [], timestampMs: null }
  const keys = ['a', 'b', 'c', 'a'].map((key) => Buffer.from(key))
  const records = keys.map((key) => ({ key, ...record }))
  const plan = planRecords(broker, topic, { partition: null, records })
  assert.ok(typeof plan !== 'number')
  // They are kept until the answer, and ten thousand objects would be a hundred times the request.
  assert.ok(plan.places instanceof Int32Array)
  const counts = plan.batches.map(() => 0)
  for (let i = 0; i < plan.places.length; i += 2) {
    const batch = plan.places[i] as number
    assert.equal(plan.places[i + 1], counts[batch], 'in the order of the records')
    counts[batch] = (counts[batch] ?? 0) + 1
  }
  assert.equal(plan.places.length, 8)
  assert.equal(plan.places[0], plan.places[6], 'equal keys, equal partitions')
})
