import type { Clock } from '../base/clock.ts'
import type { Uuid } from '../base/uuid.ts'
import type { BrokerConfig } from '../config/broker-config.ts'
import { resolveTopicConfig, type TopicConfig } from '../config/topic-config.ts'
import { ErrorCode, errorInfo } from '../errors/error-code.ts'
import type { MetadataImage, Topic } from '../metadata/image.ts'
import type { Loggers } from '../metrics/logger.ts'
import { RequestMetrics } from '../metrics/request-metrics.ts'
import type { Arena } from '../ring/arena.ts'
import type { ControlReply, ControlRequest } from '../shard/control.ts'
import type { ShardHub } from '../shard/shard-hub.ts'
import type { ShardProxy } from '../shard/shard-proxy.ts'
import type { Tier } from '../shard/shard-thread.ts'
import { AnswerRoom } from './answer-room.ts'
import { ConfigService } from './config-service.ts'
import type { DirectoryStates } from './directory-states.ts'
import { FetchSessionCache, fetchSessionPartitionsMax } from './fetch-session.ts'
import { GroupService } from './group-service.ts'
import { KeyChecks } from './key-checks.ts'
import type { MetadataStore } from './metadata-store.ts'
import { PartitionPlacement } from './partition-placement.ts'
import { ProducerIds } from './producer-ids.ts'
import { TopicService } from './topic-service.ts'

/**
 * One broker: the services that all doors share, and the state that their handlers ask for. Runs on
 * main. It owns no bytes: partitions belong to shards, topics to the metadata image.
 */
export interface BrokerParts {
  readonly config: BrokerConfig
  readonly clock: Clock
  readonly loggers: Loggers
  readonly hub: ShardHub
  readonly store: MetadataStore
  readonly arena: Arena
  readonly clusterId: Uuid
  readonly tier: Tier
  /** Id and path of every log directory. */
  readonly directories: ReadonlyMap<Uuid, string>
  readonly directoryStates: DirectoryStates
  readonly metadataPath: string
}

export type { Topic }

/** Where clients reach this broker through one listener. */
export interface AdvertisedEndpoint {
  readonly host: string
  readonly port: number
}

/** About 100 MB, encoded or about to be. */
const METADATA_ROOM_PARTITIONS = 1_000_000

export class Broker {
  readonly config: BrokerConfig
  readonly clock: Clock
  readonly loggers: Loggers
  readonly hub: ShardHub
  readonly store: MetadataStore
  readonly arena: Arena
  readonly clusterId: Uuid
  readonly tier: Tier
  readonly nodeId: number
  readonly directoryStates: DirectoryStates
  /** The log directory that holds the metadata log. */
  readonly metadataPath: string
  readonly placement: PartitionPlacement
  readonly topics: TopicService
  readonly configs: ConfigService
  readonly producerIds: ProducerIds
  readonly fetchSessions: FetchSessionCache
  /** Partitions in Metadata answers that have not left. */
  readonly metadataRoom = new AnswerRoom(METADATA_ROOM_PARTITIONS)
  /** Of all doors. */
  readonly requests = new RequestMetrics()
  /** What this start had to recover. */
  recovery = { partitions: 0, ms: 0 }
  readonly groups: GroupService
  readonly keyChecks: KeyChecks
  /** By listener name; filled when the listeners are bound (port 0 becomes a real one). */
  readonly endpoints = new Map<string, AdvertisedEndpoint>()

  constructor(parts: BrokerParts) {
    this.config = parts.config
    this.clock = parts.clock
    this.loggers = parts.loggers
    this.hub = parts.hub
    this.store = parts.store
    this.arena = parts.arena
    this.clusterId = parts.clusterId
    this.tier = parts.tier
    this.nodeId = parts.config.get('node.id')
    this.directoryStates = parts.directoryStates
    this.metadataPath = parts.metadataPath
    this.placement = new PartitionPlacement({
      shards: parts.hub.host.proxies.length,
      directories: parts.directories,
      conditionOf: (path) => parts.directoryStates.conditionOf(path),
    })
    this.topics = new TopicService(this)
    this.configs = new ConfigService(this)
    this.groups = new GroupService(this)
    this.keyChecks = new KeyChecks(parts.store.image, parts.config)
    this.producerIds = new ProducerIds(parts.store, this.nodeId)
    this.fetchSessions = new FetchSessionCache(
      parts.config.get('max.incremental.fetch.session.cache.slots'),
      parts.clock,
      fetchSessionPartitionsMax(parts.config.memory?.limitBytes ?? Infinity),
    )
  }

  /** The most that one Fetch response carries: configured, and at most half a shard's arena. */
  get fetchBytesMax(): number {
    const arena = this.config.get('millrace.arena.egress.bytes')
    return Math.min(this.config.get('fetch.max.bytes'), arena / 2)
  }

  /** The largest request: configured, and at most an eighth of the memory of all requests. */
  get requestBytesMax(): number {
    return requestBytesMax(this.config)
  }

  /** The most that one partition gives to a response, save for a single larger batch. */
  get readBytesMax(): number {
    return this.config.get('millrace.arena.egress.bytes') / 8
  }

  get image(): MetadataImage {
    return this.store.image
  }

  topicByName(name: string): Topic | undefined {
    return this.image.topicsByName.get(name)
  }

  topicById(id: Uuid): Topic | undefined {
    return this.image.topicsById.get(id)
  }

  leaderEpoch(handle: number): number {
    return this.image.partitions.leaderEpoch(handle)
  }

  /** Compares the epoch that a client believes in (−1: none) with the current one (KIP-320). */
  checkLeaderEpoch(handle: number, epoch: number): ErrorCode {
    if (epoch < 0) return ErrorCode.NONE
    const current = this.leaderEpoch(handle)
    if (epoch === current) return ErrorCode.NONE
    return epoch < current ? ErrorCode.FENCED_LEADER_EPOCH : ErrorCode.UNKNOWN_LEADER_EPOCH
  }

  /** What an error means, for a client; of a partition of the image, −1 for none. */
  explain(errorCode: number, handle: number): string | null {
    if (errorCode === ErrorCode.NONE) return null
    if (errorCode === ErrorCode.INVALID_RECORD && this.keyChecks.isCompacted(handle)) {
      return 'Every record of a compacted topic needs a key, or the batch is malformed'
    }
    const isStorage = errorCode === ErrorCode.KAFKA_STORAGE_ERROR && handle >= 0
    const problem = isStorage ? this.directoryStates.explain(this.logDirectory(handle)) : null
    return problem ?? errorInfo(errorCode).message
  }

  /** The path of the log directory that holds a partition of the image. */
  logDirectory(handle: number): string {
    return this.placement.pathOf(this.image.partitions.directory(handle))
  }

  /** The shard that owns a partition of the image. */
  shardOf(handle: number): ShardProxy {
    return this.hub.host.proxies[this.placement.shardOf(handle)] as ShardProxy
  }

  control(handle: number, request: ControlRequest): Promise<ControlReply> {
    return this.shardOf(handle).control(request)
  }

  topicConfig(topic: Topic): TopicConfig {
    return resolveTopicConfig(topic.configs, this.config)
  }

  endpoint(listenerName: string): AdvertisedEndpoint {
    const endpoint = this.endpoints.get(listenerName) ?? this.endpoints.values().next().value
    return endpoint ?? { host: '127.0.0.1', port: 0 }
  }
}

/** Known before there is a broker, to whoever opens a door for one. */
export function requestBytesMax(config: BrokerConfig): number {
  const arena = config.get('millrace.arena.ingress.bytes')
  return Math.min(config.get('socket.request.max.bytes'), arena / 8)
}
