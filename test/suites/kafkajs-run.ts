/**
 * Runs the tests of kafkajs's own suite that `kafkajs.json` allows, as a program
 * (scripts/kafkajs-suite.mjs): one broker, or the suite's three, on the ports that it has fixed, a
 * process of jest for each spec file, and a table at the end.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { SingleBar } from 'cli-progress'
import { formatTable } from '../../src/cli/output.ts'
import { brokerMain, startBroker } from '../support/broker.ts'
import { startCluster } from '../support/cluster.ts'
import {
  type AllowedFile,
  allowedFiles,
  differencesFrom,
  namePattern,
  readSuiteList,
  type SuiteList,
} from './kafkajs-list.ts'
import { type FileResult, resultOf } from './kafkajs-results.ts'
import { runProcess } from './suite-process.ts'

const USAGE = `KAFKAJS_TESTS=DIR node scripts/kafkajs-suite.mjs [options]

Runs kafkajs's own tests against Millrace. DIR is a checkout of it in which its packages are
installed (npm install --ignore-scripts). The suite connects to localhost:9092: the port must be
free (with --brokers 3: 9095 and 9098, too), or use --external.

  --brokers N    1 or 3, as a cluster (default: 1)
  --only WORDS   comma-separated: spec files whose path contains one of them
  --any          with --only: also the tests that the list does not allow
  --jobs N       spec files at once, up to 8 (default: 2)
  --external     no broker of our own: what listens on localhost:9092, such as Apache Kafka
  --keep         keep the outputs also when everything passes
  --list         print every spec file and what of it runs, run nothing
  --help`

/** The suite's own limit is 90 s for a test. */
const FILE_MS_MAX = 600_000
/** What counts as the broker's version: the suite's own choice. */
const KAFKA_VERSION = '2.4'
const PORT = 9092
/** Of the suite's nodes 0, 1 and 2. */
const PORTS = [PORT, 9095, 9098]
const JOBS_MAX = 8

const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

function fail(message: string): never {
  process.stderr.write(`kafkajs-suite: ${message}\n`)
  process.exit(2)
}

