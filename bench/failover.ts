/**
 * How long partitions take no writes when a broker of three is lost: killed, stopped (it holds its
 * connections and says nothing), cut off (its packets are gone, nobody is told), or stopped in
 * order; and how long the metadata takes no change when the active controller is lost in the first
 * three ways. Under load, with acks=all, measured by a producer that writes to every partition
 * all the while. With `--java`, Kafka's Java producer with its default options runs beside it and
 * counts the errors that reach it. Starts and stops everything itself; loopback only, or with links
 * to cut a network of its own (root).
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Random } from '../src/base/random.ts'
import type { Network } from '../test/chaos/network.ts'
import { projectFolder, reportPrefix } from './lib/broker.ts'
import {
  cleanUpAtExit,
  deleteFolder,
  hasEnded,
  ownFolder,
  sleep,
  stopProcess,
} from './lib/children.ts'
import { type RunningCluster, startKafkaCluster, startMillraceCluster } from './lib/clusters.ts'
import { failoverReport, type Observation } from './lib/failover-report.ts'
import { describeMachine, machineLines } from './lib/machine.ts'
import { type MetadataOutage, untilMetadataIsTaken } from './lib/metadata-writes.ts'
import { ownNetwork, runInNetwork } from './lib/own-network.ts'
import { Prober } from './lib/prober.ts'
import { formatNumber } from './lib/statistics.ts'
import { addDelivered, type Delivered, SteadyProducer } from './lib/steady-producer.ts'

const FAULTS = [
  'kill',
  'stop',
  'link',
  'restart',
  'controller-kill',
  'controller-stop',
  'controller-link',
  'none',
] as const
type Fault = (typeof FAULTS)[number]

const USAGE = `node build/bench/failover.js [--peer millrace|kafka] [--rounds 5] [--seed N]
  [--faults ${FAULTS.join()}]
  [--partitions 30] [--rate 20000] [--every MS] [--java] [--set NAME=VALUE]... [--out PREFIX]
  [--keep]

controller: the three of the active controller. none: nothing happens, and what pauses all the same
is the machine's. Brokers are drawn from the seed. link needs root.
every: milliseconds between two batches of a partition (20); what is below that is not seen.
keep: what the brokers said and wrote stays.`

const NODES = 3
const TOPIC = 'failover'
const WATCH_MS = 4000
/** Until it is back, in sync, and leads again what it is to lead. */
const SETTLE_MS_MAX = 60_000
/** And so much longer. */
const QUIET_MS = 2000
const JAVA_EVENTS_PER_SECOND = 200

interface Scene {
  readonly cluster: RunningCluster
  readonly prober: Prober
  readonly network: Network | null
  readonly java: SteadyProducer | null
}

async function observe(scene: Scene, fault: Fault, node: number): Promise<Observation> {
  const { cluster, prober } = scene
  const { child } = cluster.nodes[node - 1] as RunningCluster['nodes'][number]
  const controller = await prober.controller()
  const beforeMs = Math.max(0, ...prober.gaps.map(({ ms }) => ms))
  const led = prober.gaps.map((_, partition) => prober.leaderOf(partition) === node)
  prober.mark()
  const atMs = performance.now()
  const metadata = await strike(scene, fault, node)
  await sleep(Math.max(0, WATCH_MS - (performance.now() - atMs)))
  const ledMs: number[] = []
  let othersMs = 0
  for (const [partition, gap] of prober.gaps.entries()) {
    // One that takes nothing to this day counts with all of the time.
    const openMs = performance.now() - (prober.acknowledgedMs[partition] as number)
    const ms = Math.max(gap.ms, openMs > 1000 ? openMs : 0)
    if (led[partition]) ledMs.push(ms)
    else othersMs = Math.max(othersMs, ms)
  }
  const reasons = Object.fromEntries(prober.reasons)
  if (fault.endsWith('stop')) child.kill('SIGCONT')
  else if (fault.endsWith('link')) {
    scene.network?.setLink(node, null)
    await prober.reconnect(node)
  } else if (hasEnded(child)) await cluster.restart(node)
  const delivered = await settle(scene)
  const wasController = node === controller
  return { fault, node, wasController, beforeMs, ledMs, othersMs, reasons, metadata, delivered }
}

/**
 * Returns what the Java producer has delivered until it had no trouble any more. Gaps are counted
 * from when the cluster is whole.
 */
async function settle({ prober, java }: Scene): Promise<Delivered | null> {
  const deadlineMs = performance.now() + SETTLE_MS_MAX
  const checkTime = (): void => {
    if (performance.now() > deadlineMs) throw new Error('the cluster does not become whole again')
  }
  while (!(await prober.isSettled())) {
    checkTime()
    await sleep(100)
  }
  // The pauses of leaders that were given back are none of the quiet before the next fault.
  await sleep(QUIET_MS / 4)
  prober.mark()
  await sleep(QUIET_MS)
  let delivered = (await java?.report()) ?? null
  // Of a connection whose packets were lost the rest may come after many seconds.
  for (let last = delivered; java !== null && delivered !== null && last !== null; ) {
    if (last.slowestMs < QUIET_MS / 2) break
    checkTime()
    await sleep(QUIET_MS)
    last = await java.report()
    delivered = addDelivered(delivered, last)
  }
  return delivered
}

