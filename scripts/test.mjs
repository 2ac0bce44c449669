/**
 * `npm test`: makes what is missing or stale, then checks everything: format and lint, types and
 * import rules, beside them Rust and the clients that tests need, then the tests. The first step
 * that fails ends the run. The runner's own count comes last. A file of tests with real processes
 * that fails is run once more, alone.
 *
 * `npm test -- raft crash` runs only the test files whose path contains one of the words.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join, relative } from 'node:path'
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

/** Folders of `test` whose files run in one process: what they test has no state outside. */
const TOGETHER = [
  ...['base', 'bench', 'broker', 'broker/cluster', 'broker/handlers', 'cli', 'client', 'cluster'],
  ...['config', 'coordinator', 'gateway', 'gateway/rest', 'gateway/websocket', 'load', 'metadata'],
  ...['metrics', 'native', 'raft', 'record', 'replication', 'ring', 'scripts', 'shard', 'storage'],
  ...['suites', 'wire'],
]
/** Files that take minutes each, one thing after the other: at the end they would run alone. */
const LONG = [
  'build/test/simulation/cluster/cluster-simulation.test.js',
  'build/test/simulation/planted-bugs.test.js',
]
/**
 * Tests of real processes and of clients that are not ours. One that fails beside the others, on a
 * full machine, is run once more: both results are shown, and the file is named at the end.
 */
const REAL = ['build/test/e2e/', 'build/test/chaos/', 'build/test/crash/']
/** More than these is no chance. */
const AGAIN_MAX = 2
/** Where the runner says which files failed. */
const FAILED = 'build/failed-files.txt'
/** Where it says which ones took longest: what keeps the whole below a quarter of an hour. */
const SLOW = 'build/slow-files.txt'
/** Sorts before all others: the runner takes files by their names. */
const GROUPS = 'build/test/_together'

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
  // Beside the release's build, which locks its folder. Nobody debugs what it makes.
  const env = { ...process.env, CARGO_PROFILE_DEV_DEBUG: '0', CARGO_TARGET_DIR: 'target/tests' }
  await check('cargo test', 'cargo', ['test', '--quiet'], { cwd, env })
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
  if (process.platform === 'linux' && !onPath('nft')) missing.push('nftables')
  if (missing.length > 0) {
    say(`not installed: ${missing.join(', ')}. Tests that drive these clients need them;`)
    say('  scripts/install-test-clients.sh installs them')
  }
}

/**
 * One file that imports all of a folder, for each of `TOGETHER`, in the place of those: a process
 * for each of a hundred small files takes longer to start than to test. They begin the run, and
 * those of `LONG` before them, each in a file of its own.
 */
function grouped(files) {
  const groups = new Map(LONG.map((file, i) => [`build/test/${i}`, [file]]))
  for (const name of TOGETHER) groups.set(join('build/test', name), [])
  const others = files.filter((file) => !LONG.includes(file))
  const alone = others.filter((file) => !groups.get(dirname(file))?.push(file))
  rmSync(join(root, GROUPS), { recursive: true, force: true })
  mkdirSync(join(root, GROUPS))
  const made = [...groups].map(([folder, members]) => {
    const name = relative('build/test', folder).replaceAll('/', '-')
    const path = join(GROUPS, `${name}.test.js`)
    const imports = members.map((file) => `import '${relative(GROUPS, file)}'\n`)
    writeFileSync(join(root, path), imports.join(''))
    return path
  })
  return [...made, ...alone]
}

function selectTests() {
  const files = filesBelow('build/test', (name) => name.endsWith('.test.js')).filter((path) => {
    return !path.startsWith(GROUPS)
  })
  if (words.length === 0) return grouped(files)
  const selected = files.filter((path) => words.some((word) => path.includes(word)))
  if (selected.length === 0) {
    throw new StepError(`no test file's path contains ${words.join(' or ')}`)
  }
  return selected
}

function runFiles(files, concurrency) {
  rmSync(join(root, FAILED), { force: true })
  return run(process.execPath, [
    '--test',
    '--enable-source-maps',
    `--test-concurrency=${concurrency}`,
    `--test-timeout=${FILE_TIMEOUT_MS}`,
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    '--test-reporter=./scripts/lib/failed-files.mjs',
    `--test-reporter-destination=${FAILED}`,
    '--test-reporter=./scripts/lib/slow-files.mjs',
    `--test-reporter-destination=${SLOW}`,
    ...files,
  ])
}

/** Compiled files in which something has failed; null when that is not known. */
function failedFiles() {
  if (!existsSync(join(root, FAILED))) return null
  const lines = readFileSync(join(root, FAILED), 'utf8').split('\n').filter(Boolean)
  return lines.map((path) => {
    const file = relative(root, path).replace(/\.ts$/, '.js')
    return file.startsWith('test/') ? `build/${file}` : file
  })
}

async function runTests() {
  const files = selectTests()
  // One more than cores: tests of real processes wait a third of their time.
  const concurrency = Math.min(8, availableParallelism() + 1)
  say(`running ${files.length} test files, ${concurrency} at a time; the longest: ${SLOW}`)
  const { code, signal } = await runFiles(files, concurrency)
  if (code === 0) return
  if (signal) throw new StepError(`the tests were ended by ${signal}`)
  const failed = failedFiles()
  const isSmall = failed !== null && failed.length > 0 && failed.length <= AGAIN_MAX
  const mayBeChance = isSmall && failed.every((file) => REAL.some((one) => file.startsWith(one)))
  if (!mayBeChance) throw new StepError('tests failed (see above)')
  const names = failed.join(', ')
  say(`FAILED: ${names}. Once more, alone:`)
  const again = await runFiles(failed, 1)
  if (again.code !== 0) throw new StepError(`tests failed twice: ${names}`)
  say(`FLAKY: ${names} failed beside the others and passed alone; why is to be found out`)
}

/** Formatting, types, import rules; what the compiler leaves is what everything else runs. */
async function checkSources() {
  if (words.length === 0) await check('biome', bin('biome'), ['check', '.'])
  await prepareTypeScript('build')
  await prepareTypeScript('dist')
  await prepareBrowserBundle()
  if (words.length === 0) await check('tidy', process.execPath, ['build/scripts/tidy.js'])
}

await main(async () => {
  await preparePackages()
  // Some of it downloads, some of it has one thread. A failure waits for the others: what they
  // were about to install is whole.
  const done = await Promise.allSettled([
    prepareNative({ retry: true }),
    checkSources(),
    checkClients(),
    words.length === 0 ? checkRust() : null,
  ])
  for (const step of done) if (step.status === 'rejected') throw step.reason
  if (done[0].value === 'failed') throw new StepError('the addon does not build (see above)')
  await runTests()
})
