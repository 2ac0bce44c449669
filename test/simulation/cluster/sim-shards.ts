/**
 * The shards of a simulated process: real ones, with real lanes and arenas, on the one thread that
 * there is. A turn is an event of the host; as the thread would, a shard turns when its lane has
 * something, while something is being flushed or read, and when a timer of it is due.
 */
import { Random } from '../../../src/base/random.ts'
import type { BrokerPlatform, HubWaker } from '../../../src/broker/start-broker.ts'
import { jsBatchEngine } from '../../../src/record/batch-engine-js.ts'
import { Arena, ArenaView, allocateArena } from '../../../src/ring/arena.ts'
import { allocateWaitCell, Doorbell } from '../../../src/ring/doorbell.ts'
import { allocateLane, LaneReader, LaneWriter } from '../../../src/ring/lane.ts'
import { Outbox } from '../../../src/shard/outbox.ts'
import { SentBytes } from '../../../src/shard/sent-bytes.ts'
import { Shard } from '../../../src/shard/shard.ts'
import type { ShardHost, ShardHostOptions } from '../../../src/shard/shard-host.ts'
import { ShardProxy } from '../../../src/shard/shard-proxy.ts'
import { DeletedFiles } from '../../../src/storage/deleted-files.ts'
import { SimCompactor } from '../sim-compactor.ts'
import { SimCrash, type SimDisk } from '../sim-disk.ts'
import { SimFiles } from '../sim-files.ts'
import type { SimTimer } from './platform.ts'
import type { Host } from './sim-world.ts'

const WAKE_MS_MAX = 0.1
/** In one event, while there is work. */
const TURNS_MAX = 3

interface Unit {
  readonly shard: Shard
  readonly files: SimFiles
  readonly requests: LaneReader
  readonly egress: Arena
  /** When it turns next. */
  dueMs: number
  timer: SimTimer | null
}

export class SimShards implements ShardHost {
  readonly proxies: ShardProxy[] = []
  readonly sent = new SentBytes()
  readonly units: Unit[] = []
  readonly #host: Host
  readonly #disk: SimDisk
  readonly #flushMsMax: number
  readonly #parkMsMax: number
  readonly #onCrash: () => void
  #wake: (() => void) | null = null
  #isArmed = false
  #ended: (() => void) | null = null

  constructor(parts: {
    readonly host: Host
    readonly disk: SimDisk
    readonly flushMsMax: number
    /** What a parked thread sleeps at most. */
    readonly parkMsMax: number
    /** The process died inside a call of the disk. */
    readonly onCrash: () => void
  }) {
    this.#host = parts.host
    this.#disk = parts.disk
    this.#flushMsMax = parts.flushMsMax
    this.#parkMsMax = parts.parkMsMax
    this.#onCrash = parts.onCrash
  }

  readonly start: BrokerPlatform['startShards'] = (options) => {
    for (let index = 0; index < options.shards; index++) this.#startOne(index, options)
    return this
  }

  waker(pump: () => void): HubWaker {
    this.#wake = pump
    return {
      arm: () => {
        this.#isArmed = this.allEmpty()
        return this.#isArmed
      },
    }
  }

  allEmpty(): boolean {
    return this.proxies.every((proxy) => !proxy.hasAnswers())
  }

  join(): Promise<void> {
    return new Promise((resolve) => {
      this.#ended = resolve
      this.#endIfDone()
    })
  }

  die(): void {
    for (const { files } of this.units) files.die()
  }

  /** After each event of the host: lanes may have something. */
  look(): void {
    const nowMs = this.#host.world.nowMs
    for (const unit of this.units) {
      if (unit.shard.isShutDown || unit.requests.isEmpty()) continue
      if (unit.dueMs > nowMs + WAKE_MS_MAX) this.#turnAfter(unit, this.#wakeMs())
    }
  }

  #wakeMs(): number {
    return this.#host.random.fraction() * WAKE_MS_MAX
  }

  #turnAfter(unit: Unit, delayMs: number): void {
    unit.dueMs = this.#host.world.nowMs + delayMs / this.#host.rate
    unit.timer?.close()
    unit.timer = this.#host.after(delayMs, () => this.#turn(unit), 'shard')
  }

  #turn(unit: Unit): void {
    const { shard } = unit
    unit.dueMs = Number.POSITIVE_INFINITY
    let work = 1
    try {
      for (let i = 0; i < TURNS_MAX && work > 0; i++) work = shard.turn(this.#host.nowMs())
      if (shard.isShutDown) while (shard.turn(this.#host.nowMs()) > 0);
    } catch (error) {
      if (!(error instanceof SimCrash)) throw error
      this.#onCrash()
      return
    }
    if (this.#isArmed && !this.allEmpty()) {
      this.#isArmed = false
      this.#host.after(this.#wakeMs(), () => this.#wake?.())
    }
    if (shard.isShutDown) {
      this.#endIfDone()
      return
    }
    this.#turnAfter(unit, this.#restMs(shard, work))
  }

  #restMs(shard: Shard, work: number): number {
    if (work > 0) return this.#wakeMs()
    if (shard.isFlushing || shard.isReading) {
      return this.#flushMsMax * (0.2 + this.#host.random.fraction())
    }
    const ms = shard.nextDeadlineMs - this.#host.nowMs()
    return Math.min(Math.max(ms, 0.1), this.#parkMsMax)
  }

  #endIfDone(): void {
    if (this.units.every(({ shard }) => shard.isShutDown)) this.#ended?.()
  }

  #startOne(index: number, options: ShardHostOptions): void {
    const host = this.#host
    const lanes = {
      requests: allocateLane(options.laneBytes),
      answers: allocateLane(options.laneBytes),
    }
    const memory = allocateArena(options.egressBytes)
    const egress = new Arena(memory, { poison: options.checkMemory })
    const files = new SimFiles(this.#disk)
    const clock = { monotonicMs: () => host.nowMs(), wallMs: () => host.wallMs() }
    const doorbell = new Doorbell(allocateWaitCell())
    const outbox = new Outbox(new LaneWriter(lanes.answers), doorbell)
    const requests = new LaneReader(lanes.requests)
    const shard = new Shard({
      index,
      requests,
      outbox,
      ingress: new ArenaView(options.ingress),
      egress,
      context: {
        files,
        deletedFiles: new DeletedFiles(files, clock),
        clock,
        engine: jsBatchEngine,
        onWarning: (message) => outbox.event({ kind: 'warning', message }),
      },
      checkpointIntervalMs: options.checkpointIntervalMs,
      retentionCheckIntervalMs: options.retentionCheckIntervalMs,
      compactor: new SimCompactor(files, new Random(host.random.u32())),
      compactionIntervalMs: options.compaction?.intervalMs ?? Number.POSITIVE_INFINITY,
      openLogsMax: options.openLogsMax,
      threadCpuMicros: () => 0,
    })
    const unit: Unit = {
      shard,
      files,
      requests,
      egress,
      dueMs: Number.POSITIVE_INFINITY,
      timer: null,
    }
    this.units.push(unit)
    this.proxies.push(
      new ShardProxy({
        index,
        egress: Buffer.from(memory.buffer),
        sent: this.sent,
        requests: new LaneWriter(lanes.requests),
        answers: new LaneReader(lanes.answers),
        doorbell: new Doorbell(allocateWaitCell()),
        onEvent: (event) => options.onEvent(index, event),
      }),
    )
    this.#turnAfter(unit, this.#wakeMs())
  }
}
