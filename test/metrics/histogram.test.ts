import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Histogram, LATENCY_BOUNDS_MS } from '../../src/metrics/histogram.ts'

describe('Histogram', () => {
  test('counts a value at a bound in the bucket of that bound, and one above it in the next', () => {
    const histogram = new Histogram([1, 10])
    for (const ms of [0, 1, 1.001, 10, 10.5, 1e9]) histogram.observe(ms)
    assert.deepEqual([...histogram.cells.subarray(0, 3)], [2, 2, 2])
    assert.equal(histogram.count, 6)
  })

  test('agrees with counting one by one', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 20_000, noNaN: true })), (values) => {
        const histogram = new Histogram()
        for (const value of values) histogram.observe(value)
        let before = -1
        for (const [i, bound] of LATENCY_BOUNDS_MS.entries()) {
          const expected = values.filter((value) => value > before && value <= bound).length
          assert.equal(histogram.cells[i], expected)
          before = bound
        }
        assert.equal(histogram.count, values.length)
        const sum = values.reduce((total, value) => total + value, 0)
        assert.ok(Math.abs(histogram.sumMs - sum) <= 1e-9 * Math.max(1, sum))
      }),
    )
  })
})
