/**
 * `npm test`: makes what is missing or stale, then checks everything in the order in which failures
 * are cheapest to find: format and lint, types, import rules, Rust, the clients that tests need,
 * the tests. The first step that fails ends the run. The runner's own count comes last.
 *
 * `npm test -- wire/kafka crash` runs only the test files whose path contains one of the words.
 */
import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { prepareBrowserBundle } from './lib/browser-bundle.mjs'
import {
  bin,
  filesBelow,
  main,
  onPath,
  prepareNative,
  preparePackages,
  prepareTypeScript,
  root,
  run,
  StepError,
  say,
  tail,
} from './lib/prepare.mjs'

/** A file of tests that is not done by then hangs. */
const FILE_TIMEOUT_MS = 15 * 60_000

const words = process.argv.slice(2)
const inCi = Boolean(process.env.CI)

/** Runs one check; its output is shown when it fails, and not otherwise. */
async function check(name, command, args, options = {}) {
  const startedMs = performance.now()
  const { code, output } = await run(command, args, { quiet: true, ...options })
  if (code !== 0) throw new StepError(`${name} failed:\n${tail(output, 200)}`)
  const took = ((performance.now() - startedMs) / 1000).toFixed(1)
  say(`${name}: passed in ${took} s`)
  return output
}

async function checkRust() {
  const cwd = join(root, 'native')
  if (!existsSync(join(cwd, 'Cargo.toml')) || !onPath('cargo')) return
  const rustfmt = await run('cargo', ['fmt', '--version'], { quiet: true, cwd })
  if (rustfmt.code === 0) await check('cargo fmt', 'cargo', ['fmt', '--check'], { cwd })
  await check('cargo test', 'cargo', ['test', '--quiet'], { cwd })
}

/** The clients that the end-to-end tests drive: CI installs them, people are told how. */
async function checkClients() {
  const script = join(root, 'scripts/install-test-clients.sh')
  if (!existsSync(script)) return
  if (inCi) {
    say('installing the clients that the tests drive …')
    const { code } = await run('bash', [script])
    if (code !== 0) throw new StepError('scripts/install-test-clients.sh failed')
    return
  }
  const missing = []
  if (!onPath('kcat')) missing.push('kcat')
  if (!onPath('java')) missing.push('java')
  if (!existsSync(join(root, '.cache/java/fingerprint'))) missing.push("Kafka's Java client")
  if (!existsSync(join(root, '.cache/node-clients/fingerprint')))
    missing.push('@platformatic/kafka')
  for (const module of ['kafka', 'confluent_kafka']) {
    const { code } = await run('/usr/bin/python3', ['-c', `import ${module}`], { quiet: true })
    if (code !== 0) missing.push(`python3-${module.replace('_', '-')}`)
  }
  if (!onPath('chromium')) missing.push('chromium')
  if (!onPath('prometheus')) missing.push('prometheus')
  if (missing.length > 0) {
    say(`not installed: ${missing.join(', ')}. Tests that drive these clients need them;`)
    say('  scripts/install-test-clients.sh installs them')
  }
}

function selectTests() {
  const files = filesBelow('build/test', (name) => name.endsWith('.test.js'))
  if (words.length === 0) return files
  const selected = files.filter((path) => words.some((word) => path.includes(word)))
  if (selected.length === 0) {
    throw new StepError(`no test file's path contains ${words.join(' or ')}`)
  }
  return selected
}

async function runTests() {
  const files = selectTests()
  const concurrency = Math.min(8, Math.max(2, availableParallelism()))
  say(`running ${files.length} test files, ${concurrency} at a time`)
  const { code, signal } = await run(process.execPath, [
    '--test',
    '--enable-source-maps',
    `--test-concurrency=${concurrency}`,
    `--test-timeout=${FILE_TIMEOUT_MS}`,
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    ...files,
  ])
  if (code !== 0) {
    throw new StepError(signal ? `the tests were ended by ${signal}` : 'tests failed (see above)')
  }
}

await main(async () => {
  await preparePackages()
  if (words.length === 0) await check('biome', bin('biome'), ['check', '.'])
  await prepareTypeScript('build')
  await prepareTypeScript('dist')
  await prepareBrowserBundle()
  if (words.length === 0) await check('tidy', process.execPath, ['build/scripts/tidy.js'])
  const addon = await prepareNative({ retry: true })
  if (addon === 'failed') throw new StepError('the addon does not build (see above)')
  if (words.length === 0) await checkRust()
  await checkClients()
  await runTests()
})
