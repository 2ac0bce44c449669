/**
 * A node of a cluster: its replica of the quorum, the links to the other nodes, and the metadata
 * that follows from what the quorum commits. Runs on main. What the node does as a broker
 * (`broker-lifecycle.ts`, `replica-manager.ts`) and as the controller (`controller-service.ts`)
 * stands on it.
 */
import type { Clock } from '../../base/clock.ts'
import { Random } from '../../base/random.ts'
import type { Address, PeerHello } from '../../cluster/link.ts'
import { Links } from '../../cluster/links.ts'
import { Quorum, type QuorumSnapshots } from '../../cluster/quorum.ts'
import { leaderChangeEntry, metadataValues, votersEntry } from '../../cluster/quorum-entries.ts'
import type { FoundLog, QuorumLog } from '../../cluster/quorum-log.ts'
import {
  readQuorumState,
  type SavedQuorum,
  writeQuorumState,
} from '../../cluster/quorum-state-file.ts'
import { encodeRaftMessage, inRequests } from '../../cluster/raft-codec.ts'
import type { ClusterConfig } from '../../config/cluster-config.ts'
import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { MetadataImage } from '../../metadata/image.ts'
import { decodeMetadataRecord, encodeMetadataRecord } from '../../metadata/record-schema.ts'
import type { MetadataRecord } from '../../metadata/records.ts'
import type { Loggers } from '../../metrics/logger.ts'
import type { Entry } from '../../raft/entry.ts'
import type { RaftMessage } from '../../raft/messages.ts'
import { RAFT_DEFAULTS } from '../../raft/options.ts'
import type { ReplicaKey } from '../../raft/replica-key.ts'
import { ClusterApi } from '../../wire/kafka/api.ts'
import { METADATA_BATCH_BYTES_MAX } from '../metadata-store.ts'
import { ClusterMetadata } from './cluster-metadata.ts'
import { Formation } from './formation.ts'
import { fitsProposal, type ProposalAnswer, ProposalDesk } from './proposal-desk.ts'

export interface ClusterNodeParts {
  readonly cluster: ClusterConfig
  readonly self: ReplicaKey
  readonly clusterId: string
  /** That holds the metadata log. */
  readonly directory: string
  readonly log: QuorumLog
  readonly found: FoundLog
  readonly snapshots: QuorumSnapshots
  /** As of the start of what was found of the log. */
  readonly image: MetadataImage
  readonly electionTimeoutMs: number
  /** See `Quorum`. */
  readonly ownDelayMs?: (() => number) | undefined
  readonly clock: Clock
  readonly loggers: Loggers
  /** Runs it with what the directory's disk has put by. */
  readonly withReserve: (work: () => Promise<void>) => Promise<void>
  /** Nothing may go on: the log cannot be written, or this is our own bug. */
  readonly onFailure: (error: unknown) => void
}

const PROPOSE_TIMEOUT_MS = 5000
const NOT_REGISTERED = -1
/** Between two complaints about the same. */
const COMPLAINT_MS = 10_000
/** While the quorum is not formed the others are asked again so often. */
const FORMATION_RETRY_MS = 250
const FORMATION_COMPLAINT_MS = 5000
/** What a leader that was replaced has not answered by then it does not answer any more. */
const LATE_ANSWER_MS = 100

export class ClusterNode {
  readonly self: ReplicaKey
  readonly clusterId: string
  readonly metadata: ClusterMetadata
  readonly links: Links
  readonly #parts: ClusterNodeParts
  readonly #desk: ProposalDesk
  readonly #changedCallbacks: (() => void)[] = []
  readonly #distrustedCallbacks: ((id: number) => void)[] = []
  /** By what it is about: when it was last said that it is not in order. */
  readonly #complainedMs = new Map<string, number>()
  /** What nodes have said that are no controllers; valid until they register anew. */
  readonly #found = new Map<number, { readonly at: Address; readonly brokerEpoch: number }>()
  /** By node, of the log at the start; made when it is needed. */
  #logged: Map<number, Address> | null = null
  #listensAt: Address | null = null
  #formation: Formation | null = null
  #saved: SavedQuorum | null = null
  #quorum: Quorum | null = null
  #isStopped = false
  /** Who was last known to lead it. */
  #ledBy: number | null = null

