/**
 * The two native programs of `bench/limits`: building them, and one run of the load generator.
 */
import { spawn, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { projectFolder } from './broker.ts'
import { hasEnded, track } from './children.ts'

export interface Latency {
  readonly count: number
  readonly min: number
  readonly mean: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

/** The last line of `produce-load`, as far as it is used here. */
export interface LoadResult {
  readonly event: 'result'
  readonly mode: 'open' | 'closed'
  /** Requests a second; null in a closed loop. */
  readonly rate: number | null
  readonly connections: number
  readonly batchBytes: number
  readonly eventsPerRequest: number
  readonly seconds: number
  readonly stoppedBy: 'time' | 'bytes' | 'connections'
  readonly requests: number
  readonly bytes: number
  readonly requestsPerSecond: number
  readonly eventsPerSecond: number
  readonly bytesPerSecond: number
  /** From the intended send time. */
  readonly latencyMicros: Latency
  /** From the sending of the first byte. */
  readonly serviceMicros: Latency
  readonly offered: number
  readonly overdue: number
  readonly clientCpuSeconds: number
  /** From the first to the last request, warm-up included. */
  readonly byPartition: readonly { partition: number; acknowledgedEvents: number }[]
  readonly verified: boolean
  readonly problem: string | null
}

/** The last line of `fetch-load`, as far as it is used here. */
export interface FetchResult {
  readonly event: 'result'
  readonly consumers: number
  readonly seconds: number
  readonly requests: number
  readonly bytes: number
  readonly events: number
  readonly bytesPerSecond: number
  readonly eventsPerSecond: number
  /** How long ago the log had grown beyond what a consumer held. */
  readonly lagMsMax: number
  readonly lagMsP99: number
  readonly clientCpuSeconds: number
  readonly verified: boolean
  readonly problem: string | null
}

export interface LoadOptions {
  readonly address: string
  readonly args: readonly string[]
  readonly cpus?: string | undefined
  /** Called at the first and the last instant of the measurement, warm-up excluded. */
  readonly onMeasure: (at: 'start' | 'end') => void
  readonly timeoutMs: number
}

function limitsFolder(): string {
  return join(projectFolder(), 'bench', 'limits')
}

export type LimitsProgram = 'produce-load' | 'fetch-load' | 'limit-server' | 'sequential-reader'

export function limitsProgram(name: LimitsProgram): string {
  return join(limitsFolder(), 'target', 'release', name)
}

/** Builds what is stale; cargo decides. */
export function buildLimits(): void {
  const args = ['build', '--release', '--locked', '--quiet']
  const { status, error } = spawnSync('cargo', args, { cwd: limitsFolder(), stdio: 'inherit' })
  if (error !== undefined)
    throw new Error('the native programs need Rust (cargo)', { cause: error })
  if (status !== 0) throw new Error('cargo could not build bench/limits')
}

/** Runs the generator. Throws when it gives no result; a bad result says so itself. */
export function runLoad(options: LoadOptions): Promise<LoadResult> {
  return runProgram<LoadResult>('produce-load', options)
}

/** Runs consumers. Throws when they give no result; a bad result says so itself. */
export function runFetch(options: LoadOptions): Promise<FetchResult> {
  return runProgram<FetchResult>('fetch-load', options)
}

async function runProgram<R>(name: LimitsProgram, options: LoadOptions): Promise<R> {
  let command = [limitsProgram(name), '--connect', options.address, ...options.args]
  if (options.cpus !== undefined) command = ['taskset', '-c', options.cpus, ...command]
  const child = spawn(command[0] as string, command.slice(1), {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  track(child)
  const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs)
  const ended = new Promise<void>((resolve) => {
    child.on('close', () => resolve())
    child.on('error', () => resolve())
  })
  let result: R | undefined
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const said = JSON.parse(line) as { event: string }
      if (said.event === 'measure-start') options.onMeasure('start')
      else if (said.event === 'measure-end') options.onMeasure('end')
      else if (said.event === 'result') result = said as R
    }
    await ended
  } finally {
    clearTimeout(timer)
    if (!hasEnded(child)) child.kill('SIGKILL')
  }
  if (result === undefined) throw new Error(`${name} gave no result`)
  return result
}
