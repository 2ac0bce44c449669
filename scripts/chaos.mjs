/**
 * A cluster of real brokers with real clients under real faults, and everything judged:
 *
 *   npm run chaos -- --seed 7 --minutes 30 --brokers 5 [--faults kill,cut,power]
 *
 * Needs root, network namespaces and what scripts/install-test-clients.sh installs. Prints each
 * fault, and at the end what was sent, acknowledged and found. What is wrong keeps its history and
 * is said with the line that runs it again.
 */
import { main, preparePackages, prepareTypeScript, runBuilt } from './lib/prepare.mjs'

await main(async () => {
  await preparePackages()
  await prepareTypeScript('build')
  await prepareTypeScript('dist')
  await runBuilt('test/chaos/command.js')
})