  constructor(parts: ClusterNodeParts) {
    this.#parts = parts
    this.self = parts.self
    this.clusterId = parts.clusterId
    const nowMs = (): number => parts.clock.monotonicMs()
    this.metadata = new ClusterMetadata({
      propose: (baseOffset, records) => this.propose(baseOffset, records),
      nowMs,
      image: parts.image,
      appliedOffset: parts.found.snapshot.endOffset,
    })
    this.links = new Links({
      identity: () => ({
        nodeId: parts.self.id,
        directoryId: parts.self.directoryId,
        clusterId: parts.clusterId,
        secret: parts.cluster.secret,
        ...(this.#listensAt === null ? {} : { at: this.#listensAt }),
      }),
      addressOf: (id) => this.addressOf(id),
      onHello: (id, hello) => this.#onHello(id, hello),
      onLost: (id) => this.connectionLost(id),
      onRefused: (code, message) => this.#onRefused(code, message),
      logger: parts.loggers('cluster'),
    })
    this.#desk = new ProposalDesk({
      quorum: () => this.quorum,
      image: this.metadata.image,
      encode: encodeMetadataRecord,
      wallMs: () => parts.clock.wallMs(),
      onRefused: (reason) => {
        if (!this.#mayComplain('a change')) return
        const message = `a change of metadata was refused, as it does not fit: ${reason}`
        parts.loggers('cluster').error({ reason }, message)
      },
    })
  }

  get quorum(): Quorum {
    if (this.#quorum === null) throw new Error('the quorum is not formed yet')
    return this.#quorum
  }

  /** False while the quorum is to be formed or joined: the others may have connected before. */
  get takesPart(): boolean {
    return this.#quorum !== null
  }

  /** Null while the quorum is not formed, or nobody is known to lead it. */
  get leaderId(): number | null {
    return this.#quorum?.leader?.id ?? null
  }

  /** This node leads the quorum and has applied all that was there before. */
  get isController(): boolean {
    return this.#quorum !== null && this.#desk.isActive
  }

  /** Those that are known; empty before the quorum is formed. */
  get voters(): readonly ReplicaKey[] {
    return this.#quorum?.voters ?? this.#saved?.firstVoters ?? []
  }

  /** Of a node's cluster listener. */
  addressOf(id: number): Address | null {
    const controller = this.#parts.cluster.controllers.find((one) => one.id === id)
    const registered = this.metadata.image.brokers.get(id) ?? null
    const found = this.#found.get(id)
    const isNewer = found?.brokerEpoch === (registered?.epoch ?? NOT_REGISTERED)
    const known = controller ?? (isNewer ? (found?.at ?? null) : registered)
    return known ?? this.#loggedAddressOf(id)
  }

  /**
   * As a record of the log says that this start found, committed or not: a leader that is none of
   * the configured controllers is reached by it, and only it says what is committed.
   */
  #loggedAddressOf(id: number): Address | null {
    if (this.#logged === null) {
      this.#logged = new Map()
      for (const entry of this.#parts.found.entries) {
        for (const value of metadataValues(entry, METADATA_BATCH_BYTES_MAX)) {
          const record = decodeMetadataRecord(value)
          if (record.type === 'broker-registered') this.#logged.set(record.brokerId, record)
        }
      }
    }
    return this.#logged.get(id) ?? null
  }

  /** Where this node is reached; before it starts. */
  listensAt(at: Address): void {
    this.#listensAt = at
  }

  /** A node has said where it is reached: it follows the metadata before it can register. */
  onFound(id: number, at: Address): void {
    const brokerEpoch = this.metadata.image.brokers.get(id)?.epoch ?? NOT_REGISTERED
    this.#found.set(id, { at, brokerEpoch })
  }

  /** `callback` runs when somebody else leads the quorum, or this node's part in it is another. */
  onChanged(callback: () => void): void {
    this.#changedCallbacks.push(callback)
  }

  /** `callback` runs when a node has said what contradicts the quorum's log. */
  onDistrusted(callback: (id: number) => void): void {
    this.#distrustedCallbacks.push(callback)
  }

  /** Forms or joins the quorum; resolves once this replica takes part. Throws BrokerError. */
  async start(): Promise<void> {
    const { directory, found } = this.#parts
    this.#saved = await readQuorumState(directory)
    if (this.#saved === null) {
      if (found.endOffset > 0) throw notOfACluster(directory)
      const saved = await this.#form()
      await this.#save(saved)
      this.#saved = saved
    }
    this.#quorum = this.#makeQuorum(this.#saved)
    this.#quorum.start()
  }

