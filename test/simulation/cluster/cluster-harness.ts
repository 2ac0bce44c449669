/**
 * Runs one seed of a whole cluster: real brokers (quorum, controller, metadata, replicas, shards,
 * logs, group coordinator, doors) on simulated machines, clients that write, read and commit
 * offsets through the real protocol, and faults that the seed draws. Then a core is healed while
 * everything else stays broken for good, and must go on (liveness); then all is healed, and
 * everything that was acknowledged must be there, once. Deterministic: the same seed and code give
 * the same trace.
 *
 * What is no part of it: threads (shards turn on the one thread there is), the addon, the HTTP and
 * WebSocket doors.
 */
import { Random } from '../../../src/base/random.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import type { MetadataImage } from '../../../src/metadata/image.ts'
import { stateDigest } from '../../../src/metadata/image-digest.ts'
import type { Partition } from '../../../src/shard/partition.ts'
import type { LeaderEpochs } from '../../../src/storage/leader-epochs.ts'
import type { PartitionLog } from '../../../src/storage/log.ts'
import { ApiKey } from '../../../src/wire/kafka/api.ts'
import { identify } from '../batches.ts'
import { journal } from '../journal.ts'
import { SimCrash } from '../sim-disk.ts'
import { asViolation, type ClusterSeedResult, require_, type Violation } from '../violation.ts'
import { ClusterChecker } from './cluster-checker.ts'
import { ClusterFaultsDrawer } from './cluster-faults.ts'
import { ClusterOperator } from './cluster-operator.ts'
import { type ClusterPlan, drawClusterPlan } from './cluster-plan.ts'
import { installPlatform, setHost } from './platform.ts'
import {
  type Place,
  SimCarelessProducer,
  SimClient,
  SimConsumer,
  SimProducer,
  type Workload,
} from './sim-client.ts'
import type { SimCluster } from './sim-cluster.ts'
import { Network } from './sim-network.ts'
import { addressOf, SimNode } from './sim-node.ts'
import { type EventKind, Host, World } from './sim-world.ts'

const CLIENT_ID = 100
const TICK_MS = 50
/** Within which a cluster that is healed works again. */
const LIVENESS_MS = 40_000
const CORE_SETTLE_MS = 5000
/** Between two looks at whole logs. */
const LOGS_MS = 1000

export async function runClusterSeed(
  seed: number,
  focus: string | null = null,
): Promise<ClusterSeedResult> {
  installPlatform()
  const simulation = new ClusterSimulation(seed, focus)
  const { world } = simulation
  const onLoose = (error: unknown): void => {
    if (!(error instanceof SimCrash)) world.failure ??= error
  }
  process.on('unhandledRejection', onLoose)
  process.on('uncaughtException', onLoose)
  let violation: Violation | null = null
  try {
    await simulation.run()
  } catch (error) {
    violation = asViolation(error)
  } finally {
    setHost(null)
    simulation.end()
    process.off('unhandledRejection', onLoose)
    process.off('uncaughtException', onLoose)
  }
  const { trace, steps, nowMs: simulatedMs, counters } = world
  return { seed, violation, trace, steps, simulatedMs, counters }
}

class ClusterSimulation implements SimCluster {
  readonly plan: ClusterPlan
  readonly world = new World()
  readonly network: Network
  readonly checker: ClusterChecker
  readonly nodes: SimNode[] = []
  readonly places: Place[] = []
  readonly random: Random
  /** For what an administrator does. */
  readonly admin: SimClient
  readonly operator: ClusterOperator
  readonly #faults: ClusterFaultsDrawer
  readonly #client: SimClient
  readonly #consumers: SimConsumer[] = []
  /** As of the last turn. */
  readonly #seen = new WeakMap<
    PartitionLog,
    { readonly highWatermark: number; readonly logEndOffset: number; readonly epochs: number }
  >()
  /** By topic id and number of the partition. */
  readonly #indexes = new Map<string, number>()
  /** What was last counted of each partition, and up to where of the metadata. */
  readonly #reached = new Map<string, readonly string[]>()
  #countedOffset = -1
  #nextBatch = 1
  #isOver = false
  #looksAtLogsMs = 0

