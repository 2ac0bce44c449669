import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LATENCY_BOUNDS_MS } from '../../src/metrics/histogram.ts'
import { LoopDelay } from '../../src/metrics/loop-delay.ts'

test('a timer that was kept waiting is seen, by how long', async () => {
  const delay = new LoopDelay()
  const until = performance.now() + 400
  while (performance.now() < until);
  while (delay.histogram.count === 0) await new Promise((resolve) => setTimeout(resolve, 1))
  delay.close()
  // Due 50 ms after the start, and run 400 ms after it at the earliest.
  const from = LATENCY_BOUNDS_MS.indexOf(250) + 1
  const late = delay.histogram.cells.subarray(from, LATENCY_BOUNDS_MS.length + 1)
  assert.equal(
    late.reduce((sum, count) => sum + count, 0),
    1,
  )
})
