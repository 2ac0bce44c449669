/**
 * One run of a cell against one target: a new topic, the load, what the target used meanwhile, what
 * lies on the disk compared with what was acknowledged, and the topic gone again.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { KafkaAdmin } from '../../src/client/kafka-admin.ts'
import { sleep, tailOf } from '../lib/children.ts'
import { type FetchLoadResult, type LoadResult, runFetchLoad, runLoad } from '../lib/limits.ts'
import { freeDiskBytes, quietDisks } from '../lib/machine.ts'
import {
  memoryOf,
  type ProcessSample,
  type ProcessUse,
  sampleProcess,
  useBetween,
} from '../lib/process-sample.ts'
import { type Cell, requestRate, type TargetName } from './rows.ts'
import type { RunningTarget, Targets } from './targets.ts'

export interface RunPlan {
  readonly cell: Cell
  readonly target: TargetName
  readonly round: number
  readonly warmUpSeconds: number
  readonly seconds: number
  /** Of this target, in the cell that the rate refers to: requests a second. */
  readonly maximum: number | undefined
  /** Batch bytes after which a run ends early. */
  readonly bytesMax: number
  readonly loadCpus: string | undefined
  readonly dataParent: string
}

export interface CellRun {
  readonly cell: string
  readonly target: TargetName
  readonly round: number
  readonly load: LoadResult
  readonly fetch: FetchLoadResult | null
  /** Of the target, in the measurement. */
  readonly use: ProcessUse
  /** At the end of the run, and the most since the process started. */
  readonly residentBytes: number
  readonly residentPeakBytes: number
  /** Page cache included; null without a cgroup. */
  readonly groupPeakBytes: number | null
  /** Why it does not count. */
  readonly problem: string | null
}

/** Free space that a run must leave. */
const DISK_MARGIN_BYTES = 4e9
/** What a log with `retention.bytes` may have on the disk meanwhile, all partitions together. */
const RETAINED_BYTES_MAX = 16e9
const DELETE_TIMEOUT_MS = 90_000
/** The one topic that a limit program knows. */
const LIMIT_TOPIC = 'limits'

let runs = 0

export async function runCell(targets: Targets, plan: RunPlan): Promise<CellRun> {
  const { cell, dataParent } = plan
  const bytesMax = isRetained(cell) ? RETAINED_BYTES_MAX : plan.bytesMax
  if (freeDiskBytes(dataParent) < bytesMax + DISK_MARGIN_BYTES) {
    const has = Math.floor(freeDiskBytes(dataParent) / 1e9)
    throw new Error(`${dataParent} has ${has} GB free: too little; lower --max-gb`)
  }
  const target = await targets.get(plan.target, cell.partitions)
  const topic = target.isBroker ? `${cell.name}-${process.pid}-${runs++}` : LIMIT_TOPIC
  try {
    if (target.isBroker) await createTopic(target, topic, cell)
    return await measure(target, topic, plan)
  } catch (error) {
    const log = tailOf(target.logFile)
    throw new Error(`a run of ${plan.target} failed; its last lines:\n${log}`, { cause: error })
  } finally {
    if (target.isBroker) await deleteTopic(target, topic)
    else await targets.stop(plan.target)
    // What is still on its way to the disk must not be the next run's burden.
    spawnSync('sync', ['-f', dataParent])
    await quietDisks()
  }
}

async function measure(target: RunningTarget, topic: string, plan: RunPlan): Promise<CellRun> {
  const { cell } = plan
  const rate = requestRate(cell, plan.maximum)
  if (cell.rate !== undefined && rate === undefined) {
    throw new Error(`${cell.name} needs the maximum of ${plan.target}, which was not measured`)
  }
  const samples: ProcessSample[] = []
  const timeoutMs = (plan.warmUpSeconds + plan.seconds + 60) * 1000
  const fetching = cell.consumers === undefined ? null : startConsumers(target, topic, plan)
  // Awaited below; until then nobody may be told that it failed.
  fetching?.catch(() => undefined)
  const isWebSocket = cell.door === 'websocket'
  const args = loadArguments(plan, topic, rate)
  if (isWebSocket) args.push('--websocket', '--kafka', `127.0.0.1:${target.port}`)
  const load = await runLoad({
    address: `127.0.0.1:${isWebSocket ? target.httpPort : target.port}`,
    args,
    cpus: plan.loadCpus,
    onMeasure: () => samples.push(sampleProcess(target.pid)),
    timeoutMs,
  })
  const fetch = fetching === null ? null : await fetching
  const [before, after] = samples
  if (before === undefined || after === undefined) throw new Error('the load ended too early')
  return {
    cell: cell.name,
    target: plan.target,
    round: plan.round,
    load,
    fetch,
    use: useBetween(before, after, target.pid),
    residentBytes: memoryOf(target.pid, 'VmRSS'),
    residentPeakBytes: memoryOf(target.pid, 'VmHWM'),
    groupPeakBytes: target.group?.peakBytes() ?? null,
    problem: load.problem ?? fetch?.problem ?? diskProblem(target, cell, load),
  }
}

