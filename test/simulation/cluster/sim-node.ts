/**
 * A node of a simulated cluster: a machine with a disk, and on it the broker as it is started in
 * earnest (`broker/start-broker.ts`, `broker/cluster`, the doors of `gateway`), but for threads,
 * sockets, files and time, which are the simulation's.
 */
import { AssertionError, assert } from '../../../src/base/assert.ts'
import { systemClock } from '../../../src/base/clock.ts'
import type { Random } from '../../../src/base/random.ts'
import { type StartedBroker, startBroker } from '../../../src/broker/start-broker.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { BrokerError } from '../../../src/errors/broker-error.ts'
import { ClusterSockets } from '../../../src/gateway/cluster-gate.ts'
import { Complaints } from '../../../src/gateway/complaints.ts'
import { KafkaListener } from '../../../src/gateway/kafka-listener.ts'
import { connectNet, listenNet } from '../../../src/gateway/net-transport.ts'
import { ReceiveMemory } from '../../../src/gateway/receive-memory.ts'
import type { Loggers } from '../../../src/metrics/logger.ts'
import { Arena, allocateArena } from '../../../src/ring/arena.ts'
import type { Partition } from '../../../src/shard/partition.ts'
import { journal } from '../journal.ts'
import { DirectoryNode, SimCrash, SimDisk } from '../sim-disk.ts'
import type { FileNode } from '../sim-node.ts'
import type { ClusterPlan } from './cluster-plan.ts'
import { currentHost } from './platform.ts'
import { HostFiles } from './sim-fs.ts'
import type { Network } from './sim-network.ts'
import { SimShards } from './sim-shards.ts'
import { Host, type World } from './sim-world.ts'

export const KAFKA_PORT = 9092
export const CLUSTER_PORT = 9093
const INGRESS_BYTES = 2 * 1024 * 1024

/** States that a node reaches, by what it says of them. */
const SAID = [
  ["the metadata is the leader's snapshot", 'states: snapshots installed'],
  ['a snapshot of the metadata is taken', 'states: snapshots taken'],
  ['the metadata begins with its snapshot', 'states: starts from a snapshot'],
  ['is not heard: fenced', 'states: brokers fenced'],
  ['replicas of this broker cannot be used', 'states: replicas given up'],
  ['the CRC of the batch at', 'states: damage found by a read'],
  ['stopping with what this broker leads', 'states: stops without handing over'],
] as const

export function addressOf(id: number): string {
  return `10.0.0.${id}`
}

/** A broker that runs, or is about to. */
interface Running {
  readonly shards: SimShards
  started: StartedBroker | null
  kafka: KafkaListener | null
  isServing: boolean
  isStopping: boolean
}

export class SimNode {
  readonly id: number
  readonly host: Host
  disk: SimDisk
  readonly #world: World
  readonly #network: Network
  readonly #plan: ClusterPlan
  readonly #onStarted: (node: SimNode) => void
  readonly #onEnded: (node: SimNode, why: string) => void
  /** Runs of the machine. */
  boots = 0
  running: Running | null = null
  /** Up to where its image was compared with those of others. */
  imageSeen = -1
  /** While it is down. */
  #directoryId: string | null = null

  constructor(parts: {
    readonly id: number
    readonly world: World
    readonly network: Network
    readonly plan: ClusterPlan
    readonly random: Random
    readonly onStarted: (node: SimNode) => void
    /** The process has ended, and nobody has asked for it. */
    readonly onEnded: (node: SimNode, why: string) => void
  }) {
    this.id = parts.id
    this.#world = parts.world
    this.#network = parts.network
    this.#plan = parts.plan
    this.#onStarted = parts.onStarted
    this.#onEnded = parts.onEnded
    const random = parts.random.split()
    this.host = new Host(parts.world, parts.network, {
      id: parts.id,
      address: addressOf(parts.id),
      random,
    })
    this.disk = this.#newDisk()
  }

  get isUp(): boolean {
    return this.host.isUp
  }

  /** It has joined, and clients are let in. */
  get isServing(): boolean {
    return this.running?.isServing === true
  }

  get broker() {
    return this.running?.started?.broker ?? null
  }

  get member() {
    return this.running?.started?.member ?? null
  }

  /** Of the disk with the metadata; null before its first start has come so far. */
  get directoryId(): string | null {
    return this.member?.node.self.directoryId ?? this.#directoryId
  }

  /** Of its shards, that are opened. */
  *partitions(): Generator<Partition> {
    for (const { shard } of this.running?.shards.units ?? []) yield* shard.state.partitions.values()
  }

  /** Of a log, in order. */
  logFiles(directory: string): FileNode[] {
    const entries = this.disk.directory(directory)?.entries ?? new Map()
    const names = [...entries.keys()].filter((name) => name.endsWith('.log')).sort()
    return names.flatMap((name) => this.disk.file(`${directory}/${name}`) ?? [])
  }

  // —— what happens to it ——

  start(): void {
    assert(!this.isUp)
    this.host.isPowered = true
    const shards = new SimShards({
      host: this.host,
      disk: this.disk,
      flushMsMax: this.#plan.flushMsMax,
      parkMsMax: this.#plan.parkMsMax,
      onCrash: () => this.crashed(),
    })
    const running: Running = {
      shards,
      started: null,
      kafka: null,
      isServing: false,
      isStopping: false,
    }
    this.running = running
    this.imageSeen = -1
    const files = new HostFiles({
      disk: this.disk,
      pause: () =>
        new Promise((resolve) => {
          this.host.after(this.host.random.fraction() * this.#plan.flushMsMax, () => resolve())
        }),
      bootId: () => `boot ${this.boots}`,
      onCrash: () => this.crashed(),
    })
    this.host.files = files
    this.host.begin(() => {
      this.#run(running, files).then(
        () => this.#onStarted(this),
        (error: unknown) => this.#failed(running, 'the start', error),
      )
    })
  }

