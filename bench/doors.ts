/**
 * What a produced gigabyte, and a single event, cost the broker by the door it comes through:
 * Kafka's protocol, and WebSockets on every engine. The same batches, connections and kind of
 * client. Starts and stops everything itself; loopback only.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { runProduce } from '../src/load/run-produce.ts'
import { projectFolder, reportPrefix, startBroker } from './lib/broker.ts'
import { cleanUpAtExit, deleteFolder, ownFolder, sleep, stopProcess } from './lib/children.ts'
import { describeMachine, machineLines } from './lib/machine.ts'
import {
  type ProcessSample,
  type ProcessUse,
  sampleProcess,
  useBetween,
} from './lib/process-sample.ts'
import { formatNumber, formatSpread, markdownTable, spreadOf } from './lib/statistics.ts'

const USAGE = 'node build/bench/doors.js [--rounds 2] [--seconds 5] [--warm-up 2] [--out PREFIX]'

/** Of all runs: prebuilt random batches, closed loop, an answer each before the next. */
const SETTINGS = {
  topic: 'doors',
  topics: 1,
  partitions: 8,
  source: 'prebuilt',
  lingerMs: 0,
  inFlight: 1,
  keys: 0,
  compression: 'none',
  acks: 1,
  rate: null,
  payloadFile: null,
  seed: 1,
  pacing: 'sleep',
  deleteTopics: false,
} as const

const WORKLOADS = [
  {
    name: '64 KiB requests, 32 connections',
    connections: 32,
    eventBytes: 1000,
    batchBytes: 65_536,
  },
  {
    name: '1 MB requests, 8 connections',
    connections: 8,
    eventBytes: 1000,
    batchBytes: 1_020_000,
  },
  {
    name: 'one 200 B event a request, 32 connections',
    connections: 32,
    eventBytes: 200,
    batchBytes: 1,
  },
] as const

const TARGETS = [
  { name: 'Kafka', driver: 'kafka', engine: 'uws' },
  { name: 'WebSocket, native', driver: 'ws', engine: 'native' },
  { name: 'WebSocket, uWebSockets.js', driver: 'ws', engine: 'uws' },
  { name: 'WebSocket, node:http + ws', driver: 'ws', engine: 'node' },
] as const

interface Run {
  readonly workload: string
  readonly target: string
  readonly seconds: number
  readonly requests: number
  readonly bytes: number
  readonly p50: number
  readonly p99: number
  readonly use: ProcessUse
}

type Workload = (typeof WORKLOADS)[number]
type Target = (typeof TARGETS)[number]

async function runOnce(
  workload: Workload,
  target: Target,
  at: { seconds: number; warmUp: number },
): Promise<Run> {
  const parent = join(projectFolder(), '.cache', 'bench')
  const folder = join(parent, `millrace-doors-${process.pid}-${Date.now()}`)
  mkdirSync(folder, { recursive: true })
  ownFolder(folder)
  const broker = await startBroker({
    dataDir: join(folder, 'data'),
    logFile: join(folder, 'broker.log'),
    shards: 1,
    settings: [`millrace.http.engine=${target.engine}`],
    nodeArgs: ['--max-semi-space-size=64'],
    readyTimeoutMs: 30_000,
  })
  try {
    const { kafkaPort, httpPort, pid } = broker
    let before: ProcessSample | null = null
    let use: ProcessUse | null = null
    const { result } = await runProduce(
      {
        ...SETTINGS,
        ...workload,
        driver: target.driver,
        kafka: { host: '127.0.0.1', port: kafkaPort },
        url: `ws://127.0.0.1:${httpPort}/ws`,
        producers: workload.connections,
        dataDirs: [join(folder, 'data')],
        brokerPids: [pid],
        warmUpMs: at.warmUp * 1000,
        durationMs: at.seconds * 1000,
      },
      {
        signal: new AbortController().signal,
        events: {
          ready: () => {},
          measure: (instant) => {
            if (instant === 'start') before = sampleProcess(pid)
            else if (before !== null) use = useBetween(before, sampleProcess(pid), pid)
          },
        },
      },
    )
    if (result.problem !== null || use === null) {
      throw new Error(`the run proves nothing: ${result.problem}`)
    }
    return {
      workload: workload.name,
      target: target.name,
      seconds: result.seconds,
      requests: result.requests ?? 0,
      bytes: result.bytes,
      p50: (result.latencyMs.p50 ?? 0) * 1000,
      p99: (result.latencyMs.p99 ?? 0) * 1000,
      use,
    }
  } finally {
    await stopProcess(broker.child)
    deleteFolder(folder)
    await sleep(500)
  }
}

function mainSeconds(run: Run): number {
  return run.use.roles.find(({ role }) => role === 'main')?.cpuSeconds ?? 0
}

function table(runs: readonly Run[]): string {
  const rows = TARGETS.map(({ name }) => {
    const mine = runs.filter((run) => run.target === name)
    const spread = (pick: (run: Run) => number): string => formatSpread(spreadOf(mine.map(pick)))
    return [
      name,
      spread((run) => run.bytes / 1e9 / run.seconds),
      spread((run) => run.requests / run.seconds),
      spread((run) => run.p50),
      spread((run) => run.p99),
      spread((run) => run.use.cpuSeconds / (run.bytes / 1e9)),
      spread((run) => mainSeconds(run) / (run.bytes / 1e9)),
      spread((run) => (run.use.cpuSeconds / run.requests) * 1e6),
    ]
  })
  const head = [
    '',
    'GB/s',
    'requests/s',
    'P50 µs',
    'P99 µs',
    'CPU-s/GB',
    'of it main',
    'CPU-µs/request',
  ]
  return markdownTable(head, rows)
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      help: { type: 'boolean' },
      rounds: { type: 'string', default: '2' },
      seconds: { type: 'string', default: '5' },
      'warm-up': { type: 'string', default: '2' },
      out: { type: 'string', default: reportPrefix('doors') },
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
  const at = { seconds: Number(values.seconds), warmUp: Number(values['warm-up']) }
  const runs: Run[] = []
  for (const workload of WORKLOADS) {
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const target of round % 2 === 0 ? TARGETS : TARGETS.toReversed()) {
        const run = await runOnce(workload, target, at)
        runs.push(run)
        process.stderr.write(
          `  ${workload.name}, ${round + 1}/${values.rounds} ${target.name}: ` +
            `${formatNumber(run.bytes / 1e9 / run.seconds)} GB/s, ` +
            `${formatNumber((run.use.cpuSeconds / run.requests) * 1e6)} CPU-µs/request\n`,
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
  writeFileSync(
    `${values.out}.json`,
    `${JSON.stringify({ machine, options: values, runs }, null, 1)}\n`,
  )
  writeFileSync(`${values.out}.md`, `${text}\n`)
  process.stdout.write(`${text}\n`)
}

await main()
