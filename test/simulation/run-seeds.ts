/**
 * Runs seeds and prints what they found, as a program: for long runs (scripts/simulate.mjs) and for
 * the planted bugs, which run a changed copy of the compiled tree.
 *
 *   node run-seeds.js [--what broker|raft|replication] --seeds N [--from S] [--minutes M]
 *       [--twice] [--json] [--stop]
 *
 * broker: the shards of one broker on a disk that fails; raft: a quorum of nodes and a network;
 * replication: partitions of a cluster, their leaders and followers.
 * --twice runs each seed again and compares the traces.
 */
import { parseArgs } from 'node:util'
import { runSeed } from './harness.ts'
import { runRaftSeed } from './raft/raft-harness.ts'
import { runReplicationSeed } from './replication/replication-harness.ts'
import { Violation } from './violation.ts'

const PROGRESS_MS = 5000

const { values } = parseArgs({
  options: {
    what: { type: 'string', default: 'broker' },
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    minutes: { type: 'string' },
    twice: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    stop: { type: 'boolean', default: false },
  },
})

const SIMULATIONS = { broker: runSeed, raft: runRaftSeed, replication: runReplicationSeed }
if (!Object.hasOwn(SIMULATIONS, values.what)) {
  process.stderr.write(`--what ${values.what}: there are ${Object.keys(SIMULATIONS).join()}\n`)
  process.exit(2)
}
const run = SIMULATIONS[values.what as keyof typeof SIMULATIONS]
const seeds = Number(values.seeds)
const from = Number(values.from)
const deadline = values.minutes === undefined ? Infinity : Number(values.minutes) * 60_000
const totals: Record<string, number> = {}
const failures: { seed: number; invariant: string; message: string }[] = []
const startedMs = performance.now()
let saidMs = startedMs
let steps = 0
let simulatedMs = 0
let done = 0

for (; done < seeds && performance.now() - startedMs < deadline; done++) {
  const seed = from + done
  const result = await run(seed)
  steps += result.steps
  if ('simulatedMs' in result) simulatedMs += result.simulatedMs
  for (const [what, count] of Object.entries(result.counters)) {
    totals[what] = (totals[what] ?? 0) + count
  }
  const isSame = !values.twice || (await run(seed)).trace === result.trace
  const violation = isSame ? result.violation : new Violation('equal seeds run equally', '')
  if (violation !== null) {
    const { invariant, message } = violation
    failures.push({ seed, invariant, message })
    if (!values.json) process.stdout.write(`seed ${seed}: ${message}\n`)
    if (values.stop) {
      done++
      break
    }
  }
  if (!values.json && performance.now() - saidMs > PROGRESS_MS) {
    saidMs = performance.now()
    process.stdout.write(`${done + 1} seeds, ${failures.length} failed\n`)
  }
}

const seconds = Math.round((performance.now() - startedMs) / 10) / 100
if (values.json) process.stdout.write(JSON.stringify({ seeds: done, failures }))
else {
  process.stdout.write(
    `seeds ${from} to ${from + done - 1} in ${seconds} s (${Math.round((done / seconds) * 60)} a minute), ${steps} ${values.what === 'broker' ? 'rounds of turns' : 'events'}\n`,
  )
  if (simulatedMs > 0) {
    process.stdout.write(
      `  simulated: ${(simulatedMs / 3_600_000).toFixed(2)} hours of a cluster\n`,
    )
  }
  for (const [what, count] of Object.entries(totals).sort()) {
    process.stdout.write(`  ${what}: ${count}\n`)
  }
  const byInvariant = new Map<string, number[]>()
  for (const { seed, invariant } of failures) {
    byInvariant.set(invariant, [...(byInvariant.get(invariant) ?? []), seed])
  }
  for (const [invariant, list] of byInvariant) {
    process.stdout.write(
      `FAILED ${list.length} × ${invariant}: seeds ${list.slice(0, 10).join(' ')}\n`,
    )
  }
}
process.exitCode = failures.length > 0 ? 1 : 0
