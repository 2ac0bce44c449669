/**
 * One life of the simulated broker process: real shards with real lanes and arenas on one thread,
 * and main's real side of them. Started the way src/broker/start-broker.ts does it; ended by a
 * clean shutdown, a kill or a power loss.
 */
import { assert } from '../../src/base/assert.ts'
import type { Clock } from '../../src/base/clock.ts'
import { Random } from '../../src/base/random.ts'
import { jsBatchEngine } from '../../src/record/batch-engine-js.ts'
import { Arena, ArenaView, allocateArena } from '../../src/ring/arena.ts'
import { allocateWaitCell, Doorbell } from '../../src/ring/doorbell.ts'
import { allocateLane, LaneReader, LaneWriter } from '../../src/ring/lane.ts'
import type { ControlReply, ShardEvent } from '../../src/shard/control.ts'
import { Outbox } from '../../src/shard/outbox.ts'
import { Shard } from '../../src/shard/shard.ts'
import { ShardProxy } from '../../src/shard/shard-proxy.ts'
import { checkpointKey, readCheckpoints, removeCleanMarks } from '../../src/storage/checkpoint.ts'
import { DeletedFiles } from '../../src/storage/deleted-files.ts'
import type { PartitionLog } from '../../src/storage/log.ts'
import type { LogHint } from '../../src/storage/log-types.ts'
import { journal } from './journal.ts'
import type { PartitionPlan, Plan } from './plan.ts'
import { SimCompactor } from './sim-compactor.ts'
import type { SimDisk } from './sim-disk.ts'
import { SimFiles } from './sim-files.ts'
import { Violation } from './violation.ts'

const INGRESS_BYTES = 256 * 1024

export class SimClock implements Clock {
  monotonic = 0
  wall = 1_700_000_000_000

  wallMs(): number {
    return Math.floor(this.wall)
  }

  monotonicMs(): number {
    return this.monotonic
  }

  advance(ms: number): void {
    this.monotonic += ms
    this.wall += ms
  }
}

export interface LogBounds {
  readonly logStartOffset: number
  readonly logEndOffset: number
  readonly highWatermark: number
  readonly bytes: number
}

export interface ShardUnit {
  readonly index: number
  readonly files: SimFiles
  readonly shard: Shard
  readonly proxy: ShardProxy
  /** Log directories that this shard has told to be offline. */
  readonly failed: Set<string>
}

export class SimProcess {
  readonly ingress: Arena
  readonly units: ShardUnit[] = []
  readonly failedDirectories = new Set<string>()
  readonly failures: string[] = []
  readonly warnings: string[] = []
  readonly #plan: Plan
  readonly #disk: SimDisk
  readonly #clock: SimClock
  readonly #random: Random
  readonly #shardByHandle: number[] = []
  readonly #hints = new Map<string, LogHint>()

