import { randomUUID } from 'node:crypto'
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
 * to, and its coordinator there. The topic is made when the first client asks for a coordinator.
 * Runs on main.
 */
export interface GroupServiceParts {
  readonly config: BrokerConfig
  readonly configs: { readonly groups: GroupConfigs }
  readonly clock: Clock
  readonly loggers: Loggers
  readonly arena: Arena
  readonly topics: TopicService
  readonly image: MetadataImage
  topicByName(name: string): Topic | undefined
  shardOf(handle: number): ShardProxy
  leaderEpoch(handle: number): number
}

type Partition = CoordinatorPartition<GroupCoordinator, GroupRecord | ReadGroupRecord>

const MINUTE_MS = 60_000
const SEGMENT_BYTES = '104857600'
/** For the header of a batch, and more. */
const BATCH_OVERHEAD_BYTES = 1024
/** A request takes several turns of the event loop, each of which may wait for so much loading. */
const LOAD_SLICE_MS = 2
/** How long the first client waits until the new topic's logs have been looked at. */
const LOAD_PATIENCE_MS = 1000

export class GroupService {
  readonly #parts: GroupServiceParts
  /** By partition number; empty until there is the topic. */
  #partitions: Partition[] = []
  readonly #handles = new Set<number>()
  #topicId = ''
  #expiry: NodeJS.Timeout | null = null
  /** Of loading. */
  readonly #slices: Slices

  constructor(parts: GroupServiceParts) {
    this.#parts = parts
    this.#slices = new Slices(() => parts.clock.monotonicMs(), LOAD_SLICE_MS)
  }

  /** Begins to load what the topic holds, where there is one. */
  start(): void {
    const topic = this.#parts.topicByName(CONSUMER_OFFSETS)
    if (topic !== undefined) this.#open(topic)
    const everyMs = this.#parts.config.get('offsets.retention.check.interval.ms')
    this.#expiry = setInterval(() => this.#expire(), everyMs)
    this.#expiry.unref()
    this.#parts.topics.onDeleted((name) => this.#onTopicDeleted(name))
  }

  stop(): void {
    if (this.#expiry !== null) clearInterval(this.#expiry)
    for (const partition of this.#partitions) partition.stop()
  }

  /** Makes sure that there is a topic; NONE when there is one. */
  async prepare(): Promise<ErrorCode> {
    if (this.#partitions.length > 0) return ErrorCode.NONE
    const { topics, config } = this.#parts
    const outcome = await topics.autoCreate(CONSUMER_OFFSETS, {
      partitions: config.get('offsets.topic.num.partitions'),
      configs: new Map([
        ['cleanup.policy', 'compact'],
        ['compression.type', 'producer'],
        ['segment.bytes', SEGMENT_BYTES],
        ['max.message.bytes', String(GROUP_BATCH_BYTES_MAX + BATCH_OVERHEAD_BYTES)],
      ]),
      isInternal: true,
    })
    const topic = this.#parts.topicByName(CONSUMER_OFFSETS)
    if (topic === undefined) return outcome.errorCode
    if (this.#partitions.length === 0) this.#open(topic)
    const loaded = Promise.all(this.#partitions.map((partition) => partition.load()))
    // A log that cannot be read holds nobody up: groups of that partition are told to come back.
    await Promise.race([loaded, new Promise((resolve) => setTimeout(resolve, LOAD_PATIENCE_MS))])
    return ErrorCode.NONE
  }

  /** True for a partition that only coordinators write. */
  owns(handle: number): boolean {
    return this.#handles.has(handle)
  }

  /** Those whose log has been read: for looking at, not for answers. */
  coordinators(): GroupCoordinator[] {
    return this.#partitions.flatMap(({ machine }) => (machine === null ? [] : [machine]))
  }

  /** Runs a step of the group's coordinator; see CoordinatorPartition.ask for `failure`. */
  ask<T>(
    groupId: string,
    step: Step<GroupCoordinator, T>,
    failure: (code: ErrorCode) => T,
  ): Promise<T> {
    const partition = this.#partitions[this.partitionOf(groupId)]
    if (partition === undefined) return Promise.resolve(failure(ErrorCode.NOT_COORDINATOR))
    return partition.ask(step, failure)
  }

  /** The same for all coordinators. */
  askAll<T>(step: Step<GroupCoordinator, T>, failure: (code: ErrorCode) => T): Promise<T[]> {
    return Promise.all(this.#partitions.map((partition) => partition.ask(step, failure)))
  }

  /** Kafka's: the hash of a Java string. */
  partitionOf(groupId: string): number {
    let hash = 0
    for (let i = 0; i < groupId.length; i++) hash = (31 * hash + groupId.charCodeAt(i)) | 0
    const positive = hash === -0x8000_0000 ? 0 : Math.abs(hash)
    return positive % Math.max(1, this.#partitions.length)
  }

  #open(topic: Topic): void {
    const parts = this.#parts
    const config = groupConfig(parts.config, parts.configs.groups)
    const topics = topicView(parts.image)
    const regexes = new TopicRegexes()
    this.#topicId = topic.id
    for (const handle of topic.handles) this.#handles.add(handle)
    this.#partitions = topic.handles.map((handle, number) => {
      const log = new InternalLog({
        name: `${CONSUMER_OFFSETS}-${number}`,
        handle,
        shard: parts.shardOf(handle),
        arena: parts.arena,
        leaderEpoch: () => parts.leaderEpoch(handle),
      })
      return new CoordinatorPartition({
        log,
        batchBytesMax: GROUP_BATCH_BYTES_MAX,
        clock: parts.clock,
        logger: parts.loggers('groups'),
        slices: this.#slices,
        kind: {
          create: () => new GroupCoordinator({ config, newId: randomUUID, topics, regexes }),
          encode: encodeGroupRecord,
          decode: decodeGroupRecord,
        },
      })
    })
    for (const partition of this.#partitions) void partition.load()
  }

  #onTopicDeleted(topic: Topic): void {
    if (topic.id === this.#topicId) {
      for (const partition of this.#partitions) partition.stop()
      this.#partitions = []
      this.#handles.clear()
      return
    }
    const names = new Set([topic.name])
    for (const partition of this.#partitions) {
      partition.tell((coordinator) => coordinator.onTopicsDeleted(names))
    }
  }

  #expire(): void {
    for (const partition of this.#partitions) {
      partition.tell((coordinator, now) => coordinator.expire(now))
    }
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

function topicView(image: MetadataImage): TopicView {
  const known = (topic: Topic | undefined): KnownTopic | undefined =>
    topic && { id: topic.id, name: topic.name, partitions: topic.handles.length }
  return {
    get version() {
      return image.topicsVersion
    },
    byName: (name) => known(image.topicsByName.get(name)),
    byId: (id) => known(image.topicsById.get(id)),
    *names() {
      for (const name of image.topicsByName.keys()) if (!isInternalTopic(name)) yield name
    },
  }
}
