import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import { loadNative, nativeLoadError } from '../base/native.ts'
import { type ArenaMemory, allocateArena } from '../ring/arena.ts'
import { allocateWaitCell, Doorbell, type WaitCell } from '../ring/doorbell.ts'
import { LaneReader, LaneWriter } from '../ring/lane.ts'
import { allocateLane } from '../ring/lane-layout.ts'
import type { CompactionThreadData } from './compaction-thread.ts'
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
  /** Null: nothing is compacted. */
  readonly compaction: CompactionOptions | null
  /** For each shard. */
  readonly openLogsMax: number
  readonly checkMemory: boolean
  readonly onEvent: (shard: number, event: ShardEvent) => void
  readonly onCrash: (shard: number, error: Error) => void
}

export interface CompactionOptions
  extends Pick<CompactionThreadData, 'mapBytesMax' | 'mapLoadFactor' | 'bytesPerSecondMax'> {
  readonly threads: number
  readonly intervalMs: number
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
  const compaction = new CompactionThreads(options)
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
      compactionPort: compaction.portFor(index),
      compactionIntervalMs: options.compaction?.intervalMs ?? Infinity,
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
        onEvent: (event) => {
          if (event.kind === 'compaction-wanted') compaction.start(index)
          else options.onEvent(index, event)
        },
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
      await compaction.end()
    },
  }
}

/**
 * The threads that compact, each started when the first of its shards has something to compact:
 * many brokers never need one.
 */
class CompactionThreads {
  readonly #options: ShardHostOptions
  /** A thread's ends of its shards' channels, until it is started. */
  readonly #ports: MessagePort[][] = []
  readonly #workers: (Worker | null)[] = []

  constructor(options: ShardHostOptions) {
    this.#options = options
    const threads = Math.min(options.compaction?.threads ?? 0, options.shards)
    for (let i = 0; i < threads; i++) {
      this.#ports.push([])
      this.#workers.push(null)
    }
  }

  /** The shard's end of a channel to its thread. */
  portFor(shard: number): MessagePort | null {
    if (this.#ports.length === 0) return null
    const { port1, port2 } = new MessageChannel()
    this.#ports[shard % this.#ports.length]?.push(port2)
    return port1
  }

  start(shard: number): void {
    const { compaction, tier, onCrash } = this.#options
    const thread = shard % this.#ports.length
    if (compaction === null || this.#workers[thread] !== null) return
    const ports = this.#ports[thread] as MessagePort[]
    const { mapBytesMax, mapLoadFactor, bytesPerSecondMax } = compaction
    const data: CompactionThreadData = {
      ports,
      tier,
      mapBytesMax,
      mapLoadFactor,
      bytesPerSecondMax,
    }
    const worker = new Worker(new URL('./compaction-thread.js', import.meta.url), {
      workerData: data,
      transferList: ports,
      name: `compaction-${thread}`,
      resourceLimits: { maxYoungGenerationSizeMb: 16 },
    })
    worker.once('error', (error) => onCrash(shard, error))
    this.#workers[thread] = worker
  }

  /** Shards have stopped their jobs. */
  async end(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker?.terminate()))
    for (const ports of this.#ports) for (const port of ports) port.close()
  }
}

function startWorker(data: ShardThreadData, options: ShardHostOptions): Worker {
  const worker = new Worker(new URL('./shard-thread.js', import.meta.url), {
    workerData: data,
    name: `shard-${data.index}`,
    transferList: data.compactionPort === null ? [] : [data.compactionPort],
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
