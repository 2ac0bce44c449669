/**
 * The real shard, log and recovery on a simulated clock and disk, seed after seed. What must hold
 * stands in checker.ts; what may go wrong in plan.ts and sim-disk.ts. `scripts/simulate.mjs` runs
 * more.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runSeed } from './harness.ts'

const SEEDS = 200
const SEEDS_TWICE = 20

/** MILLRACE_SEED asks for that one alone. */
const asked = process.env.MILLRACE_SEED
const seeds =
  asked === undefined ? Array.from({ length: SEEDS }, (_, index) => index + 1) : [Number(asked)]

/** Every kind of fault and of work must happen in those seeds, or they prove little. */
const KINDS = [
  'ENOSPC',
  'appends acknowledged',
  'appends refused by the disk',
  'clean shutdowns',
  'compactions',
  'crashes inside a call',
  'deletions by retention',
  'failed flushes',
  'logs emptied by retention',
  'names lost',
  'power losses',
  'process kills',
  'reads served',
  'record deletions',
  'short writes',
  'time jumps',
  'truncations',
  'wakes',
]

test(`simulation, keeps every invariant, over ${seeds.length} seeds`, async (context) => {
  const totals = new Map<string, number>()
  for (const seed of seeds) {
    const { violation, counters } = await runSeed(seed)
    if (violation !== null) {
      const rerun = `MILLRACE_SEED=${seed} npm test -- simulation/simulation`
      assert.fail(`seed ${seed}; run again with: ${rerun}\n${violation.message}`)
    }
    for (const [kind, count] of Object.entries(counters)) {
      totals.set(kind, (totals.get(kind) ?? 0) + count)
    }
  }
  if (asked !== undefined) return
  for (const kind of KINDS) assert((totals.get(kind) ?? 0) >= 10, `hardly any ${kind}`)
  context.diagnostic([...totals].map(([kind, count]) => `${kind} ${count}`).join(', '))
})

test('simulation, takes the same course, when a seed runs again', async () => {
  const first = []
  for (const seed of seeds.slice(0, SEEDS_TWICE)) first.push((await runSeed(seed)).trace)
  const second = []
  for (const seed of seeds.slice(0, SEEDS_TWICE)) second.push((await runSeed(seed)).trace)
  assert.deepEqual(second, first)
  assert.equal(new Set(first).size, first.length, 'different seeds take different courses')
})
