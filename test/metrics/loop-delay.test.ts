import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LOOP_DELAY_BOUNDS_MS, LoopDelay } from '../../src/metrics/loop-delay.ts'

test('a timer that was kept waiting is seen, by how long', async () => {
  const delay = new LoopDelay()
  const until = performance.now() + 400
  while (performance.now() < until);
  while (delay.histogram.count === 0) await new Promise((resolve) => setTimeout(resolve, 1))
  delay.close()
  assert.equal(delay.oneInThousandMs, 0, 'few samples say nothing of one in a thousand')
  // Due 50 ms after the start, and run 400 ms after it at the earliest.
  const from = LOOP_DELAY_BOUNDS_MS.indexOf(300) + 1
  const late = delay.histogram.cells.subarray(from, LOOP_DELAY_BOUNDS_MS.length + 1)
  assert.equal(
    late.reduce((sum, count) => sum + count, 0),
    1,
  )
})
