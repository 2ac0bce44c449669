/** The simulation of replication in small; `npm run simulate` runs more of it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runReplicationSeed } from './replication-harness.ts'

const SEEDS = 100

test(`replication, ${SEEDS} seeds, breaks no invariant`, (context) => {
  const totals: Record<string, number> = {}
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violation, counters } = runReplicationSeed(seed)
    if (violation !== null) {
      const rerun = `npm run simulate -- --what replication --from ${seed} --seeds 1`
      assert.fail(`${violation.message}\nrerun: ${rerun}`)
    }
    for (const [what, count] of Object.entries(counters)) {
      totals[what] = (totals[what] ?? 0) + count
    }
  }
  context.diagnostic(JSON.stringify(totals))
  for (const what of STATES) assert((totals[what] ?? 0) > 0, `no seed reached: ${what}`)
})

test('a seed of replication, run twice, leaves the same trace', () => {
  for (const seed of [3, 11, 42]) {
    assert.deepEqual(runReplicationSeed(seed), runReplicationSeed(seed))
  }
})

const STATES = [
  'acknowledged records',
  'kills',
  'power losses',
  'stops in order',
  'pauses',
  'partitions',
  'one-way cuts',
  'elections',
  'elections of an eligible replica',
  'elections of the last known leader',
  'ISR of one',
  'changes of the ISR refused',
  'fetches refused: fenced',
  'changes of the minimum',
  'truncations',
  'truncations over several epochs',
  'writes refused below the minimum',
]
