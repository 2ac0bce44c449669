/**
 * The native programs of `bench/limits`: building them, and one run of a generator.
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

export interface PartitionOffsets {
  readonly partition: number
  readonly startOffset: number
  readonly endOffset: number
}

/** The last line of `produce-load`, as far as it is used here. */
export interface LoadResult {
  readonly event: 'result'
  readonly protocol: 'kafka' | 'websocket'
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
  /** WebSocket: that waited for credits when sending stopped. */
  readonly connectionsWithoutCredit: number
  readonly clientCpuSeconds: number
  /** Of the whole run. */
  readonly byPartition: readonly (PartitionOffsets & { readonly acknowledgedEvents: number })[]
  readonly verified: boolean
  readonly problem: string | null
}

/** The last line of `fetch-load`, as far as it is used here; counts are of the measurement. */
export interface FetchLoadResult {
  readonly event: 'result'
  readonly consumers: number
  readonly seconds: number
  readonly stoppedBy: 'time' | 'bytes' | 'end' | 'connections'
  readonly requests: number
  /** Responses that brought nothing: the wait was over. */
  readonly emptyResponses: number
  /** Of whole batches; `truncatedBytes` came on top and were no use. */
  readonly bytes: number
  readonly truncatedBytes: number
  readonly events: number
  readonly requestsPerSecond: number
  readonly eventsPerSecond: number
  readonly bytesPerSecond: number
  /** From the request to the last byte of a response that brought something. */
  readonly latencyMicros: Latency
  readonly lagEventsMax: number
  readonly lagBytesMax: number
  readonly lagMsMax: number
  readonly lagMsP99: number
  /** Events were read that were there before the first response: their lag is that or more. */
  readonly lagMsIsLowerBound: boolean
  readonly clientCpuSeconds: number
  readonly byConsumer: readonly { readonly bytes: number; readonly events: number }[]
  /** Of the whole run; `endOffset` is where the slowest consumer ended. */
  readonly byPartition: readonly PartitionOffsets[]
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

export type LimitsProgram =
  | 'produce-load'
  | 'fetch-load'
  | 'limit-server'
  | 'sequential-reader'
  | 'write-engines'

function limitsFolder(): string {
  return join(projectFolder(), 'bench', 'limits')
}

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

/** Runs the producers. Throws when they give no result; a bad result says so itself. */
export function runLoad(options: LoadOptions): Promise<LoadResult> {
  return runProgram<LoadResult>('produce-load', options)
}

/** Runs the consumers, as `runLoad` does the producers. */
export function runFetchLoad(options: LoadOptions): Promise<FetchLoadResult> {
  return runProgram<FetchLoadResult>('fetch-load', options)
}

async function runProgram<R extends { readonly event: 'result' }>(
  name: 'produce-load' | 'fetch-load',
  options: LoadOptions,
): Promise<R> {
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
