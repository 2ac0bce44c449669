/**
 * Runs the simulation of the log and its shards for longer than `npm test` does:
 *
 *   node scripts/simulate.mjs --seeds 100000 --from 5000 [--minutes 30]
 *
 * Prints each seed that breaks an invariant, and at the end how often each fault struck. A failing
 * seed runs alone, line by line, with MILLRACE_JOURNAL=1 … --seeds 1 --from SEED.
 */
import { main, preparePackages, prepareTypeScript, runBuilt } from './lib/prepare.mjs'

await main(async () => {
  await preparePackages()
  await prepareTypeScript('build')
  await runBuilt('test/simulation/run-seeds.js')
})
