import assert from 'node:assert/strict'
import { test } from 'node:test'
import { oneInThousand } from '../../src/base/quantile.ts'
import { Random } from '../../src/base/random.ts'

test('oneInThousand, is what at most one of a thousand samples is above', () => {
  assert.equal(oneInThousand(new Float64Array(0)), 0)
  assert.equal(oneInThousand(Float64Array.of(3, 9, 4)), 9)
  for (const count of [999, 1000, 1999, 2000, 4096]) {
    const random = new Random(count)
    const samples = Float64Array.from({ length: count }, () => random.below(500))
    const sorted = [...samples].sort((a, b) => b - a)
    assert.equal(oneInThousand(samples), sorted[Math.floor(count / 1000)], `of ${count}`)
  }
})
