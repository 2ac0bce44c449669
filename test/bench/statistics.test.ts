import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  formatNumber,
  formatSpread,
  markdownTable,
  median,
  parseBytes,
  ratio,
  spreadOf,
} from '../../bench/lib/statistics.ts'

test('median takes the middle, or the mean of the middle two, and does not sort its input', () => {
  const values = [9, 1, 5]
  assert.equal(median(values), 5)
  assert.deepEqual(values, [9, 1, 5])
  assert.equal(median([4, 1, 3, 100]), 3.5)
  assert.equal(median([10, 9, 100]), 10, 'by number, not by text')
  assert.ok(Number.isNaN(median([])))
})

test('spreadOf keeps the range', () => {
  assert.deepEqual(spreadOf([3, 1, 2]), { median: 2, min: 1, max: 3, count: 3 })
})

test('ratio divides, and is not a number when the base is missing', () => {
  assert.equal(ratio(3, 2), 1.5)
  assert.ok(Number.isNaN(ratio(3, 0)))
  assert.ok(Number.isNaN(ratio(3, Number.NaN)))
})

test('formatNumber writes three significant digits', () => {
  assert.equal(formatNumber(0.12345), '0.123')
  assert.equal(formatNumber(1.2345), '1.23')
  assert.equal(formatNumber(12.345), '12.3')
  assert.equal(formatNumber(1234567.8), '1,234,568')
  assert.equal(formatNumber(0), '0')
  assert.equal(formatNumber(Number.NaN), '–')
})

test('formatSpread leaves out a range that is none', () => {
  assert.equal(formatSpread(spreadOf([1, 2, 3])), '2.00 (1.00–3.00)')
  assert.equal(formatSpread(spreadOf([2, 2])), '2.00')
  assert.equal(formatSpread(spreadOf([])), '–')
})

test('markdownTable aligns all but the first column to the right', () => {
  const lines = ['| a | b |', '| --- | ---: |', '| x | 1 |']
  assert.equal(markdownTable(['a', 'b'], [['x', '1']]), lines.join('\n'))
})

test('parseBytes reads sizes in powers of 1024', () => {
  assert.equal(parseBytes('4G'), 2 ** 32)
  assert.equal(parseBytes('512MiB'), 2 ** 29)
  assert.equal(parseBytes('1.5k'), 1536)
  assert.equal(parseBytes('17'), 17)
  for (const text of ['', 'G', '-1', '4X', '4 potatoes']) assert.equal(parseBytes(text), undefined)
})