const { values } = parseArgs({
  options: {
    brokers: { type: 'string', default: '1' },
    only: { type: 'string' },
    any: { type: 'boolean', default: false },
    jobs: { type: 'string', default: '2' },
    external: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

interface Run {
  /** The suite's checkout. */
  readonly suite: string
  /** Holds the outputs. */
  readonly folder: string
  readonly jobs: number
}

type Entry = [path: string, file: AllowedFile]

async function main(): Promise<void> {
  if (values.help) return say(USAGE)
  const jobs = Number(values.jobs)
  if (!(Number.isInteger(jobs) && jobs >= 1 && jobs <= JOBS_MAX)) fail(`--jobs: 1 to ${JOBS_MAX}`)
  if (values.brokers !== '1' && values.brokers !== '3') fail('--brokers is 1 or 3')
  const list = readSuiteList(values.brokers === '1' ? 1 : 3)
  if (values.list) return printList(list)
  const suite = checkoutFolder(list)
  const files = selectFiles(list)
  if (files.length === 0) fail('no spec file is selected')
  const folder = mkdtempSync(join(tmpdir(), 'millrace-kafkajs-'))
  writeFileSync(join(folder, 'docker'), DOCKER, { mode: 0o755 })
  const results = await withTestedBroker(list, () => runFiles(files, { suite, folder, jobs }))
  report(results, list, folder)
}

/** Where the suite is; fails when it is not there, not installed, or another one. */
function checkoutFolder(list: SuiteList): string {
  const suite = resolve(process.env.KAFKAJS_TESTS ?? '')
  if (process.env.KAFKAJS_TESTS === undefined || !existsSync(join(suite, 'testHelpers'))) {
    fail('KAFKAJS_TESTS names no checkout of kafkajs (--help)')
  }
  if (!existsSync(join(suite, 'node_modules/jest/bin/jest.js'))) {
    fail(`${suite} has no jest: run npm install --ignore-scripts there`)
  }
  const specs = readdirSync(join(suite, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('spec.js'))
    .map((path) => `src/${path}`)
  const differences = differencesFrom(list, specs)
  if (differences.length > 0) {
    fail(`the list is of commit ${list.commit}:\n  ${differences.join('\n  ')}`)
  }
  const isClone = existsSync(join(suite, '.git'))
  const git = spawnSync('git', ['-C', suite, 'rev-parse', 'HEAD'], { encoding: 'utf8' })
  const commit = isClone && git.status === 0 ? git.stdout.trim() : list.commit
  if (commit !== list.commit) say(`the suite is of ${commit}, the list of ${list.commit}`)
  return suite
}

function selectFiles(list: SuiteList): Entry[] {
  const words = values.only?.split(',')
  const isSelected = (path: string): boolean =>
    words === undefined || words.some((word) => path.includes(word))
  if (!values.any || words === undefined) {
    return allowedFiles(list).filter(([path]) => isSelected(path))
  }
  return Object.entries(list.files)
    .filter(([path]) => isSelected(path))
    .map(([path]) => [path, { passes: null }])
}

function printList(list: SuiteList): void {
  const rows: string[][] = []
  const why = (key: string): string => list.reasons[key] as string
  for (const [folder, key] of Object.entries(list.folders)) rows.push([folder, why(key)])
  for (const [path, file] of Object.entries(list.files)) {
    rows.push([path, typeof file === 'string' ? why(file) : `${file.passes} tests`])
    if (typeof file === 'string') continue
    for (const [name, key] of Object.entries(file.not ?? {})) rows.push([`  ${name}`, why(key)])
  }
  say(formatTable(['spec file', 'runs or why not'], rows))
}

async function withTestedBroker<T>(list: SuiteList, use: () => Promise<T>): Promise<T> {
  if (values.external) return await use()
  const ports = values.brokers === '1' ? [PORT] : PORTS
  for (const port of ports) {
    if (await isFree(port)) continue
    fail(`port ${port} is taken, and the suite has it fixed: end what listens, or --external`)
  }
  if (values.brokers === '3') return await withThreeBrokers(list, use)
  const broker = await startBroker({ port: PORT, set: list.settings, retains: true })
  try {
    return await use()
  } finally {
    await broker.stop()
    broker.cleanUp()
  }
}

async function withThreeBrokers<T>(list: SuiteList, use: () => Promise<T>): Promise<T> {
  const cluster = await startCluster({
    firstId: 0,
    ports: PORTS,
    set: list.settings,
    setOf: ({ port }) => ({ 'advertised.listeners': `PLAINTEXT://localhost:${port}` }),
    retains: true,
  })
  try {
    return await use()
  } finally {
    await cluster.stop()
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer()
    server.once('error', () => done(false))
    server.listen(port, '127.0.0.1', () => server.close(() => done(true)))
  })
}

async function runFiles(files: readonly Entry[], run: Run): Promise<FileResult[]> {
  const results: FileResult[] = []
  const format = '{bar} {value}/{total} files, {passed} passed, {failed} failed {name}'
  const bar = process.stdout.isTTY ? new SingleBar({ format }) : null
  const counts = { passed: 0, failed: 0, name: '' }
  bar?.start(files.length, 0, counts)
  const rest = [...files]
  const work = async (): Promise<void> => {
    for (let entry = rest.shift(); entry !== undefined; entry = rest.shift()) {
      const result = await runFile(entry, run)
      results.push(result)
      counts.passed += result.passed
      counts.failed += result.failed.length
      bar?.increment({ ...counts, name: result.path })
      const line = `${result.passed} passed, ${result.failed.length} failed`
      if (bar === null) say(`${line} ${result.path} ${result.seconds.toFixed(1)} s`)
    }
  }
  await Promise.all(Array.from({ length: run.jobs }, work))
  bar?.stop()
  return results.sort((a, b) => (a.path < b.path ? -1 : 1))
}

async function runFile([path, file]: Entry, run: Run): Promise<FileResult> {
  const name = path.replaceAll('/', '-')
  const report = join(run.folder, `${name}.json`)
  const args = ['node_modules/jest/bin/jest.js', '--ci', '--runInBand', '--forceExit']
  args.push('--no-watchman', '--reporters=default', '--json', `--outputFile=${report}`)
  const pattern = namePattern(file)
  if (pattern !== null) args.push(`--testNamePattern=${pattern}`)
  args.push('--runTestsByPath', path)
  const end = await runProcess({
    command: process.execPath,
    args,
    environment: {
      KAFKA_VERSION,
      KAFKAJS_DEBUG_PROTOCOL_BUFFERS: '1',
      NODE: process.execPath,
      MILLRACE: brokerMain(),
      PATH: `${run.folder}${delimiter}${process.env.PATH ?? ''}`,
    },
    cwd: run.suite,
    output: join(run.folder, `${name}.output`),
    msMax: FILE_MS_MAX,
  })
  const json = existsSync(report) ? readFileSync(report, 'utf8') : ''
  return resultOf(path, { file, json, end })
}

/**
 * What the suite calls `docker` for is to add partitions to a topic with Kafka's own tool: this
 * program stands in its place and lets `millrace topic alter` do it.
 */
const DOCKER = `#!/bin/sh
[ "$1" = exec ] || exec echo broker
exec "$NODE" "$MILLRACE" topic alter "$TOPIC" --partitions "$PARTITIONS" \\
  --bootstrap localhost:${PORT}
`

function report(results: readonly FileResult[], list: SuiteList, folder: string): void {
  const row = (name: string, r: readonly FileResult[]): (string | number)[] => [
    name,
    r.reduce((sum, { passed }) => sum + passed, 0),
    r.reduce((sum, { failed }) => sum + failed.length, 0),
    r.reduce((sum, { notListed }) => sum + notListed, 0),
    r.reduce((sum, { skipped }) => sum + skipped, 0),
    r.reduce((sum, { seconds }) => sum + seconds, 0).toFixed(1),
  ]
  const rows = results.map((result) => row(result.path, [result]))
  const head = ['spec file', 'passed', 'failed', 'not on the list', 'skipped', 'seconds']
  say(formatTable(head, [...rows, row('total', results)]))
  for (const { path, failed } of results) {
    for (const { name, message } of failed) say(`\n${path}: ${name}\n${message}`)
  }
  const failed = results.reduce((sum, result) => sum + result.failed.length, 0)
  const allFiles = Object.keys(list.files).length
  say(
    `kafkajs ${list.version} (${list.commit.slice(0, 10)}), brokers: ${values.brokers}: ${results.length} of ${allFiles} spec ` +
      `files run, and none of ${Object.keys(list.folders).join(', ')}`,
  )
  if (failed > 0) process.exitCode = 1
  if (failed > 0 || values.keep) say(`outputs: ${folder}`)
  else rmSync(folder, { recursive: true, force: true })
}

await main()
