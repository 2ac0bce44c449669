/**
 * This process as a member of its cluster: puts the parts together, and starts and stops them in
 * order. Runs on main.
 *
 *   open   the quorum's log is read                 start  the quorum is formed or joined,
 *   join   registered; leads and follows; unfenced         partitions are opened
 *   leave  what it leads is handed over             stop   nothing is sent any more
 *
 * A controller that is no broker (`process.roles=controller`) opens, starts and stops like the
 * others: it has the quorum and the metadata. It never joins: it does not register, and has no
 * partition.
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { systemClock } from '../../base/clock.ts'
import type { Uuid } from '../../base/uuid.ts'
import type { BrokerConfig } from '../../config/broker-config.ts'
import type { ClusterConfig } from '../../config/cluster-config.ts'
import { formatEndpoint } from '../../config/listeners.ts'
import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import { MetadataImage } from '../../metadata/image.ts'
import type { Loggers } from '../../metrics/logger.ts'
import type { ReplicaKey } from '../../raft/replica-key.ts'
import type { Arena } from '../../ring/arena.ts'
import type { ShardEvent } from '../../shard/control.ts'
import type { ShardHost } from '../../shard/shard-host.ts'
import { NodeFiles } from '../../storage/node-files.ts'
import { ClusterApi } from '../../wire/kafka/api.ts'
import type { Broker } from '../broker.ts'
import type { PartitionOpener } from '../local-partitions.ts'
import type { LogDirectories } from '../log-directories.ts'
import type { ReplicaPlacer } from '../replica-placer.ts'
import { BrokerLifecycle } from './broker-lifecycle.ts'
import { ClusterAdminService } from './cluster-admin-service.ts'
import { ClusterDoors } from './cluster-doors.ts'
import type { ClusterGate } from './cluster-gate.ts'
import { ClusterNode } from './cluster-node.ts'
import { ClusterPlacer } from './cluster-placer.ts'
import { ControllerService } from './controller-service.ts'
import { removeLeftovers } from './leftovers.ts'
import { MetadataLog } from './metadata-log.ts'
import { MetadataSnapshots } from './metadata-snapshots.ts'
import { previousBrokerEpoch, startWithoutBroker, writeRegistration } from './registration-file.ts'
import { ReplicaFetches } from './replica-fetch.ts'
import { ReplicaFetcher } from './replica-fetcher.ts'
import { type Proposal, ReplicaManager } from './replica-manager.ts'
import { ReplicationThrottle } from './replication-throttle.ts'

export interface ClusterMemberParts {
  readonly config: BrokerConfig
  readonly cluster: ClusterConfig
  readonly loggers: Loggers
  readonly host: ShardHost
  readonly arena: Arena
  readonly directories: LogDirectories
  readonly gate: ClusterGate
  /** See `Quorum`. */
  readonly ownDelayMs?: (() => number) | undefined
  /** Runs it with what the disk of the metadata has put by. */
  readonly withReserve: (work: () => Promise<void>) => Promise<void>
  readonly onFailure: (error: unknown) => void
}

const ALTER_TIMEOUT_MS = 5000
/** Beside the metadata log. */
const SNAPSHOTS_DIRECTORY = '__cluster_metadata-snapshots'
/** Of the memory for what arrives, for records of one response: a frame may have twice as much. */
const RESPONSE_SHARE = 1 / 16
const NO_CONTROLLER = -1

/** The id of a cluster at its first start, where nobody says it: the same on every node. */
export function newClusterId({ secret, controllers }: ClusterConfig): Uuid {
  const members = controllers.map((one) => `${one.id}@${formatEndpoint(one)}`).sort()
  const hash = createHash('sha256').update(`millrace cluster ${secret} ${members.join()}`).digest()
  return hash.subarray(0, 16).toString('base64url')
}

export class ClusterMember {
  readonly node: ClusterNode
  readonly controller: ControllerService
  readonly #parts: ClusterMemberParts
  readonly #snapshots: MetadataSnapshots
  readonly #lifecycle: BrokerLifecycle
  readonly #admin: ClusterAdminService
  /** Of whose deletion this process has heard before it joined. */
  readonly #removedTopics = new Set<Uuid>()
  readonly #throttles: Readonly<Record<'leader' | 'follower', ReplicationThrottle>>
  #replicas: ReplicaManager | null = null
  /** Logs that were opened lack what may have been acknowledged. */
  #hasLost: boolean
  /** By handle, of those that were opened before this process was registered. */
  readonly #cut: number[] = []
  #port = 0
  #isJoined = false
  #isStopped = false

