/**
 * Runs the simulations for longer than `npm test` does:
 *
 *   npm run simulate -- --seeds 100000 --from 5000 [--minutes 30] [--twice]
 *       [--what broker|raft|replication|cluster|endurance]
 *
 * broker (the default) is one broker's log and shards on a disk that fails, raft a quorum,
 * replication a cluster's partitions, cluster whole brokers with clients, for seconds in which
 * something breaks all the time, endurance the same for 6 to 24 hours a seed: timings of
 * production, light traffic, long calm and now and then a storm (--focus calm: none; --focus short:
 * minutes instead of hours). Prints each seed that breaks an invariant, and at the end how often
 * each fault struck, which states were reached, seeds a minute, and the time of a cluster that was
 * simulated, in all and a minute. A failing seed runs alone, line by line, with
 * MILLRACE_JOURNAL=1 … --seeds 1 --from SEED.
 *
 *   npm run simulate -- --plants [--what …] [--name TEXT] [--trials 5] [--json FILE]
 *
 * measures how long bugs that are planted take to be found; with --help it says more.
 */
import { main, preparePackages, prepareTypeScript, runBuilt } from './lib/prepare.mjs'

await main(async () => {
  await preparePackages()
  await prepareTypeScript('build')
  const program = process.argv.includes('--plants') ? 'measure-plants' : 'run-seeds'
  await runBuilt(`test/simulation/${program}.js`)
})