  stop(): void {
    this.#isStopped = true
    const action = 'join the cluster: this broker is stopping'
    this.#formation?.fail(new BrokerError(ErrorCode.BROKER_NOT_AVAILABLE, action))
    this.#quorum?.close()
    this.links.close()
  }

  receive(messages: readonly RaftMessage[]): void {
    this.#quorum?.receive(messages)
  }

  /** A connection from the node, or to it, for messages of the quorum broke. */
  connectionLost(id: number): void {
    this.#quorum?.connectionLost(id)
  }

  /** To whoever leads the quorum. Never rejects: see ProposalAnswer. */
  async propose(baseOffset: number, records: readonly MetadataRecord[]): Promise<ProposalAnswer> {
    const leader = this.#quorum?.leader ?? null
    if (leader === null) return NOBODY
    if (leader.id === this.self.id) return this.#desk.propose(baseOffset, records)
    const values = records.map(encodeMetadataRecord)
    // The leader could not receive it.
    if (!fitsProposal(values)) return { errorCode: ErrorCode.MESSAGE_TOO_LARGE, endOffset: -1 }
    try {
      const link = this.links.to(leader.id, 'change')
      const body = { baseOffset, records: values.map((value) => ({ value })) }
      const answer = await link.request(ClusterApi.PROPOSE_RECORDS, body, PROPOSE_TIMEOUT_MS)
      return { errorCode: answer.errorCode as ErrorCode, endOffset: answer.endOffset }
    } catch (error) {
      if (error instanceof BrokerError) return NOBODY
      throw error
    }
  }

  /** As the leader, from another broker. */
  proposeHere(baseOffset: number, records: readonly MetadataRecord[]): Promise<ProposalAnswer> {
    return this.#quorum === null ? Promise.resolve(NOBODY) : this.#desk.propose(baseOffset, records)
  }

  // —— inside ——

