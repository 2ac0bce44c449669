/**
 * Replicas of a quorum in this process, each with its metadata and with snapshots in a directory of
 * its own; their logs are in memory, and outlive a stop.
 */
import { copyFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../src/base/clock.ts'
import type { Random } from '../../src/base/random.ts'
import { ClusterMetadata } from '../../src/broker/cluster/cluster-metadata.ts'
import { MetadataSnapshots } from '../../src/broker/cluster/metadata-snapshots.ts'
import { Quorum } from '../../src/cluster/quorum.ts'
import { leaderChangeEntry, recordsEntry, votersEntry } from '../../src/cluster/quorum-entries.ts'
import { foundLog, type QuorumLog } from '../../src/cluster/quorum-log.ts'
import type { SavedQuorum } from '../../src/cluster/quorum-state-file.ts'
import { MetadataImage } from '../../src/metadata/image.ts'
import { encodeMetadataRecord } from '../../src/metadata/record-schema.ts'
import type { MetadataRecord } from '../../src/metadata/records.ts'
import type { Logger } from '../../src/metrics/logger.ts'
import type { Entry } from '../../src/raft/entry.ts'
import type { RaftMessage } from '../../src/raft/messages.ts'
import { RAFT_DEFAULTS } from '../../src/raft/options.ts'
import type { ReplicaKey } from '../../src/raft/replica-key.ts'
import { uuidFor } from '../metadata/cluster-records.ts'

/** What is left of a replica when it has stopped. */
class Disk {
  readonly log = new MemoryLog()
  saved: SavedQuorum | null = null
}

export interface ReplicaNode {
  readonly id: number
  readonly directory: string
  readonly log: MemoryLog
  readonly image: MetadataImage
  readonly quorum: Quorum
  readonly metadata: ClusterMetadata
  readonly snapshots: MetadataSnapshots
  readonly lines: readonly string[]
  readonly failures: readonly unknown[]
  /** Times that the image was replaced. */
  installs: number
  stop(): void
}

/** A feature whose level counts the changes. */
export const CHANGE = 'change'
const WAIT_MS_MAX = 60_000

export class QuorumCluster {
  readonly #root: string
  readonly #options: { readonly bytesBetween: number; readonly random: Random }
  readonly #disks = new Map<number, Disk>()
  readonly #nodes = new Map<number, ReplicaNode>()
  readonly #last = new Map<number, ReplicaNode>()
  /** The level of the feature `CHANGE`. */
  changes = 0

  constructor(root: string, options: { bytesBetween: number; random: Random }) {
    this.#root = root
    this.#options = options
  }

  /** Undefined while it does not run. */
  node(id: number): ReplicaNode | undefined {
    return this.#nodes.get(id)
  }

  lastOf(id: number): ReplicaNode {
    return this.#last.get(id) as ReplicaNode
  }

  get leader(): ReplicaNode {
    const leader = [...this.#nodes.values()].find(({ quorum }) => quorum.isLeader)
    if (leader === undefined) throw new Error('nobody leads')
    return leader
  }

  async start(id: number, voters: readonly number[] = [1, 2, 3]): Promise<ReplicaNode> {
    const disk = this.#disks.get(id) ?? new Disk()
    this.#disks.set(id, disk)
    const node = await this.#make(id, disk, voters)
    this.#nodes.set(id, node)
    this.#last.set(id, node)
    node.quorum.start()
    return node
  }

  /** Commits it once, whoever leads, also when that changes; with a record that says so. */
  async change(records: readonly MetadataRecord[]): Promise<void> {
    this.changes++
    const mark: MetadataRecord = { type: 'features', name: CHANGE, level: this.changes }
    const values = [...records, mark].map(encodeMetadataRecord)
    await this.#until('a change is committed', async () => {
      const leader = [...this.#nodes.values()].find(isActive)
      if (leader === undefined) return false
      const { quorum, metadata, image } = leader
      if (image.features.get(CHANGE) === this.changes) return true
      const { epoch } = quorum
      const end = quorum.propose((place) => recordsEntry(place, values, Date.now()))
      if (typeof end !== 'number') return false
      await this.#until('it is applied, or somebody else leads', () => {
        return metadata.appliedOffset >= end || quorum.epoch !== epoch || !quorum.isLeader
      })
      return false
    })
  }

  /** All that run have applied all. */
  async settle(): Promise<void> {
    await this.#until('all are equal', () => {
      const nodes = [...this.#nodes.values()]
      const leader = nodes.find(({ quorum }) => quorum.isLeader)
      const end = leader?.quorum.endOffset
      return end !== undefined && nodes.every(({ metadata }) => metadata.appliedOffset === end)
    })
  }

  /** A stopped replica has received the newest snapshot of another, and not begun its log anew. */
  giveSnapshot(to: number, from: number): void {
    const { directory } = this.lastOf(from)
    const names = readdirSync(directory).filter((name) => name.endsWith('.checkpoint'))
    const newest = names.sort().at(-1)
    if (newest === undefined) return
    copyFileSync(join(directory, newest), join(this.lastOf(to).directory, newest))
    // Who receives a snapshot has heard its leader, and saved that epoch before it answered.
    const epoch = this.#disks.get(from)?.saved?.epoch ?? 0
    const saved = this.#disks.get(to)?.saved
    if (saved && saved.epoch < epoch) {
      this.#disks.get(to)!.saved = { ...saved, epoch, votedFor: null }
    }
  }

  async stop(): Promise<void> {
    for (const node of [...this.#nodes.values()]) {
      node.stop()
      await node.snapshots.stop()
    }
  }

  async #make(id: number, disk: Disk, voters: readonly number[]): Promise<ReplicaNode> {
    const directory = join(this.#root, String(id))
    const lines: string[] = []
    const failures: unknown[] = []
    const onFailure = (error: unknown): void => {
      failures.push(error)
      throw error
    }
    const image = new MetadataImage()
    const snapshots = await MetadataSnapshots.open({
      directory,
      image,
      concerns: () => true,
      options: { bytesBetween: this.#options.bytesBetween, intervalMs: 0 },
      clock: systemClock,
      logger: collectLines(lines),
      onFailure,
    })
    const { log } = disk
    const found = foundLog(log, await snapshots.load())
    if (found === null) throw new Error('the log has no beginning')
    if (found.isOther) await log.reset(found.endOffset)
    const metadata = new ClusterMetadata({
      image,
      appliedOffset: found.snapshot.endOffset,
      propose: () => Promise.reject(new Error('nobody asks here')),
      nowMs: () => systemClock.monotonicMs(),
    })
    const firstVoters = voters.map(keyOf)
    const quorum = new Quorum({
      self: keyOf(id),
      options: RAFT_DEFAULTS,
      random: this.#options.random.split(),
      nowMs: () => systemClock.monotonicMs(),
      log,
      found,
      saved: disk.saved ?? { epoch: 0, votedFor: null, firstVoters },
      save: async (state) => {
        disk.saved = state
      },
      snapshots,
      makeVotersEntry: ({ epoch, baseOffset, voters: set, isLeaderChange }) => {
        const place = { epoch, baseOffset }
        return isLeaderChange ? leaderChangeEntry(place, id, set, 0) : votersEntry(place, set, 0)
      },
      send: (messages) => this.#send(messages),
      onCommitted: (entries) => metadata.apply(entries),
      onChanged: () => undefined,
      onPeerError: (_, error) => onFailure(error),
      onFailure,
    })
    const dropBefore = async (offset: number): Promise<void> => log.dropBefore(offset)
    snapshots.start({ quorum: () => quorum, metadata, dropBefore })
    const node: ReplicaNode = {
      ...{ id, directory, log, image, quorum, metadata, snapshots, lines, failures },
      installs: 0,
      stop: () => {
        quorum.close()
        void snapshots.stop()
        if (this.#nodes.get(id) === node) this.#nodes.delete(id)
      },
    }
    metadata.onApplied((records) => {
      if (records.length === 0 && lines.at(-1)?.includes("the leader's snapshot")) node.installs++
    })
    return node
  }

  #send(messages: readonly RaftMessage[]): void {
    setImmediate(() => {
      for (const message of messages) this.#nodes.get(message.to.id)?.quorum.receive([message])
    })
  }

  async #until(what: string, isDone: () => boolean | Promise<boolean>): Promise<void> {
    const deadline = Date.now() + WAIT_MS_MAX
    while (!(await isDone())) {
      for (const { failures } of this.#nodes.values()) if (failures.length > 0) throw failures[0]
      if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`)
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }
}

/** Leads, and has applied all that was there before. */
function isActive({ quorum, metadata }: ReplicaNode): boolean {
  const { epochStartOffset } = quorum
  return quorum.isLeader && epochStartOffset !== null && metadata.appliedOffset > epochStartOffset
}

class MemoryLog implements QuorumLog {
  startOffset = 0
  entries: Entry[] = []

  async append(entries: readonly Entry[]): Promise<void> {
    this.entries.push(...entries)
  }

  async truncate(offset: number): Promise<void> {
    while ((this.entries.at(-1)?.endOffset ?? 0) > offset) this.entries.pop()
  }

  async reset(offset: number): Promise<void> {
    this.entries = []
    this.startOffset = offset
  }

  async read(offset: number): Promise<readonly Entry[]> {
    return this.entries.filter(({ baseOffset }) => baseOffset >= offset).slice(0, 10)
  }

  dropBefore(offset: number): void {
    this.startOffset = Math.max(this.startOffset, offset)
    this.entries = this.entries.filter(({ endOffset }) => endOffset > offset)
  }
}

function keyOf(id: number): ReplicaKey {
  return { id, directoryId: uuidFor('K', id) }
}

function collectLines(lines: string[]): Logger {
  const add = (_: object, message: string): void => {
    lines.push(message)
  }
  return { debug: add, info: add, warn: add, error: add }
}
