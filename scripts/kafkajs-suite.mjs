/**
 * Runs kafkajs's own tests against a broker with a fresh data directory:
 *
 *   KAFKAJS_TESTS=DIR node scripts/kafkajs-suite.mjs [--only admin,seek] …
 *
 * DIR is a checkout with its packages installed. What runs and why the rest does not stands in
 * test/suites/kafkajs.json; `--help` says the rest. Exits with 1 when an allowed test fails.
 */
import {
  main,
  prepareNative,
  preparePackages,
  prepareTypeScript,
  runBuilt,
} from './lib/prepare.mjs'

await main(async () => {
  await preparePackages()
  await prepareTypeScript('build')
  await prepareTypeScript('dist')
  await prepareNative()
  await runBuilt('test/suites/kafkajs-run.js')
})
