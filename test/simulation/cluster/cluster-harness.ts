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
import type { PartitionState } from '../../../src/metadata/partition-rules.ts'
import type { Partition } from '../../../src/shard/partition.ts'
import type { LeaderEpochs } from '../../../src/storage/leader-epochs.ts'
import type { PartitionLog } from '../../../src/storage/log.ts'
import { ApiKey } from '../../../src/wire/kafka/api.ts'
import { journal } from '../journal.ts'
import { asViolation, type ClusterSeedResult, require_, type Violation } from '../violation.ts'
import { ClusterChecker } from './cluster-checker.ts'
import { ClusterFaultsDrawer } from './cluster-faults.ts'
import { ClusterOperator } from './cluster-operator.ts'
import { type ClusterPlan, drawClusterPlan } from './cluster-plan.ts'
import { Endurance } from './endurance.ts'
import { drawEndurancePlan } from './endurance-plan.ts'
import { LogLooks } from './log-looks.ts'
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
import { SimVisitor } from './sim-visitor.ts'
import { type EventKind, Host, World } from './sim-world.ts'

const CLIENT_ID = 100
const TICK_MS = 50
/** In a run, before its end. */
const READERS_MAX = 3

/** `focus`: reigns, or null. */
export function runClusterSeed(seed: number, focus: string | null): Promise<ClusterSeedResult> {
  return runSeed(seed, (random) => drawClusterPlan(random, focus))
}

/** Lives of many hours. `focus`: calm, nothing breaks; short, minutes instead of hours. */
export function runEnduranceSeed(seed: number, focus: string | null): Promise<ClusterSeedResult> {
  return runSeed(seed, (random) => drawEndurancePlan(random, focus))
}

