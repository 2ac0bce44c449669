/**
 * Runs the tests of librdkafka's own suite that `librdkafka.json` allows, as a program
 * (scripts/librdkafka-suite.mjs): a broker or a cluster of three with fresh data directories for
 * each scenario, one process of the suite for each number, and a table at the end.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { SingleBar } from 'cli-progress'
import { formatTable } from '../../src/cli/output.ts'
import { startBroker } from '../support/broker.ts'
import { startCluster } from '../support/cluster.ts'
import { packageRoot } from '../support/package-root.ts'
import {
  casesOf,
  type GroupProtocol,
  readSuiteList,
  reasonAgainst,
  type SuiteList,
  type SuiteStep,
  stepsOf,
} from './librdkafka-list.ts'
import { resultsOf, type TestResult } from './librdkafka-output.ts'
import { runProcess } from './suite-process.ts'

const USAGE = `LIBRDKAFKA_TESTS=DIR node scripts/librdkafka-suite.mjs [options]

Runs librdkafka's own tests against Millrace. DIR is a checkout's tests folder that holds a
test-runner that has been built already.

  --brokers N                         1 or 3, as a cluster (default: 1)
  --group-protocol classic|consumer   of the consumers (default: classic)
  --only NUMBERS                      of the allowed tests those of these numbers: 0030,0081
  --jobs N                            processes of the suite at once, up to 8 (default: 1)
  --bootstrap HOST:PORT               another broker than one of our own, such as Apache Kafka
  --scenario NAME                     only this one: default or noautocreate
  --quick                             the suite's quick mode: leaves out most parts of most tests
  --debug CONTEXTS                    librdkafka's debug lines, such as cgrp,fetch
  --keep                              keep the outputs also when everything passes
  --list                              print every test and whether it runs, run nothing
  --help`

/** Of one process. The suite ends its tests by itself, most of them after a minute. */
const STEP_MS_MAX = 300_000
/** What counts as the broker's version: the tests know what each version of Kafka does. */
const KAFKA_VERSION = '4.0.0.0'
const JOBS_MAX = 8
const KAFKA_TOOLS = join(packageRoot(), '.cache', 'java', 'tools-lib')

const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

function fail(message: string): never {
  process.stderr.write(`librdkafka-suite: ${message}\n`)
  process.exit(2)
}

