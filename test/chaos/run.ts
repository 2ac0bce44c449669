/**
 * One run, from the clients' namespace: a cluster, clients of two libraries, faults; then all of it
 * is healed, read back and judged. A program of its own (its argument: RunOptions as JSON), because
 * a process lives in one network namespace from its start; `chaos.ts` makes that and starts it. It
 * says how it goes on stdout and leaves `report.json`.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Random } from '../../src/base/random.ts'
import { checkHistory, type Verdict } from './checker.ts'
import { type ClientLibrary, ClientProcess } from './client-process.ts'
import type { ClientSpec } from './clients/client-spec.ts'
import { type ChaosTopic, Cluster } from './cluster.ts'
import type { FaultKind } from './faults.ts'
import { type FaultSpan, type Gap, gapsOf } from './gaps.ts'
import { HistoryFile, readHistory } from './history.ts'
import { type FaultCounts, type FaultReport, Nemesis, RECOVERY_MS_MAX } from './nemesis.ts'

export interface RunOptions {
  readonly seed: number
  readonly brokers: number
  readonly kinds: readonly FaultKind[]
  /** The run is over after so many faults, or so many minutes; Infinity is null. */
  readonly faultsMax: number | null
  readonly minutesMax: number | null
  readonly eventsPerSecond: number
  readonly prefix: string
  readonly directory: string
  readonly diskBytes: number
}

export interface RunReport {
  readonly faults: FaultCounts
  readonly struck: number
  /** What went wrong besides the history: brokers that ended, what did not recover. */
  readonly failures: readonly string[]
  readonly verdict: Verdict | null
  /** Replicas that differ below the high watermark after all brokers have stopped. */
  readonly differences: readonly string[]
  /** The longest of each kind, from the strike until everything was in sync. */
  readonly slowestMs: FaultCounts
  /** For how long a partition took no events. */
  readonly gaps: Partial<Record<FaultKind, Gap>>
  readonly seconds: number
}

const TOPICS: readonly ChaosTopic[] = [
  { name: 'cached', partitions: 4, configs: { 'internal.segment.bytes': '1000000' } },
  {
    name: 'flushed',
    partitions: 2,
    configs: { 'flush.messages': '1', 'internal.segment.bytes': '300000' },
  },
]
const BROKER: Readonly<Record<string, string>> = {
  'log.retention.ms': '-1',
  'log.flush.offset.checkpoint.interval.ms': '500',
  'replica.lag.time.max.ms': '3000',
  // Machines that run tests are slow at times; a slow one is no fault.
  'controller.quorum.election.timeout.ms': '800',
  'broker.session.timeout.ms': '2500',
  'millrace.arena.ingress.bytes': String(32 * 1024 * 1024),
  'default.replication.factor': '3',
  'offsets.topic.replication.factor': '3',
}
const PRODUCERS = 3
const BATCH_MAX = 20
const CLIENT_STOP_MS_MAX = 120_000
const CATCH_UP_MS = 2000

const options = JSON.parse(process.argv[2] ?? '{}') as RunOptions
const startedMs = performance.now()
const failures: string[] = []
const clients: ClientProcess[] = []
const say = (text: string): void => {
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1)
  process.stdout.write(`${seconds.padStart(7)} s  ${text}\n`)
}
const fail = (what: unknown): void => {
  const text = what instanceof Error ? what.message : String(what)
  failures.push(`${new Date().toISOString()} ${text}`)
  say(`FAILED: ${text}`)
}

await main()

