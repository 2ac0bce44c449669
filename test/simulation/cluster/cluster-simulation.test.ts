/**
 * The simulation of whole clusters in small; `npm run simulate -- --what cluster` runs more of it.
 * In a process of its own: there Node's timers, clocks, sockets and files are the simulation's.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const PROGRAM = fileURLToPath(new URL('../run-seeds.js', import.meta.url))
const TIMEOUT_MS = 120_000

interface Outcome {
  readonly seeds: number
  readonly failures: readonly { seed: number; invariant: string; message: string }[]
  readonly totals: Readonly<Record<string, number>>
}

/** Two seeds between them must have seen these, or they prove little. */
const STATES = [
  'acknowledged batches',
  'batches read',
  'commits of offsets',
  'elections of a controller',
  'elections of a leader',
  'states: ISR below the minimum',
  'states: snapshots taken',
]

/** Where seeds begin that reach it, and how many may have to be tried: a third reach it. */
const EPOCHS_CUT = 'states: truncations over several epochs'
const EPOCHS_CUT_FROM = 18
const EPOCHS_CUT_SEEDS = 6

test('a cluster, two seeds, twice each, breaks no invariant and takes the same course', async () => {
  const { seeds, failures, totals } = await run(['--from', '1', '--seeds', '2', '--twice'])
  expectNone(failures, '--twice')
  assert.equal(seeds, 2)
  for (const what of STATES) assert((totals[what] ?? 0) > 0, `no seed reached: ${what}`)
})

/** A short life must have seen these. */
const STATES_OF_A_LIFE = [
  'acknowledged batches',
  'commits of offsets',
  'elections of a leader',
  'minutes at rest',
]

test('a cluster that lives for long, one short life, twice', async () => {
  const args = ['--focus', 'short', '--from', '14', '--seeds', '1', '--twice']
  const { failures, totals } = await run(args, 'endurance')
  assert.deepEqual(failures, [])
  for (const what of STATES_OF_A_LIFE) assert((totals[what] ?? 0) > 0, `not reached: ${what}`)
})

test('a cluster in which one leads alone, again and again, cuts several epochs at once', async () => {
  for (let i = 0; i < EPOCHS_CUT_SEEDS; i++) {
    const seed = String(EPOCHS_CUT_FROM + i)
    const { failures, totals } = await run(['--focus', 'reigns', '--from', seed, '--seeds', '1'])
    expectNone(failures, '--focus reigns')
    if ((totals[EPOCHS_CUT] ?? 0) > 0) return
  }
  assert.fail(`no seed of ${EPOCHS_CUT_SEEDS} reached: ${EPOCHS_CUT}`)
})

function expectNone([failure]: Outcome['failures'], how: string): void {
  if (failure === undefined) return
  const rerun = `npm run simulate -- --what cluster --from ${failure.seed} --seeds 1 ${how}`
  assert.fail(`${failure.message}\nrerun: ${rerun}`)
}

function run(args: readonly string[], what = 'cluster'): Promise<Outcome> {
  const all = [PROGRAM, '--what', what, '--json', ...args]
  return new Promise((resolve, reject) => {
    execFile(process.execPath, all, { timeout: TIMEOUT_MS }, (error, stdout, stderr) => {
      if (stdout.startsWith('{')) resolve(JSON.parse(stdout) as Outcome)
      else reject(new Error(`the seeds did not run: ${stderr}`, { cause: error }))
    })
  })
}