async function runSeed(
  seed: number,
  draw: (random: Random) => ClusterPlan,
): Promise<ClusterSeedResult> {
  installPlatform()
  const simulation = new ClusterSimulation(seed, draw)
  const { world } = simulation
  const onLoose = world.loose
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
  readonly consumers: SimConsumer[] = []
  readonly operator: ClusterOperator
  readonly #faults: ClusterFaultsDrawer
  /** Of the clients. */
  readonly #host: Host
  readonly #client: SimClient
  /** How often somebody began to read everything. */
  #readers = 0
  #work: Workload | null = null
  readonly #looks: LogLooks
  /** As of the last turn. */
  readonly #seen = new WeakMap<
    PartitionLog,
    { readonly highWatermark: number; readonly logEndOffset: number; readonly epochs: number }
  >()
  readonly #indexOfPartition = new WeakMap<Partition, number | null>()
  /** By topic id and number of the partition. */
  readonly #indexes = new Map<string, number>()
  /** What was last counted of each partition, and up to where of the metadata. */
  readonly #reached = new Map<string, readonly string[]>()
  #countedOffset = -1
  #nextBatch = 1
  #isOver = false
  #looksAtLogsMs = 0

  constructor(seed: number, draw: (random: Random) => ClusterPlan) {
    const random = new Random(seed)
    this.plan = draw(random.split())
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
    this.#host = host
    this.#client = this.#newClient()
    this.admin = this.#newClient()
    this.operator = new ClusterOperator(this)
    this.#faults = new ClusterFaultsDrawer(this, this.operator)
    this.#looks = new LogLooks(this.checker)
    world.onEvent = (one, kind) => this.#onEvent(one, kind)
  }

  node(id: number): SimNode {
    return this.nodes[id - 1] as SimNode
  }

  stateOf(index: number): PartitionState | null {
    const handle = this.#handleOf(index)
    return handle === undefined ? null : (this.newestImage?.partitions.state(handle) ?? null)
  }

  minimumOf(index: number): number {
    const handle = this.#handleOf(index)
    return handle === undefined ? 0 : (this.newestImage?.minInSyncReplicas(handle) ?? 0)
  }

  #handleOf(index: number): number | undefined {
    const { topic, partition } = this.places[index] as Place
    return this.newestImage?.topicsByName.get(topic)?.handles[partition]
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
    await this.until('a new cluster serves', () => this.nodes.every((node) => node.isServing))
    await this.#createTopics()
    this.#startClients()
    this.network.isCalm = false
    if (plan.endurance !== null) await new Endurance(this, plan.endurance, this.#faults).live()
    const endMs = world.nowMs + plan.seconds * 1000
    while (world.nowMs < endMs) {
      await this.tick()
      this.#faults.breakThings()
    }
    this.#faults.healCore()
    // Sessions of those that are broken end. With a minimum of one, who is left may be alone.
    await this.runFor(plan.settleMs)
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

  async runFor(ms: number, tickMs = TICK_MS): Promise<void> {
    const untilMs = this.world.nowMs + ms
    while (this.world.nowMs < untilMs) await this.tick(tickMs)
  }

  async tick(ms = TICK_MS): Promise<void> {
    await this.world.runFor(ms)
    if (this.world.nowMs < this.#looksAtLogsMs) return
    this.#looksAtLogsMs = this.world.nowMs + this.plan.logsMs
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
    await this.until('topics are created', () => left === 0)
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
    this.#work = work
    const { fetchWaitMs, restMsMax } = plan.clients
    for (let i = 0; i < plan.producers; i++) {
      const mayRest = restMsMax > 0 && i > 0
      this.onClient(() => new SimProducer(this.#newClient(), work, mayRest).run())
    }
    for (let i = 0; i < plan.careless; i++) {
      this.onClient(() => new SimCarelessProducer(this.#newClient(), work).run())
    }
    for (let i = 0; i < plan.consumers; i++) {
      const consumer =
        plan.endurance === null
          ? new SimConsumer(this.#newClient(), work)
          : new SimConsumer(this.#newClient(fetchWaitMs), work, this.#newClient())
      this.consumers.push(consumer)
      this.onClient(() => consumer.run())
    }
    for (let i = 0; i < (plan.endurance?.visitors ?? 0); i++) {
      const visitor = new SimVisitor(this.#newClient(), work, i)
      this.onClient(() => visitor.run())
    }
  }

  #newClient(moreMs = 0): SimClient {
    const { nodes, clients } = this.plan
    return new SimClient(this.#host, nodes, clients.requestMs + moreMs)
  }

  readAnew(): ((place: Place) => number) | null {
    const work = this.#work
    // What is old goes in a long life.
    if (work === null || this.plan.endurance !== null) return null
    if (this.#readers++ >= READERS_MAX && !this.#isOver) return null
    // A connection each: where one has read all it waits, and answers come in order.
    const readers = this.places.map(() => new SimConsumer(this.#newClient(), work))
    for (const place of this.places) this.onClient(() => readers[place.index]!.readFrom(place))
    return (place) => readers[place.index]!.positionOf(place)
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
    const index = this.indexOf(partition)
    if (index === null || partition.replica === null) return
    this.checker.hears(index, node.id, partition.leaderEpoch)
    const log = partition.openedLog
    if (log === null) return
    const { leader } = partition.replica
    const { highWatermark, logEndOffset } = log
    if (leader !== null) {
      const { leaderEpoch: epoch } = leader
      this.checker.leads(index, { node: node.id, epoch, logEndOffset })
      for (const { brokerId, logEndOffset: end } of leader.followers.values()) {
        if (end >= 0) this.checker.counts(index, { node: node.id, epoch }, brokerId)
      }
    }
    const epochs = (log.epochs as LeaderEpochs).count
    const before = this.#seen.get(log)
    if (before === undefined) {
      this.#seen.set(log, { highWatermark, logEndOffset, epochs })
      return
    }
    const isSameEnd = before.highWatermark === highWatermark && before.logEndOffset === logEndOffset
    if (isSameEnd && before.epochs === epochs) return
    this.#seen.set(log, { highWatermark, logEndOffset, epochs })
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

  indexOf(partition: Partition): number | null {
    const known = this.#indexOfPartition.get(partition)
    if (known !== undefined) return known
    const index = this.#indexes.get(`${partition.topicId}/${partition.partition}`) ?? null
    if (this.#indexes.size > 0) this.#indexOfPartition.set(partition, index)
    return index
  }

  /** All that lies below a replica's watermark. */
  #lookAtLogs(node: SimNode): void {
    if (!node.isUp) return
    for (const partition of node.partitions()) {
      const log = partition.openedLog
      const index = this.indexOf(partition)
      if (log === null || log.failed || index === null) continue
      if (this.#faults.flips.isDamaged(node, partition.directory)) continue
      const { highWatermark } = log
      this.#looks.look(node, partition.directory, { partition: index, highWatermark })
    }
  }

  /** Up to where every consumer has read. */
  readEnd(place: Place): number {
    return Math.min(...this.consumers.map((consumer) => consumer.positionOf(place)))
  }

  // —— the end ——

  async until(what: string, isDone: () => boolean): Promise<void> {
    const untilMs = this.world.nowMs + this.plan.livenessMs
    while (!isDone()) {
      require_(this.world.nowMs < untilMs, what, () => this.describe())
      await this.tick()
    }
  }

  async #progress(what: string, places: readonly Place[]): Promise<void> {
    const before = this.places.map(({ index }) => this.checker.acknowledgedOf(index))
    await this.until(what, () =>
      places.every(({ index }) => this.checker.acknowledgedOf(index) > before[index]! + 1),
    )
  }

  /** Every partition takes writes, every replica is in sync, and all that was written is read. */
  async #expectAll(): Promise<void> {
    await this.#progress('a healed cluster takes writes', this.places)
    this.#isOver = true
    await this.until('new disks have everything', () => this.operator.repairing.size === 0)
    await this.until('all replicas of a healed cluster are in sync', () => this.areAllInSync())
    // Old data is there as well: nobody may have asked for it for long.
    const positionOf = this.readAnew()
    if (positionOf !== null) {
      await this.until('all of it is read once more', () =>
        this.places.every((at) => positionOf(at) >= this.checker.committedEnd(at.index)),
      )
    }
    await this.until('all of a healed cluster is read', () =>
      this.places.every((place) => this.#isReadToEnd(place)),
    )
    for (const place of this.places) {
      this.checker.finish(place.index, this.readEnd(place))
    }
    for (const node of this.nodes) this.#lookAtLogs(node)
  }

  #isReadToEnd(place: Place): boolean {
    return this.readEnd(place) >= this.checker.committedEnd(place.index)
  }

  areAllInSync(): boolean {
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
    const replicas = this.nodes.flatMap((node) =>
      node.isUp
        ? [...node.partitions()].map((partition) => this.#describeReplica(node, partition))
        : [],
    )
    return `\n${[...nodes, ...partitions, ...replicas].join('\n')}`
  }

  #describeReplica(node: SimNode, partition: Partition): string {
    const { openedLog: log, replica, leaderEpoch, waitingAcks, isDamaged } = partition
    const followers = [...(replica?.leader?.followers.values() ?? [])].map(
      ({ brokerId, logEndOffset }) => `${brokerId} at ${logEndOffset}`,
    )
    const bounds = `${log?.logStartOffset} to ${log?.logEndOffset}, watermark ${log?.highWatermark}`
    const flushed = `durable ${log?.recoveryPoint}, counted ${log?.countedOffset}`
    const state = `${replica?.role} in ${leaderEpoch}${isDamaged ? ', damaged' : ''}`
    const waits = `${waitingAcks.length} and ${replica?.localAcks.length} wait`
    return `  ${partition.directory} of ${node.id}: ${state}: ${bounds}, ${flushed}; ${waits}; ${followers.join()}`
  }
}