  private constructor(parts: ClusterMemberParts, node: ClusterNode, snapshots: MetadataSnapshots) {
    this.#parts = parts
    this.#snapshots = snapshots
    this.node = node
    const { config, loggers, directories, onFailure } = parts
    const logger = loggers('cluster')
    node.metadata.onApplied((records) => {
      if (this.#isJoined || !parts.cluster.isBroker) return
      for (const record of records) {
        if (record.type === 'remove-topic') this.#removedTopics.add(record.topicId)
      }
    })
    this.controller = new ControllerService({ node, config, clock: systemClock, logger, onFailure })
    this.#admin = new ClusterAdminService(node, parts.cluster.controllers)
    this.#throttles = { leader: this.#throttleOf('leader'), follower: this.#throttleOf('follower') }
    const { metadataPath, wasClosedInOrder } = directories
    if (!parts.cluster.isBroker) startWithoutBroker(metadataPath, wasClosedInOrder)
    // What was on a disk that is not there is lost until it is back.
    this.#hasLost = directories.hasLost || directories.offline.size > 0
    const previous = previousBrokerEpoch(metadataPath, wasClosedInOrder)
    this.#lifecycle = new BrokerLifecycle({
      node,
      controller: this.controller,
      config,
      directories: [...directories.paths.keys()],
      previousBrokerEpoch: () => (this.#hasLost ? -1 : previous),
      onRegistered: (brokerEpoch) => writeRegistration(metadataPath, brokerEpoch),
      logger,
      onFailure,
    })
  }

  /** The metadata log is open in shard 0. Throws BrokerError. */
  static async open(parts: ClusterMemberParts): Promise<ClusterMember> {
    const { cluster, config, loggers, host, arena, directories, onFailure } = parts
    const shard = host.proxies[0]
    if (shard === undefined) throw new Error('there is no shard')
    const { clusterId, metadataId, metadataPath } = directories
    const nodeId = config.get('node.id')
    const image = new MetadataImage()
    const snapshots = await MetadataSnapshots.open({
      directory: join(metadataPath, SNAPSHOTS_DIRECTORY),
      image,
      concerns: (replicas) => replicas.includes(nodeId),
      options: {
        bytesBetween: config.get('metadata.log.max.record.bytes.between.snapshots'),
        intervalMs: config.get('metadata.log.max.snapshot.interval.ms'),
      },
      clock: systemClock,
      logger: loggers('cluster'),
      onFailure,
    })
    const log = new MetadataLog({ shard, arena })
    const found = await log.find(await snapshots.load())
    const node = new ClusterNode({
      cluster,
      self: { id: nodeId, directoryId: metadataId },
      clusterId,
      directory: metadataPath,
      log,
      found,
      snapshots,
      image,
      electionTimeoutMs: config.get('controller.quorum.election.timeout.ms'),
      ownDelayMs: parts.ownDelayMs,
      clock: systemClock,
      loggers,
      withReserve: parts.withReserve,
      onFailure,
    })
    snapshots.start({
      quorum: () => node.quorum,
      metadata: node.metadata,
      dropBefore: (offset) => log.dropBefore(offset),
    })
    return new ClusterMember(parts, node, snapshots)
  }

