import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkThrottledReplicas, throttledPartitions } from '../../src/config/throttled-replicas.ts'

test('checkThrottledReplicas, takes all, pairs or nothing', () => {
  for (const items of [[], ['*'], ['0:1'], ['0:1', '12:3']]) {
    assert.equal(checkThrottledReplicas(items), null)
  }
  for (const items of [['*', '0:1'], ['all'], ['0'], ['0:'], ['0:1:2'], ['-1:2']]) {
    assert.match(checkThrottledReplicas(items) ?? '', /partition:broker/)
  }
})

test('throttledPartitions, are those of one broker', () => {
  assert.equal(throttledPartitions(' * ', 1), 'all')
  assert.deepEqual(throttledPartitions('', 1), new Set())
  assert.deepEqual(throttledPartitions('0:1, 1:2,7:1', 1), new Set([0, 7]))
})