/** Null, or of the active controller: how long the metadata took no change. */
async function strike(
  { cluster, prober, network }: Scene,
  fault: Fault,
  node: number,
): Promise<MetadataOutage | null> {
  if (fault === 'none') return null
  const { child } = cluster.nodes[node - 1] as RunningCluster['nodes'][number]
  if (fault.endsWith('kill')) child.kill('SIGKILL')
  else if (fault.endsWith('stop')) child.kill('SIGSTOP')
  else if (fault.endsWith('link')) network?.setLink(node, { kind: 'cut' })
  else await stopProcess(child, 60_000)
  if (!fault.startsWith('controller')) return null
  const left = cluster.nodes.filter(({ id }) => id !== node)
  const metadata = await untilMetadataIsTaken(left, node)
  await prober.controller()
  return metadata
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

function sayObservation(seen: Observation): void {
  const { fault, node, metadata, delivered } = seen
  const worst = Math.round(Math.max(0, ...seen.ledMs))
  const reasons = Object.entries(seen.reasons).map(([reason, count]) => `${count} × ${reason}`)
  const parts = [
    `${fault} of node ${node}${seen.wasController ? ' (controller)' : ''}: ` +
      `${seen.ledMs.length} led partitions, worst ${worst} ms`,
    `others ${Math.round(seen.othersMs)} ms; before it ${Math.round(seen.beforeMs)} ms`,
  ]
  if (metadata !== null) {
    const { electedMs, writtenMs } = metadata
    parts.push(
      `another controller ${Math.round(electedMs)} ms, a topic ${Math.round(writtenMs)} ms`,
    )
  }
  if (delivered !== null) {
    const { acknowledged, slowestMs, errors } = delivered
    parts.push(
      `Java: ${acknowledged} acknowledged, slowest ${slowestMs} ms, ${JSON.stringify(errors)}`,
    )
  }
  say([...parts, reasons.join(', ')].join('; '))
}

function faultsOf(text: string): Fault[] {
  return text.split(',').flatMap((name): Fault[] => {
    if (name === 'controller') return FAULTS.filter((fault) => fault.startsWith('controller'))
    if ((FAULTS as readonly string[]).includes(name)) return [name as Fault]
    throw new Error(`${name} is no fault: ${FAULTS.join()}`)
  })
}

async function main(): Promise<void> {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    options: {
      peer: { ...text, default: 'millrace' },
      faults: { ...text, default: 'kill,stop,restart' },
      rounds: { ...text, default: '5' },
      seed: { ...text, default: String(Date.now() % 100_000) },
      partitions: { ...text, default: '30' },
      rate: { ...text, default: '20000' },
      every: { ...text, default: '20' },
      java: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
      set: { type: 'string', multiple: true },
      out: { ...text, default: reportPrefix('failover') },
      help: { type: 'boolean' },
    },
  })
  if (values.help) {
    say(USAGE)
    return
  }
  const faults = faultsOf(values.faults)
  const network = ownNetwork(NODES)
  if (network === null && faults.some((fault) => fault.endsWith('link'))) {
    if (values.peer === 'kafka') throw new Error('links are cut with --peer millrace only')
    process.exitCode = await runInNetwork(NODES)
    return
  }
  cleanUpAtExit()
  const partitions = Number(values.partitions)
  const rate = Number(values.rate)
  const folder = join(projectFolder(), '.cache', 'bench', `failover-${process.pid}`)
  mkdirSync(folder, { recursive: true })
  if (!values.keep) ownFolder(folder)
  const machine = describeMachine(folder)
  const start = values.peer === 'kafka' ? startKafkaCluster : startMillraceCluster
  const replicas = ['default.replication.factor=3', 'min.insync.replicas=2']
  const settings = [...replicas, 'offsets.topic.replication.factor=3', ...(values.set ?? [])]
  const cluster = await start({ nodes: NODES, folder, settings, network: network ?? undefined })
  const prober = new Prober({
    places: cluster.nodes,
    topic: TOPIC,
    partitions,
    replicationFactor: 3,
    eventsPerSecond: rate,
    eventBytes: 100,
    everyMs: Number(values.every),
    requestTimeoutMs: 1000,
  })
  await prober.start()
  const java = values.java ? javaProducer(cluster, partitions) : null
  await java?.report()
  await settle({ cluster, prober, network, java })
  const startedMs = performance.now()
  const observations: Observation[] = []
  const random = new Random(Number(values.seed))
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const fault of faults) {
      const drawn = random.between(1, NODES)
      const node = fault.startsWith('controller') ? await prober.controller() : drawn
      const seen = await observe({ cluster, prober, network, java }, fault, node)
      observations.push(seen)
      sayObservation(seen)
    }
  }
  const eventsPerSecond = prober.events / ((performance.now() - startedMs) / 1000)
  say(`${formatNumber(eventsPerSecond)} events/s acknowledged`)
  await prober.stop()
  const last = (await java?.close()) ?? null
  await cluster.stop()
  if (!values.keep) deleteFolder(folder)
  const report = [...machineLines(machine), '', ...failoverReport(observations, last)].join('\n')
  process.stdout.write(`${report}\n`)
  const file = `${values.out}-${values.peer}`
  const options = { ...values, out: undefined }
  const all = { machine, options, eventsPerSecond, observations, last }
  writeFileSync(`${file}.json`, `${JSON.stringify(all, null, 1)}\n`)
  writeFileSync(`${file}.md`, `${report}\n`)
}

function javaProducer(cluster: RunningCluster, partitions: number): SteadyProducer {
  const bootstrap = cluster.nodes.map(({ host, port }) => `${host}:${port}`).join()
  const eventsPerSecond = JAVA_EVENTS_PER_SECOND
  return new SteadyProducer({ bootstrap, topic: TOPIC, partitions, eventsPerSecond })
}

await main()
