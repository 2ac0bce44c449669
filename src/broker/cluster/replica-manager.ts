/**
 * What this broker has of the cluster's partitions: follows the metadata, tells shards what to
 * open, lead, follow and remove, and keeps a fetcher for each leader that it follows. Runs on main.
 *
 * Everything happens in the order of the metadata, and messages reach a shard in the order in which
 * they are sent: a partition is open before it leads, and hears of epochs as they grow.
 */
import type { Uuid } from '../../base/uuid.ts'
import type { BrokerConfig } from '../../config/broker-config.ts'
import { resolveTopicConfig } from '../../config/topic-config.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { MetadataImage, Topic } from '../../metadata/image.ts'
import type { MetadataChanges } from '../../metadata/metadata-changes.ts'
import { NO_LEADER } from '../../metadata/partition-rules.ts'
import type { PartitionShape } from '../../metadata/partition-shapes.ts'
import type { Loggers } from '../../metrics/logger.ts'
import type { ControlReply, ControlRequest, OpenPartition } from '../../shard/control.ts'
import {
  type FollowPartition,
  type IsrProposalOf,
  type LeadPartition,
  REPLICAS_BATCH,
  type ReplicaState,
} from '../../shard/replica-control.ts'
import type { ShardProxy } from '../../shard/shard-proxy.ts'
import type { LogHint, LogOptions } from '../../storage/log-types.ts'
import { EMPTY_LOG, openBatches } from '../local-partitions.ts'
import { logOptions } from '../log-options.ts'
import type { MetadataStore } from '../metadata-store.ts'
import { folderOf, type PartitionPlacement } from '../partition-placement.ts'
import { replicationFactorOf } from '../replica-placer.ts'
import { FailedReplicas, type FailureKind } from './failed-replicas.ts'
import { PlacedReplicas } from './placed-replicas.ts'
import type { ReplicaFetcher } from './replica-fetcher.ts'
import { RoleRetries } from './role-retries.ts'
import { isElsewhere, placeUnfound, unplaced } from './unfound-directories.ts'

export interface ReplicaManagerParts {
  readonly nodeId: number
  readonly image: MetadataImage
  readonly config: BrokerConfig
  readonly placement: PartitionPlacement
  /** A directory of `log.dirs` could not be used at start. */
  readonly hasOffline: boolean
  /** Whether there is such a directory or file. */
  readonly exists: (path: string) => boolean
  readonly shards: readonly ShardProxy[]
  readonly loggers: Loggers
  /** What a checkpoint of the start says of a partition; null when nothing. */
  readonly hintFor: (topicId: Uuid, partition: number) => LogHint | null
  readonly makeFetcher: (leaderId: number) => ReplicaFetcher
  /** This broker leads, or does not lead any more, these of its partitions. */
  readonly onLeadership: (handles: readonly number[]) => void
  /** Asks the controller; gives a code for each of them, in their order. Never rejects. */
  readonly alter: (proposals: readonly Proposal[]) => Promise<readonly ErrorCode[]>
  readonly change: MetadataStore['change']
  /** Of this broker's registration. */
  readonly brokerEpoch: () => number
  readonly onFailure: (error: unknown) => void
  readonly nowMs: () => number
}

/** A change of in-sync replicas that a leader of this broker wants. */
export interface Proposal extends IsrProposalOf {
  readonly topicId: Uuid
  readonly partition: number
}

/** A partition of which this broker is a replica. */
interface Local {
  readonly topicId: Uuid
  readonly partition: number
  directory: Uuid
  leaderEpoch: number
  partitionEpoch: number
  minInSyncReplicas: number
  leader: number
  /** Whose fetcher has it; NO_LEADER while none has. */
  fetchedFrom: number
}

interface OpenRow {
  readonly topic: Topic
  readonly handle: number
  readonly hint: LogHint | null
  /** That had it before. */
  readonly shard?: number
}

/** What a shard was asked, of which partition. */
interface Asked {
  readonly handle: number
  readonly local: Local | undefined
  readonly leaderEpoch: number
}

