/** What nodes' event loops were like between two looks at their metrics. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { delaysBetween, parseDelays, quantileOf } from '../../bench/lib/loop-watch.ts'

const METRICS = `# TYPE millrace_event_loop_delay_seconds histogram
millrace_event_loop_delay_seconds_bucket{le="0.01"} 90
millrace_event_loop_delay_seconds_bucket{le="0.075"} 99
millrace_event_loop_delay_seconds_bucket{le="+Inf"} 100
millrace_event_loop_delay_seconds_count 100
`

test('delays, are read from the metrics and told by the bounds of their buckets', () => {
  const delays = parseDelays(METRICS)
  assert.deepEqual(delays, [
    [10, 90],
    [75, 99],
    [Infinity, 100],
  ])
  const quantiles = [0.5, 0.99, 0.999].map((quantile) => quantileOf(delays, quantile))
  assert.deepEqual(quantiles, [10, 75, Infinity])
})

test('delays between two looks, are what has come; of another process all of them', () => {
  const before = parseDelays(METRICS)
  const after = before.map(([bound, count]) => [bound, count + 10] as const)
  assert.deepEqual(
    delaysBetween(before, after).map(([, count]) => count),
    [10, 10, 10],
  )
  const restarted = before.map(([bound]) => [bound, 3] as const)
  assert.deepEqual(delaysBetween(before, restarted), restarted)
  assert.deepEqual(delaysBetween([], before), before)
  assert.ok(Number.isNaN(quantileOf(delaysBetween(before, before), 0.5)))
})
