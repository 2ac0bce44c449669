/**
 * Throughput and latency of a cluster on this machine: three replicas and acks=all beside Apache
 * Kafka (`--mode replicas`), or one replica and the same load for each broker on clusters of
 * several sizes (`--mode scale`). Same generator, same batches, alternating. Starts and stops all
 * of it itself; loopback only.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { ProduceResult } from '../src/load/result.ts'
import { runProduce } from '../src/load/run-produce.ts'
import { projectFolder, reportPrefix } from './lib/broker.ts'
import { cleanUpAtExit, deleteFolder, ownFolder, sleep } from './lib/children.ts'
import { type RunningCluster, startKafkaCluster, startMillraceCluster } from './lib/clusters.ts'
import { installKafka } from './lib/kafka-broker.ts'
import { describeMachine, machineLines } from './lib/machine.ts'
import { sampleProcess, useBetween } from './lib/process-sample.ts'
import { formatNumber, formatSpread, markdownTable, spreadOf } from './lib/statistics.ts'

const USAGE = `node build/bench/cluster.js [--mode replicas|scale] [--rounds 3] [--seconds 10] [--warm-up 5]
  [--memory-mb 2048] [--peers millrace,kafka] [--sizes 1,3,5,9] [--rate EVENTS/S for each broker]
  [--out PREFIX]`

type Peer = 'millrace' | 'kafka'

interface Workload {
  readonly name: string
  readonly connections: number
  readonly inFlight: number
  readonly eventBytes: number
  readonly batchBytes: number
  readonly partitions: number
  /** Events a second; null: as many as go. */
  readonly rate: number | null
}

const SETTINGS = {
  driver: 'kafka',
  url: '',
  topic: 'cluster',
  topics: 1,
  source: 'prebuilt',
  lingerMs: 0,
  keys: 0,
  compression: 'none',
  payloadFile: null,
  seed: 1,
  pacing: 'sleep',
  deleteTopics: false,
} as const

const REPLICATED: readonly Workload[] = [
  {
    name: '64 KiB requests of 1,000 B events, 24 connections, closed loop',
    connections: 24,
    inFlight: 1,
    eventBytes: 1000,
    batchBytes: 65_536,
    partitions: 24,
    rate: null,
  },
  {
    name: 'one 200 B event a request, 24 connections, closed loop',
    connections: 24,
    inFlight: 1,
    eventBytes: 200,
    batchBytes: 1,
    partitions: 24,
    rate: null,
  },
  {
    name: '20,000 events/s of 1,000 B in batches of 16 KiB, open loop',
    connections: 12,
    inFlight: 4,
    eventBytes: 1000,
    batchBytes: 16_384,
    partitions: 24,
    rate: 20_000,
  },
]

interface Run {
  readonly workload: string
  readonly peer: Peer
  readonly nodes: number
  readonly result: ProduceResult
  readonly cpuSeconds: number
  /** Of the same cluster before the load, a second. */
  readonly idleCores: number
}

async function runOnce(
  workload: Workload,
  how: { peer: Peer; nodes: number; replicas: number; acks: 1 | -1; memoryMb: number },
  at: { seconds: number; warmUp: number },
): Promise<Run> {
  const folder = join(projectFolder(), '.cache', 'bench', `cluster-${process.pid}-${Date.now()}`)
  mkdirSync(folder, { recursive: true })
  ownFolder(folder)
  const start = how.peer === 'kafka' ? startKafkaCluster : startMillraceCluster
  const cluster = await start({
    nodes: how.nodes,
    folder,
    settings: [
      `default.replication.factor=${how.replicas}`,
      `min.insync.replicas=${how.replicas >= 3 ? 2 : 1}`,
    ],
    memoryBytes: how.memoryMb * 2 ** 20,
  })
  try {
    await sleep(3000)
    const idleCores = await coresOf(cluster, 3000)
    const pids = cluster.nodes.map(({ pid }) => pid)
    let before: Map<number, ReturnType<typeof sampleProcess>> | null = null
    let cpuSeconds = 0
    const { result } = await runProduce(
      {
        ...SETTINGS,
        ...workload,
        acks: how.acks,
        producers: workload.connections,
        kafka: { host: '127.0.0.1', port: cluster.nodes[0]!.port },
        dataDirs: [],
        brokerPids: pids,
        warmUpMs: at.warmUp * 1000,
        durationMs: at.seconds * 1000,
      },
      {
        signal: new AbortController().signal,
        events: {
          ready: () => {},
          measure: (instant) => {
            if (instant === 'start') before = new Map(pids.map((pid) => [pid, sampleProcess(pid)]))
            else {
              for (const pid of pids) {
                const from = before?.get(pid)
                if (from !== undefined) {
                  cpuSeconds += useBetween(from, sampleProcess(pid), pid).cpuSeconds
                }
              }
            }
          },
        },
      },
    )
    if (result.problem !== null) throw new Error(`the run proves nothing: ${result.problem}`)
    return { workload: workload.name, ...how, result, cpuSeconds, idleCores }
  } finally {
    await cluster.stop()
    deleteFolder(folder)
    await sleep(1000)
  }
}

