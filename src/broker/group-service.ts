import { randomUUID } from 'node:crypto'
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import type { BrokerConfig } from '../config/broker-config.ts'
import type { GroupConfig } from '../coordinator/group/group-context.ts'
import { GroupCoordinator } from '../coordinator/group/group-coordinator.ts'
import { GROUP_BATCH_BYTES_MAX } from '../coordinator/group/group-limits.ts'
import {
  decodeGroupRecord,
  encodeGroupRecord,
  type GroupRecord,
  type ReadGroupRecord,
} from '../coordinator/group/record-schema.ts'
import { TopicRegexes } from '../coordinator/group/topic-regexes.ts'
import type { KnownTopic, TopicView } from '../coordinator/group/topic-view.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { MetadataImage, Topic } from '../metadata/image.ts'
import type { Loggers } from '../metrics/logger.ts'
import type { Arena } from '../ring/arena.ts'
import type { ShardProxy } from '../shard/shard-proxy.ts'
import { CoordinatorPartition, type Step } from './coordinator-partition.ts'
import type { GroupConfigs } from './group-configs.ts'
import { InternalLog } from './internal-log.ts'
import { Slices } from './slices.ts'
import { CONSUMER_OFFSETS, isInternalTopic } from './topic-name.ts'
import type { TopicService } from './topic-service.ts'

/**
 * The groups that this broker coordinates: which partition of `__consumer_offsets` a group belongs
 * to, and its coordinator there, as long as this broker leads it. The topic is made when the first
 * client asks for a coordinator. Runs on main.
 *
 * A coordinator belongs to one leader epoch: it appends with that, so that a log that somebody else
 * leads by now takes nothing of it, and another epoch is another coordinator, fed with the log.
 */
export interface GroupServiceParts {
  readonly config: BrokerConfig
  readonly configs: { readonly groups: GroupConfigs }
  readonly clock: Clock
  readonly loggers: Loggers
  readonly arena: Arena
  readonly topics: TopicService
  /** Another one may take its place: ask for it when it is needed. */
  readonly image: MetadataImage
  topicByName(name: string): Topic | undefined
  shardOf(handle: number): ShardProxy
  leaderEpoch(handle: number): number
  leads(handle: number): boolean
}

type Partition = CoordinatorPartition<GroupCoordinator, GroupRecord | ReadGroupRecord>

/** The coordinator of one partition, while this broker leads it. */
interface Led {
  readonly handle: number
  readonly leaderEpoch: number
  readonly partition: Partition
}

const MINUTE_MS = 60_000
/** Replicas of the topic's partitions where nobody says how many, and there are as many brokers. */
const REPLICAS = 3
const SEGMENT_BYTES = '104857600'
/** For the header of a batch, and more. */
const BATCH_OVERHEAD_BYTES = 1024
/** A request takes several turns of the event loop, each of which may wait for so much loading. */
const LOAD_SLICE_MS = 2
/** How long the first client waits until the new topic's logs have been looked at. */
const LOAD_PATIENCE_MS = 1000
/** The same for requests of a group: what came behind one on its connection waits as well. */
const ASK_PATIENCE_MS = 500

export class GroupService {
  readonly #parts: GroupServiceParts
  /** By partition number, null for those that others lead; empty until there is the topic. */
  #partitions: (Led | null)[] = []
  /** Partition number by handle, of all of them. */
  readonly #numbers = new Map<number, number>()
  #topicId = ''
  /** What all coordinators share. */
  #context: CoordinatorContext | null = null
  #expiry: NodeJS.Timeout | null = null
  /** Of loading. */
  readonly #slices: Slices

  constructor(parts: GroupServiceParts) {
    this.#parts = parts
    this.#slices = new Slices(() => parts.clock.monotonicMs(), LOAD_SLICE_MS)
  }

  /** Begins to load what this broker leads of the topic, where there is one. */
  start(): void {
    this.#open()
    const everyMs = this.#parts.config.get('offsets.retention.check.interval.ms')
    this.#expiry = setInterval(() => this.#expire(), everyMs)
    this.#expiry.unref()
    this.#parts.topics.onDeleted((name) => this.#onTopicDeleted(name))
  }

