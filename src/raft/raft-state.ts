/**
 * What all roles of a replica share: who it is, its epoch and vote, its log, the voters, and what
 * the step under way asks for.
 */
import { assert } from '../base/assert.ts'
import type { Random } from '../base/random.ts'
import type { Load, QuorumState, RaftEffects, SnapshotRead, SnapshotStore } from './effects.ts'
import type { Entry } from './entry.ts'
import type { MessageBody, RaftMessage } from './messages.ts'
import type { RaftOptions } from './options.ts'
import { Patience } from './patience.ts'
import { RaftLog, type StoredLog } from './raft-log.ts'
import { isSameReplica, type ReplicaKey } from './replica-key.ts'
import { VoterHistory } from './voter-history.ts'
import { VoterSet } from './voter-set.ts'

export interface RaftParts {
  readonly self: ReplicaKey
  readonly options: RaftOptions
  readonly random: Random
  readonly quorumState: QuorumState
  readonly log: StoredLog
  /** As of the log's start: of the snapshot, or those that the quorum began with. */
  readonly voters: readonly ReplicaKey[]
  /** Entries of the log that change the voters, in order. */
  readonly voterEntries: readonly Pick<Entry, 'endOffset' | 'voters'>[]
}

export class RaftState {
  readonly self: ReplicaKey
  readonly options: RaftOptions
  readonly random: Random
  readonly log: RaftLog
  readonly patience: Patience
  voterHistory: VoterHistory
  #epoch: number
  #votedFor: ReplicaKey | null
  #isStateDirty = false
  #messages: RaftMessage[] = []
  #loads: Load[] = []
  #snapshotReads: SnapshotRead[] = []
  #snapshotStores: SnapshotStore[] = []

  constructor(parts: RaftParts) {
    this.self = parts.self
    this.options = parts.options
    this.random = parts.random
    this.patience = new Patience(parts.options)
    this.log = new RaftLog(parts.log, parts.options.recentBytesMax)
    this.voterHistory = new VoterHistory(new VoterSet(parts.voters), parts.log.snapshot.endOffset)
    for (const { endOffset, voters } of parts.voterEntries) {
      if (voters !== null) this.voterHistory.add(endOffset, new VoterSet(voters))
    }
    this.#epoch = parts.quorumState.epoch
    this.#votedFor = parts.quorumState.votedFor
    assert(this.#epoch >= this.log.lastEpoch, 'a log holds no records of epochs to come')
  }

  get epoch(): number {
    return this.#epoch
  }

  get votedFor(): ReplicaKey | null {
    return this.#votedFor
  }

  get voters(): VoterSet {
    return this.voterHistory.latest
  }

  get isVoter(): boolean {
    return this.voters.has(this.self)
  }

  /**
   * A voter, or one that is being taken out: until that is committed nobody else may have what it
   * has, and who is left may need it as a leader to get it (Raft dissertation, 4.2.2).
   */
  get mayCampaign(): boolean {
    return this.voterHistory.hasSince(this.log.committedOffset, this.self)
  }

  /** A newer epoch; whoever it belongs to has our vote, or nobody has. */
  enterEpoch(epoch: number, votedFor: ReplicaKey | null): void {
    assert(epoch > this.#epoch, 'epochs grow')
    this.#epoch = epoch
    this.#votedFor = votedFor
    this.#isStateDirty = true
  }

  /** One vote an epoch (Raft §5.2). */
  voteFor(candidate: ReplicaKey): void {
    assert(this.#votedFor === null || isSameReplica(this.#votedFor, candidate))
    if (this.#votedFor !== null) return
    this.#votedFor = candidate
    this.#isStateDirty = true
  }

  append(entries: readonly Entry[]): void {
    for (const { endOffset, voters } of entries) {
      if (voters !== null) this.voterHistory.add(endOffset, new VoterSet(voters))
    }
    this.log.append(entries)
  }

  truncateTo(offset: number): void {
    this.voterHistory.truncateTo(offset)
    this.log.truncateTo(offset)
  }

  send(to: ReplicaKey, body: MessageBody): void {
    this.#messages.push({ ...body, from: this.self, to, epoch: this.#epoch })
  }

  load(to: ReplicaKey, offset: number): void {
    this.#loads.push({ to, epoch: this.#epoch, offset })
  }

  readSnapshot(read: Omit<SnapshotRead, 'epoch'>): void {
    this.#snapshotReads.push({ ...read, epoch: this.#epoch })
  }

  storeSnapshot(store: SnapshotStore): void {
    this.#snapshotStores.push(store)
  }

  /** For an election, or until somebody leads. */
  electionTimeoutMs(): number {
    return this.options.electionTimeoutMsMin + this.electionSpreadMs()
  }

  /** For a leader that was just heard. */
  silenceMs(): number {
    return this.patience.factor * this.electionTimeoutMs()
  }

  /** What keeps replicas from asking for votes at the same time. */
  electionSpreadMs(): number {
    const { electionTimeoutMsMin, electionTimeoutMsMax } = this.options
    return this.random.fraction() * (electionTimeoutMsMax - electionTimeoutMsMin)
  }

  /** Whether a log that ends so is at least as good as ours (Raft §5.4.1). */
  isUpToDate(lastEpoch: number, endOffset: number): boolean {
    const own = this.log.lastEpoch
    return lastEpoch > own || (lastEpoch === own && endOffset >= this.log.endOffset)
  }

  take(): RaftEffects {
    const quorumState = { epoch: this.#epoch, votedFor: this.#votedFor }
    const effects: RaftEffects = {
      quorumState: this.#isStateDirty ? quorumState : null,
      storage: this.log.takeOperations(),
      loads: this.#loads,
      snapshotReads: this.#snapshotReads,
      snapshotStores: this.#snapshotStores,
      messages: this.#messages,
    }
    this.#isStateDirty = false
    this.#loads = []
    this.#snapshotReads = []
    this.#snapshotStores = []
    this.#messages = []
    return effects
  }
}
