/**
 * A cluster of real brokers, each in a namespace and on a disk of its own, and what one asks it
 * from the clients' namespace, in which this process runs.
 */
import { closeSync, mkdirSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { AdminError, KafkaAdmin, type PartitionDescription } from '../../src/client/kafka-admin.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { Disk } from './disk.ts'
import { type HistoryFile, partitionName, type SeenEvent } from './history.ts'
import { type LogPlace, readLog } from './log-reader.ts'
import { Network } from './network.ts'
import { KAFKA_PORT, Node } from './node.ts'

export interface ClusterOptions {
  readonly nodes: number
  readonly prefix: string
  readonly directory: string
  /** Each broker's data lies on an ext4 of so many bytes. */
  readonly diskBytes: number
  readonly set: Readonly<Record<string, string>>
  readonly onEnd: (why: string) => void
}

export interface ChaosTopic {
  readonly name: string
  readonly partitions: number
  readonly configs: Readonly<Record<string, string>>
}

const REQUEST_MS_MAX = 2000
const CREATE_MS_MAX = 30_000
const READ_MS_MAX = 30_000
const POLL_MS = 100
const REPLICAS = 3
/** Looked at so often before partitions count as in sync: brokers learn of changes by and by. */
const LOOKS = 2
const CHUNK_BYTES = 1024 * 1024

export class Cluster {
  readonly nodes: readonly Node[]
  readonly network: Network
  readonly #disks = new Map<number, Disk>()
  readonly #options: ClusterOptions
  #topics: readonly ChaosTopic[] = []

  constructor(options: ClusterOptions) {
    this.#options = options
    const { prefix, nodes, set, onEnd } = options
    const secret = `secret of ${prefix}`
    const network = new Network({ prefix, nodes })
    this.network = network
    this.nodes = Array.from({ length: nodes }, (_, index) => {
      const id = index + 1
      const place = { directory: this.#at(id), logPath: this.logPath(id) }
      return new Node({ id, nodes, network, secret, set, onEnd, ...place })
    })
  }

  get bootstrap(): string[] {
    return this.nodes.map(({ address }) => `${address}:${KAFKA_PORT}`)
  }

  logPath(id: number): string {
    return join(this.#options.directory, `node-${id}.log`)
  }

  node(id: number): Node {
    return this.nodes[id - 1] as Node
  }

  disk(id: number): Disk {
    const disk = this.#disks.get(id)
    if (disk === undefined) throw new Error(`node ${id} has no disk yet`)
    return disk
  }

  async start(): Promise<void> {
    const { diskBytes, directory } = this.#options
    for (const { id } of this.nodes) {
      const own = join(directory, `node-${id}`)
      mkdirSync(own, { recursive: true })
      this.#disks.set(id, Disk.make(own, diskBytes))
    }
    for (const node of this.nodes) node.start()
    await Promise.all(this.nodes.map((node) => node.whenReady()))
  }

  /** With three replicas, each. A broker that serves may not be known to all others yet. */
  async createTopics(topics: readonly ChaosTopic[]): Promise<void> {
    this.#topics = topics
    const deadlineMs = performance.now() + CREATE_MS_MAX
    const admin = await this.#admin(this.node(1), CREATE_MS_MAX)
    try {
      for (const topic of topics) {
        while (!(await isCreated(admin, topic, performance.now() > deadlineMs))) {
          await new Promise((resolve) => setTimeout(resolve, POLL_MS))
        }
      }
    } finally {
      admin.close()
    }
  }

  /**
   * Resolves when every broker says that every partition has a leader and all its replicas, with
   * what was missing meanwhile: when, and what, whenever it was something else.
   */
  async whenInSync(msMax: number): Promise<string[]> {
    const startedMs = performance.now()
    const deadlineMs = startedMs + msMax
    const missing: string[] = []
    let before: string | null = null
    for (let looks = 0; looks < LOOKS; ) {
      const wrong = await this.#whatIsNotInSync()
      looks = wrong === null ? looks + 1 : 0
      if (wrong !== before) {
        missing.push(`${Math.round(performance.now() - startedMs)} ms: ${wrong ?? 'nothing'}`)
      }
      before = wrong
      if (wrong !== null && performance.now() > deadlineMs) {
        throw new Error(`not in sync after ${msMax} ms: ${wrong}`)
      }
      if (looks < LOOKS) await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
    return missing
  }

  /** Writes every event of every partition, from its leader. Returns how many. */
  async readAll(history: HistoryFile): Promise<number> {
    let total = 0
    for (const { name } of this.#topics) {
      for (const { partition, leader, highWatermark } of await this.#describe(name)) {
        const { address: host } = this.node(leader)
        const place = { host, topic: name, partition, end: highWatermark ?? 0 }
        total += await this.#readOne(place, history)
      }
    }
    return total
  }

  /** Stops all brokers in order, at the same time. */
  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()))
  }

  /** After a stop: what the replicas of a partition do not have in common. */
  compareReplicas(): string[] {
    const holders = new Map<string, number[]>()
    for (const { id } of this.nodes) {
      for (const entry of readdirSync(join(this.#at(id), 'data'), { withFileTypes: true })) {
        if (!entry.isDirectory() || !/^[0-9a-f]{32}-\d+$/.test(entry.name)) continue
        holders.set(entry.name, [...(holders.get(entry.name) ?? []), id])
      }
    }
    const differences: string[] = []
    for (const [name, ids] of holders) {
      const [first, ...others] = ids as [number, ...number[]]
      for (const other of others) {
        const at = firstDifference(this.#segments(first, name), this.#segments(other, name))
        if (at === null) continue
        differences.push(`${name} differs on nodes ${first} and ${other} from byte ${at} on`)
      }
    }
    return differences
  }

  async kill(): Promise<void> {
    for (const node of this.nodes) node.resume()
    await Promise.all(this.nodes.map((node) => node.kill()))
  }

  // —— inside ——

  /** Where a node's data lies. */
  #at(id: number): string {
    return join(this.#options.directory, `node-${id}`, 'disk')
  }

  #admin(node: Node, timeoutMs: number): Promise<KafkaAdmin> {
    const { address: host } = node
    return KafkaAdmin.connect({ host, port: KAFKA_PORT, clientId: 'chaos', timeoutMs })
  }

  async #describe(topic: string): Promise<readonly PartitionDescription[]> {
    const admin = await this.#admin(this.node(1), READ_MS_MAX)
    try {
      return (await admin.describeTopic(topic)).partitionList
    } finally {
      admin.close()
    }
  }

  async #whatIsNotInSync(): Promise<string | null> {
    const answers = await Promise.all(
      this.nodes.map(async (node) => {
        try {
          return await this.#whatIsNotInSyncOn(node)
        } catch (error) {
          return `node ${node.id}: ${error instanceof Error ? error.message : error}`
        }
      }),
    )
    return answers.find((answer) => answer !== null) ?? null
  }

  async #whatIsNotInSyncOn(node: Node): Promise<string | null> {
    const admin = await this.#admin(node, REQUEST_MS_MAX)
    try {
      for (const { name } of this.#topics) {
        const { partitionList } = await admin.describeTopic(name)
        const wrong = partitionList.find(
          ({ leader, replicas, inSyncReplicas }) =>
            leader === -1 || inSyncReplicas.length < replicas.length,
        )
        if (wrong === undefined) continue
        const { partition, leader, replicas, inSyncReplicas } = wrong
        const has = `leader ${leader}, in sync ${inSyncReplicas} of ${replicas}`
        return `node ${node.id} says of ${name}-${partition}: ${has}`
      }
      return null
    } finally {
      admin.close()
    }
  }

  async #readOne(place: Omit<LogPlace, 'port'>, history: HistoryFile): Promise<number> {
    const partition = partitionName(place.topic, place.partition)
    let count = 0
    for await (const batch of readLog({ ...place, port: KAFKA_PORT })) {
      const { producerId, producerEpoch } = batch.header
      const events: SeenEvent[] = [...batch].map(({ offset, value }) => {
        return [offset, ...parseEvent(Buffer.from(value ?? []).toString('latin1'))]
      })
      const sender = `${producerId}:${producerEpoch}`
      history.append({ type: 'final', partition, sender, events })
      count += events.length
    }
    return count
  }

  #segments(id: number, name: string): string[] {
    const directory = join(this.#at(id), 'data', name)
    const names = readdirSync(directory).filter((file) => file.endsWith('.log'))
    return names.sort().map((file) => join(directory, file))
  }
}

