/**
 * Runs librdkafka's own tests against a broker with a fresh data directory:
 *
 *   LIBRDKAFKA_TESTS=DIR node scripts/librdkafka-suite.mjs [--group-protocol consumer] …
 *
 * DIR holds a test-runner that has been built. What runs and why the rest does not stands in
 * test/suites/librdkafka.json; `--help` says the rest. Exits with 1 when an allowed test fails.
 */
import { join } from 'node:path'
import {
  main,
  prepareNative,
  preparePackages,
  prepareTypeScript,
  root,
  run,
} from './lib/prepare.mjs'

await main(async () => {
  await preparePackages()
  await prepareTypeScript('build')
  await prepareTypeScript('dist')
  await prepareNative()
  const { code } = await run(process.execPath, [
    '--enable-source-maps',
    join(root, 'build/test/suites/librdkafka-run.js'),
    ...process.argv.slice(2),
  ])
  process.exitCode = code ?? 1
})