  constructor(plan: Plan, disk: SimDisk, clock: SimClock, random: Random) {
    this.#plan = plan
    this.#disk = disk
    this.#clock = clock
    this.#random = random
    this.#readDirectories()
    const memory = allocateArena(INGRESS_BYTES)
    this.ingress = new Arena(memory, { poison: true })
    const view = new ArenaView(memory)
    const shards = random.between(1, plan.shardsMax)
    for (let index = 0; index < shards; index++) this.units.push(this.#makeUnit(index, view))
  }

  unitOf(handle: number): ShardUnit {
    return this.units[this.#shardByHandle[handle] as number] as ShardUnit
  }

  openedLog(handle: number): PartitionLog | null {
    const unit = this.units[this.#shardByHandle[handle] ?? -1]
    return unit?.shard.state.partitions.get(handle)?.openedLog ?? null
  }

  /** What a partition's log says that is not failed, or said when it was closed in order. */
  boundsOf(handle: number): LogBounds | null {
    const unit = this.units[this.#shardByHandle[handle] ?? -1]
    const partition = unit?.shard.state.partitions.get(handle)
    if (partition === undefined) return null
    if (partition.openedLog !== null) return partition.openedLog.failed ? null : partition.openedLog
    const { hint } = partition
    return hint?.clean ? { ...hint, highWatermark: hint.logEndOffset } : null
  }

  /** Asks the shards to open every partition; resolves when all have answered. */
  open(): Promise<void> {
    const opened: Promise<void>[] = []
    for (const partition of this.#plan.partitions) {
      const hint = this.#hints.get(checkpointKey(partition.topicId, partition.partition)) ?? null
      const shard = this.#random.below(this.units.length)
      this.#shardByHandle[partition.handle] = shard
      opened.push(this.#openOne(partition, hint))
    }
    return Promise.all(opened).then(() => undefined)
  }

  /** One shard's turn. A crash inside a disk call passes through as SimCrash. */
  turn(unit: ShardUnit): number {
    return unit.shard.turn(this.#clock.monotonicMs())
  }

  shutdown(): Promise<void> {
    const replies = this.units.map(({ proxy }) => proxy.control({ kind: 'shutdown' }))
    return Promise.all(replies).then(() => undefined)
  }

  die(): void {
    for (const { files } of this.units) files.die()
  }

  async #openOne(partition: PartitionPlan, hint: LogHint | null): Promise<void> {
    const { options, ...open } = partition
    const reply: ControlReply = await this.unitOf(partition.handle).proxy.control({
      kind: 'open',
      recover: hint === null || !hint.clean,
      options,
      partitions: [{ ...open, hint, leaderEpoch: 0 }],
    })
    assert(reply.kind === 'ok')
  }

  #readDirectories(): void {
    const files = new SimFiles(this.#disk)
    for (const directory of this.#plan.logDirectories) {
      files.makeDirectory(directory)
      // As writeMeta does before anything else is written below it.
      files.syncDirectory('/')
      const known = readCheckpoints(files, directory, (message) => this.warnings.push(message))
      for (const [key, hint] of known) this.#hints.set(key, hint)
      removeCleanMarks(files, directory)
    }
    if (files.openFiles > 0) throw new Violation('no file is left open', 'reading the checkpoints')
  }

  #makeUnit(index: number, ingress: ArenaView): ShardUnit {
    const { laneBytes, egressBytes, openLogsMax } = this.#plan
    const { checkpointIntervalMs, retentionCheckIntervalMs } = this.#plan
    const requests = allocateLane(laneBytes)
    const answers = allocateLane(laneBytes)
    const egress = allocateArena(egressBytes)
    const files = new SimFiles(this.#disk)
    const failed = new Set<string>()
    const outbox = new Outbox(new LaneWriter(answers), new Doorbell(allocateWaitCell()))
    const shard = new Shard({
      index,
      requests: new LaneReader(requests),
      outbox,
      ingress,
      egress: new Arena(egress, { poison: true }),
      context: {
        files,
        deletedFiles: new DeletedFiles(files, this.#clock),
        clock: this.#clock,
        engine: jsBatchEngine,
        onWarning: (message) => outbox.event({ kind: 'warning', message }),
      },
      checkpointIntervalMs,
      retentionCheckIntervalMs,
      compactor: new SimCompactor(files, new Random(this.#plan.compactionSeed + index)),
      compactionIntervalMs: this.#plan.compactionIntervalMs,
      openLogsMax,
      threadCpuMicros: () => 0,
    })
    const proxy = new ShardProxy({
      index,
      egress: Buffer.from(egress.buffer),
      requests: new LaneWriter(requests),
      answers: new LaneReader(answers),
      doorbell: new Doorbell(allocateWaitCell()),
      onEvent: (event) => this.#onEvent(event, failed),
    })
    return { index, files, shard, proxy, failed }
  }

  #onEvent(event: ShardEvent, failed: Set<string>): void {
    if (event.kind !== 'recovery') journal(() => JSON.stringify(event))
    if (event.kind === 'directory-failed') {
      this.failedDirectories.add(event.logDirectory)
      failed.add(event.logDirectory)
      this.failures.push(event.message)
    }
    if (event.kind === 'compaction') this.#disk.count('compactions')
    if (event.kind === 'warning') this.warnings.push(event.message)
  }
}
