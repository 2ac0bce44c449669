/**
 * What a REST request costs: produce and fetch on every HTTP engine, beside a `node:http` handler
 * that reads the body and answers fixed JSON of the same length. autocannon, in this process,
 * closed loop; forth and back. Starts and stops everything itself; loopback only.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import autocannon from 'autocannon'
import { freePort } from '../test/support/ports.ts'
import { projectFolder, reportPrefix, startBroker } from './lib/broker.ts'
import {
  accepts,
  cleanUpAtExit,
  deleteFolder,
  hasEnded,
  ownFolder,
  sleep,
  startProcess,
  stopProcess,
  tailOf,
} from './lib/children.ts'
import { describeMachine, machineLines } from './lib/machine.ts'
import { type ProcessUse, sampleProcess, useBetween } from './lib/process-sample.ts'
import { formatNumber, formatSpread, markdownTable, spreadOf } from './lib/statistics.ts'

const USAGE =
  'node build/bench/rest.js [--rounds 4] [--seconds 5] [--warm-up 2] [--connections 32] ' +
  '[--quick] [--out PREFIX]'

const TOPIC = 'rest'
const EVENT_BYTES = 200
const READ_EVENTS = 100

interface Workload {
  readonly name: string
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body: string | null
}

function eventsBody(count: number): string {
  const event = { value: 'x'.repeat(EVENT_BYTES) }
  return JSON.stringify(count === 1 ? event : { events: Array(count).fill(event) })
}

const PRODUCE = `/topics/${TOPIC}/produce`
const READ = `/topics/${TOPIC}/partitions/0/events?max_events=${READ_EVENTS}&max_bytes=100000`

const WORKLOADS: readonly Workload[] = [
  {
    name: `produce, one event of ${EVENT_BYTES} B`,
    method: 'POST',
    path: `${PRODUCE}?format=text`,
    body: eventsBody(1),
  },
  {
    name: `produce, 100 events of ${EVENT_BYTES} B`,
    method: 'POST',
    path: `${PRODUCE}?format=text`,
    body: eventsBody(100),
  },
  {
    name: `read ${READ_EVENTS} events of ${EVENT_BYTES} B`,
    method: 'GET',
    path: `${READ}&format=text`,
    body: null,
  },
]

/** `engine` null: the plain handler. */
const TARGETS = [
  { name: 'plain node:http', engine: null },
  { name: 'Millrace, node:http', engine: 'node' },
  { name: 'Millrace, uWebSockets.js', engine: 'uws' },
] as const

type Target = (typeof TARGETS)[number]

interface Settings {
  readonly seconds: number
  readonly warmUp: number
  readonly connections: number
}

interface Run {
  readonly workload: string
  readonly target: string
  readonly seconds: number
  readonly requests: number
  readonly answerBytes: number
  readonly p50: number
  readonly p99: number
  readonly use: ProcessUse
}

interface Running {
  readonly pid: number
  readonly url: string
  stop(): Promise<void>
}

async function startTarget({ engine }: Target, folder: string): Promise<Running> {
  if (engine === null) {
    const port = await freePort()
    const program = fileURLToPath(new URL('./lib/plain-http.js', import.meta.url))
    const args = ['--max-semi-space-size=64', program, String(port)]
    const logFile = join(folder, 'plain.log')
    const child = startProcess({ command: process.execPath, args, logFile })
    while (!(await accepts(port))) {
      if (hasEnded(child)) throw new Error(`the plain handler did not start:\n${tailOf(logFile)}`)
      await sleep(20)
    }
    const stop = (): Promise<void> => stopProcess(child)
    return { pid: child.pid as number, url: `http://127.0.0.1:${port}`, stop }
  }
  const broker = await startBroker({
    dataDir: join(folder, 'data'),
    logFile: join(folder, 'broker.log'),
    shards: 1,
    settings: [`millrace.http.engine=${engine}`],
    nodeArgs: ['--max-semi-space-size=64'],
    readyTimeoutMs: 30_000,
  })
  const url = `http://127.0.0.1:${broker.httpPort}`
  return { pid: broker.pid, url, stop: () => stopProcess(broker.child) }
}

