/** What consumers have seen, gaps and all, and batches joined with their answers. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Arrivals } from '../../src/load/arrivals.ts'
import { ConsumeTally } from '../../src/load/consume-tally.ts'
import { Latency } from '../../src/load/latency.ts'

const PLACES = [
  { topic: 't', partition: 0 },
  { topic: 't', partition: 1 },
]

test('ConsumeTally, counts events once, and knows when it has all', () => {
  const tally = new ConsumeTally(PLACES, { from: [5, 0], until: [20, 0] })
  tally.isMeasuring = true
  assert.equal(tally.isComplete, false)
  tally.arrived(0, { baseOffset: 0, lastOffset: 9, bytes: 100 }) // Begins before what was asked.
  assert.deepEqual([tally.events, tally.next[0]], [5, 10])
  tally.arrived(0, { baseOffset: 0, lastOffset: 9, bytes: 100 }) // Again: it counts no more.
  assert.deepEqual([tally.events, tally.total.bytes], [5, 100])
  tally.highWatermark[0] = 20
  assert.equal(tally.look(), 10)
  tally.arrived(0, { baseOffset: 10, lastOffset: 25, bytes: 100 })
  assert.equal(tally.isComplete, true)
  assert.deepEqual([tally.events, tally.problem, tally.lagMax], [21, null, 10])
})

test('ConsumeTally, finds a gap, and names the partition', () => {
  const tally = new ConsumeTally(PLACES, { from: [0, 0], until: null })
  tally.arrived(1, { baseOffset: 0, lastOffset: 9, bytes: 1 })
  tally.arrived(1, { baseOffset: 11, lastOffset: 12, bytes: 1 })
  assert.match(tally.problem ?? '', /^t-1: offset 11 came after 9: events are missing/)
})

test('ConsumeTally, expect, waits for what is missing', () => {
  const tally = new ConsumeTally(PLACES, { from: [0, 0], until: null })
  tally.arrived(0, { baseOffset: 0, lastOffset: 9, bytes: 1 })
  tally.expect([10, 1])
  assert.equal(tally.isComplete, false)
  tally.arrived(1, { baseOffset: 0, lastOffset: 0, bytes: 1 })
  assert.equal(tally.isComplete, true)
})

test('Arrivals, joins answers and pushes in either order, and counts what never came', () => {
  const latency = new Latency()
  const parts = { latency, recent: new Latency(), isMeasured: (ms: number) => ms >= 100 }
  const arrivals = new Arrivals(2, parts)
  const reused = [150]
  arrivals.acknowledged(0, 7, reused)
  reused[0] = 0 // Whoever gives the array may use it again.
  arrivals.arrived(0, 7, 160)
  arrivals.arrived(1, 7, 200)
  arrivals.acknowledged(1, 7, [170, 180])
  arrivals.acknowledged(1, 9, [90]) // Of the warm-up.
  arrivals.arrived(1, 9, 95)
  assert.deepEqual([latency.count, arrivals.missing], [3, 0])
  const { min, max } = latency.summary()
  assert.ok(min !== null && max !== null && Math.round(min) === 10 && Math.round(max) === 30)
  arrivals.acknowledged(0, 20, [200])
  assert.equal(arrivals.missing, 1)
  arrivals.giveUp(1200)
  assert.equal(latency.count, 4)
  assert.ok((latency.summary().max ?? 0) >= 999)
})
