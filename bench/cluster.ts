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
  /** Brokers of another cluster, under the same load for each at the same time. */
  readonly beside: number
  readonly result: ProduceResult
  readonly cpuSeconds: number
  /** Of the same cluster before the load, a second. */
  readonly idleCores: number
}

interface ClusterShape {
  readonly peer: Peer
  readonly nodes: number
  readonly replicas: number
  readonly acks: 1 | -1
  readonly memoryMb: number
}

interface Duration {
  readonly seconds: number
  readonly warmUp: number
}

async function runOnce(workload: Workload, how: ClusterShape, at: Duration): Promise<Run> {
  return await withCluster(how, async (cluster) => {
    await sleep(3000)
    const idleCores = await coresOf(cluster, 3000)
    const measured = await load(cluster, workload, how, at)
    return { workload: workload.name, ...how, beside: 0, ...measured, idleCores }
  })
}

/** One broker that is alone, on a machine as busy as if `others` and it were a cluster. */
async function runBeside(others: number, how: ClusterShape, values: Values): Promise<Run> {
  const at = durationOf(values)
  const rate = Number(values.rate)
  return await withCluster(how, (cluster) => {
    return withCluster({ ...how, nodes: others }, async (rest) => {
      await sleep(3000)
      const idleCores = await coresOf(cluster, 3000)
      const [measured] = await Promise.all([
        load(cluster, scaleLoad(1, rate), how, at),
        load(rest, scaleLoad(others, rate), how, at),
      ])
      return { workload: `1 beside ${others}`, ...how, beside: others, ...measured, idleCores }
    })
  })
}

async function withCluster<T>(
  { peer, nodes, replicas, memoryMb }: ClusterShape,
  use: (cluster: RunningCluster) => Promise<T>,
): Promise<T> {
  const name = `cluster-${process.pid}-${Date.now()}`
  const folder = join(projectFolder(), '.cache', 'bench', name)
  mkdirSync(folder, { recursive: true })
  ownFolder(folder)
  const start = peer === 'kafka' ? startKafkaCluster : startMillraceCluster
  const cluster = await start({
    nodes,
    folder,
    settings: [
      `default.replication.factor=${replicas}`,
      `min.insync.replicas=${replicas >= 3 ? 2 : 1}`,
    ],
    memoryBytes: memoryMb * 2 ** 20,
  })
  try {
    return await use(cluster)
  } finally {
    await cluster.stop()
    deleteFolder(folder)
    await sleep(1000)
  }
}

async function load(
  cluster: RunningCluster,
  workload: Workload,
  { acks }: ClusterShape,
  { seconds, warmUp }: Duration,
): Promise<{ result: ProduceResult; cpuSeconds: number }> {
  const pids = cluster.nodes.map(({ pid }) => pid)
  let before: ReturnType<typeof sampleProcess>[] = []
  let cpuSeconds = 0
  const measure = (instant: 'start' | 'end'): void => {
    const now = pids.map((pid) => sampleProcess(pid))
    if (instant === 'start') before = now
    else {
      for (const [i, pid] of pids.entries()) {
        cpuSeconds += useBetween(before[i]!, now[i]!, pid).cpuSeconds
      }
    }
  }
  const { result } = await runProduce(
    {
      ...SETTINGS,
      ...workload,
      acks,
      producers: workload.connections,
      kafka: { host: '127.0.0.1', port: cluster.nodes[0]!.port },
      dataDirs: [],
      brokerPids: pids,
      warmUpMs: warmUp * 1000,
      durationMs: seconds * 1000,
    },
    { signal: new AbortController().signal, events: { ready: () => {}, measure } },
  )
  if (result.problem !== null) throw new Error(`the run proves nothing: ${result.problem}`)
  return { result, cpuSeconds }
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
  const at = durationOf(values)
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

function scaleLoad(nodes: number, eventsPerSecond: number): Workload {
  return {
    name: `${nodes} brokers`,
    connections: 2 * nodes,
    inFlight: 4,
    eventBytes: 1000,
    batchBytes: 65_536,
    partitions: 4 * nodes,
    rate: eventsPerSecond * nodes,
  }
}

/**
 * Clusters of several sizes; and one broker alone beside another cluster, so that the machine is as
 * busy as with the largest: what a request costs depends on that as well.
 */
async function scale(values: Values): Promise<{ runs: Run[]; text: string }> {
  const sizes = values.sizes.split(',').map(Number)
  const others = Math.max(...sizes) - 1
  const cases = sizes.map((nodes) => ({ nodes, others: 0 }))
  if (others > 0) cases.push({ nodes: 1, others })
  const memoryMb = Number(values['memory-mb'])
  const runs: Run[] = []
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const { nodes, others } of round % 2 === 0 ? cases : cases.toReversed()) {
      const how = { peer: 'millrace', nodes, replicas: 1, acks: 1, memoryMb } as const
      const run =
        others === 0
          ? await runOnce(scaleLoad(nodes, Number(values.rate)), how, durationOf(values))
          : await runBeside(others, how, values)
      runs.push(run)
      sayRun(run)
    }
  }
  const rows = cases.map(({ nodes, others }) => {
    const mine = runs.filter((run) => run.nodes === nodes && run.beside === others)
    const spread = (pick: (run: Run) => number): string => formatSpread(spreadOf(mine.map(pick)))
    const perGb = (run: Run, cpu: number): number => cpu / (run.result.bytes / 1e9)
    return [
      others === 0 ? String(nodes) : `1, beside ${others} of another cluster`,
      spread(({ result }) => result.eventsPerSecond),
      spread((run) => perGb(run, run.cpuSeconds)),
      spread((run) => run.idleCores),
      spread((run) => perGb(run, run.cpuSeconds - run.idleCores * run.result.seconds)),
    ]
  })
  const head = ['brokers', 'events/s', 'CPU-s/GB', 'idle, cores', 'CPU-s/GB without the idle']
  return { runs, text: markdownTable(head, rows) }
}

function durationOf(values: Values): Duration {
  return { seconds: Number(values.seconds), warmUp: Number(values['warm-up']) }
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