  /** In order, as for SIGTERM. */
  stop(): void {
    const { running } = this
    if (running === null || !running.isServing || running.isStopping) return
    running.isStopping = true
    this.host.after(0, () => {
      this.#stop(running).then(
        () => this.#exit(running, 'it has stopped in order'),
        (error: unknown) => this.#failed(running, 'the stop', error),
      )
    })
  }

  kill(): void {
    if (!this.isUp) return
    this.#die(false)
    this.disk.kill()
  }

  losePower(): void {
    if (!this.isUp) return
    this.#die(true)
    this.disk.losePower()
    this.host.isPowered = false
    this.boots++
  }

  /** Its disk is taken out, and an empty one put in. */
  wipe(): void {
    assert(!this.isUp)
    this.disk = this.#newDisk()
    this.#directoryId = null
  }

  /** The process died in the middle of a call of the disk. */
  crashed(): void {
    if (!this.isUp) return
    this.#die(false)
    this.disk.kill()
    this.#onEnded(this, 'it died inside a call')
  }

  /** After each event of this node. */
  afterEvent(): void {
    if (this.disk.crashIn <= 0) this.crashed()
    this.running?.shards.look()
  }

  #die(isSilent: boolean): void {
    this.#directoryId = this.directoryId
    this.running?.shards.die()
    this.host.files?.files.die()
    this.host.files = null
    this.running = null
    this.host.end()
    this.#network.hostDied(this.host, isSilent)
  }

  // —— the process ——

  async #run(running: Running, files: HostFiles): Promise<void> {
    const { id, host } = this
    const config = loadConfig({
      dataDir: '/sim/data',
      kafka: `${host.address}:${KAFKA_PORT}`,
      http: 'off',
      shards: String(this.#plan.shards),
      nodeId: String(id),
      controllers: this.#plan.voters
        .map((one) => `${one}@${addressOf(one)}:${CLUSTER_PORT}`)
        .join(),
      cluster: `${host.address}:${CLUSTER_PORT}`,
      insecure: true,
      set: [...this.#plan.options, 'millrace.cluster.secret=the secret of a simulation'],
    })
    const loggers = this.#loggers()
    const ingress = allocateArena(INGRESS_BYTES)
    const arena = new Arena(ingress, { poison: true })
    const nowMs = (): number => systemClock.monotonicMs()
    const memory = new ReceiveMemory(arena, nowMs)
    const complaints = new Complaints('kafka', loggers('kafka'), nowMs)
    const started = await startBroker({
      config,
      loggers,
      ground: { tier: 'portable', tierReason: 'simulated', ingress, arena },
      platform: { files: files.files, startShards: running.shards.start },
      makeWaker: ({ pump }) => running.shards.waker(pump),
      gate: new ClusterSockets({ memory, complaints, listen: listenNet, connect: connectNet }),
      onFailure: (error) => this.#failed(running, 'the cluster', error),
      onCrash: (_shard, error) => this.#failed(running, 'a shard', error),
    })
    running.started = started
    const { broker, member } = started
    assert(member !== null)
    broker.hub.onPumped(() => memory.freed())
    const kafka = new KafkaListener(broker, memory, complaints)
    running.kafka = kafka
    kafka.holdBack()
    const at = { host: host.address, port: KAFKA_PORT }
    await kafka.listen(listenNet, { name: 'PLAINTEXT', ...at })
    broker.endpoints.set('PLAINTEXT', at)
    await member.join([{ listener: 'PLAINTEXT', ...at }])
    kafka.open()
    running.isServing = true
  }

  async #stop(running: Running): Promise<void> {
    const { started, kafka } = running
    await started?.member?.leave()
    running.isServing = false
    await kafka?.close()
    await started?.stop()
  }

  /** The process ends by itself. */
  #exit(running: Running, why: string): void {
    if (this.running !== running) return
    journal(() => `${this.#world.nowMs.toFixed(1)} node ${this.id} ends: ${why}`)
    this.#die(false)
    this.disk.kill()
    this.#onEnded(this, why)
  }

  #failed(running: Running, where: string, error: unknown): void {
    if (this.running !== running || error instanceof SimCrash) return
    // What the world does to it ends a process; anything else is a bug.
    if (!(error instanceof BrokerError) || error instanceof AssertionError) {
      this.#world.failure ??= error
      return
    }
    this.#world.count(`processes ended: ${where}`)
    this.#exit(running, `${where}: ${error.message}`)
  }

  #loggers(): Loggers {
    const line = (level: string) => (_fields: object, message: string) => {
      for (const [part, what] of SAID) if (message.includes(part)) this.#world.count(what)
      const ms = this.#world.nowMs.toFixed(1)
      journal(() => `${ms} node ${this.id}${currentHost() === null ? '?' : ''} ${level} ${message}`)
    }
    const logger = {
      debug: () => undefined,
      info: line('info'),
      warn: line('warn'),
      error: line('ERROR'),
    }
    return () => logger
  }

  #newDisk(): SimDisk {
    const disk = new SimDisk(this.#plan.disk, this.host.random.split())
    disk.nowMs = () => this.host.wallMs()
    // What data directories are made in was there before.
    disk.root.change({ kind: 'set', name: 'sim', node: new DirectoryNode() })
    disk.root.sync()
    return disk
  }
}
