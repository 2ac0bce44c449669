/**
 * Runs librdkafka's own tests against a broker with a fresh data directory:
 *
 *   LIBRDKAFKA_TESTS=DIR node scripts/librdkafka-suite.mjs [--group-protocol consumer] …
 *
 * DIR holds a test-runner that has been built. What runs and why the rest does not stands in
 * test/suites/librdkafka.json; `--help` says the rest. Exits with 1 when an allowed test fails.
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
  await runBuilt('test/suites/librdkafka-run.js')
})
