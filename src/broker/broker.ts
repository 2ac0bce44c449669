import type { Clock } from '../base/clock.ts'
import type { Uuid } from '../base/uuid.ts'
import type { BrokerConfig } from '../config/broker-config.ts'
import { resolveTopicConfig, type TopicConfig } from '../config/topic-config.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { MetadataImage, Topic } from '../metadata/image.ts'
import type { Logger } from '../metrics/logger.ts'
import type { Arena } from '../ring/arena.ts'
import type { ControlReply, ControlRequest } from '../shard/control.ts'
import type { ShardHub } from '../shard/shard-hub.ts'
import type { ShardProxy } from '../shard/shard-proxy.ts'
import { FetchSessionCache } from './fetch-session.ts'
import { GroupService } from './group-service.ts'
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
  readonly logger: Logger
  readonly hub: ShardHub
  readonly store: MetadataStore
  readonly arena: Arena
  readonly clusterId: Uuid
  /** Id and path of every log directory. */
  readonly directories: ReadonlyMap<Uuid, string>
}

/** Where clients reach this broker through one listener. */
export interface AdvertisedEndpoint {
  readonly host: string
  readonly port: number
}

export class Broker {
  readonly config: BrokerConfig
  readonly clock: Clock
  readonly logger: Logger
  readonly hub: ShardHub
  readonly store: MetadataStore
  readonly arena: Arena
  readonly clusterId: Uuid
  readonly nodeId: number
  readonly placement: PartitionPlacement
  readonly topics: TopicService
  readonly producerIds: ProducerIds
  readonly fetchSessions: FetchSessionCache
  readonly groups: GroupService
  /** By listener name; filled when the listeners are bound (port 0 becomes a real one). */
  readonly endpoints = new Map<string, AdvertisedEndpoint>()

  constructor(parts: BrokerParts) {
    this.config = parts.config
    this.clock = parts.clock
    this.logger = parts.logger
    this.hub = parts.hub
    this.store = parts.store
    this.arena = parts.arena
    this.clusterId = parts.clusterId
    this.nodeId = parts.config.get('node.id')
    this.placement = new PartitionPlacement(parts.hub.host.proxies.length, parts.directories)
    this.topics = new TopicService(this)
    this.groups = new GroupService(this)
    this.producerIds = new ProducerIds(parts.store, this.nodeId)
    this.fetchSessions = new FetchSessionCache(
      parts.config.get('max.incremental.fetch.session.cache.slots'),
      parts.clock,
    )
  }

  /** The most that one Fetch response carries: configured, and at most half a shard's arena. */
  get fetchBytesMax(): number {
    const arena = this.config.get('millrace.arena.egress.bytes')
    return Math.min(this.config.get('fetch.max.bytes'), arena / 2)
  }

  /** The largest request: configured, and at most an eighth of the memory of all requests. */
  get requestBytesMax(): number {
    const arena = this.config.get('millrace.arena.ingress.bytes')
    return Math.min(this.config.get('socket.request.max.bytes'), arena / 8)
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
