/** The quorum's simulation in small; `npm run simulate` runs more of it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runRaftSeed } from './raft-harness.ts'

const SEEDS = 100

test(`a quorum, ${SEEDS} seeds, breaks no invariant`, (context) => {
  const totals: Record<string, number> = {}
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violation, counters } = runRaftSeed(seed)
    if (violation !== null) {
      assert.fail(
        `${violation.message}\nrerun: npm run simulate -- --what raft --from ${seed} --seeds 1`,
      )
    }
    for (const [what, count] of Object.entries(counters)) {
      totals[what] = (totals[what] ?? 0) + count
    }
  }
  context.diagnostic(JSON.stringify(totals))
  for (const what of STATES) assert((totals[what] ?? 0) > 0, `no seed reached: ${what}`)
})

test('a seed, run twice, leaves the same trace', () => {
  for (const seed of [3, 11, 42]) assert.deepEqual(runRaftSeed(seed), runRaftSeed(seed))
})

const STATES = [
  'elections',
  'acknowledged entries',
  'kills',
  'power losses',
  'pauses',
  'partitions',
  'one-way cuts',
  'flapping links',
  'wiped disks',
  'voters added',
  'voters removed',
  'voters replaced',
  'transfers',
  'snapshots taken',
  'snapshots installed',
  'truncations',
  'truncations over several epochs',
]