/** Before a proposal of which nobody knows what became is made again. */
const PROPOSAL_RETRY_MS = 100
/** Rows that a start looks at before others are let through. */
const START_SLICE = 20_000

export class ReplicaManager {
  readonly #parts: ReplicaManagerParts
  /** By handle: where the directory of one that was here is still being removed. */
  readonly #removals = new Map<number, { readonly shard: number }>()
  readonly #locals = new Map<number, Local>()
  readonly #fetchers = new Map<number, ReplicaFetcher>()
  /** Messages of the change that is being followed, by shard. */
  #leads: LeadPartition[][]
  #follows: FollowPartition[][]
  readonly #retries: RoleRetries
  readonly #failed: FailedReplicas
  readonly #placed: PlacedReplicas
  /** Partitions that came with the metadata and are being opened. */
  readonly #opening = new Set<Promise<void>>()
  #hasBegun = false
  #isStopped = false

  constructor(parts: ReplicaManagerParts) {
    this.#parts = parts
    this.#leads = parts.shards.map(() => [])
    this.#follows = parts.shards.map(() => [])
    this.#retries = new RoleRetries((handles) => this.#tellAgain(handles), parts.nowMs)
    const logger = parts.loggers('storage')
    this.#failed = new FailedReplicas({ ...parts, logger })
    this.#placed = new PlacedReplicas({ ...parts, logger })
  }

  /** Partitions of which this broker is a replica. */
  get count(): number {
    return this.#locals.size
  }

  has(handle: number): boolean {
    return this.#locals.has(handle)
  }

  /**
   * Opens what the image says this broker has; the largest logs first, so that shards are even.
   * Nothing of it leads or follows before `begin`: it may be the process before this one that the
   * image speaks of.
   */
  async start(): Promise<void> {
    const { image, nodeId, hintFor } = this.#parts
    this.#tellBrokers()
    const ours: number[] = []
    let seen = 0
    // What comes while others are let through is among the changes that are told afterwards.
    for (const { handles } of [...image.topicsById.values()]) {
      for (const handle of handles) {
        if (image.partitions.replicas(handle).includes(nodeId)) ours.push(handle)
      }
      seen += handles.length
      if (seen < START_SLICE) continue
      seen = 0
      await new Promise((resolve) => setImmediate(resolve))
    }
    const rows: OpenRow[] = []
    for (const handle of ours) {
      const topic = image.partitions.topic(handle)
      // Gone, or given to others, meanwhile.
      if (topic === null || !image.partitions.replicas(handle).includes(nodeId)) continue
      rows.push({
        topic,
        handle,
        hint: hintFor(topic.id, image.partitions.partitionNumber(handle)),
      })
    }
    rows.sort((a, b) => (b.hint?.bytes ?? 0) - (a.hint?.bytes ?? 0))
    await this.#open(rows)
  }