/** So that there is something to read; the answer's length, for the plain handler's. */
async function prepare(url: string): Promise<number> {
  for (let i = 0; i < 20; i++) {
    const response = await fetch(`${url}${PRODUCE}?format=text`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: eventsBody(READ_EVENTS),
    })
    if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`)
  }
  const answer = await (await fetch(`${url}${READ}&format=text`)).text()
  return Buffer.byteLength(answer)
}

async function runOnce(
  workload: Workload,
  target: Target,
  settings: Settings & { readonly answerBytes: number },
): Promise<Run> {
  const parent = join(projectFolder(), '.cache', 'bench')
  const folder = join(parent, `millrace-rest-${process.pid}-${Date.now()}`)
  mkdirSync(folder, { recursive: true })
  ownFolder(folder)
  const running = await startTarget(target, folder)
  try {
    const isRead = workload.method === 'GET'
    const answerBytes = target.engine === null ? settings.answerBytes : await prepare(running.url)
    const path = target.engine === null ? `/?bytes=${isRead ? answerBytes : 0}` : workload.path
    const headers: Record<string, string> = isRead ? {} : { 'content-type': 'application/json' }
    const load = {
      url: `${running.url}${path}`,
      method: workload.method,
      connections: settings.connections,
      headers,
      ...(workload.body === null ? {} : { body: workload.body }),
    }
    await autocannon({ ...load, duration: settings.warmUp })
    const before = sampleProcess(running.pid)
    const result = await autocannon({ ...load, duration: settings.seconds })
    const use = useBetween(before, sampleProcess(running.pid), running.pid)
    const failed = result.errors + result.timeouts + result.non2xx
    if (failed > 0) throw new Error(`the run proves nothing: ${failed} requests failed`)
    return {
      workload: workload.name,
      target: target.name,
      seconds: result.duration,
      requests: result.requests.total,
      answerBytes,
      p50: result.latency.p50,
      p99: result.latency.p99,
      use,
    }
  } finally {
    await running.stop()
    deleteFolder(folder)
    await sleep(200)
  }
}

/** CPU-µs of the server for each request. */
function costOf({ use, requests }: Run): number {
  return (use.cpuSeconds / requests) * 1e6
}

function table(runs: readonly Run[]): string {
  const rows = TARGETS.map(({ name }) => {
    const mine = runs.filter((run) => run.target === name)
    const spread = (pick: (run: Run) => number): string => formatSpread(spreadOf(mine.map(pick)))
    return [
      name,
      spread((run) => run.requests / run.seconds),
      spread((run) => run.p50),
      spread((run) => run.p99),
      spread(costOf),
    ]
  })
  return markdownTable(['', 'requests/s', 'P50 ms', 'P99 ms', 'CPU-µs/request'], rows)
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      help: { type: 'boolean' },
      quick: { type: 'boolean' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      'warm-up': { type: 'string' },
      connections: { type: 'string', default: '32' },
      out: { type: 'string', default: reportPrefix('rest') },
    },
  })
  if (values.help === true) {
    process.stdout.write(`${USAGE}\n`)
    return
  }
  cleanUpAtExit()
  const parent = join(projectFolder(), '.cache', 'bench')
  mkdirSync(parent, { recursive: true })
  const machine = describeMachine(parent)
  const isQuick = values.quick === true
  const rounds = Number(values.rounds ?? (isQuick ? 1 : 4))
  const settings = {
    seconds: Number(values.seconds ?? (isQuick ? 1 : 5)),
    warmUp: Number(values['warm-up'] ?? (isQuick ? 1 : 2)),
    connections: Number(values.connections),
  }
  const runs: Run[] = []
  let answerBytes = READ_EVENTS * 260 // Until a broker has said.
  for (const workload of WORKLOADS) {
    for (let round = 0; round < rounds; round++) {
      // A B B A: what drifts reaches all alike.
      for (const target of round % 2 === 0 ? TARGETS.toReversed() : TARGETS) {
        const run = await runOnce(workload, target, { ...settings, answerBytes })
        answerBytes = run.answerBytes
        runs.push(run)
        process.stderr.write(
          `  ${workload.name}, ${round + 1}/${rounds} ${target.name}: ` +
            `${formatNumber(run.requests / run.seconds)} requests/s, ` +
            `${formatNumber(costOf(run))} CPU-µs/request\n`,
        )
      }
    }
  }
  const sections = WORKLOADS.flatMap(({ name }) => [
    `### ${name}`,
    '',
    table(runs.filter((run) => run.workload === name)),
    '',
  ])
  const text = [...machineLines(machine), '', ...sections].join('\n')
  const options = { rounds, ...settings }
  writeFileSync(`${values.out}.json`, `${JSON.stringify({ machine, options, runs }, null, 1)}\n`)
  writeFileSync(`${values.out}.md`, `${text}\n`)
  process.stdout.write(`${text}\n`)
}

await main()
