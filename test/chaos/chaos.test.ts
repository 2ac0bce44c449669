/**
 * A short run on real processes: every kind of fault that a network and processes can have, drawn
 * from a seed, and everything judged. `npm run chaos` does it for longer, and to disks.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testSeed } from '../support/seed.ts'
import { runChaos, whatIsMissing, whyNoChaos } from './chaos.ts'
import type { FaultKind } from './faults.ts'

const KINDS: readonly FaultKind[] = ['kill', 'stop', 'cut', 'restart', 'power']
const FAULTS = 5
const EVENTS_PER_SECOND = 400
/** Nothing in it takes a tenth of this. */
const TIMEOUT_MS = 10 * 60_000

const reason = whyNoChaos()
// Where CI has everything that a run needs, one that is not possible is an error of its own.
if (reason !== null && whatIsMissing() === null && process.env.CI === 'true') {
  throw new Error(reason)
}
const skip = reason === null ? false : `SKIPPED: ${reason}`
const seed = testSeed()

test(`a cluster loses, doubles and reorders nothing under faults, seed ${seed}`, {
  skip,
  timeout: TIMEOUT_MS,
}, async (t) => {
  const { problems, directory, verdict } = await runChaos({
    seed,
    brokers: 3,
    kinds: KINDS,
    faultsMax: FAULTS,
    minutesMax: null,
    eventsPerSecond: EVENTS_PER_SECOND,
    isKept: false,
    say: (line) => t.diagnostic(line),
  })
  const again = `MILLRACE_SEED=${seed} npm test -- chaos/chaos`
  const found = [`history: ${directory}`, `again: ${again}`, ...problems]
  assert.deepEqual(problems, [], found.join('\n'))
  assert.ok((verdict?.counts.acknowledged ?? 0) > 0, 'a run without load')
  assert.ok((verdict?.counts.read ?? 0) > 0, 'a run without readers')
})