/** False: there are not enough brokers yet. Throws that, if it is the `last` attempt. */
async function isCreated(admin: KafkaAdmin, topic: ChaosTopic, last: boolean): Promise<boolean> {
  const { name, partitions, configs } = topic
  try {
    const wanted = { configs: new Map(Object.entries(configs)), replicationFactor: REPLICAS }
    await admin.createTopic({ name, partitions, ...wanted })
    return true
  } catch (error) {
    const isEarly =
      error instanceof AdminError && error.code === ErrorCode.INVALID_REPLICATION_FACTOR
    if (last || !isEarly) throw error
    return false
  }
}

/** `PRODUCER/SEQUENCE`, and after a space what nobody reads. */
export function parseEvent(value: string): [producer: string, sequence: number] {
  const [id = ''] = value.split(' ', 1)
  const slash = id.lastIndexOf('/')
  return [id.slice(0, slash), Number(id.slice(slash + 1))]
}

/** Where two logs part, whatever segments they lie in; null: they are the same. */
function firstDifference(left: readonly string[], right: readonly string[]): number | null {
  const [a, b] = [new SegmentReader(left), new SegmentReader(right)]
  let at = 0
  for (;;) {
    const [one, other] = [a.read(), b.read()]
    const length = Math.min(one.length, other.length)
    if (!one.subarray(0, length).equals(other.subarray(0, length))) {
      while (one[at % CHUNK_BYTES] === other[at % CHUNK_BYTES]) at++
      return at
    }
    at += length
    if (one.length !== other.length) return at
    if (length === 0) return null
  }
}

/** Files one after the other, in pieces of one size; the last one is shorter. */
class SegmentReader {
  readonly #paths: string[]
  #file: number | null = null

  constructor(paths: readonly string[]) {
    this.#paths = [...paths]
  }

  read(): Buffer {
    const piece = Buffer.alloc(CHUNK_BYTES)
    let filled = 0
    while (filled < CHUNK_BYTES) {
      if (this.#file === null) {
        const path = this.#paths.shift()
        if (path === undefined) break
        this.#file = openSync(path, 'r')
      }
      const bytes = readSync(this.#file, piece, filled, CHUNK_BYTES - filled, null)
      if (bytes === 0) {
        closeSync(this.#file)
        this.#file = null
      }
      filled += bytes
    }
    return piece.subarray(0, filled)
  }
}