  async #form(): Promise<SavedQuorum> {
    const { controllers } = this.#parts.cluster
    const ids = controllers.map(({ id }) => id).sort((a, b) => a - b)
    const formation = new Formation(this.self, ids)
    this.#formation = formation
    const others = ids.filter((id) => id !== this.self.id)
    for (const id of others) this.links.to(id, 'quorum').start()
    const logger = this.#parts.loggers('cluster')
    let saidMs = this.#parts.clock.monotonicMs()
    // Who has said that it belongs to no quorum yet may belong to one now.
    const asking = setInterval(() => {
      for (const id of others) this.links.renew(id, 'quorum')
      const nowMs = this.#parts.clock.monotonicMs()
      if (nowMs - saidMs < FORMATION_COMPLAINT_MS) return
      saidMs = nowMs
      const { missing } = formation
      const waited = missing.length === 0 ? 'the controllers to form it' : `nodes ${missing.join()}`
      logger.info({ missing }, `waiting for the quorum: for ${waited}`)
    }, FORMATION_RETRY_MS)
    let saved: SavedQuorum
    try {
      saved = await formation.done
    } finally {
      clearInterval(asking)
      this.#formation = null
    }
    const voters = saved.firstVoters.map(({ id }) => id)
    logger.info({ voters }, `the quorum is formed by ${voters.join(', ')}`)
    return saved
  }

  /** Once it takes part, a peer that refuses is the peer's problem. */
  #onRefused(code: ErrorCode, message: string): void {
    this.#formation?.fail(new BrokerError(code, `join the cluster: ${message}`))
  }

  #onHello(id: number, hello: PeerHello): void {
    this.#formation?.onHello(id, hello)
  }

  #makeQuorum(saved: SavedQuorum): Quorum {
    const { self, log, found, snapshots, clock, electionTimeoutMs } = this.#parts
    return new Quorum({
      self,
      options: {
        ...RAFT_DEFAULTS,
        heartbeatMs: electionTimeoutMs / 4,
        electionTimeoutMsMin: electionTimeoutMs,
        electionTimeoutMsMax: (electionTimeoutMs * 5) / 3,
        checkQuorumMs: electionTimeoutMs * 2.5,
      },
      random: new Random((Math.random() * 2 ** 32) >>> 0),
      nowMs: () => clock.monotonicMs(),
      ownDelayMs: this.#parts.ownDelayMs,
      log,
      found,
      saved,
      save: (state) => this.#save(state),
      snapshots,
      makeVotersEntry: ({ epoch, baseOffset, voters, isLeaderChange }) => {
        const place = { epoch, baseOffset }
        return isLeaderChange
          ? leaderChangeEntry(place, self.id, voters, clock.wallMs())
          : votersEntry(place, voters, clock.wallMs())
      },
      send: (messages) => this.#send(messages),
      onCommitted: (entries) => this.#onCommitted(entries),
      onChanged: () => this.#onChanged(),
      onPeerError: ({ id }, { message }) => this.#onPeerError(id, message),
      onFailure: this.#parts.onFailure,
    })
  }

  /** While it waits this node has no part in the quorum: it cannot promise anything. */
  #save(state: SavedQuorum): Promise<void> {
    const { directory, withReserve } = this.#parts
    return writeQuorumState(directory, state, {
      withReserve,
      isOver: () => this.#isStopped,
      onNoRoom: () => {
        if (!this.#mayComplain('room')) return
        const message = `${directory} is full: this node takes no part in the quorum until it is not`
        this.#parts.loggers('cluster').error({ directory }, message)
      },
    })
  }

  #send(messages: readonly RaftMessage[]): void {
    const byPeer = new Map<number, RaftMessage[]>()
    for (const message of messages) {
      const list = byPeer.get(message.to.id)
      if (list === undefined) byPeer.set(message.to.id, [message])
      else list.push(message)
    }
    for (const [id, list] of byPeer) {
      for (const request of inRequests(list)) {
        const body = { messages: request.map(encodeRaftMessage) }
        this.links.to(id, 'quorum').post(ClusterApi.RAFT_MESSAGES, body)
      }
    }
  }

  #onCommitted(entries: readonly Entry[]): void {
    try {
      this.metadata.apply(entries)
    } catch (error) {
      this.#parts.onFailure(error)
      throw error
    }
    this.#desk.settle()
  }

  #onChanged(): void {
    const { role, epoch, leader } = this.quorum
    const who = leader === null ? 'nobody is known to lead' : `node ${leader.id} leads`
    const fields = { role, epoch, leader: leader?.id ?? null }
    this.#parts.loggers('cluster').info(fields, `the quorum is in epoch ${epoch}: ${who}`)
    this.#desk.settle()
    if (leader !== null && leader.id !== this.#ledBy) {
      if (this.#ledBy !== null) this.#waitNoMoreFor(this.#ledBy)
      this.#ledBy = leader.id
    }
    for (const callback of this.#changedCallbacks) callback()
  }

  #mayComplain(about: string): boolean {
    const nowMs = this.#parts.clock.monotonicMs()
    if (nowMs - (this.#complainedMs.get(about) ?? -Infinity) < COMPLAINT_MS) return false
    this.#complainedMs.set(about, nowMs)
    return true
  }

  /** Its connections begin anew: what it has sent besides is not to be believed either. */
  #onPeerError(id: number, reason: string): void {
    if (this.#mayComplain(`node ${id}`)) {
      const message = `node ${id} contradicts the quorum's log, and is not listened to: ${reason}`
      this.#parts.loggers('cluster').error({ peer: id, reason }, message)
    }
    this.links.drop(id, 'quorum')
    for (const callback of this.#distrustedCallbacks) callback(id)
  }

  /** It may be gone without a word, and changes of metadata wait for its answer. */
  #waitNoMoreFor(leaderBefore: number): void {
    if (leaderBefore === this.self.id) return
    for (const purpose of ['change', 'beat'] as const) this.links.failUnsent(leaderBefore, purpose)
    setTimeout(() => {
      if (this.leaderId !== leaderBefore) this.links.drop(leaderBefore, 'change')
    }, LATE_ANSWER_MS).unref()
  }
}

const NOBODY: ProposalAnswer = { errorCode: ErrorCode.NOT_CONTROLLER, endOffset: -1 }

function notOfACluster(directory: string): BrokerError {
  const action =
    `use ${directory}: its metadata is that of a broker that was alone; start it without ` +
    '--controllers, or give this node an empty data directory'
  return new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, action)
}