  constructor(seed: number, focus: string | null) {
    const random = new Random(seed)
    this.plan = drawClusterPlan(random.split(), focus)
    this.random = random.split()
    const { world, plan } = this
    const { counters } = world
    this.network = new Network(plan.network, world.clock, { random: random.split(), counters })
    for (const { name: topic, partitions } of plan.topics) {
      for (let partition = 0; partition < partitions; partition++) {
        this.places.push({ topic, partition, index: this.places.length })
      }
    }
    this.checker = new ClusterChecker(this.places.length, (what) => world.count(what))
    for (let id = 1; id <= plan.nodes; id++) {
      const node = new SimNode({
        id,
        world,
        network: this.network,
        plan,
        random,
        onStarted: (one) => this.#started(one),
        onEnded: (one) => this.#faults.restartSoon(one),
      })
      node.host.rate = 1 + (this.random.fraction() * 2 - 1) * plan.clockDriftMax
      this.nodes.push(node)
    }
    const host = new Host(world, this.network, {
      id: CLIENT_ID,
      address: addressOf(CLIENT_ID),
      random: random.split(),
    })
    this.#client = new SimClient(host, plan.nodes)
    this.admin = new SimClient(host, plan.nodes)
    this.operator = new ClusterOperator(this)
    this.#faults = new ClusterFaultsDrawer(this, this.operator)
    world.onEvent = (one, kind) => this.#onEvent(one, kind)
  }

  node(id: number): SimNode {
    return this.nodes[id - 1] as SimNode
  }

  get isHealing(): boolean {
    return this.#faults.isHealing
  }

  /** How many replicas a partition is to have. */
  wantedReplicas(topic: string, partition: number): number {
    const planned = this.plan.topics.find(({ name }) => name === topic)?.replicationFactor
    const known = this.newestImage?.topicsByName.get(topic)?.handles[partition]
    return planned ?? (known === undefined ? 0 : Math.min(3, this.nodes.length))
  }

  /** The newest metadata that some node has; null while none has any. */
  get newestImage(): MetadataImage | null {
    let newest: SimNode | null = null
    const offsetOf = (node: SimNode): number => node.member?.node.metadata.appliedOffset ?? -1
    for (const node of this.nodes) {
      if (node.isUp && offsetOf(node) > (newest === null ? -1 : offsetOf(newest))) newest = node
    }
    return newest?.member?.node.metadata.image ?? null
  }

  async run(): Promise<void> {
    const { world, plan } = this
    this.network.isCalm = true
    for (const node of this.nodes) node.start()
    this.#client.host.begin(() => undefined)
    await this.#until('a new cluster serves', () => this.nodes.every((node) => node.isServing))
    await this.#createTopics()
    this.#startClients()
    this.network.isCalm = false
    const endMs = world.nowMs + plan.seconds * 1000
    while (world.nowMs < endMs) {
      await this.tick()
      this.#faults.breakThings()
    }
    this.#faults.healCore()
    // Sessions of those that are broken end. With a minimum of one, who is left may be alone.
    await this.#runFor(CORE_SETTLE_MS)
    const alive = this.#faults.placesAlive()
    world.count('liveness: partitions of a healed core', alive.length)
    await this.#progress('a healed core takes writes', alive)
    this.#faults.healAll()
    await this.#expectAll()
    world.counters['acknowledged batches'] = this.checker.acknowledgedBatches
  }

  /** Processes end with the run. */
  end(): void {
    for (const node of this.nodes) node.host.end()
    this.#client.host.end()
  }

