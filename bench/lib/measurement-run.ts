/**
 * One run of the first measurement: a fresh folder, a target in its memory cgroup, the load, what
 * the target used meanwhile, and everything gone again.
 */
import { type ChildProcess, spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { startBroker } from './broker.ts'
import {
  deleteFolder,
  deleteGroup,
  ownFolder,
  ownGroup,
  sleep,
  stopProcess,
  tailOf,
} from './children.ts'
import { startLimitServer } from './limit-server.ts'
import { type LoadResult, runLoad } from './limits.ts'
import { freeDiskBytes } from './machine.ts'
import {
  LIMIT_TARGETS,
  loadArguments,
  type MeasurementOptions,
  PARTITIONS,
  type Workload,
  writesLog,
} from './measurement-options.ts'
import { MemoryGroup } from './memory-group.ts'
import {
  memoryOf,
  type ProcessSample,
  type ProcessUse,
  sampleProcess,
  useBetween,
} from './process-sample.ts'

/** Free space that a run must leave. */
const DISK_MARGIN_BYTES = 4e9

export interface Run {
  readonly target: string
  readonly workload: string
  /** Of the cgroup; null: none. */
  readonly memoryBytes: number | null
  readonly round: number
  readonly load: LoadResult
  /** Of the target, in the measurement. */
  readonly use: ProcessUse
  readonly residentPeakBytes: number
  /** Page cache included; null without a cgroup. */
  readonly groupPeakBytes: number | null
}

export interface RunPlan {
  readonly target: string
  readonly workload: Workload
  readonly memoryBytes: number | null
  readonly round: number
  readonly dataParent: string
}

interface Started {
  readonly child: ChildProcess
  readonly address: string
}

let runs = 0

export async function runOnce(options: MeasurementOptions, plan: RunPlan): Promise<Run> {
  mkdirSync(plan.dataParent, { recursive: true })
  const free = freeDiskBytes(plan.dataParent)
  if (free < options.bytesMax + DISK_MARGIN_BYTES) {
    const has = Math.floor(free / 1e9)
    throw new Error(`${plan.dataParent} has ${has} GB free: too little; lower --max-gb`)
  }
  const name = `millrace-bench-${process.pid}-${runs++}`
  const folder = join(plan.dataParent, name)
  mkdirSync(folder)
  ownFolder(folder)
  let group: MemoryGroup | undefined
  try {
    if (plan.memoryBytes !== null) {
      const made = MemoryGroup.create(name, plan.memoryBytes, options.cgroupParent)
      if (typeof made === 'string') throw new Error(made)
      group = made
      ownGroup(group)
    }
    return await measure(options, plan, folder, group)
  } finally {
    deleteFolder(folder)
    if (group !== undefined) await deleteGroup(group)
    // What is still on its way to the disk must not be the next run's burden.
    spawnSync('sync', ['-f', plan.dataParent])
    await sleep(500)
  }
}

async function measure(
  options: MeasurementOptions,
  plan: RunPlan,
  folder: string,
  group: MemoryGroup | undefined,
): Promise<Run> {
  const logFile = join(folder, 'target.log')
  const { child, address } = await startTarget(options, plan, folder, logFile, group)
  const pid = child.pid as number
  try {
    const samples: ProcessSample[] = []
    const bytesMax = writesLog(plan.target) ? options.bytesMax : undefined
    const load = await runLoad({
      address,
      args: loadArguments(options, plan.workload, bytesMax),
      cpus: options.loadCpus,
      onMeasure: () => samples.push(sampleProcess(pid)),
      timeoutMs: (options.warmUpSeconds + options.seconds + 60) * 1000,
    })
    const [before, after] = samples
    if (before === undefined || after === undefined) throw new Error('the load ended too early')
    return {
      target: plan.target,
      workload: plan.workload.name,
      memoryBytes: plan.memoryBytes,
      round: plan.round,
      load,
      use: useBetween(before, after, pid),
      residentPeakBytes: memoryOf(pid, 'VmHWM'),
      groupPeakBytes: group?.peakBytes() ?? null,
    }
  } catch (error) {
    const log = tailOf(logFile)
    throw new Error(`a run of ${plan.target} failed; its last lines:\n${log}`, { cause: error })
  } finally {
    await stopProcess(child)
  }
}

async function startTarget(
  options: MeasurementOptions,
  plan: RunPlan,
  folder: string,
  logFile: string,
  group: MemoryGroup | undefined,
): Promise<Started> {
  const dataDir = join(folder, 'data')
  const cpus = options.targetCpus
  if (plan.target === 'millrace') {
    const { shards, settings, nodeArgs, main } = options
    const readyTimeoutMs = 30_000
    const broker = await startBroker({
      main,
      dataDir,
      logFile,
      shards,
      settings,
      nodeArgs,
      group,
      cpus,
      readyTimeoutMs,
    })
    return { child: broker.child, address: `127.0.0.1:${broker.kafkaPort}` }
  }
  const { child, port } = await startLimitServer({
    dataDir,
    logFile,
    partitions: PARTITIONS,
    secondsMax: options.warmUpSeconds + options.seconds + 90,
    args: LIMIT_TARGETS[plan.target] ?? [],
    group,
    cpus,
  })
  return { child, address: `127.0.0.1:${port}` }
}