function loadArguments(plan: RunPlan, topic: string, rate: number | undefined): string[] {
  const { cell } = plan
  const args = ['--topic', topic, '--partitions', String(cell.partitions)]
  args.push('--connections', String(cell.connections), '--in-flight', String(cell.inFlight ?? 1))
  args.push('--event-bytes', String(cell.eventBytes))
  args.push('--events-per-request', String(cell.eventsPerRequest))
  args.push('--warm-up', String(plan.warmUpSeconds), '--duration', String(plan.seconds))
  if (!isRetained(cell)) args.push('--max-bytes', String(Math.floor(plan.bytesMax)))
  if (rate !== undefined) args.push('--rate', String(rate))
  return args
}

/** They read from the log's end as it is before the first event, so that they see all of it. */
function startConsumers(
  target: RunningTarget,
  topic: string,
  plan: RunPlan,
): Promise<FetchLoadResult> {
  const { cell } = plan
  const args = ['--topic', topic, '--partitions', String(cell.partitions)]
  args.push('--consumers', String(cell.consumers), '--from', 'latest')
  args.push('--warm-up', String(plan.warmUpSeconds), '--duration', String(plan.seconds))
  return runFetchLoad({
    address: `127.0.0.1:${target.port}`,
    args,
    cpus: plan.loadCpus,
    onMeasure: () => {},
    timeoutMs: (plan.warmUpSeconds + plan.seconds + 60) * 1000,
  })
}

/** Whether old segments are deleted meanwhile, so that the log does not grow. */
function isRetained(cell: Cell): boolean {
  return cell.topicConfigs?.some((one) => one.startsWith('retention.')) ?? false
}

/** Log files must hold exactly what was acknowledged, where nothing deletes them meanwhile. */
function diskProblem(target: RunningTarget, cell: Cell, load: LoadResult): string | null {
  if (isRetained(cell) || !target.isBroker) return null
  const events = load.byPartition.reduce((sum, one) => sum + one.acknowledgedEvents, 0)
  const expected = (events / load.eventsPerRequest) * load.batchBytes
  const found = logBytes(target.dataDir)
  if (found === expected) return null
  return `${expected} bytes were acknowledged, the log files hold ${found}`
}

/** Sizes of all topics' `.log` files, internal ones apart. */
export function logBytes(dataDir: string): number {
  let bytes = 0
  for (const folder of partitionFolders(dataDir)) {
    for (const name of readdirSync(folder)) {
      if (name.endsWith('.log')) bytes += statSync(join(folder, name)).size
    }
  }
  return bytes
}

/** Of the one topic that a broker has at a time; some name them after it, some after its id. */
function partitionFolders(dataDir: string): string[] {
  return readdirSync(dataDir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && /^(?!__).*-\d+(\..*)?$/.test(entry.name))
    .map(({ name }) => join(dataDir, name))
}

async function createTopic(target: RunningTarget, topic: string, cell: Cell): Promise<void> {
  const pairs = (cell.topicConfigs ?? []).map((text): [string, string] => {
    const [name = '', value = ''] = text.split('=')
    return [name, value]
  })
  await withAdmin(target, (admin) =>
    admin.createTopic({
      name: topic,
      partitions: cell.partitions,
      replicationFactor: 1,
      configs: new Map(pairs),
    }),
  )
}

/** Waits until its files are gone: their pages and blocks are the next run's. */
async function deleteTopic(target: RunningTarget, topic: string): Promise<void> {
  await withAdmin(target, (admin) => admin.deleteTopic(topic))
  const deadlineMs = performance.now() + DELETE_TIMEOUT_MS
  while (partitionFolders(target.dataDir).length > 0) {
    if (performance.now() > deadlineMs) throw new Error(`${target.name} keeps files of ${topic}`)
    await sleep(50)
  }
}

async function withAdmin<T>(
  target: RunningTarget,
  act: (admin: KafkaAdmin) => Promise<T>,
): Promise<T> {
  const at = { host: '127.0.0.1', port: target.port, clientId: 'suite', timeoutMs: 30_000 }
  const admin = await KafkaAdmin.connect(at)
  try {
    return await act(admin)
  } finally {
    admin.close()
  }
}
