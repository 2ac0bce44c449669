/**
 * Runs the simulation of the log and its shards for longer than `npm test` does:
 *
 *   node scripts/simulate.mjs --seeds 100000 --from 5000 [--minutes 30]
 *
 * Prints each seed that breaks an invariant, and at the end how often each fault struck. A failing
 * seed runs alone, line by line, with MILLRACE_JOURNAL=1 … --seeds 1 --from SEED.
 */
import { join } from 'node:path'
import { main, preparePackages, prepareTypeScript, root, run } from './lib/prepare.mjs'

await main(async () => {
  await preparePackages()
  await prepareTypeScript('build')
  const program = join(root, 'build/test/simulation/run-seeds.js')
  const { code } = await run(process.execPath, [
    '--enable-source-maps',
    program,
    ...process.argv.slice(2),
  ])
  process.exitCode = code ?? 1
})
