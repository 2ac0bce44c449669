/**
 * A proxy and its shard on one thread, joined by real lanes and arenas, over a disk in memory and a
 * clock that stands still. `turn` runs the shard once, `poll` hands its answers out; nothing else
 * moves.
 */
import assert from 'node:assert/strict'
import type { BatchEngine } from '../../src/record/batch-engine.ts'
import { jsBatchEngine } from '../../src/record/batch-engine-js.ts'
import { Arena, ArenaView, allocateArena } from '../../src/ring/arena.ts'
import { allocateWaitCell, Doorbell } from '../../src/ring/doorbell.ts'
import { allocateLane, LaneReader, LaneWriter } from '../../src/ring/lane.ts'
import type { Compactor } from '../../src/shard/compactor.ts'
import type { ControlReply, ControlRequest, ShardEvent } from '../../src/shard/control.ts'
import { READ_MIN_ONE_BATCH, READ_WATCH } from '../../src/shard/messages-layout.ts'
import { Outbox } from '../../src/shard/outbox.ts'
import type { OpenRole } from '../../src/shard/replica-control.ts'
import { Shard } from '../../src/shard/shard.ts'
import {
  type AppendOutcome,
  type AppendRequest,
  type AppendSink,
  type FollowOutcome,
  type FollowRequest,
  type FollowSink,
  type ReadOutcome,
  type ReadSink,
  type ReplicaReadRequest,
  ShardProxy,
} from '../../src/shard/shard-proxy.ts'
import { DeletedFiles } from '../../src/storage/deleted-files.ts'
import { DEFAULT_LOG_OPTIONS, type LogHint, type LogOptions } from '../../src/storage/log.ts'
import { ManualClock } from '../storage/support/fixture.ts'
import { MemoryFiles } from '../storage/support/memory-files.ts'

export const LOG_DIRECTORY = '/data'
const TOPIC_ID = 'QUJDREVGR0hJSktMTU5PUA'
const TURNS_MAX = 10_000

export interface FixtureOptions {
  readonly requestLaneBytes?: number
  readonly answerLaneBytes?: number
  readonly egressBytes?: number
  readonly retentionCheckIntervalMs?: number
  readonly compactor?: Compactor
  readonly compactionIntervalMs?: number
  /** The disk, when the compactor needs it too. */
  readonly files?: MemoryFiles
  readonly engine?: BatchEngine
  readonly openLogsMax?: number
}

interface OpenAs {
  readonly role?: OpenRole
  readonly hint?: LogHint | null
}

/** What came back, in order. */
export type Answer =
  | { readonly kind: 'appended'; readonly index: number; readonly outcome: AppendOutcome }
  | { readonly kind: 'written'; readonly index: number }
  | { readonly kind: 'read'; readonly index: number; readonly outcome: ReadOutcome }
  | { readonly kind: 'wake'; readonly index: number }
  | { readonly kind: 'followed'; readonly index: number; readonly outcome: FollowOutcome }

export class ShardFixture implements AppendSink, FollowSink, ReadSink {
  readonly files: MemoryFiles
  readonly clock = new ManualClock()
  readonly ingress: Arena
  readonly shard: Shard
  readonly proxy: ShardProxy
  readonly answers: Answer[] = []
  readonly events: ShardEvent[] = []
  readonly #extents = new Map<number, { offset: number; generation: number }>()
  readBytesMax = 100_000
  #nextIndex = 0

  constructor(options: FixtureOptions = {}) {
    const requests = allocateLane(options.requestLaneBytes ?? 64 * 1024)
    const answers = allocateLane(options.answerLaneBytes ?? 64 * 1024)
    const ingress = allocateArena(4 * 1024 * 1024)
    const egress = allocateArena(options.egressBytes ?? 1024 * 1024)
    this.files = options.files ?? new MemoryFiles()
    this.files.makeDirectory(LOG_DIRECTORY)
    this.ingress = new Arena(ingress, { poison: true })
    const bell = (): Doorbell => new Doorbell(allocateWaitCell())
    this.shard = new Shard({
      index: 0,
      requests: new LaneReader(requests),
      outbox: new Outbox(new LaneWriter(answers), bell()),
      ingress: new ArenaView(ingress),
      egress: new Arena(egress, { poison: true }),
      context: {
        files: this.files,
        deletedFiles: new DeletedFiles(this.files, this.clock),
        clock: this.clock,
        engine: options.engine ?? jsBatchEngine,
        onWarning: () => {},
      },
      checkpointIntervalMs: 60_000,
      retentionCheckIntervalMs: options.retentionCheckIntervalMs ?? 300_000,
      compactor: options.compactor ?? null,
      compactionIntervalMs: options.compactionIntervalMs ?? 1000,
      openLogsMax: options.openLogsMax ?? 100,
      threadCpuMicros: () => 0,
    })
    this.proxy = new ShardProxy({
      index: 0,
      egress: Buffer.from(egress.buffer),
      requests: new LaneWriter(requests),
      answers: new LaneReader(answers),
      doorbell: bell(),
      onEvent: (event) => this.events.push(event),
    })
  }

