/** A real Broker of a cluster that is a metadata image, in front of a shard that the test plays. */
import type { Uuid } from '../../src/base/uuid.ts'
import { Broker, type BrokerParts } from '../../src/broker/broker.ts'
import type { DirectoryStates } from '../../src/broker/directory-states.ts'
import type { PartitionOpener } from '../../src/broker/local-partitions.ts'
import type { Decision, MetadataStore } from '../../src/broker/metadata-store.ts'
import { type ReplicaPlacer, replicationFactorOf } from '../../src/broker/replica-placer.ts'
import type { RequestContext } from '../../src/broker/request.ts'
import { RequestFrame } from '../../src/broker/request-frame.ts'
import { SendTurns } from '../../src/broker/send-turns.ts'
import { loadConfig } from '../../src/config/load.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { MetadataImage, type Topic } from '../../src/metadata/image.ts'
import type { MetadataRecord } from '../../src/metadata/records.ts'
import { Arena } from '../../src/ring/arena.ts'
import { allocateArena } from '../../src/ring/arena-layout.ts'
import type { ControlReply, ControlRequest } from '../../src/shard/control.ts'
import type { ShardHub } from '../../src/shard/shard-hub.ts'
import type {
  AppendOutcome,
  AppendRequest,
  AppendSink,
  ReadOutcome,
  ReadRequest,
  ReadSink,
} from '../../src/shard/shard-proxy.ts'
import { DIRECTORY } from '../metadata/cluster-records.ts'

const ARENA_BYTES = 1024 * 1024

export const NOTHING_READ: ReadOutcome = {
  errorCode: ErrorCode.NONE,
  highWatermark: 0,
  lastStableOffset: 0,
  logStartOffset: 0,
  offset: 0,
  length: 0,
  generation: 1,
  flags: 0,
  divergingEpoch: -1,
  divergingEndOffset: -1,
}

const APPENDED: AppendOutcome = {
  errorCode: ErrorCode.NONE,
  baseOffset: 0,
  logStartOffset: 0,
  appendTimeMs: -1,
}

/** Every shard's proxy: keeps what it is asked until the test answers. */
export class FakeShard {
  readonly egress = new Uint8Array(64 * 1024)
  readonly appends: { request: AppendRequest; sink: AppendSink; index: number }[] = []
  readonly reads: { request: ReadRequest; sink: ReadSink; index: number }[] = []
  readonly controls: ControlRequest[] = []
  /** What a read gets at once; null: it waits in `reads`. */
  onRead: ((request: ReadRequest) => Partial<ReadOutcome>) | null = null
  onControl: (request: ControlRequest) => ControlReply = () => ({ kind: 'ok' })

  append(request: AppendRequest, sink: AppendSink, index: number): void {
    this.appends.push({ request, sink, index })
  }

  /** Answers the oldest append. */
  appended(outcome: Partial<AppendOutcome> = {}): void {
    const { sink, index } = this.appends.shift()!
    sink.onAppended({ ...APPENDED, ...outcome }, index)
  }

  read(request: ReadRequest, sink: ReadSink, index: number): number {
    if (this.onRead === null) this.reads.push({ request, sink, index })
    else {
      const outcome = { ...NOTHING_READ, ...this.onRead(request) }
      queueMicrotask(() => sink.onRead(outcome, index))
    }
    return this.reads.length
  }

  control(request: ControlRequest): Promise<ControlReply> {
    this.controls.push(request)
    return Promise.resolve(this.onControl(request))
  }

  unwatch(): void {}
  release(): void {}
  countSent(): void {}
  flush(): void {}
}

/** The metadata of a cluster in which this broker's changes are committed at once. */
class FakeStore implements MetadataStore {
  readonly image = new MetadataImage()
  readonly changes: MetadataRecord[][] = []
  /** The next changes are committed, but their author hears nothing and decides again. */
  lostAnswers = 0

  async change<T>(decide: (image: MetadataImage) => Decision<T>): Promise<T> {
    for (;;) {
      const { records, result, onApplied } = decide(this.image)
      for (const record of records) this.image.apply(record)
      if (records.length > 0) this.changes.push([...records])
      if (records.length > 0 && this.lostAnswers-- > 0) continue
      onApplied?.()
      return result
    }
  }
}