  /** This process is registered, and the image says so. */
  begin(): void {
    this.#hasBegun = true
    const led: number[] = []
    for (const handle of this.#locals.keys()) if (this.#look(handle)) led.push(handle)
    this.#sendRoles()
    // Also without any: what was led by the process before this one is not led any more.
    this.#parts.onLeadership(led)
    this.#failed.begin()
    this.#placed.begin()
  }

  /** The image has changed. */
  apply(changes: MetadataChanges): void {
    if (this.#isStopped) return
    if (changes.brokersChanged.length > 0) this.#tellBrokers()
    for (const topic of changes.topicsRemoved) {
      for (const handle of topic.handles) this.#remove(handle)
    }
    const handles = this.#concerned(changes)
    this.#openMissing(handles)
    const configured = changes.brokerConfigsChanged
      ? [...this.#parts.image.topicsById.values()]
      : changes.topicConfigsChanged
    if (!this.#hasBegun) {
      // Some are open: with what was known of their topics by then.
      for (const topic of configured) void this.configure(topic)
      return
    }
    const led: number[] = []
    for (const handle of handles) if (this.#look(handle)) led.push(handle)
    for (const topic of configured) {
      for (const handle of topic.handles) this.#look(handle)
    }
    this.#sendRoles()
    for (const topic of configured) void this.configure(topic)
    if (led.length > 0) this.#parts.onLeadership(led)
    this.#failed.changed(handles, changes.brokersChanged.length > 0)
    this.#placed.look()
  }

  /**
   * Resolves once every log has been looked at that this broker is known to have, and the metadata
   * says which of them cannot be counted on: only then may it lead.
   */
  async whenSound(): Promise<void> {
    while (this.#opening.size > 0) await Promise.all(this.#opening)
    await this.#failed.whenTold()
  }

  /** A log directory of this broker cannot be used any more. */
  directoryFailed(path: string): void {
    const { placement } = this.#parts
    for (const [handle, { directory }] of this.#locals) {
      if (placement.pathOf(directory) === path) this.#fail(handle, 'offline')
    }
    this.#failed.look()
  }

  /** The log of a replica of this broker holds what nobody wrote, or was cut because of that. */
  replicaDamaged(handle: number, isCut: boolean): void {
    this.#fail(handle, isCut ? 'cut' : 'damaged')
    this.#failed.look()
  }

  /** Tells the shards what holds for a topic. */
  configure(topic: Topic): Promise<unknown> {
    const options = this.#optionsOf(topic)
    const told = topic.handles
      .filter((handle) => this.#locals.has(handle))
      .map((handle) => this.#control(handle, { kind: 'configure', handle, options }))
    return Promise.all(told)
  }

  /** What leaders of this broker want: asks the controller, tells the shards what came of it. */
  async propose(proposals: readonly IsrProposalOf[]): Promise<void> {
    const known: Proposal[] = []
    for (const proposal of proposals) {
      const local = this.#locals.get(proposal.handle)
      if (local === undefined) continue
      known.push({ ...proposal, topicId: local.topicId, partition: local.partition })
    }
    if (known.length === 0) return
    const codes = await this.#parts.alter(known)
    const isUnknown = codes.some((code) => code === ErrorCode.REQUEST_TIMED_OUT)
    if (isUnknown) await new Promise((resolve) => setTimeout(resolve, PROPOSAL_RETRY_MS))
    for (const [i, { handle, leaderEpoch, partitionEpoch }] of known.entries()) {
      const errorCode = codes[i] ?? ErrorCode.REQUEST_TIMED_OUT
      if (errorCode === ErrorCode.NONE || this.#isStopped) continue
      const answer = {
        kind: 'alter-answer',
        handle,
        leaderEpoch,
        partitionEpoch,
        errorCode,
      } as const
      void this.#control(handle, answer)
    }
  }

  stop(): void {
    this.#isStopped = true
    this.#retries.stop()
    this.#failed.stop()
    this.#placed.stop()
    for (const fetcher of this.#fetchers.values()) fetcher.stop()
  }

  /** Of the changed and the added ones, those that are or were this broker's: mostly few. */
  #concerned(changes: MetadataChanges): Set<number> {
    const { image, nodeId } = this.#parts
    const found = new Set<number>()
    const look = (handle: number): void => {
      const isOurs = this.#locals.has(handle) || image.partitions.replicas(handle).includes(nodeId)
      if (isOurs) found.add(handle)
    }
    const isOurs = ({ replicas }: PartitionShape): boolean => replicas.includes(nodeId)
    for (const handle of image.changedPartitions(changes, isOurs)) look(handle)
    for (const { topic, first } of changes.partitionsAdded) {
      for (let i = first; i < topic.handles.length; i++) look(topic.handles[i] as number)
    }
    return found
  }

  // —— opening and removing ——

  #openMissing(handles: ReadonlySet<number>): void {
    const { image, nodeId, hintFor } = this.#parts
    const rows: { topic: Topic; handle: number; hint: LogHint | null }[] = []
    for (const handle of handles) {
      const topic = image.partitions.topic(handle)
      if (topic === null || this.#locals.has(handle)) continue
      if (!image.partitions.replicas(handle).includes(nodeId)) continue
      // Before this process has heard all, what is new to it may be there for long.
      const isNew = this.#hasBegun
      const hint = isNew ? EMPTY_LOG : hintFor(topic.id, image.partitions.partitionNumber(handle))
      // Where it is still being removed, after that: the directory is the same.
      const shard = this.#removals.get(handle)?.shard
      rows.push({ topic, handle, hint, ...(shard === undefined ? {} : { shard }) })
    }
    if (rows.length > 0) this.#openBesides(rows)
  }

  #openBesides(rows: readonly OpenRow[]): void {
    const opening = this.#open(rows).catch((error: unknown) => this.#parts.onFailure(error))
    this.#opening.add(opening)
    void opening.then(() => this.#opening.delete(opening))
  }

  async #open(rows: readonly OpenRow[]): Promise<void> {
    const { placement, shards } = this.#parts
    for (const [id, folders] of unplaced(rows, this.#parts)) placeUnfound(id, folders, this.#parts)
    const groups = new Map<
      string,
      { topic: Topic; shard: number; recover: boolean; list: OpenPartition[] }
    >()
    for (const { topic, handle, hint, shard: known } of rows) {
      const shard = known ?? placement.assign(handle, hint?.bytes ?? 0)
      const recover = hint === null || !hint.clean
      const key = `${topic.id}/${shard}/${recover}`
      const group = groups.get(key) ?? { topic, shard, recover, list: [] }
      groups.set(key, group)
      group.list.push(this.#openPartition(topic, handle, hint))
    }
    const opened: Promise<ControlReply>[] = []
    for (const { topic, shard, recover, list } of groups.values()) {
      const options = this.#optionsOf(topic)
      for (const partitions of openBatches(list)) {
        const request = { kind: 'open', recover, options, partitions } as const
        opened.push((shards[shard] as ShardProxy).control(request))
      }
    }
    await Promise.all(opened)
  }

  #openPartition(topic: Topic, handle: number, hint: LogHint | null): OpenPartition {
    const { image, nodeId, placement } = this.#parts
    const partition = image.partitions.partitionNumber(handle)
    const directoryId = image.partitions.directoryOn(handle, nodeId) as Uuid
    placement.countDirectory(directoryId)
    const logDirectory = placement.pathOf(directoryId)
    this.#locals.set(handle, {
      topicId: topic.id,
      partition,
      directory: directoryId,
      leaderEpoch: -1,
      partitionEpoch: -1,
      minInSyncReplicas: -1,
      leader: NO_LEADER,
      fetchedFrom: NO_LEADER,
    })
    return {
      handle,
      topicId: topic.id,
      partition,
      logDirectory,
      directory: `${logDirectory}/${folderOf(topic.id, partition)}`,
      hint,
      leaderEpoch: -1,
      role: 'follower',
    }
  }

  /**
   * It was taken away and came back to another disk, or is damaged and others have what it had:
   * what is here is of a replica that is over.
   */
  #openAnew(handle: number): Local {
    const { image, placement } = this.#parts
    const topic = image.partitions.topic(handle) as Topic
    // In the same shard, where the one comes after the other: the directory may be the same.
    const shard = placement.shardOf(handle)
    this.#remove(handle)
    this.#openBesides([{ topic, handle, hint: null, shard }])
    return this.#locals.get(handle) as Local
  }

  #remove(handle: number): void {
    const local = this.#locals.get(handle)
    if (local === undefined) return
    this.#stopFetching(local)
    this.#retries.forget(handle)
    this.#failed.forget(handle)
    this.#placed.forget(handle)
    this.#locals.delete(handle)
    const { image, placement } = this.#parts
    const mayComeBack = image.partitions.has(handle)
    const removal = { shard: placement.shardOf(handle) }
    this.#removals.set(handle, removal)
    void this.#control(handle, { kind: 'delete', handle, mayComeBack }).then((reply) => {
      if (this.#removals.get(handle) === removal) this.#removals.delete(handle)
      // What is still there would be found again and again.
      if (reply.kind === 'failed') this.#fail(handle, 'offline')
    })
  }

  // —— roles ——

  /** What has become of one partition; true when this broker leads it, or led it until now. */
  #look(handle: number): boolean {
    const { image, nodeId } = this.#parts
    let local = this.#locals.get(handle)
    if (local === undefined || !image.partitions.has(handle)) return false
    const replicas = image.partitions.replicas(handle)
    const wasLeader = local.leader === nodeId
    if (!replicas.includes(nodeId)) {
      this.#remove(handle)
      return wasLeader
    }
    const directory = image.partitions.directoryOn(handle, nodeId) as Uuid
    const isMoved = isElsewhere(local, directory, this.#parts)
    local.directory = directory
    this.#placed.changed(handle)
    if (isMoved || this.#failed.mayStartOver(handle)) local = this.#openAnew(handle)
    const leader = image.partitions.leader(handle)
    const leaderEpoch = image.partitions.leaderEpoch(handle)
    const partitionEpoch = image.partitions.partitionEpoch(handle)
    const minInSyncReplicas = image.minInSyncReplicas(handle)
    const isNewEpoch = leaderEpoch !== local.leaderEpoch
    const isNews =
      isNewEpoch ||
      partitionEpoch !== local.partitionEpoch ||
      minInSyncReplicas !== local.minInSyncReplicas
    if (!isNews) return false
    Object.assign(local, { leader, leaderEpoch, partitionEpoch, minInSyncReplicas })
    if (isNewEpoch) this.#retries.forget(handle)
    if (leader === nodeId || isNewEpoch) this.#tell(handle, local)
    return isNewEpoch && (wasLeader || leader === nodeId)
  }

  /** To be sent with the others: whether this broker leads or follows. */
  #tell(handle: number, local: Local): void {
    const { image, nodeId, placement } = this.#parts
    const shard = placement.shardOf(handle)
    const { leader, leaderEpoch, partitionEpoch, minInSyncReplicas } = local
    this.#stopFetching(local)
    if (leader !== nodeId) {
      ;(this.#follows[shard] as FollowPartition[]).push({ handle, leaderEpoch })
      return
    }
    const replicas = image.partitions.replicas(handle)
    const inSyncReplicas = image.partitions.inSyncReplicas(handle)
    const lead = { handle, leaderEpoch, partitionEpoch, replicas, inSyncReplicas }
    ;(this.#leads[shard] as LeadPartition[]).push({ ...lead, minInSyncReplicas })
  }

  /** Its shard has refused before: its disk may be back, or there may be descriptors again. */
  #tellAgain(handles: readonly number[]): void {
    for (const handle of handles) {
      const local = this.#locals.get(handle)
      if (local !== undefined) this.#tell(handle, local)
    }
    this.#sendRoles()
  }

  #sendRoles(): void {
    for (const [i, shard] of this.#parts.shards.entries()) {
      const leads = this.#leads[i] as LeadPartition[]
      for (let from = 0; from < leads.length; from += REPLICAS_BATCH) {
        const partitions = leads.slice(from, from + REPLICAS_BATCH)
        const asked = this.#asked(partitions)
        void shard.control({ kind: 'lead', partitions }).then((reply) => {
          if (reply.kind === 'replicas') this.#lead(reply.states, asked)
        })
      }
      leads.length = 0
      const follows = this.#follows[i] as FollowPartition[]
      for (let from = 0; from < follows.length; from += REPLICAS_BATCH) {
        const partitions = follows.slice(from, from + REPLICAS_BATCH)
        const asked = this.#asked(partitions)
        void shard.control({ kind: 'follow', partitions }).then((reply) => {
          if (reply.kind === 'replicas') this.#startFetching(reply.states, asked)
        })
      }
      follows.length = 0
    }
  }

  #asked(partitions: readonly FollowPartition[]): Asked[] {
    return partitions.map(({ handle, leaderEpoch }) => {
      return { handle, local: this.#locals.get(handle), leaderEpoch }
    })
  }

  /** Null: since then it was removed, or has another leader, which has an answer of its own. */
  #current({ handle, local, leaderEpoch }: Asked): Local | null {
    const now = this.#locals.get(handle)
    return now !== undefined && now === local && now.leaderEpoch === leaderEpoch ? now : null
  }

  #refused(handle: number, errorCode: number, what: string): void {
    const isNew = this.#retries.refused(handle)
    const local = this.#locals.get(handle)
    // Those that were given to it after it had failed.
    const isOffline = local !== undefined && this.#parts.placement.isOffline(local.directory)
    if (isOffline) this.#fail(handle, 'offline')
    // A disk that is gone has refused all that it held, and does so again and again.
    if (isNew) this.#parts.loggers('storage').warn({ handle, error: errorCode }, what)
  }

  /** `refused`: of those that were asked to lead. */
  #lead(refused: readonly ReplicaState[], asked: readonly Asked[]): void {
    if (this.#isStopped) return
    const codes = new Map(refused.map(({ handle, errorCode }) => [handle, errorCode]))
    const late: number[] = []
    for (const one of asked) {
      if (this.#current(one) === null) continue
      const { handle } = one
      const code = codes.get(handle)
      if (code !== undefined) this.#refused(handle, code, 'a replica of this broker cannot lead')
      else if (this.#retries.forget(handle)) late.push(handle)
    }
    if (late.length > 0) this.#parts.onLeadership(late)
    this.#failed.look()
  }

  /** `asked`: what the states are answers to, in their order. */
  #startFetching(states: readonly ReplicaState[], asked: readonly Asked[]): void {
    if (this.#isStopped) return
    const { nodeId } = this.#parts
    for (const [i, state] of states.entries()) {
      const { handle } = state
      const local = this.#current(asked[i] as Asked)
      if (local === null || local.leader === nodeId) continue
      if (state.errorCode !== ErrorCode.NONE) {
        this.#refused(handle, state.errorCode, 'a replica of this broker cannot follow its leader')
        continue
      }
      this.#retries.forget(handle)
      if (local.leader === NO_LEADER || this.#failed.has(handle)) continue
      this.#stopFetching(local)
      local.fetchedFrom = local.leader
      const { topicId, partition, leaderEpoch } = local
      this.#fetcherOf(local.leader).add({ handle, topicId, partition, leaderEpoch }, state)
    }
    this.#failed.look()
  }

  /** It cannot be used; from now on it does not come back in sync either. */
  #fail(handle: number, kind: FailureKind): void {
    const local = this.#locals.get(handle)
    if (local === undefined || this.#isStopped) return
    this.#failed.add(handle, kind)
    if (this.#failed.has(handle)) this.#stopFetching(local)
  }

  #stopFetching(local: Local): void {
    if (local.fetchedFrom === NO_LEADER) return
    this.#fetchers.get(local.fetchedFrom)?.remove(local)
    local.fetchedFrom = NO_LEADER
  }

  #fetcherOf(leaderId: number): ReplicaFetcher {
    const known = this.#fetchers.get(leaderId)
    if (known !== undefined) return known
    const fetcher = this.#parts.makeFetcher(leaderId)
    this.#fetchers.set(leaderId, fetcher)
    return fetcher
  }

  #tellBrokers(): void {
    const { image, nodeId, config, shards } = this.#parts
    const brokers: [number, number][] = []
    for (const { id, epoch } of image.brokers.values()) {
      if (image.isActive(id)) brokers.push([id, epoch])
    }
    const lagMsMax = config.get('replica.lag.time.max.ms')
    for (const shard of shards) {
      void shard.control({ kind: 'set-brokers', self: nodeId, lagMsMax, brokers })
    }
  }

  #optionsOf(topic: Topic): LogOptions {
    const { config, image } = this.#parts
    const factor = replicationFactorOf(image, topic)
    return logOptions(resolveTopicConfig(topic.configs, config, factor), config)
  }

  #control(handle: number, request: ControlRequest): Promise<ControlReply> {
    const { placement, shards } = this.#parts
    return (shards[placement.shardOf(handle)] as ShardProxy).control(request)
  }
}