  /** Makes partitions 0 … count − 1 known, by their number as handle. */
  async open(count: number, options: Partial<LogOptions> = {}): Promise<void> {
    const partitions = Array.from({ length: count }, (_, handle) => ({
      handle,
      topicId: TOPIC_ID,
      partition: handle,
      logDirectory: LOG_DIRECTORY,
      directory: `${LOG_DIRECTORY}/topic-${handle}`,
      hint: null,
      leaderEpoch: 0,
    }))
    const all = { ...DEFAULT_LOG_OPTIONS, ...options }
    for (const one of partitions) {
      // One a message: lanes may be tiny.
      const request = { kind: 'open', recover: false, options: all, partitions: [one] } as const
      assert.equal((await this.control(request)).kind, 'ok')
    }
  }

  /** As `open`, one partition. */
  async openAs(
    handle: number,
    { role, hint, ...options }: OpenAs & Partial<LogOptions> = {},
  ): Promise<void> {
    const partition = {
      handle,
      topicId: TOPIC_ID,
      partition: handle,
      logDirectory: LOG_DIRECTORY,
      directory: `${LOG_DIRECTORY}/topic-${handle}`,
      hint: hint ?? null,
      leaderEpoch: 0,
      ...(role === undefined ? {} : { role }),
    }
    const all = { ...DEFAULT_LOG_OPTIONS, ...options }
    const request = { kind: 'open', recover: true, options: all, partitions: [partition] } as const
    assert.equal((await this.control(request)).kind, 'ok')
  }

  /** Queues an append; its index names it in `answers`. */
  append(handle: number, run: Uint8Array, rest: Partial<AppendRequest> = {}): number {
    const { index, ...extent } = this.#extent(run)
    this.proxy.append({ handle, ...extent, leaderEpoch: 0, ...rest }, this, index)
    return index
  }

  /** Queues batches of a leader. */
  follow(handle: number, run: Uint8Array, rest: Partial<FollowRequest> = {}): number {
    const { index, ...extent } = this.#extent(run)
    const news = { leaderEpoch: 0, leaderHighWatermark: 0, leaderLogStart: 0 }
    this.proxy.follow({ handle, ...extent, ...news, ...rest }, this, index)
    return index
  }

  replicaRead(handle: number, rest: Partial<ReplicaReadRequest>): { index: number; token: number } {
    const index = this.#nextIndex++
    const request = {
      handle,
      fetchOffset: 0,
      bytesMax: this.readBytesMax,
      flags: READ_MIN_ONE_BATCH | READ_WATCH,
      replicaId: 2,
      replicaEpoch: 1,
      currentLeaderEpoch: 0,
      lastFetchedEpoch: -1,
      followerLogStart: 0,
      ...rest,
    }
    return { index, token: this.proxy.replicaRead(request, this, index) }
  }

  /** The bytes in an extent of their own, which their answer gives back. */
  #extent(run: Uint8Array): Pick<
    AppendRequest,
    'offset' | 'length' | 'extentOffset' | 'generation'
  > & {
    index: number
  } {
    const index = this.#nextIndex++
    if (run.length === 0) return { index, offset: 0, length: 0, extentOffset: 0, generation: 0 }
    const offset = this.ingress.allocate(run.length)
    assert.ok(offset >= 0, 'the test uses more than the arena')
    this.ingress.bytes.set(run, offset)
    const generation = this.ingress.generationOf(offset)
    this.#extents.set(index, { offset, generation })
    return { index, offset, length: run.length, extentOffset: offset, generation }
  }

  read(handle: number, fetchOffset: number, flags = 0): { index: number; token: number } {
    const index = this.#nextIndex++
    const request = { handle, fetchOffset, bytesMax: this.readBytesMax, flags }
    return { index, token: this.proxy.read(request, this, index) }
  }

  /** Sends a control request and turns until its reply is there. */
  control(request: ControlRequest): Promise<ControlReply> {
    const reply = this.proxy.control(request)
    this.settle()
    return reply
  }

  turn(): number {
    this.proxy.flush()
    return this.shard.turn(this.clock.ms)
  }

  poll(): number {
    return this.proxy.poll()
  }

  /** Turns and polls until neither has anything to do. */
  settle(): void {
    for (let i = 0; i < TURNS_MAX; i++) if (this.turn() + this.poll() === 0) return
    assert.fail('it does not come to rest')
  }

  of<K extends Answer['kind']>(kind: K): Extract<Answer, { kind: K }>[] {
    return this.answers.filter((one): one is Extract<Answer, { kind: K }> => one.kind === kind)
  }

  onWritten(index: number): void {
    this.#release(index)
    this.answers.push({ kind: 'written', index })
  }

  onAppended(outcome: AppendOutcome, index: number): void {
    this.#release(index)
    this.answers.push({ kind: 'appended', index, outcome: { ...outcome } })
  }

  onFollowed(outcome: FollowOutcome, index: number): void {
    this.#release(index)
    this.answers.push({ kind: 'followed', index, outcome: { ...outcome } })
  }

  onRead(outcome: ReadOutcome, index: number): void {
    this.answers.push({ kind: 'read', index, outcome: { ...outcome } })
  }

  onWake(index: number): void {
    this.answers.push({ kind: 'wake', index })
  }

  #release(index: number): void {
    const extent = this.#extents.get(index)
    if (extent === undefined) return
    this.#extents.delete(index)
    this.ingress.free(extent.offset, extent.generation)
  }
}