const { values } = parseArgs({
  options: {
    brokers: { type: 'string', default: '1' },
    'group-protocol': { type: 'string', default: 'classic' },
    only: { type: 'string' },
    jobs: { type: 'string', default: '1' },
    bootstrap: { type: 'string' },
    scenario: { type: 'string' },
    debug: { type: 'string' },
    quick: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

interface Run {
  readonly runner: string
  readonly folder: string
  readonly protocol: GroupProtocol
  readonly jobs: number
  readonly needKafkaTools: readonly string[]
  /** Made so far, one for each process of the suite. */
  folders: number
}

async function main(): Promise<void> {
  if (values.help) return say(USAGE)
  const protocol = values['group-protocol']
  if (protocol !== 'classic' && protocol !== 'consumer') {
    fail('--group-protocol is classic or consumer')
  }
  const jobs = Number(values.jobs)
  if (!Number.isInteger(jobs) || jobs < 1 || jobs > JOBS_MAX)
    fail(`--jobs is from 1 to ${JOBS_MAX}`)
  if (values.brokers !== '1' && values.brokers !== '3') fail('--brokers is 1 or 3')
  const list = readSuiteList(values.brokers === '1' ? 1 : 3)
  if (values.list) return printList(list, protocol)
  const runner = resolve(process.env.LIBRDKAFKA_TESTS ?? '', 'test-runner')
  if (process.env.LIBRDKAFKA_TESTS === undefined || !existsSync(runner)) {
    fail('LIBRDKAFKA_TESTS names no folder with a built test-runner (--help)')
  }
  const steps = selectSteps(list, protocol)
  if (steps.length === 0) fail('no test is selected')
  const folder = mkdtempSync(join(tmpdir(), 'millrace-librdkafka-'))
  const results = await runSteps(steps, list, {
    runner,
    folder,
    protocol,
    jobs,
    needKafkaTools: list.needKafkaTools,
    folders: 0,
  })
  report(results, list, { protocol, folder })
}

function selectSteps(list: SuiteList, protocol: GroupProtocol): SuiteStep[] {
  const numbers = values.only?.split(',')
  return stepsOf(list, protocol).filter(
    ({ scenario, number }) =>
      (numbers === undefined || numbers.includes(number)) &&
      (values.scenario === undefined || values.scenario === scenario),
  )
}

function printList(list: SuiteList, protocol: GroupProtocol): void {
  const rows = casesOf(list).map((each) => {
    const reason = reasonAgainst(list, each, protocol)
    return [each.id, reason ?? `runs (${each.entry})`]
  })
  say(formatTable(['test', 'runs, or why not'], rows))
}

async function runSteps(
  steps: readonly SuiteStep[],
  list: SuiteList,
  run: Run,
): Promise<TestResult[]> {
  const results: TestResult[] = []
  const bar = process.stdout.isTTY
    ? new SingleBar({ format: '{bar} {value}/{total} {name}' })
    : null
  bar?.start(steps.length, 0, { name: '' })
  const onStep = (step: SuiteStep, found: readonly TestResult[]): void => {
    results.push(...found)
    bar?.increment({ name: step.number })
    if (bar === null)
      for (const { name, state, seconds } of found) say(`${state} ${name} ${seconds.toFixed(1)} s`)
  }
  for (const scenario of Object.keys(list.scenarios)) {
    const chosen = steps.filter((step) => step.scenario === scenario)
    if (chosen.length === 0) continue
    await withTestedBroker(list.scenarios[scenario] ?? {}, async (bootstrap) => {
      const rest = [...chosen]
      const work = async (): Promise<void> => {
        for (let step = rest.shift(); step !== undefined; step = rest.shift()) {
          onStep(step, await runStep(step, bootstrap, run))
        }
      }
      await Promise.all(Array.from({ length: run.jobs }, work))
    })
  }
  bar?.stop()
  return results
}

async function withTestedBroker(
  set: Readonly<Record<string, string>>,
  use: (bootstrap: string) => Promise<void>,
): Promise<void> {
  if (values.bootstrap !== undefined) return await use(values.bootstrap)
  if (values.brokers === '3') {
    const cluster = await startCluster({ set })
    try {
      await use(cluster.bootstrap)
    } finally {
      await cluster.stop()
    }
    return
  }
  const broker = await startBroker({ set })
  try {
    await use(broker.bootstrap)
  } finally {
    await broker.stop()
    broker.cleanUp()
  }
}

async function runStep(step: SuiteStep, bootstrap: string, run: Run): Promise<TestResult[]> {
  const cwd = join(run.folder, `${step.scenario}-${step.number}-${run.folders++}`)
  mkdirSync(cwd)
  const config = join(cwd, 'test.conf')
  writeFileSync(config, `bootstrap.servers=${bootstrap}\n${patience(run.jobs)}`)
  const output = join(cwd, 'output')
  const args = ['-p1', '-E', '-L', '-s', step.scenario]
  if (values.quick) args.push('-Q')
  const environment: Record<string, string> = {
    TESTS: step.number,
    RDKAFKA_TEST_CONF: config,
    BROKERS: bootstrap,
    TEST_KAFKA_VERSION: KAFKA_VERSION,
    TEST_CONSUMER_GROUP_PROTOCOL: run.protocol,
    LD_LIBRARY_PATH: libraryPath(run.runner),
  }
  if (step.part !== null) environment.SUBTESTS = step.part
  if (values.debug !== undefined) environment.TEST_DEBUG = values.debug
  if (step.names.some((name) => run.needKafkaTools.includes(name))) {
    if (!existsSync(KAFKA_TOOLS)) {
      const message = 'needs the tools that scripts/install-test-clients.sh installs'
      return step.names.map((name) => ({ name, state: 'skipped', seconds: 0, message }))
    }
    environment.KAFKA_PATH = kafkaToolsAt(run.folder)
  }
  const end = await runProcess({
    command: run.runner,
    args,
    environment,
    cwd,
    output,
    msMax: STEP_MS_MAX,
  })
  return resultsOf(step, readFileSync(output, 'utf8'), end)
}

/** As much as the suite takes more time by itself when it runs several tests at once. */
function patience(jobs: number): string {
  return jobs === 1 ? '' : `test.timeout.multiplier=${(1 + jobs / 3).toFixed(1)}\n`
}

/** The library is found beside the suite's folder, where it is built, without being installed. */
function libraryPath(runner: string): string {
  const checkout = join(dirname(runner), '..')
  const folders = [join(checkout, 'src'), join(checkout, 'src-cpp')]
  return [...folders, process.env.LD_LIBRARY_PATH ?? ''].join(':')
}

/** A folder as of a Kafka release, with the one tool that the suite calls. Returns its path. */
function kafkaToolsAt(folder: string): string {
  const script = join(folder, 'bin', 'kafka-topics.sh')
  if (!existsSync(script)) {
    mkdirSync(join(folder, 'bin'), { recursive: true })
    const tool = 'org.apache.kafka.tools.TopicCommand'
    const text = `#!/bin/sh\nexec java -Xmx128M -cp '${KAFKA_TOOLS}/*' ${tool} "$@"\n`
    writeFileSync(script, text, { mode: 0o755 })
  }
  return folder
}

function report(
  results: readonly TestResult[],
  list: SuiteList,
  { protocol, folder }: { protocol: GroupProtocol; folder: string },
): void {
  const rows = results.map((r) => [r.name, r.state, r.seconds.toFixed(1), r.message])
  say(formatTable(['test', 'result', 'seconds', ''], rows))
  const count = (state: string): number => results.filter((r) => r.state === state).length
  const total = Object.keys(list.tests).length
  const names = new Set(results.map(({ name }) => name.split(':')[0]))
  say(
    `librdkafka ${list.version} (${list.commit.slice(0, 10)}), ${protocol} group protocol, brokers: ${values.brokers}: ` +
      `${names.size} of ${total} tests, ${results.length} runs; ${count('passed')} passed, ` +
      `${count('failed')} failed, ${count('skipped')} skipped`,
  )
  if (count('failed') > 0) process.exitCode = 1
  if (count('failed') > 0 || values.keep) say(`outputs: ${folder}`)
  else rmSync(folder, { recursive: true, force: true })
}

await main()