  get replicas(): ReplicaManager {
    if (this.#replicas === null) throw new Error('the member has not started')
    return this.#replicas
  }

  get brokerEpoch(): number {
    return this.#lifecycle.brokerEpoch
  }

  /** Forms or joins the quorum, and opens what this broker has. Throws BrokerError. */
  async start(broker: Broker): Promise<void> {
    const { cluster, gate } = this.#parts
    const replicas = this.#makeReplicas(broker)
    this.#replicas = replicas
    broker.clusterAdmin = this.#admin
    broker.controllerId = () => this.#controllerFor(broker)
    broker.electionTimeoutMs = () => this.node.quorum.electionTimeoutMs
    broker.mayBeDeposed = () => this.#lifecycle.mayBeDeposed
    this.#port = await gate.listen(broker, this.#doors(broker).handlers, cluster.listener)
    this.node.listensAt({ host: cluster.listener.host, port: this.#port })
    await this.node.start()
    await this.#whenLed()
    const { metadata } = this.node
    broker.configs.follow()
    if (!cluster.isBroker) {
      this.#followAsController(broker)
      return
    }
    metadata.image.collectChanges()
    metadata.onApplied(() => {
      const changes = metadata.image.takeChanges()
      // First: what topics are opened with may follow from it.
      if (changes.brokerConfigsChanged) broker.configs.follow()
      const { topicConfigsChanged, partitionsChanged, cohortsChanged } = changes
      if (topicConfigsChanged.length + partitionsChanged.length + cohortsChanged.length > 0) {
        for (const throttle of Object.values(this.#throttles)) throttle.metadataChanged()
      }
      replicas.apply(changes)
      for (const topic of changes.topicsRemoved) broker.topics.removed(topic)
    })
    // Others have what a missing one had: a new one is taken for what it is.
    this.#parts.directories.adoptFresh()
    await replicas.start()
  }

  /** Registers, leads and follows; resolves once this broker may serve. Throws BrokerError. */
  async join(
    endpoints: readonly { listener: string; host: string; port: number }[],
  ): Promise<void> {
    const { host } = this.#parts.cluster.listener
    await this.#lifecycle.register({ host, port: this.#port, endpoints })
    this.#removeLeftovers()
    this.replicas.begin()
    this.#isJoined = true
    if (this.#lifecycle.isWhole) {
      for (const handle of this.#cut) this.replicas.replicaDamaged(handle, true)
    }
    this.#cut.length = 0
    await this.replicas.whenSound()
    this.#parts.directories.forgetLoss()
    await this.#lifecycle.serve()
  }

  /** Hands over what this broker leads. */
  async leave(): Promise<void> {
    if (this.#isJoined) await this.#lifecycle.drain()
    const { node } = this
    if (node.isController) node.quorum.transfer()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#lifecycle.stop()
    this.#replicas?.stop()
    this.controller.stop()
    this.node.stop()
    await this.#snapshots.stop()
    await this.#parts.gate.close()
  }

  onShardEvent(event: ShardEvent): void {
    const replicas = this.#replicas
    if (replicas === null) return
    if (event.kind === 'replica-damaged') {
      const { handle, isCut } = event
      this.#hasLost = true
      // A cut log is behind, as a registration says that comes after it.
      if (isCut && this.brokerEpoch < 0) this.#cut.push(handle)
      else replicas.replicaDamaged(handle, isCut)
    } else if (event.kind === 'directory-failed') replicas.directoryFailed(event.logDirectory)
    else if (event.kind === 'isr-proposals') {
      replicas.propose(event.proposals).catch((error: unknown) => this.#parts.onFailure(error))
    }
  }

  /** Options may be the controller's as well; nothing else of the metadata is done here. */
  #followAsController(broker: Broker): void {
    const { metadata, self } = this.node
    metadata.image.collectChanges()
    metadata.onApplied(() => {
      if (metadata.image.takeChanges().brokerConfigsChanged) broker.configs.follow()
    })
    if (!metadata.image.brokers.has(self.id)) return
    const { id } = self
    this.#parts
      .loggers('cluster')
      .warn(
        { node: id },
        `node ${id} is registered as a broker and is none any more (process.roles): ` +
          `millrace cluster decommission ${id} gives what it had to others, and with --unregister ` +
          'takes it out',
      )
  }

  // —— for the broker ——

  /** Who leads the quorum, if clients are told of it; else one that they are, which passes on. */
  #controllerFor({ image, nodeId }: Broker): number {
    const { leaderId } = this.node
    const isKnown = (id: number): boolean => image.brokers.get(id)?.isFenced === false
    if (leaderId !== null && isKnown(leaderId)) return leaderId
    if (isKnown(nodeId)) return nodeId
    return [...image.brokers.keys()].find(isKnown) ?? NO_CONTROLLER
  }

  /** Chooses replicas among the brokers of the cluster. */
  readonly placer: ReplicaPlacer = new ClusterPlacer()

  /** What topics need done follows from the metadata; whoever changed it waits until it is. */
  readonly opener: PartitionOpener = {
    opened: () => Promise.resolve(),
    configured: async (topic) => {
      await this.replicas.configure(topic)
    },
    deleted: () => Promise.resolve(),
  }

  // —— inside ——

  /** Before anything is made anew under the same name. */
  #removeLeftovers(): void {
    const { directories, loggers } = this.#parts
    removeLeftovers({
      image: this.node.metadata.image,
      nodeId: this.node.self.id,
      paths: directories.paths.values(),
      removed: this.#removedTopics,
      logger: loggers('storage'),
    })
    this.#removedTopics.clear()
  }

  /** Somebody leads, so that there is metadata to look at. */
  async #whenLed(): Promise<void> {
    const { node } = this
    while (node.leaderId === null) {
      if (this.#isStopped) {
        const action = 'join the cluster: this broker is stopping'
        throw new BrokerError(ErrorCode.BROKER_NOT_AVAILABLE, action)
      }
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  #makeReplicas(broker: Broker): ReplicaManager {
    const { config, loggers, host, directories, gate, onFailure } = this.#parts
    const { node } = this
    return new ReplicaManager({
      nodeId: node.self.id,
      image: node.metadata.image,
      config,
      placement: broker.placement,
      hasOffline: directories.offline.size > 0,
      exists: (path) => new NodeFiles().exists(path),
      shards: host.proxies,
      loggers,
      hintFor: directories.hintFor,
      makeFetcher: (leaderId) =>
        new ReplicaFetcher({
          leaderId,
          address: () => node.addressOf(leaderId),
          identity: () => ({
            nodeId: node.self.id,
            directoryId: node.self.directoryId,
            clusterId: node.clusterId,
            secret: this.#parts.cluster.secret,
          }),
          brokerEpoch: () => this.brokerEpoch,
          open: gate.openReplicaLink,
          shardOf: (handle) => broker.shardOf(handle),
          options: {
            waitMsMax: config.get('replica.fetch.wait.max.ms'),
            bytesMin: config.get('replica.fetch.min.bytes'),
            bytesMax: Math.min(
              config.get('replica.fetch.response.max.bytes'),
              this.#parts.arena.bytesTotal * RESPONSE_SHARE,
            ),
            partitionBytesMax: config.get('replica.fetch.max.bytes'),
          },
          throttle: this.#throttles.follower,
          nowMs: () => systemClock.monotonicMs(),
          logger: loggers('cluster'),
        }),
      onLeadership: (handles) => broker.groups.leadershipChanged(handles),
      alter: (proposals) => this.#alter(proposals),
      change: (decide) => node.metadata.change(decide),
      brokerEpoch: () => this.brokerEpoch,
      onFailure,
      nowMs: () => systemClock.monotonicMs(),
    })
  }

  #throttleOf(role: 'leader' | 'follower'): ReplicationThrottle {
    const { self, metadata } = this.node
    const nowMs = (): number => systemClock.monotonicMs()
    const { config } = this.#parts
    return new ReplicationThrottle({ role, nodeId: self.id, image: metadata.image, config, nowMs })
  }

  #doors(broker: Broker): ClusterDoors {
    const { node, controller } = this
    const fetches = new ReplicaFetches(broker, this.#throttles.leader)
    const doors = new ClusterDoors({
      self: node.self,
      clusterId: node.clusterId,
      secret: this.#parts.cluster.secret,
      voters: (): readonly ReplicaKey[] => node.voters,
      receive: (messages) => node.receive(messages),
      propose: (baseOffset, records) => node.proposeHere(baseOffset, records),
      register: (request) => controller.register(request),
      beat: (request) => controller.beat(request),
      alterPartitions: (request) => controller.alterPartitions(request),
      changeVoters: (request) => this.#admin.changeVotersHere(request),
      quorumState: () => this.#admin.quorumStateHere(),
      fetch: (request, context) => fetches.fetch(request, context),
      onFound: (nodeId, at) => node.onFound(nodeId, at),
      onLost: (nodeId, wasOfQuorum) => {
        if (wasOfQuorum) node.connectionLost(nodeId)
        controller.connectionLost(nodeId)
      },
    })
    node.onDistrusted((nodeId) => doors.distrust(nodeId))
    return doors
  }

  async #alter(proposals: readonly Proposal[]): Promise<readonly ErrorCode[]> {
    const { node, controller } = this
    const unknown = proposals.map(() => ErrorCode.REQUEST_TIMED_OUT)
    const { leaderId } = node
    if (leaderId === null) return unknown
    const body = {
      brokerId: node.self.id,
      brokerEpoch: this.brokerEpoch,
      partitions: proposals.map(({ topicId, partition, leaderEpoch, partitionEpoch, members }) => {
        return { topicId, partition, leaderEpoch, partitionEpoch, members }
      }),
    }
    try {
      const answer =
        leaderId === node.self.id
          ? await controller.alterPartitions(body)
          : await node.links
              .to(leaderId, 'change')
              .request(ClusterApi.ALTER_PARTITIONS, body, ALTER_TIMEOUT_MS)
      if (answer.errorCode !== ErrorCode.NONE) return unknown
      return answer.partitions.map(({ errorCode }) => errorCode as ErrorCode)
    } catch (error) {
      if (error instanceof BrokerError) return unknown
      throw error
    }
  }
}