  async #runFor(ms: number): Promise<void> {
    const untilMs = this.world.nowMs + ms
    while (this.world.nowMs < untilMs) await this.tick()
  }

  async tick(): Promise<void> {
    await this.world.runFor(TICK_MS)
    if (this.world.nowMs < this.#looksAtLogsMs) return
    this.#looksAtLogsMs = this.world.nowMs + LOGS_MS
    for (const node of this.nodes) this.#lookAtLogs(node)
  }

  /** Runs on the clients' machine. */
  onClient(run: () => Promise<void>): void {
    this.#client.host.after(0, () => {
      run().catch((error: unknown) => {
        this.world.failure ??= error
      })
    })
  }

  // —— clients ——

  async #createTopics(): Promise<void> {
    let left = this.plan.topics.length
    this.onClient(async () => {
      for (const { name, partitions, replicationFactor, configs } of this.plan.topics) {
        const topic = {
          name,
          numPartitions: partitions,
          replicationFactor,
          assignments: [],
          configs: Object.entries(configs).map(([key, value]) => ({ name: key, value })),
        }
        for (;;) {
          const body = { topics: [topic], timeoutMs: 5000 }
          const answer = await this.#client.ask(1, ApiKey.CREATE_TOPICS, body)
          const made = answer?.body.topics[0]
          const code = made?.errorCode
          if (code === ErrorCode.NONE || code === ErrorCode.TOPIC_ALREADY_EXISTS) break
          journal(() => `topic ${name}: ${code} ${made?.errorMessage}`)
          await this.#client.sleep(100)
        }
        left--
      }
    })
    await this.#until('topics are created', () => left === 0)
    for (const { topic, partition, index } of this.places) {
      const id = this.newestImage?.topicsByName.get(topic)?.id
      this.#indexes.set(`${id}/${partition}`, index)
    }
  }

  #startClients(): void {
    const { plan, checker, places } = this
    const work: Workload = {
      plan,
      checker,
      places,
      isOver: () => this.#isOver,
      nextBatchId: () => this.#nextBatch++,
    }
    for (let i = 0; i < plan.producers; i++) {
      this.onClient(() => new SimProducer(new SimClient(this.#client.host, plan.nodes), work).run())
    }
    for (let i = 0; i < plan.careless; i++) {
      const client = new SimClient(this.#client.host, plan.nodes)
      this.onClient(() => new SimCarelessProducer(client, work).run())
    }
    for (let i = 0; i < plan.consumers; i++) {
      const consumer = new SimConsumer(new SimClient(this.#client.host, plan.nodes), work)
      this.#consumers.push(consumer)
      this.onClient(() => consumer.run())
    }
  }

  // —— after each event ——

  #started(node: SimNode): void {
    journal(() => `${this.world.nowMs.toFixed(1)} node ${node.id} serves`)
    this.world.count('starts')
  }

  #onEvent(host: Host, kind: EventKind): void {
    if (host.id === CLIENT_ID) return
    const node = this.node(host.id)
    node.afterEvent()
    if (!node.isUp) return
    if (kind === 'main') this.#lookAtQuorum(node)
    else for (const partition of node.partitions()) this.#lookAtPartition(node, partition)
  }

  #lookAtQuorum(node: SimNode): void {
    const clusterNode = node.member?.node
    if (clusterNode === undefined) return
    if (clusterNode.leaderId === node.id) {
      this.checker.leadsQuorum(clusterNode.quorum.epoch, node.id)
    }
    const { metadata } = clusterNode
    const offset = metadata.appliedOffset
    if (node.imageSeen === offset) return
    node.imageSeen = offset
    this.checker.image(offset, () => stateDigest(metadata.image), node.id)
    this.#countStates(metadata.image, offset)
  }

  /** Once each time that the newest metadata comes to say so. */
  #countStates(image: MetadataImage, offset: number): void {
    if (offset <= this.#countedOffset) return
    this.#countedOffset = offset
    for (const { id, handles } of image.topicsById.values()) {
      for (const [partition, handle] of handles.entries()) {
        const { inSyncReplicas, eligibleReplicas, leader } = image.partitions.state(handle)
        const minimum = image.minInSyncReplicas(handle)
        const reached = [
          ...(inSyncReplicas.length === minimum ? ['ISR at the minimum'] : []),
          ...(inSyncReplicas.length < minimum ? ['ISR below the minimum'] : []),
          ...(inSyncReplicas.length === 1 ? ['ISR of one'] : []),
          ...(eligibleReplicas.length > 0 ? ['replicas out of sync that may lead'] : []),
          ...(eligibleReplicas.includes(leader) ? ['one of these leads'] : []),
          ...(leader < 0 ? ['nobody leads'] : []),
        ]
        const key = `${id}/${partition}`
        const before = this.#reached.get(key) ?? []
        for (const state of reached) {
          if (!before.includes(state)) this.world.count(`states: ${state}`)
        }
        this.#reached.set(key, reached)
      }
    }
  }

  #lookAtPartition(node: SimNode, partition: Partition): void {
    const index = this.#indexes.get(`${partition.topicId}/${partition.partition}`)
    if (index === undefined || partition.replica === null) return
    this.checker.hears(index, node.id, partition.leaderEpoch)
    const log = partition.openedLog
    if (log === null) return
    const { leader } = partition.replica
    if (leader !== null) {
      const { leaderEpoch: epoch } = leader
      this.checker.leads(index, { node: node.id, epoch, logEndOffset: log.logEndOffset })
      for (const { brokerId, logEndOffset } of leader.followers.values()) {
        if (logEndOffset >= 0) this.checker.counts(index, { node: node.id, epoch }, brokerId)
      }
    }
    const { highWatermark, logEndOffset } = log
    const epochs = (log.epochs as LeaderEpochs).count
    const before = this.#seen.get(log)
    this.#seen.set(log, { highWatermark, logEndOffset, epochs })
    if (before === undefined) return
    require_(
      highWatermark >= before.highWatermark,
      'a watermark does not go back',
      () => `partition ${index} of node ${node.id}: ${before.highWatermark} to ${highWatermark}`,
    )
    if (logEndOffset >= before.logEndOffset) return
    this.world.count('states: truncations')
    if (epochs < before.epochs) this.world.count('states: truncations of an epoch')
    if (epochs < before.epochs - 1) this.world.count('states: truncations over several epochs')
  }

  /** All that lies below a replica's watermark. */
  #lookAtLogs(node: SimNode): void {
    if (!node.isUp) return
    for (const partition of node.partitions()) {
      const log = partition.openedLog
      const index = this.#indexes.get(`${partition.topicId}/${partition.partition}`)
      if (log === null || log.failed || index === undefined) continue
      const bytes = node.logBytes(partition.directory)
      const where = `partition ${index} of node ${node.id}`
      for (const stored of identify(bytes, this.checker.batches, where)) {
        if (stored.lastOffset < log.highWatermark) this.checker.replicaHas(index, stored, node.id)
      }
    }
  }

  // —— the end ——

  async #until(what: string, isDone: () => boolean): Promise<void> {
    const untilMs = this.world.nowMs + LIVENESS_MS
    while (!isDone()) {
      require_(this.world.nowMs < untilMs, what, () => this.describe())
      await this.tick()
    }
  }

  async #progress(what: string, places: readonly Place[]): Promise<void> {
    const before = this.places.map(({ index }) => this.checker.acknowledgedOf(index))
    await this.#until(what, () =>
      places.every(({ index }) => this.checker.acknowledgedOf(index) > before[index]! + 1),
    )
  }

  /** Every partition takes writes, every replica is in sync, and all that was written is read. */
  async #expectAll(): Promise<void> {
    await this.#progress('a healed cluster takes writes', this.places)
    this.#isOver = true
    await this.#until('new disks have everything', () => this.operator.repairing.size === 0)
    await this.#until('all replicas of a healed cluster are in sync', () => this.#areAllInSync())
    await this.#until('all of a healed cluster is read', () =>
      this.places.every((place) => this.#isReadToEnd(place)),
    )
    for (const place of this.places) {
      const read = this.#consumers.map((consumer) => consumer.positionOf(place))
      this.checker.finish(place.index, Math.min(...read))
    }
    for (const node of this.nodes) this.#lookAtLogs(node)
  }

  #isReadToEnd(place: Place): boolean {
    const end = this.checker.committedEnd(place.index)
    return this.#consumers.every((consumer) => consumer.positionOf(place) >= end)
  }

  #areAllInSync(): boolean {
    const image = this.newestImage
    if (image === null || !this.nodes.every((node) => node.isServing)) return false
    for (const { topic } of this.places) {
      for (const handle of image.topicsByName.get(topic)?.handles ?? []) {
        const { replicas, inSyncReplicas } = image.partitions.state(handle)
        if (inSyncReplicas.length < replicas.length) return false
      }
    }
    return true
  }

  describe(): string {
    const nodes = this.nodes.map((node) => {
      const { isUp, isServing, host, member } = node
      const quorum = member?.node
      const at = `applied ${quorum?.metadata.appliedOffset}, leader ${quorum?.leaderId}`
      return `node ${node.id}: ${isUp ? 'up' : 'down'}, serving ${isServing}, paused ${host.isPaused}, ${at}`
    })
    const partitions = this.places.map(({ topic, partition }) => {
      const handle = this.newestImage?.topicsByName.get(topic)?.handles[partition]
      const state = handle === undefined ? null : this.newestImage?.partitions.state(handle)
      return `${topic}-${partition}: ${JSON.stringify(state)}`
    })
    return `\n${[...nodes, ...partitions].join('\n')}`
  }
}
