/**
 * Runs seeds and prints what they found, as a program: for long runs (scripts/simulate.mjs) and for
 * the planted bugs, which run a changed copy of the compiled tree.
 *
 *   node run-seeds.js [--what broker|raft|replication|cluster|endurance] --seeds N [--from S]
 *       [--minutes M] [--focus F] [--twice] [--json] [--stop]
 *
 * broker: the shards of one broker on a disk that fails; raft: a quorum of nodes and a network;
 * replication: partitions of a cluster, their leaders and followers; cluster: whole brokers, with
 * everything that is real in them, and their clients; endurance: the same for many hours each, with
 * timings of production, of which most are calm.
 * --focus has every seed look at one thing, where others look at it now and then: reigns (of raft
 * and cluster), late messages (of replication), calm (nothing breaks) or short (lives) of
 * endurance; see their plans. --minutes ends the run after the seed that is under way.
 * --twice runs each seed again and compares the traces. A failure says how to run it alone.
 */
import { parseArgs } from 'node:util'
import { type ClusterSeedResult, type SeedResult, Violation } from './violation.ts'

const PROGRESS_MS = 5000

const { values } = parseArgs({
  options: {
    what: { type: 'string', default: 'broker' },
    focus: { type: 'string' },
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    minutes: { type: 'string' },
    twice: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    stop: { type: 'boolean', default: false },
  },
})

type Simulate = (
  seed: number,
  focus: string | null,
) => SeedResult | ClusterSeedResult | Promise<ClusterSeedResult | SeedResult>

/** Loaded when they are run: a cluster's is most of the broker. */
const SIMULATIONS: Readonly<Record<string, () => Promise<Simulate>>> = {
  broker: async () => (await import('./harness.ts')).runSeed,
  raft: async () => (await import('./raft/raft-harness.ts')).runRaftSeed,
  replication: async () => {
    return (await import('./replication/replication-harness.ts')).runReplicationSeed
  },
  cluster: async () => (await import('./cluster/cluster-harness.ts')).runClusterSeed,
  endurance: async () => (await import('./cluster/cluster-harness.ts')).runEnduranceSeed,
}
if (!Object.hasOwn(SIMULATIONS, values.what)) {
  process.stderr.write(`--what ${values.what}: there are ${Object.keys(SIMULATIONS).join()}\n`)
  process.exit(2)
}
const load = SIMULATIONS[values.what] as () => Promise<Simulate>
const simulate = await load()
const run = (seed: number) => simulate(seed, values.focus ?? null)
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
    const before = totals[what] ?? 0
    totals[what] = what.startsWith('most ') ? Math.max(before, count) : before + count
  }
  const isSame = !values.twice || (await run(seed)).trace === result.trace
  const violation = isSame ? result.violation : new Violation('equal seeds run equally', '')
  if (violation !== null) {
    const { invariant, message } = violation
    failures.push({ seed, invariant, message })
    if (!values.json) {
      const rerun = `npm run simulate -- --what ${values.what} --from ${seed} --seeds 1`
      process.stdout.write(`seed ${seed}: ${message}\n  rerun: ${rerun}\n`)
    }
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
const simulatedHours = simulatedMs / 3_600_000
const seedsAMinute = Number(((done / seconds) * 60).toFixed(2))
const hoursAMinute = Number(((simulatedHours / seconds) * 60).toFixed(3))
if (values.json) {
  const speed = { seconds, seedsAMinute, simulatedHours, hoursAMinute }
  process.stdout.write(JSON.stringify({ seeds: done, failures, totals, ...speed }))
} else {
  process.stdout.write(
    `seeds ${from} to ${from + done - 1} in ${seconds} s (${seedsAMinute} a minute), ${steps} ${values.what === 'broker' ? 'rounds of turns' : 'events'}\n`,
  )
  if (simulatedMs > 0) {
    process.stdout.write(
      `  simulated: ${simulatedHours.toFixed(2)} hours of a cluster (${hoursAMinute} a minute)\n`,
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
