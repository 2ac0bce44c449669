import assert from 'node:assert/strict'
import { test } from 'node:test'
import { planRecords } from '../../src/broker/plain-records.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { Topic } from '../../src/metadata/image.ts'

const broker = {
  clock: { wallMs: () => 1, monotonicMs: () => 1 },
  config: loadConfig(),
}

test('planRecords, records of two partitions, says where each is in numbers alone', () => {
  const topic = { handles: [10, 11], configs: new Map() } as unknown as Topic
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

test('planRecords, more than a batch may hold, makes several in the order of the records', () => {
  const configs = new Map([['max.message.bytes', '1000']])
  const topic = { handles: [10, 11], configs } as unknown as Topic
  const record = { key: null, headers: [], timestampMs: null }
  const sizes = [300, 300, 300, 300, 2000, 10]
  const records = sizes.map((size) => ({ value: Buffer.alloc(size), ...record }))
  const plan = planRecords(broker, topic, { partition: 1, records })
  assert.ok(typeof plan !== 'number')
  assert.deepEqual([...plan.places], [0, 0, 0, 1, 1, 0, 1, 1, 2, 0, 3, 0])
  const bytes = plan.batches.map((batch) => batch.bytes.length)
  assert.ok(bytes.every((length, i) => (i === 2 ? length > 2000 : length <= 1000)))
  assert.ok(plan.batches.every(({ partition, handle }) => partition === 1 && handle === 11))
})

test('planRecords, a record that names its partition, goes there whatever its key says', () => {
  const topic = { handles: [10, 11, 12], configs: new Map() } as unknown as Topic
  const record = { key: Buffer.from('k'), value: null, headers: [], timestampMs: null }
  const records = [0, 2, 1, null].map((partition) => ({ ...record, partition }))
  const plan = planRecords(broker, topic, { partition: 2, records })
  assert.ok(typeof plan !== 'number')
  const where = [0, 1, 2, 3].map((i) => plan.batches[plan.places[2 * i] as number]?.partition)
  assert.deepEqual(where, [0, 2, 1, 2])
})