  stop(): void {
    if (this.#expiry !== null) clearInterval(this.#expiry)
    for (const partition of this.#all()) partition.stop()
  }

  /**
   * The image has changed, and with it perhaps who leads these partitions: coordinators begin to
   * load, or stop, and whoever waits for them is told to look for another. To be called when the
   * shards have been told: theirs is what a coordinator reads. What one call leaves out the next
   * one makes good, and nobody is served by a coordinator of another epoch meanwhile. In a broker
   * that is alone nothing changes after the start.
   */
  leadershipChanged(handles: readonly number[]): void {
    if (this.#partitions.length === 0) {
      this.#open()
      return
    }
    for (const led of this.#partitions) {
      if (led !== null && !this.#isCurrent(led)) this.#follow(led.handle)
    }
    for (const handle of handles) if (this.#numbers.has(handle)) this.#follow(handle)
  }

  /** Makes sure that there is a topic; NONE when there is one. */
  async prepare(): Promise<ErrorCode> {
    if (this.#partitions.length > 0) return ErrorCode.NONE
    const { topics, config } = this.#parts
    const outcome = await topics.autoCreate(CONSUMER_OFFSETS, {
      partitions: config.get('offsets.topic.num.partitions'),
      replicationFactor: this.#replicationFactor(),
      configs: new Map([
        ['cleanup.policy', 'compact'],
        ['compression.type', 'producer'],
        ['segment.bytes', SEGMENT_BYTES],
        ['max.message.bytes', String(GROUP_BATCH_BYTES_MAX + BATCH_OVERHEAD_BYTES)],
      ]),
      isInternal: true,
    })
    if (this.#parts.topicByName(CONSUMER_OFFSETS) === undefined) return outcome.errorCode
    if (this.#partitions.length === 0) this.#open()
    const loaded = Promise.all(this.#partitions.map((led) => led?.partition.load()))
    // A log that cannot be read holds nobody up: groups of that partition are told to come back.
    await Promise.race([loaded, new Promise((resolve) => setTimeout(resolve, LOAD_PATIENCE_MS))])
    return ErrorCode.NONE
  }

  /** True for a partition that only coordinators write. */
  owns(handle: number): boolean {
    return this.#numbers.has(handle)
  }

  /** Those whose log has been read: for looking at, not for answers. */
  coordinators(): GroupCoordinator[] {
    return this.#partitions.flatMap((led) => led?.partition.machine ?? [])
  }

  /** Runs a step of the group's coordinator; see CoordinatorPartition.ask for `failure`. */
  ask<T>(
    groupId: string,
    step: Step<GroupCoordinator, T>,
    failure: (code: ErrorCode) => T,
  ): Promise<T> {
    const led = this.#partitions[this.partitionOf(groupId)] ?? null
    if (led === null || !this.#isCurrent(led)) {
      return Promise.resolve(failure(ErrorCode.NOT_COORDINATOR))
    }
    return led.partition.ask(step, failure)
  }

  /** The same for all coordinators that are here. */
  askAll<T>(step: Step<GroupCoordinator, T>, failure: (code: ErrorCode) => T): Promise<T[]> {
    const current = this.#partitions.flatMap((led) => {
      return led !== null && this.#isCurrent(led) ? [led.partition] : []
    })
    return Promise.all(current.map((partition) => partition.ask(step, failure)))
  }

  /** The broker that coordinates a group; −1 while there is none. */
  coordinatorOf(groupId: string): number {
    const topic = this.#parts.topicByName(CONSUMER_OFFSETS)
    const handle = topic?.handles[this.partitionOf(groupId)]
    return handle === undefined ? -1 : this.#parts.image.partitions.leader(handle)
  }

  /** Kafka's: the hash of a Java string. */
  partitionOf(groupId: string): number {
    let hash = 0
    for (let i = 0; i < groupId.length; i++) hash = (31 * hash + groupId.charCodeAt(i)) | 0
    const positive = hash === -0x8000_0000 ? 0 : Math.abs(hash)
    return positive % Math.max(1, this.#partitions.length)
  }

  #open(): void {
    const topic = this.#parts.topicByName(CONSUMER_OFFSETS)
    if (topic === undefined) return
    this.#context ??= contextOf(this.#parts)
    this.#topicId = topic.id
    this.#partitions = topic.handles.map(() => null)
    for (const [number, handle] of topic.handles.entries()) {
      this.#numbers.set(handle, number)
      this.#follow(handle)
    }
  }

  /** Still of the leadership that it belongs to, as the image has it. */
  #isCurrent({ handle, leaderEpoch }: Led): boolean {
    return this.#parts.leads(handle) && this.#parts.leaderEpoch(handle) === leaderEpoch
  }

  /** Comes to what the image says of one partition. */
  #follow(handle: number): void {
    const number = this.#numbers.get(handle) as number
    const led = this.#partitions[number] ?? null
    if (led !== null && this.#isCurrent(led)) return
    led?.partition.stop()
    this.#partitions[number] = null
    if (!this.#parts.leads(handle)) return
    const leaderEpoch = this.#parts.leaderEpoch(handle)
    const partition = this.#load(number, { handle, leaderEpoch })
    this.#partitions[number] = { handle, leaderEpoch, partition }
  }

  #load(number: number, at: { handle: number; leaderEpoch: number }): Partition {
    const parts = this.#parts
    const context = this.#context
    assert(context !== null)
    const partition = new CoordinatorPartition({
      log: new InternalLog({
        name: `${CONSUMER_OFFSETS}-${number}`,
        handle: at.handle,
        shard: parts.shardOf(at.handle),
        arena: parts.arena,
        leaderEpoch: () => at.leaderEpoch,
        readsToLogEnd: true,
      }),
      batchBytesMax: GROUP_BATCH_BYTES_MAX,
      clock: parts.clock,
      logger: parts.loggers('groups'),
      slices: this.#slices,
      loadPatienceMs: ASK_PATIENCE_MS,
      kind: {
        create: () => new GroupCoordinator(context),
        encode: encodeGroupRecord,
        decode: decodeGroupRecord,
      },
    })
    void partition.load()
    return partition
  }

  /** Those whose partition this broker leads. */
  #all(): Partition[] {
    return this.#partitions.flatMap((led) => led?.partition ?? [])
  }

  #replicationFactor(): number {
    const { config, image } = this.#parts
    // Not those that are there at this moment: what is made with fewer replicas keeps them.
    const brokers = Math.max(image.brokers.size, config.cluster?.controllers.length ?? 1)
    return config.get('offsets.topic.replication.factor') ?? Math.min(REPLICAS, brokers)
  }

  #onTopicDeleted(topic: Topic): void {
    if (topic.id === this.#topicId) {
      for (const partition of this.#all()) partition.stop()
      this.#partitions = []
      this.#numbers.clear()
      this.#open() // Another one may have been made meanwhile.
      return
    }
    const names = new Set([topic.name])
    for (const partition of this.#all()) {
      partition.tell((coordinator) => coordinator.onTopicsDeleted(names))
    }
  }

  #expire(): void {
    for (const partition of this.#all()) {
      partition.tell((coordinator, now) => coordinator.expire(now))
    }
  }
}

type CoordinatorContext = ConstructorParameters<typeof GroupCoordinator>[0]

function contextOf(parts: GroupServiceParts): CoordinatorContext {
  return {
    config: groupConfig(parts.config, parts.configs.groups),
    newId: randomUUID,
    topics: topicView(parts),
    regexes: new TopicRegexes(),
  }
}

function groupConfig(config: BrokerConfig, configs: GroupConfigs): GroupConfig {
  return {
    groupMaxSize: config.get('group.max.size'),
    sessionTimeoutMsMin: config.get('group.min.session.timeout.ms'),
    sessionTimeoutMsMax: config.get('group.max.session.timeout.ms'),
    initialRebalanceDelayMs: config.get('group.initial.rebalance.delay.ms'),
    offsetMetadataBytesMax: config.get('offset.metadata.max.bytes'),
    offsetsRetentionMs: config.get('offsets.retention.minutes') * MINUTE_MS,
    consumer: {
      maxSize: config.get('group.consumer.max.size'),
      timesOf: (groupId) => configs.timesOf(groupId),
      assignors: config.get('group.consumer.assignors'),
      migrationPolicy: config.get('group.consumer.migration.policy'),
    },
  }
}

function topicView(parts: { readonly image: MetadataImage }): TopicView {
  const known = (topic: Topic | undefined): KnownTopic | undefined =>
    topic && { id: topic.id, name: topic.name, partitions: topic.handles.length }
  return {
    get version() {
      return parts.image.topicsVersion
    },
    byName: (name) => known(parts.image.topicsByName.get(name)),
    byId: (id) => known(parts.image.topicsById.get(id)),
    *names() {
      for (const name of parts.image.topicsByName.keys()) if (!isInternalTopic(name)) yield name
    },
  }
}
