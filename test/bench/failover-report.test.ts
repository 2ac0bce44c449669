/** What a failover run says: by fault, of controllers, of the Java producer, and all rounds. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { failoverReport, type Observation } from '../../bench/lib/failover-report.ts'
import { addDelivered, type Delivered } from '../../bench/lib/steady-producer.ts'

const FINE: Delivered = { acknowledged: 10, slowestMs: 20, errors: {} }
const SEEN: Observation = {
  fault: 'kill',
  node: 1,
  wasController: false,
  beforeMs: 30,
  ledMs: [100, 300],
  othersMs: 50,
  reasons: {},
  metadata: null,
  delivered: null,
}

test('failoverReport, names each fault with its median and its worst', () => {
  const text = failoverReport(
    [SEEN, { ...SEEN, ledMs: [900] }, { ...SEEN, fault: 'stop', ledMs: [] }],
    null,
  ).join('\n')
  assert.match(text, /\| kill \| 2 \| 600 \(300–900\) \| 900 \| 50\.0 \| 30\.0 \|/)
  assert.match(text, /\| stop \| 1 \| 0 \| 0 \| 50\.0 \| 30\.0 \|/)
  assert.doesNotMatch(text, /Java|controller lost/)
})

test('failoverReport, tells of controllers and of what reached the Java producer', () => {
  const metadata = { electedMs: 300, writtenMs: 400 }
  const delivered = { ...FINE, errors: { TimeoutException: 2 } }
  const one = { ...SEEN, fault: 'controller-kill', wasController: true, metadata, delivered }
  const text = failoverReport([one, { ...one, metadata: { ...metadata, writtenMs: 600 } }], FINE)
  const lines = text.join('\n')
  assert.match(lines, /\| controller-kill \| 2 \| 300 \| 500 \(400–600\) \| 600 \|/)
  assert.match(lines, /\| controller-kill \| 20\.0 \| 4 × TimeoutException \| 20\.0 \|/)
  assert.match(lines, /\| afterwards \| 10\.0 \| 0 \| 20\.0 \|/)
  assert.match(
    lines,
    /\| controller-kill \| 1 \(controller\) \| 2 \| 300 \| 50\.0 \| 30\.0 \| 400 \|/,
  )
})

test('addDelivered, adds what was acknowledged and each error, and keeps the slowest', () => {
  const one = { acknowledged: 1, slowestMs: 5, errors: { A: 1, B: 1 } }
  const other = { acknowledged: 2, slowestMs: 3, errors: { B: 2 } }
  assert.deepEqual(addDelivered(one, other), {
    acknowledged: 3,
    slowestMs: 5,
    errors: { A: 1, B: 3 },
  })
})
