/**
 * Fuzzes the decoders and what reads files, for longer than `npm test` does:
 *
 *   node scripts/fuzz.mjs [--target kafka-request] [--seconds 300] [--seed 1] [--keep]
 *
 * Prints executions, blocks covered and findings; a finding says its seed, its input and how to run
 * it again. `--keep` adds inputs that reached something new to test/fuzz/corpus.
 */
import { main, preparePackages, prepareTypeScript, runBuilt } from './lib/prepare.mjs'

await main(async () => {
  await preparePackages()
  await prepareTypeScript('build')
  await runBuilt('test/fuzz/run-fuzz.js')
})