async function main(): Promise<void> {
  const { brokers, prefix, directory, diskBytes, seed } = options
  const random = new Random(seed)
  const place = { prefix, directory, diskBytes }
  const cluster = new Cluster({ nodes: brokers, set: BROKER, onEnd: fail, ...place })
  const slowestMs: FaultCounts = {}
  const spans: FaultSpan[] = []
  const nemesis = new Nemesis({
    cluster,
    random: random.split(),
    kinds: options.kinds,
    journal: join(directory, 'faults.ndjson'),
    onFault: (done) => {
      const beganMs = Date.parse(done.began)
      const endedMs = beganMs + done.healedMs + done.recoveredMs
      spans.push({ kind: done.kind, beganMs, endedMs })
      onFault(done, slowestMs)
    },
  })
  let differences: readonly string[] = []
  let isRead = false
  try {
    await cluster.start()
    await cluster.createTopics(TOPICS)
    await cluster.whenInSync(RECOVERY_MS_MAX)
    say(`${brokers} brokers are in sync`)
    startClients(cluster, random)
    await nemesis.run(isOver).catch(fail)
    isRead = await readBack(cluster)
    await cluster.stop().catch(fail)
    differences = cluster.compareReplicas()
  } catch (error) {
    fail(error)
  }
  for (const client of clients) client.kill()
  await cluster.kill()
  // Without the logs as they are in the end everything would count as lost.
  const verdict = isRead ? checkHistory(() => readHistory(directory)) : null
  const seconds = Math.round((performance.now() - startedMs) / 1000)
  const { counts: faults, struck } = nemesis
  const gaps = gapsOf(readHistory(directory), spans)
  const what = { failures, verdict, differences, gaps }
  const report: RunReport = { faults, struck, slowestMs, seconds, ...what }
  writeFileSync(join(directory, 'report.json'), JSON.stringify(report, null, 2))
  process.exit(0)
}

function startClients(cluster: Cluster, random: Random): void {
  const { directory, eventsPerSecond } = options
  const base = {
    directory,
    bootstrap: cluster.bootstrap,
    topics: TOPICS,
    producers: PRODUCERS,
    batchMax: BATCH_MAX,
    eventsPerSecond: eventsPerSecond / 2,
  }
  for (const library of ['kafkajs', 'librdkafka'] as const) {
    for (const role of ['producer', 'consumer'] as const) {
      const name = `${library}-${role}`
      const spec: ClientSpec = { ...base, role, name, seed: random.u32() }
      clients.push(new ClientProcess(library satisfies ClientLibrary, spec))
    }
  }
}

function isOver(struck: number): boolean {
  const { faultsMax, minutesMax } = options
  const minutes = (performance.now() - startedMs) / 60_000
  return struck >= (faultsMax ?? Infinity) || minutes >= (minutesMax ?? Infinity)
}

function onFault(done: FaultReport, slowestMs: FaultCounts): void {
  const { index, kind, node, ms, healedMs, recoveredMs } = done
  slowestMs[kind] = Math.max(slowestMs[kind] ?? 0, healedMs + recoveredMs)
  const acknowledged = doneBy('producer')
  const read = doneBy('consumer')
  say(
    `fault ${index}: ${kind} of node ${node} for ${ms} ms; healed after ${healedMs} ms, ` +
      `in sync after ${recoveredMs} ms more; ${acknowledged} acknowledged, ${read} read`,
  )
  // The clients' files say what is missing; a run without one of them is no run.
  const lost = clients.find(({ hasFailed }) => hasFailed)
  if (lost !== undefined) throw new Error(`client ${lost.name} has ended`)
}

function doneBy(role: ClientSpec['role']): number {
  return clients.filter((one) => one.role === role).reduce((sum, { done }) => sum + done, 0)
}

/** Everything has healed: producers finish, and the logs are read. False: they cannot be. */
async function readBack(cluster: Cluster): Promise<boolean> {
  try {
    await cluster.whenInSync(RECOVERY_MS_MAX)
    await stopClients('producer')
    await cluster.whenInSync(RECOVERY_MS_MAX)
    const total = await cluster.readAll(new HistoryFile(options.directory, 'final'))
    say(`${total} events are in the logs`)
    await new Promise((resolve) => setTimeout(resolve, CATCH_UP_MS))
    await stopClients('consumer')
    return true
  } catch (error) {
    fail(error)
    return false
  }
}

async function stopClients(role: ClientSpec['role']): Promise<void> {
  const stopping = clients.filter((one) => one.role === role)
  for (const what of await Promise.all(stopping.map((one) => one.stop(CLIENT_STOP_MS_MAX)))) {
    if (what !== null) fail(what)
  }
}
