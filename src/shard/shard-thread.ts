import { type MessagePort, parentPort, threadId, workerData } from 'node:worker_threads'
import { systemClock } from '../base/clock.ts'
import { loadNative, type NativeAddon } from '../base/native.ts'
import type { BatchEngine } from '../record/batch-engine.ts'
import { jsBatchEngine } from '../record/batch-engine-js.ts'
import { nativeBatchEngine } from '../record/batch-engine-native.ts'
import { Arena, type ArenaMemory, ArenaView } from '../ring/arena.ts'
import { AtomicsParker, Doorbell, EventfdParker, type WaitCell } from '../ring/doorbell.ts'
import { LaneReader, LaneWriter } from '../ring/lane.ts'
import type { LaneMemory } from '../ring/lane-layout.ts'
import { DeletedFiles } from '../storage/deleted-files.ts'
import type { Files } from '../storage/files.ts'
import { NativeFiles } from '../storage/native-files.ts'
import { NodeFiles } from '../storage/node-files.ts'
import { Outbox } from './outbox.ts'
import { PortCompactor } from './port-compactor.ts'
import { Shard } from './shard.ts'

/**
 * The thread around a shard: builds its parts for the chosen tier, then calls `turn`, parks when
 * there is nothing to do, and lets Node's event loop run every 20 ms or so. An exception ends the
 * thread, and with it the process: half a shard is worse than none.
 */
export type Tier = 'portable' | 'native' | 'io_uring'

export interface ShardThreadData {
  readonly index: number
  readonly tier: Tier
  /** Core to pin to, or −1. */
  readonly core: number
  readonly requests: LaneMemory
  readonly answers: LaneMemory
  readonly ingress: ArenaMemory
  readonly egress: ArenaMemory
  readonly shardCell: WaitCell
  readonly mainCell: WaitCell
  readonly checkpointIntervalMs: number
  readonly retentionCheckIntervalMs: number
  /** Of the thread that compacts; null without one. */
  readonly compactionPort: MessagePort | null
  readonly compactionIntervalMs: number
  readonly openLogsMax: number
  readonly checkMemory: boolean
}

const SLICE_MS = 20
const PARK_MS_MAX = 50
const URING_ENTRIES = 256

function run(data: ShardThreadData): void {
  const addon = data.tier === 'portable' ? null : loadNative()
  if (data.tier !== 'portable' && addon === null) throw new Error('the native addon does not load')
  addon?.setThreadName(`shard-${data.index}`)
  if (addon !== null && data.core >= 0) addon.pinThread(data.core)
  const eventfd = addon === null ? -1 : addon.eventfdCreate()
  const outbox = new Outbox(new LaneWriter(data.answers), new Doorbell(data.mainCell, addon))
  const requests = new LaneReader(data.requests)
  const files = openFiles(data.tier, addon, eventfd)
  const shard = new Shard({
    index: data.index,
    requests,
    outbox,
    ingress: new ArenaView(data.ingress),
    egress: new Arena(data.egress, { poison: data.checkMemory }),
    context: {
      files,
      deletedFiles: new DeletedFiles(files, systemClock),
      clock: systemClock,
      engine: engineFor(addon),
      onWarning: (message) => outbox.event({ kind: 'warning', message }),
    },
    checkpointIntervalMs: data.checkpointIntervalMs,
    retentionCheckIntervalMs: data.retentionCheckIntervalMs,
    compactor:
      data.compactionPort === null
        ? null
        : new PortCompactor(data.compactionPort, () => outbox.event({ kind: 'compaction-wanted' })),
    compactionIntervalMs: data.compactionIntervalMs,
    openLogsMax: data.openLogsMax,
    threadCpuMicros: () => addon?.threadCpuMicros() ?? 0,
  })
  const isEmpty = (): boolean => requests.isEmpty()
  const parker =
    addon === null
      ? new AtomicsParker(data.shardCell, isEmpty)
      : new EventfdParker(data.shardCell, isEmpty, { fd: eventfd, native: addon })
  void loop(shard, parker, data.tier)
}

async function loop(
  shard: Shard,
  parker: AtomicsParker | EventfdParker,
  tier: Tier,
): Promise<void> {
  while (!shard.isShutDown) {
    const sliceEnd = systemClock.monotonicMs() + SLICE_MS
    let now = systemClock.monotonicMs()
    while (now < sliceEnd && !shard.isShutDown) {
      const work = shard.turn(now)
      const afterMs = systemClock.monotonicMs()
      if (work === 0) {
        // With io_uring what finishes signals the eventfd that the shard parks on.
        const mayPark = tier === 'io_uring' || !shard.isFlushing
        const timeoutMs = mayPark ? Math.min(PARK_MS_MAX, shard.nextDeadlineMs - now) : 0
        if (timeoutMs > 0) {
          shard.state.counters.parks++
          parker.park(timeoutMs)
          now = systemClock.monotonicMs()
          continue
        }
      } else {
        shard.state.turnTimes.observe(afterMs - now)
      }
      now = afterMs
    }
    await new Promise(setImmediate)
  }
  while (shard.turn(systemClock.monotonicMs()) > 0);
  parentPort?.close()
}

function openFiles(tier: Tier, addon: NativeAddon | null, eventfd: number): Files {
  if (addon === null) return new NodeFiles()
  const ring = tier === 'io_uring' ? addon.uringOpen(URING_ENTRIES, eventfd) : null
  if (tier === 'io_uring' && ring === null) throw new Error('the kernel refuses io_uring')
  return new NativeFiles(addon, ring)
}

function engineFor(addon: NativeAddon | null): BatchEngine {
  return addon === null ? jsBatchEngine : nativeBatchEngine(addon)
}

if (parentPort !== null && threadId !== 0) run(workerData as ShardThreadData)
