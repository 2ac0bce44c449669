import { Worker } from 'node:worker_threads'
import { loadNative, nativeLoadError } from '../base/native.ts'
import { type ArenaMemory, allocateArena } from '../ring/arena.ts'
import { allocateWaitCell, Doorbell, type WaitCell } from '../ring/doorbell.ts'
import { LaneReader, LaneWriter } from '../ring/lane.ts'
import { allocateLane } from '../ring/lane-layout.ts'
import type { ShardEvent } from './control.ts'
import { SentBytes } from './sent-bytes.ts'
import { ShardProxy } from './shard-proxy.ts'
import type { ShardThreadData, Tier } from './shard-thread.ts'

/**
 * Starts the shard threads and gives main a proxy for each. A shard that dies takes the process
 * with it: `onCrash` is called once, with the reason, and nothing is served after it.
 */
export interface ShardHostOptions {
  readonly shards: number
  readonly tier: Tier
  readonly pin: boolean
  readonly ingress: ArenaMemory
  readonly egressBytes: number
  readonly laneBytes: number
  readonly mainCell: WaitCell
  readonly checkpointIntervalMs: number
  readonly retentionCheckIntervalMs: number
  /** For each shard. */
  readonly openLogsMax: number
  readonly checkMemory: boolean
  readonly onEvent: (shard: number, event: ShardEvent) => void
  readonly onCrash: (shard: number, error: Error) => void
}

export interface ShardHost {
  readonly proxies: readonly ShardProxy[]
  readonly sent: SentBytes
  /** True when no shard has an answer waiting: what main's parker asks. */
  allEmpty(): boolean
  /** Ends the threads after their `shutdown`; resolves when all are gone. */
  join(): Promise<void>
}

/**
 * Chooses the tier: what is asked for, or the best that loads. Throws when a forced one does not.
 */
export function chooseTier(asked: 'auto' | Tier): { tier: Tier; reason: string } {
  if (asked === 'portable') return { tier: 'portable', reason: 'as configured' }
  const addon = loadNative()
  if (addon === null) {
    const reason = nativeLoadError() ?? 'the addon is not built'
    if (asked === 'auto') return { tier: 'portable', reason }
    throw new Error(`millrace.native.tier=${asked}, but ${reason}`)
  }
  if (asked === 'native') return { tier: 'native', reason: 'as configured' }
  const eventfd = addon.eventfdCreate()
  const ring = addon.uringOpen(8, eventfd)
  if (ring !== null) addon.uringClose(ring)
  addon.closeFd(eventfd)
  if (ring !== null)
    return { tier: 'io_uring', reason: asked === 'auto' ? 'best' : 'as configured' }
  if (asked === 'auto') return { tier: 'native', reason: 'the kernel refuses io_uring' }
  throw new Error('millrace.native.tier=io_uring, but the kernel refuses io_uring')
}

export function startShards(options: ShardHostOptions): ShardHost {
  const addon = options.tier === 'portable' ? null : loadNative()
  const workers: Worker[] = []
  const proxies: ShardProxy[] = []
  const sent = new SentBytes()
  for (let index = 0; index < options.shards; index++) {
    const data: ShardThreadData = {
      index,
      tier: options.tier,
      core: options.pin ? index + 1 : -1,
      requests: allocateLane(options.laneBytes),
      answers: allocateLane(options.laneBytes),
      ingress: options.ingress,
      egress: allocateArena(options.egressBytes),
      shardCell: allocateWaitCell(),
      mainCell: options.mainCell,
      checkpointIntervalMs: options.checkpointIntervalMs,
      retentionCheckIntervalMs: options.retentionCheckIntervalMs,
      openLogsMax: options.openLogsMax,
      checkMemory: options.checkMemory,
    }
    proxies.push(
      new ShardProxy({
        index,
        egress: Buffer.from(data.egress.buffer),
        sent,
        requests: new LaneWriter(data.requests),
        answers: new LaneReader(data.answers),
        doorbell: new Doorbell(data.shardCell, addon),
        onEvent: (event) => options.onEvent(index, event),
      }),
    )
    workers.push(startWorker(data, options))
  }
  return {
    proxies,
    sent,
    allEmpty: () => proxies.every((proxy) => !proxy.hasAnswers()),
    join: async () => {
      await Promise.all(workers.map((worker) => ended(worker)))
    },
  }
}

function startWorker(data: ShardThreadData, options: ShardHostOptions): Worker {
  const worker = new Worker(new URL('./shard-thread.js', import.meta.url), {
    workerData: data,
    name: `shard-${data.index}`,
    resourceLimits: { maxYoungGenerationSizeMb: 64 },
  })
  worker.once('error', (error) => options.onCrash(data.index, error))
  worker.once('exit', (code) => {
    if (code !== 0) options.onCrash(data.index, new Error(`thread ended with code ${code}`))
  })
  return worker
}

function ended(worker: Worker): Promise<void> {
  return new Promise((resolve) => {
    if (worker.threadId === -1) resolve()
    else worker.once('exit', () => resolve())
  })
}
