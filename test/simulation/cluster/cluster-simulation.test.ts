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

test('a cluster, two seeds, twice each, breaks no invariant and takes the same course', async () => {
  const { seeds, failures, totals } = await run(['--from', '1', '--seeds', '2', '--twice'])
  const [failure] = failures
  if (failure !== undefined) {
    const rerun = `npm run simulate -- --what cluster --from ${failure.seed} --seeds 1 --twice`
    assert.fail(`${failure.message}\nrerun: ${rerun}`)
  }
  assert.equal(seeds, 2)
  for (const what of STATES) assert((totals[what] ?? 0) > 0, `no seed reached: ${what}`)
})

function run(args: readonly string[]): Promise<Outcome> {
  const all = [PROGRAM, '--what', 'cluster', '--json', ...args]
  return new Promise((resolve, reject) => {
    execFile(process.execPath, all, { timeout: TIMEOUT_MS }, (error, stdout, stderr) => {
      if (stdout.startsWith('{')) resolve(JSON.parse(stdout) as Outcome)
      else reject(new Error(`the seeds did not run: ${stderr}`, { cause: error }))
    })
  })
}
