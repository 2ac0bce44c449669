import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  gigabytes,
  partOf,
  ratioToBase,
  reportSection,
  sumOfPart,
} from '../../bench/lib/measurement-report.ts'
import { run } from './fixtures.ts'

const millrace = [
  run('millrace', 1, { main: 0.3, 'shard-0': 0.2, 'shard-1': 0.1, other: 0.05 }),
  run('millrace', 2, { main: 0.6, 'shard-0': 0.4, 'shard-1': 0.2, other: 0.1 }),
  run('millrace', 1, { main: 0.5, 'shard-0': 0.2, 'shard-1': 0.1, other: 0.05 }),
]
const limit = [run('limit', 2, { main: 0.4 }), run('limit', 2.5, { main: 0.5 })]

test('partOf puts every thread that owns partitions into one part', () => {
  const parts = ['main', 'shard-3', 'writer-0', 'other'].map(partOf)
  assert.deepEqual(parts, ['main', 'partitions', 'partitions', 'other'])
})

test('sumOfPart adds up the shards', () => {
  const [first] = millrace
  assert.ok(first !== undefined)
  const seconds = sumOfPart(first, 'partitions', (use) => use.cpuSeconds)
  assert.equal(seconds.toFixed(6), '0.300000')
})

test('ratioToBase divides medians, not single runs', () => {
  const perGb = (of: (typeof limit)[number]) => of.use.cpuSeconds / gigabytes(of)
  assert.equal(ratioToBase(millrace, limit, perGb).toFixed(3), '3.250')
  assert.ok(Number.isNaN(ratioToBase(millrace, [], perGb)))
})

test('reportSection writes medians with ranges, by thread, and the ratio to the limit', () => {
  const text = reportSection('title', [...millrace, ...limit], 'limit')
  const rows = text.split('\n').filter((line) => line.startsWith('| millrace'))
  assert.ok(rows[0]?.includes('1.00 (1.00–2.00)'), rows[0])
  assert.ok(rows[0]?.includes('0.650 (0.650–0.850)'), rows[0])
  assert.ok(rows[1]?.includes('3.25'), rows[1])
  assert.ok(rows[2]?.includes('| 0.300 (0.300–0.500) | 0.300 | 0.0500 |'), rows[2])
  assert.ok(!text.includes('do not count'))
})

test('reportSection says which runs do not count and which ended early', () => {
  const bad = run('limit', 1, { main: 1 }, { verified: false, problem: 'lost', stoppedBy: 'bytes' })
  const text = reportSection('title', [bad, ...limit], 'limit')
  assert.match(text, /1 of 3 runs do not count\*\*; first: lost/)
  assert.match(text, /1 of 3 runs ended early/)
})