/** Gives partitions to the active brokers in turn. */
class FakePlacer implements ReplicaPlacer {
  place(image: MetadataImage, wanted: Parameters<ReplicaPlacer['place']>[1]) {
    const ids = [...image.brokers.keys()].filter((id) => image.isActive(id))
    const chosen = (partition: number): number[] =>
      Array.from({ length: wanted.replicationFactor }, (_, i) => {
        return ids[(partition + i) % ids.length] as number
      })
    const replicas =
      wanted.assigned ??
      Array.from({ length: wanted.count }, (_, i) => chosen(wanted.firstPartition + i))
    return {
      type: 'partitions',
      topicId: wanted.topicId,
      firstPartition: wanted.firstPartition,
      replicas,
      replicaDirectories: replicas.map((list) => list.map(DIRECTORY)),
      ruleVersion: 1,
    } as const
  }
}

class FakeOpener implements PartitionOpener {
  readonly calls: string[] = []

  async opened(topic: Topic, first: number): Promise<void> {
    this.calls.push(`opened ${topic.name} ${first}`)
  }

  async configured(topic: Topic): Promise<void> {
    this.calls.push(`configured ${topic.name}`)
  }

  async deleted(topic: Topic): Promise<void> {
    this.calls.push(`deleted ${topic.name}`)
  }
}

export interface FakeClusterOptions {
  readonly nodeId?: number
  readonly set?: readonly string[]
}

export class FakeCluster {
  readonly shard = new FakeShard()
  readonly store = new FakeStore()
  readonly opener = new FakeOpener()
  readonly arena = new Arena(allocateArena(ARENA_BYTES))
  readonly broker: Broker
  nowMs = 0

  constructor(records: readonly MetadataRecord[], options: FakeClusterOptions = {}) {
    this.apply(records)
    const host = { proxies: [this.shard], sent: { of: () => 0 } }
    const hub = { host, flush: () => {}, flushAfterPoll: () => {} }
    const silent = { debug() {}, info() {}, warn() {}, error() {} }
    const nodeId = options.nodeId ?? 1
    this.broker = new Broker({
      config: loadConfig({ nodeId: String(nodeId), set: options.set ?? [] }),
      clock: { monotonicMs: () => this.nowMs, wallMs: () => 1_000_000 },
      loggers: () => silent,
      hub: hub as unknown as ShardHub,
      store: this.store,
      arena: this.arena,
      clusterId: 'CCCCCCCCCCCCCCCCCCCCCQ' as Uuid,
      tier: 'portable',
      directories: new Map([[DIRECTORY(nodeId), '/data']]),
      directoryStates: { explain: () => null } as unknown as DirectoryStates,
      metadataPath: '/data',
      placer: new FakePlacer(),
      opener: this.opener,
    } as BrokerParts)
  }

  get image(): MetadataImage {
    return this.store.image
  }

  apply(records: readonly MetadataRecord[]): void {
    for (const record of records) this.store.image.apply(record)
  }

  handle(topic: string, partition: number): number {
    return this.broker.topicByName(topic)!.handles[partition] as number
  }

  factorOf(topic: string): number {
    return replicationFactorOf(this.image, this.broker.topicByName(topic)!)
  }

  /** Of a client of the listener PLAINTEXT, with the bytes of its request. */
  context(apiVersion: number, bytes: Uint8Array = new Uint8Array(0)): RequestContext {
    const length = Math.max(1, bytes.length)
    const offset = this.arena.allocate(length)
    this.arena.bytes.set(bytes, offset)
    const generation = this.arena.generationOf(offset)
    return {
      apiVersion,
      apiKey: 0,
      clientId: null,
      connectionId: 1,
      remoteAddress: '127.0.0.1',
      listenerName: 'PLAINTEXT',
      whenFirst: () => null,
      sendTurns: new SendTurns(),
      frame: new RequestFrame(this.arena, { offset, length, generation }),
      onClose: () => () => {},
      close: () => {},
    }
  }
}
