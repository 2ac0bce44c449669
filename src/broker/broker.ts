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
import { AppendDeadlines } from './append-deadlines.ts'
import type { ClusterAdmin } from './cluster-admin.ts'
import { type ClusterNode, clusterNode, clusterNodes } from './cluster-nodes.ts'
import { ConfigService } from './config-service.ts'
import type { DirectoryStates } from './directory-states.ts'
import type { Elsewhere } from './elsewhere.ts'
import { FetchSessionCache, fetchSessionPartitionsMax } from './fetch-session.ts'
import { GroupService } from './group-service.ts'
import { KeyChecks } from './key-checks.ts'
import type { CurrentLeader } from './leader-hints.ts'
import { LocalPartitions, type PartitionOpener } from './local-partitions.ts'
import type { MetadataStore } from './metadata-store.ts'
import { PartitionPlacement } from './partition-placement.ts'
import { ProducerIds } from './producer-ids.ts'
import { LocalPlacer, type ReplicaPlacer, replicationFactorOf } from './replica-placer.ts'
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
  /** Who chooses replicas and tells shards of partitions; absent for a broker that is alone. */
  readonly placer?: ReplicaPlacer
  readonly opener?: PartitionOpener
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
  readonly placer: ReplicaPlacer
  readonly opener: PartitionOpener
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
  readonly appendDeadlines: AppendDeadlines
  /** Where this broker stands. */
  readonly rack: string | null
  /** Consumers are told to read from a replica in their rack (KIP-392). */
  readonly readsFromRack: boolean
  /** For doors whose clients know this broker only; null before there is such a door. */
  elsewhere: Elsewhere | null = null
  /** Null for a broker that is alone. */
  clusterAdmin: ClusterAdmin | null = null
  /** The broker that clients take for the controller: any will do, each passes things on. */
  controllerId: () => number = () => this.nodeId
  /** Somebody else may lead by now what this broker leads as far as it knows. */
  mayBeDeposed: () => boolean = () => false
  /** How long a controller waits at least for the active one that says nothing. */
  electionTimeoutMs = (): number => this.config.get('controller.quorum.election.timeout.ms')
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
    this.placer = parts.placer ?? new LocalPlacer(this.placement)
    this.opener = parts.opener ?? new LocalPartitions(this)
    this.rack = parts.config.get('broker.rack')
    this.readsFromRack = parts.config.get('replica.selector.class') !== null
    this.appendDeadlines = new AppendDeadlines(() => parts.clock.monotonicMs())
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

  /** The largest message of another node: what clients may send does not bound it. */
  get clusterRequestBytesMax(): number {
    return this.config.get('millrace.arena.ingress.bytes') / REQUEST_SHARE
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

  // —— who leads, and where that is ——

  /** False for a partition that is none any more. */
  leads(handle: number): boolean {
    return this.image.partitions.leader(handle) === this.nodeId
  }

  /** Null for a partition that is none any more. */
  currentLeader(handle: number): CurrentLeader | null {
    const { partitions } = this.image
    if (!partitions.has(handle)) return null
    return { leaderId: partitions.leader(handle), leaderEpoch: partitions.leaderEpoch(handle) }
  }

  hasReplica(handle: number): boolean {
    return this.image.partitions.replicas(handle).includes(this.nodeId)
  }

  /**
   * What keeps this broker from answering as a partition's leader a client that believes in `epoch`
   * (−1: in none). A stale epoch is named first, also by a follower, as in Kafka.
   */
  checkLeader(handle: number, epoch: number): ErrorCode {
    const isLeader = this.leads(handle)
    if (!isLeader && !this.hasReplica(handle)) return ErrorCode.NOT_LEADER_OR_FOLLOWER
    const epochError = this.checkLeaderEpoch(handle, epoch)
    if (epochError !== ErrorCode.NONE) return epochError
    return isLeader ? ErrorCode.NONE : ErrorCode.NOT_LEADER_OR_FOLLOWER
  }

  /** The brokers that the clients of a listener can use, by ascending id. */
  nodes(listenerName: string, withFenced = false): ClusterNode[] {
    return clusterNodes(this, listenerName, withFenced)
  }

  /** Null for one that the clients of a listener cannot use. */
  node(nodeId: number, listenerName: string): ClusterNode | null {
    return clusterNode(this, nodeId, listenerName)
  }

  // —— a partition, here ——

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
    const { partitions } = this.image
    const id = partitions.directoryOn(handle, this.nodeId) ?? partitions.directory(handle)
    return this.placement.pathOf(id)
  }

  /** The shard that owns a partition of the image. */
  shardOf(handle: number): ShardProxy {
    return this.hub.host.proxies[this.placement.shardOf(handle)] as ShardProxy
  }

  control(handle: number, request: ControlRequest): Promise<ControlReply> {
    return this.shardOf(handle).control(request)
  }

  topicConfig(topic: Topic): TopicConfig {
    return resolveTopicConfig(topic.configs, this.config, this.replicationFactor(topic))
  }

  replicationFactor(topic: Topic): number {
    return replicationFactorOf(this.image, topic)
  }

  endpoint(listenerName: string): AdvertisedEndpoint {
    const endpoint = this.endpoints.get(listenerName) ?? this.endpoints.values().next().value
    return endpoint ?? { host: '127.0.0.1', port: 0 }
  }
}

/** Of the memory of all requests, for one. */
const REQUEST_SHARE = 8

/** Known before there is a broker, to whoever opens a door for one. */
export function requestBytesMax(config: BrokerConfig): number {
  const arena = config.get('millrace.arena.ingress.bytes')
  return Math.min(config.get('socket.request.max.bytes'), arena / REQUEST_SHARE)
}
