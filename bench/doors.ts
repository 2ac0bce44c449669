/**
 * What a produced gigabyte, and a single event, cost the broker by the door it comes through:
 * Kafka's protocol, and WebSockets on every engine. The same batches, connections and kind of
 * client. Starts and stops everything itself; loopback only.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { KafkaAdmin } from '../src/client/kafka-admin.ts'
import { projectFolder, startBroker } from './lib/broker.ts'
import { cleanUpAtExit, deleteFolder, ownFolder, sleep, stopProcess } from './lib/children.ts'
import { DoorLoad } from './lib/door-load.ts'
import { describeMachine, machineLines } from './lib/machine.ts'
import { type ProcessUse, sampleProcess, useBetween } from './lib/process-sample.ts'
import { formatNumber, formatSpread, markdownTable, spreadOf } from './lib/statistics.ts'

const USAGE = 'node build/bench/doors.js [--rounds 2] [--seconds 5] [--warm-up 2] [--out PREFIX]'

const TOPIC = 'doors'
const PARTITIONS = 8

const WORKLOADS = [
  {
    name: '64 KiB requests, 32 connections',
    connections: 32,
    eventBytes: 1000,
    eventsPerRequest: 63,
  },
  {
    name: '1 MB requests, 8 connections',
    connections: 8,
    eventBytes: 1000,
    eventsPerRequest: 1000,
  },
  {
    name: 'one 200 B event a request, 32 connections',
    connections: 32,
    eventBytes: 200,
    eventsPerRequest: 1,
  },
] as const

const TARGETS = [
  { name: 'Kafka', door: 'kafka', engine: 'uws' },
  { name: 'WebSocket, native', door: 'websocket', engine: 'native' },
  { name: 'WebSocket, uWebSockets.js', door: 'websocket', engine: 'uws' },
  { name: 'WebSocket, node:http + ws', door: 'websocket', engine: 'node' },
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
    const { kafkaPort, httpPort } = broker
    const clientId = 'doors'
    const admin = await KafkaAdmin.connect({
      host: '127.0.0.1',
      port: kafkaPort,
      clientId,
      timeoutMs: 10_000,
    })
    const topic = {
      name: TOPIC,
      partitions: PARTITIONS,
      replicationFactor: null,
      configs: new Map(),
    }
    await admin.createTopic(topic, { validateOnly: false })
    admin.close()
    const port = target.door === 'kafka' ? kafkaPort : httpPort
    const load = new DoorLoad({
      ...workload,
      door: target.door,
      port,
      topic: TOPIC,
      partitions: PARTITIONS,
    })
    await load.start()
    await sleep(at.warmUp * 1000)
    load.reset()
    const before = sampleProcess(broker.pid)
    const startedMs = performance.now()
    await sleep(at.seconds * 1000)
    const after = sampleProcess(broker.pid)
    const seconds = (performance.now() - startedMs) / 1000
    const { requests, bytes, latencies } = load.count
    const sorted = Float64Array.from(latencies).sort()
    load.stop()
    const quantile = (q: number): number =>
      sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0
    return {
      workload: workload.name,
      target: target.name,
      seconds,
      requests,
      bytes,
      p50: quantile(0.5),
      p99: quantile(0.99),
      use: useBetween(before, after, broker.pid),
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
      out: { type: 'string', default: join(projectFolder(), '.cache', 'bench', 'doors') },
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