/** What the cluster takes while nothing happens. */
async function coresOf(cluster: RunningCluster, ms: number): Promise<number> {
  const before = cluster.nodes.map(({ pid }) => sampleProcess(pid))
  await sleep(ms)
  return cluster.nodes.reduce((sum, { pid }, i) => {
    const use = useBetween(before[i]!, sampleProcess(pid), pid)
    return sum + use.cpuSeconds / use.seconds
  }, 0)
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

function sayRun(run: Run): void {
  const { result } = run
  say(
    `  ${run.peer}, ${run.nodes} brokers: ${formatNumber(result.eventsPerSecond)} events/s, ` +
      `${formatNumber(result.bytesPerSecond / 1e9)} GB/s, P99 ${formatNumber(result.latencyMs.p99 ?? 0)} ms, ` +
      `${formatNumber(run.cpuSeconds / (result.bytes / 1e9))} CPU-s/GB`,
  )
}

async function replicas(values: Values): Promise<{ runs: Run[]; text: string }> {
  const peers = values.peers.split(',') as Peer[]
  const at = { seconds: Number(values.seconds), warmUp: Number(values['warm-up']) }
  const memoryMb = Number(values['memory-mb'])
  const runs: Run[] = []
  for (const workload of REPLICATED) {
    say(workload.name)
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const peer of round % 2 === 0 ? peers : peers.toReversed()) {
        const how = { peer, nodes: 3, replicas: 3, acks: -1, memoryMb } as const
        const run = await runOnce(workload, how, at)
        runs.push(run)
        sayRun(run)
      }
    }
  }
  const sections = REPLICATED.flatMap(({ name }) => {
    const rows = peers.map((peer) => {
      const mine = runs.filter((run) => run.workload === name && run.peer === peer)
      const spread = (pick: (run: Run) => number): string => formatSpread(spreadOf(mine.map(pick)))
      return [
        peer,
        spread(({ result }) => result.eventsPerSecond),
        spread(({ result }) => result.bytesPerSecond / 1e9),
        spread(({ result }) => result.latencyMs.p50 ?? 0),
        spread(({ result }) => result.latencyMs.p99 ?? 0),
        spread((run) => run.cpuSeconds / (run.result.bytes / 1e9)),
      ]
    })
    const head = ['', 'events/s', 'GB/s', 'P50 ms', 'P99 ms', 'CPU-s/GB of three brokers']
    return [`### ${name}`, '', markdownTable(head, rows), '']
  })
  return { runs, text: sections.join('\n') }
}

async function scale(values: Values): Promise<{ runs: Run[]; text: string }> {
  const sizes = values.sizes.split(',').map(Number)
  const at = { seconds: Number(values.seconds), warmUp: Number(values['warm-up']) }
  const memoryMb = Number(values['memory-mb'])
  const perBroker = Number(values.rate)
  const runs: Run[] = []
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const nodes of round % 2 === 0 ? sizes : sizes.toReversed()) {
      const workload: Workload = {
        name: `${nodes} brokers`,
        connections: 2 * nodes,
        inFlight: 4,
        eventBytes: 1000,
        batchBytes: 65_536,
        partitions: 4 * nodes,
        rate: perBroker * nodes,
      }
      const how = { peer: 'millrace', nodes, replicas: 1, acks: 1, memoryMb } as const
      const run = await runOnce(workload, how, at)
      runs.push(run)
      sayRun(run)
    }
  }
  const rows = sizes.map((nodes) => {
    const mine = runs.filter((run) => run.nodes === nodes)
    const spread = (pick: (run: Run) => number): string => formatSpread(spreadOf(mine.map(pick)))
    const perGb = (run: Run, cpu: number): number => cpu / (run.result.bytes / 1e9)
    return [
      String(nodes),
      spread(({ result }) => result.eventsPerSecond),
      spread((run) => perGb(run, run.cpuSeconds)),
      spread((run) => run.idleCores),
      spread((run) => perGb(run, run.cpuSeconds - run.idleCores * run.result.seconds)),
    ]
  })
  const head = ['brokers', 'events/s', 'CPU-s/GB', 'idle, cores', 'CPU-s/GB without the idle']
  return { runs, text: markdownTable(head, rows) }
}

type Values = Readonly<
  Record<
    'mode' | 'rounds' | 'seconds' | 'warm-up' | 'memory-mb' | 'peers' | 'sizes' | 'rate' | 'out',
    string
  >
>

async function main(): Promise<void> {
  const text = (standard: string) => ({ type: 'string', default: standard }) as const
  const { values } = parseArgs({
    options: {
      help: { type: 'boolean' },
      mode: text('replicas'),
      rounds: text('3'),
      seconds: text('10'),
      'warm-up': text('5'),
      'memory-mb': text('2048'),
      peers: text('millrace,kafka'),
      sizes: text('1,3,5,9'),
      rate: text('10000'),
      out: text(reportPrefix('cluster')),
    },
  })
  if (values.help === true) {
    process.stdout.write(`${USAGE}\n`)
    return
  }
  cleanUpAtExit()
  if (values.mode === 'replicas' && values.peers.includes('kafka')) installKafka()
  const parent = join(projectFolder(), '.cache', 'bench')
  mkdirSync(parent, { recursive: true })
  const machine = describeMachine(parent)
  const { runs, text: tables } = await (values.mode === 'scale' ? scale(values) : replicas(values))
  const report = [...machineLines(machine), '', tables].join('\n')
  const file = `${values.out}-${values.mode}`
  writeFileSync(`${file}.json`, `${JSON.stringify({ machine, options: values, runs }, null, 1)}\n`)
  writeFileSync(`${file}.md`, `${report}\n`)
  process.stdout.write(`${report}\n`)
}

await main()
