/**
 * One replica of a quorum: Raft with pre-vote, check-quorum, leadership transfer, snapshots,
 * changes of the voters one at a time, and observers (Ongaro, "Consensus: Bridging Theory and
 * Practice"; KIP-595, 630, 853, 996). Pure: messages, time and finished work come in, and what is
 * to be done goes out with `take()`, which the shell does in order before it brings the next thing.
 *
 *                 hears nothing           a majority would vote      a majority has voted
 *   follower ───────────────▶ pre-candidate ───────────▶ candidate ───────────▶ leader
 *      ▲  └── an observer asks around instead                │                    │
 *      └──────────── a higher epoch, or the leader of this one, or no majority ───┘
 *
 * An entry is acknowledged with its commit: `committedOffset` has passed it.
 */
import { assert, unreachable } from '../base/assert.ts'
import type { RaftEffects, SnapshotPart, SnapshotStore } from './effects.ts'
import type { Entry } from './entry.ts'
import { Follower } from './follower.ts'
import { Leader, type Refusal } from './leader.ts'
import type { RaftMessage, SnapshotId, VoteRequest, VoteResponse } from './messages.ts'
import { expectOfPeer } from './peer-error.ts'
import type { Progress } from './progress.ts'
import { type RaftParts, RaftState } from './raft-state.ts'
import { isSameReplica, keyText, type ReplicaKey } from './replica-key.ts'
import { VoterSet } from './voter-set.ts'

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader'

/** The entry for `voters` in this place: a new leader's first one, or a change of them. */
export type MakeVotersEntry = (place: {
  readonly epoch: number
  readonly baseOffset: number
  readonly voters: readonly ReplicaKey[]
  readonly isLeaderChange: boolean
}) => Entry

export interface RaftNodeParts extends RaftParts {
  readonly makeVotersEntry: MakeVotersEntry
  /** The newest snapshot of ours, durable; null when there is none. */
  readonly snapshot: () => SnapshotId | null
}

/** Within so many a leader is heard whose connection broke, if it lives. */
const HEARTBEATS_OF_DOUBT = 2

export class RaftNode {
  readonly #state: RaftState
  readonly #parts: RaftNodeParts
  #role: Role = 'follower'
  #leader: Leader | null = null
  /** While a leader of this epoch is known that is somebody else. */
  #follower: Follower | null = null
  /** By replica, in an election: whether it would, or does, vote for us. */
  readonly #votes = new Map<string, boolean>()
  #isTransfer = false
  /** When a leader was heard last. */
  #heardMs = Number.NEGATIVE_INFINITY
  /** In which epoch that one led. */
  #heardEpoch = -1
  /** The connection of the leader broke, and it was not heard since. */
  #isLeaderDoubted = false
  #electionDeadlineMs: number
  /** Turn of the voters that are asked where the leader is. */
  #asked = 0

  constructor(parts: RaftNodeParts, nowMs: number) {
    this.#parts = parts
    this.#state = new RaftState(parts)
    const isAlone = this.#state.isVoter && this.#state.voters.size === 1
    // Nobody else can be the leader, so there is nobody to wait for.
    this.#electionDeadlineMs = isAlone ? nowMs : nowMs + this.#state.electionTimeoutMs()
  }

  get self(): ReplicaKey {
    return this.#state.self
  }

  /** The shortest time without a word of its leader after which this replica asks for votes. */
  get electionTimeoutMs(): number {
    return this.#state.patience.factor * this.#state.options.electionTimeoutMsMin
  }

  /** How late this process is at most, but for one of a thousand times: see `Patience`. */
  ownDelay(lateMs: number): void {
    this.#state.patience.ownDelay(lateMs)
  }

  get epoch(): number {
    return this.#state.epoch
  }

  get role(): Role {
    return this.#role
  }

  get votedFor(): ReplicaKey | null {
    return this.#state.votedFor
  }

  /** Who leads this epoch, as far as this replica knows. */
  get leader(): ReplicaKey | null {
    return this.#leader === null ? (this.#follower?.leader ?? null) : this.#state.self
  }

  get voters(): VoterSet {
    return this.#state.voters
  }

  get isVoter(): boolean {
    return this.#state.isVoter
  }

  /** Of the log; exclusive, and the others too. */
  get endOffset(): number {
    return this.#state.log.endOffset
  }

  get flushedOffset(): number {
    return this.#state.log.flushedOffset
  }

  get committedOffset(): number {
    return this.#state.log.committedOffset
  }

  get startOffset(): number {
    return this.#state.log.startOffset
  }

  /** Of a leader: where its epoch began. What is below is committed once its first record is. */
  get epochStartOffset(): number | null {
    return this.#leader?.epochStartOffset ?? null
  }

  /** Of a leader: the others. */
  get replicas(): Iterable<Progress> {
    return this.#leader?.replicas ?? []
  }

  epochBefore(offset: number): number {
    return this.#state.log.epochBefore(offset)
  }

  /** The voters as of the log's first `offset` records. */
  votersAt(offset: number): VoterSet {
    return this.#state.voterHistory.at(offset)
  }

  /** What is to be done, in the order of the fields. */
  take(): RaftEffects {
    return this.#state.take()
  }

  // —— what the shell brings ——

  /**
   * A message of another replica; one to a replica that this is not (a wiped disk) is dropped.
   * Throws PeerError for one that contradicts our log or our leader: nothing has come of it then,
   * save perhaps a newer epoch.
   */
  onMessage(message: RaftMessage, nowMs: number): void {
    const { self, epoch } = this.#state
    if (!isSameReplica(message.to, self) || isSameReplica(message.from, self)) return
    if (message.type === 'vote-request') {
      this.#onVoteRequest(message, nowMs)
      return
    }
    if (message.type === 'observe-request' && message.epoch <= epoch) {
      this.#onObserve(message, nowMs)
      return
    }
    if (message.type === 'vote-response' && message.isPreVote && message.epoch <= epoch) {
      // Who would vote for us may not have heard of our epoch yet.
      this.#onVoteResponse(message, nowMs)
      return
    }
    if (message.epoch < epoch) {
      this.#onOldEpoch(message)
      return
    }
    if (message.epoch > epoch) this.#enterEpoch(message.epoch, nowMs)
    this.#dispatch(message, nowMs)
  }

  /**
   * Appends entries that begin at `endOffset` and have this epoch. Null, or why not; they are
   * durable on a majority once `committedOffset` has passed them, and may yet come to nothing.
   */
  propose(entries: readonly Entry[], nowMs: number): Refusal | null {
    if (this.#leader === null) return 'NOT_LEADER'
    if (this.#leader.isTransferring) return 'TRANSFERRING'
    if (this.#state.log.openBytes > this.#state.options.openBytesMax) return 'BUSY'
    this.#leader.append(entries, nowMs)
    this.#resignIfRemoved(nowMs)
    return null
  }

  /**
   * The state that a step asked for is durable: only now do others hear of it. Whatever a slow disk
   * took is not time in which they could have answered.
   */
  onStateSaved(nowMs: number): void {
    if (this.#leader !== null) return
    const deadlineMs = nowMs + this.#state.electionTimeoutMs()
    this.#electionDeadlineMs = Math.max(this.#electionDeadlineMs, deadlineMs)
  }

  /** All storage operations up to this one are durable. */
  onFlushed(sequence: number, nowMs: number): void {
    this.#state.log.flushed(sequence)
    this.#leader?.onFlushed(nowMs)
    this.#follower?.onFlushed()
    this.#resignIfRemoved(nowMs)
  }

  /** What a load asked for; empty when it is not there any more. */
  onLoaded(to: ReplicaKey, epoch: number, entries: readonly Entry[], nowMs: number): void {
    if (epoch === this.#state.epoch) this.#leader?.onLoaded(to, entries, nowMs)
  }

  /** A part of a snapshot that was to be read; sends it. */
  onSnapshotRead(to: ReplicaKey, { epoch, ...part }: SnapshotPart): void {
    if (epoch !== this.#state.epoch || this.#leader === null) return
    this.#state.send(to, { type: 'snapshot-request', ...part })
  }

  /** A part of a snapshot is durable; the last one makes it this replica's state. */
  onSnapshotStored(part: SnapshotStore): void {
    if (part.epoch !== this.#state.epoch || this.#follower?.isLedBy(part.leader) !== true) return
    this.#follower.onSnapshotStored(part)
  }

  /** A snapshot of ours is durable, and what it holds has left the log. */
  onSnapshotTaken(endOffset: number): void {
    this.#state.voterHistory.startAt(endOffset)
    this.#state.log.startAt(endOffset)
  }

  // —— membership ——

  /** Makes `replica` a voter; it has to follow as an observer before. Null, or why not. */
  addVoter(replica: ReplicaKey, nowMs: number): Refusal | null {
    if (this.#leader === null) return 'NOT_LEADER'
    return this.#changeVoters(this.#leader.votersWith(replica), nowMs)
  }

  removeVoter(replica: ReplicaKey, nowMs: number): Refusal | null {
    if (this.#leader === null) return 'NOT_LEADER'
    return this.#changeVoters(this.#leader.votersWithout(replica), nowMs)
  }

  /** Hands leadership over to `to`, or to whoever is furthest. Null when it has begun. */
  transfer(to: ReplicaKey | null, nowMs: number): Refusal | null {
    if (this.#leader === null) return 'NOT_LEADER'
    return this.#leader.transfer(to, nowMs)
  }

  // —— time ——

  /**
   * A connection of replica `id` broke. No proof of anything; but where it led, and is dead, nobody
   * has to wait for a whole timeout. One that lives is heard within two heartbeats, and all is as
   * it was; until then we would vote for somebody else.
   */
  onConnectionLost(id: number, nowMs: number): void {
    if (this.#follower?.leader.id !== id) return
    const { heartbeatMs } = this.#state.options
    this.#isLeaderDoubted = true
    const spreadMs = this.#state.electionSpreadMs()
    const soonMs = nowMs + HEARTBEATS_OF_DOUBT * heartbeatMs + spreadMs
    this.#electionDeadlineMs = Math.min(this.#electionDeadlineMs, soonMs)
  }

  /** When another replica was heard last that led; of the monotonic clock. */
  get leaderHeardMs(): number {
    return this.#heardMs
  }

  /** Of the monotonic clock: when `onTime` is due. */
  get nextDeadlineMs(): number {
    return this.#leader?.nextDeadlineMs ?? this.#electionDeadlineMs
  }

  onTime(nowMs: number): void {
    if (this.#leader !== null) {
      if (!this.#leader.onTime(nowMs)) this.#becomeFollower(null, nowMs)
      return
    }
    if (nowMs < this.#electionDeadlineMs) return
    this.#electionDeadlineMs = nowMs + this.#state.electionTimeoutMs()
    // Whatever leader there was, it has not been heard for as long as an election waits.
    this.#follower = null
    this.#isTransfer = false
    if (this.#state.mayCampaign) this.#startElection('pre-candidate', nowMs)
    else this.#lookForLeader()
  }

  // —— elections ——

  #startElection(role: 'pre-candidate' | 'candidate', nowMs: number): void {
    const { self, log, voters } = this.#state
    this.#role = role
    this.#follower = null
    if (role === 'candidate') this.#state.enterEpoch(this.#state.epoch + 1, self)
    this.#electionDeadlineMs = nowMs + this.#state.electionTimeoutMs()
    this.#votes.clear()
    this.#votes.set(keyText(self), true)
    for (const voter of voters.replicas) {
      if (isSameReplica(voter, self)) continue
      this.#state.send(voter, {
        type: 'vote-request',
        isPreVote: role === 'pre-candidate',
        lastEpoch: log.lastEpoch,
        endOffset: log.endOffset,
        isTransfer: this.#isTransfer,
      })
    }
    this.#countVotes(nowMs)
  }

  #countVotes(nowMs: number): void {
    const { voters } = this.#state
    if (voters.isQuorum((voter) => this.#votes.get(keyText(voter)) === true)) {
      if (this.#role === 'pre-candidate') this.#startElection('candidate', nowMs)
      else this.#becomeLeader(nowMs)
      return
    }
    const mayWin = voters.isQuorum((voter) => this.#votes.get(keyText(voter)) !== false)
    if (!mayWin) this.#becomeFollower(null, nowMs)
  }

  #onVoteRequest(request: VoteRequest, nowMs: number): void {
    const { epoch } = this.#state
    const isLed =
      this.#leader !== null ||
      (this.#follower !== null &&
        !this.#isLeaderDoubted &&
        nowMs - this.#heardMs < this.electionTimeoutMs)
    // Who hears a leader keeps it: a replica that does not hear it must not disturb the others
    // (Raft dissertation, 4.2.3 and 9.6).
    const mayVote = request.epoch >= epoch && (request.isTransfer || !isLed)
    if (!mayVote) {
      this.#answerVote(request, false)
      // One that the leader does not know of, as it was a voter once, can ask to be told.
      if (this.leader !== null) this.#hintAt(request.from, this.leader)
      return
    }
    const isUpToDate = this.#state.isUpToDate(request.lastEpoch, request.endOffset)
    if (request.isPreVote) {
      this.#answerVote(request, isUpToDate)
      return
    }
    if (request.epoch > epoch) this.#enterEpoch(request.epoch, nowMs)
    const { votedFor } = this.#state
    const isFree = votedFor === null || isSameReplica(votedFor, request.from)
    const isGranted = isFree && isUpToDate && this.#role !== 'leader'
    if (isGranted) {
      this.#state.voteFor(request.from)
      this.#electionDeadlineMs = nowMs + this.#state.electionTimeoutMs()
    }
    this.#answerVote(request, isGranted)
  }

  #answerVote({ from, isPreVote, epoch }: VoteRequest, isGranted: boolean): void {
    this.#state.send(from, { type: 'vote-response', isPreVote, isGranted, requestEpoch: epoch })
  }

  #onVoteResponse(response: VoteResponse, nowMs: number): void {
    const role = response.isPreVote ? 'pre-candidate' : 'candidate'
    if (this.#role !== role || response.requestEpoch !== this.#state.epoch) return
    this.#votes.set(keyText(response.from), response.isGranted)
    this.#countVotes(nowMs)
  }

  // —— roles ——

  #becomeLeader(nowMs: number): void {
    const { epoch, log, voters } = this.#state
    this.#role = 'leader'
    this.#isTransfer = false
    this.#follower = null
    this.#leader = new Leader(this.#state, this.#parts.snapshot, nowMs)
    const first = this.#parts.makeVotersEntry({
      epoch,
      baseOffset: log.endOffset,
      voters: voters.replicas,
      isLeaderChange: true,
    })
    assert(first.voters === null, 'the first entry of a leader changes no voters')
    this.#leader.append([first], nowMs)
  }

  #becomeFollower(leader: ReplicaKey | null, nowMs: number): void {
    this.#role = 'follower'
    this.#isTransfer = false
    this.#leader = null
    this.#votes.clear()
    this.#follower = leader === null ? null : new Follower(this.#state, leader)
    const state = this.#state
    const waitMs = leader === null ? state.electionTimeoutMs() : state.silenceMs()
    this.#electionDeadlineMs = nowMs + waitMs
  }

  #enterEpoch(epoch: number, nowMs: number): void {
    this.#state.enterEpoch(epoch, null)
    this.#becomeFollower(null, nowMs)
  }

  /** The leader of this epoch has said something. */
  #follow(leader: ReplicaKey, nowMs: number): Follower {
    const isOurs = this.#follower?.isLedBy(leader) === true
    // Also after a vote was given twice, by a replica that has lost what it had promised.
    const isOnly = this.#role !== 'leader' && (isOurs || this.#follower === null)
    expectOfPeer(isOnly, `it leads epoch ${this.#state.epoch}, which another one leads`)
    // Also where it was given up meanwhile, and nobody else was elected.
    const { epoch } = this.#state
    if (epoch === this.#heardEpoch) this.#state.patience.heard(nowMs - this.#heardMs, nowMs)
    this.#heardMs = nowMs
    this.#heardEpoch = epoch
    this.#isLeaderDoubted = false
    if (isOurs) this.#electionDeadlineMs = nowMs + this.#state.silenceMs()
    else this.#becomeFollower(leader, nowMs)
    return this.#follower as Follower
  }

  #changeVoters(voters: VoterSet | Refusal, nowMs: number): Refusal | null {
    if (!(voters instanceof VoterSet)) return voters
    if (voters === this.#state.voters) return null
    const { epoch, log } = this.#state
    const entry = this.#parts.makeVotersEntry({
      epoch,
      baseOffset: log.endOffset,
      voters: voters.replicas,
      isLeaderChange: false,
    })
    return this.propose([entry], nowMs)
  }

  /** A leader that has taken itself out leads until that is committed (dissertation, 4.2.2). */
  #resignIfRemoved(nowMs: number): void {
    if (this.#leader === null || this.#state.isVoter) return
    const { voterHistory, log } = this.#state
    if (voterHistory.latestEndOffset <= log.committedOffset) {
      this.#becomeFollower(null, nowMs)
    }
  }

  // —— messages ——

  #onOldEpoch(message: RaftMessage): void {
    // A leader that was replaced learns of it from whoever it still talks to.
    const isOldLeader = message.type === 'append-request' || message.type === 'snapshot-request'
    if (!isOldLeader) return
    this.#state.send(message.from, {
      type: 'append-response',
      matchedOffset: -1,
      hintEpoch: -1,
      hintOffset: -1,
    })
  }

  #dispatch(message: Exclude<RaftMessage, VoteRequest>, nowMs: number): void {
    switch (message.type) {
      case 'vote-response':
        this.#onVoteResponse(message, nowMs)
        return
      case 'append-request':
        this.#follow(message.from, nowMs).onAppend(message)
        return
      case 'snapshot-request':
        this.#follow(message.from, nowMs).onSnapshot(message)
        return
      case 'append-response':
        this.#leader?.onAppendResponse(message, nowMs)
        this.#resignIfRemoved(nowMs)
        return
      case 'snapshot-response':
        this.#leader?.onSnapshotResponse(message, nowMs)
        return
      case 'transfer-request':
        if (!this.#state.isVoter || this.#follower?.isLedBy(message.from) !== true) return
        this.#isTransfer = true
        this.#startElection('candidate', nowMs)
        return
      case 'observe-request':
        this.#onObserve(message, nowMs)
        return
      case 'leader-hint':
        if (this.leader !== null) return
        this.#observe(message.leader)
        return
      default:
        unreachable(message)
    }
  }

  #onObserve(message: Extract<RaftMessage, { type: 'observe-request' }>, nowMs: number): void {
    if (this.#leader !== null) this.#leader.onObserve(message, nowMs)
    else if (this.#follower !== null) {
      this.#hintAt(message.from, this.#follower.leader)
    }
  }

  #hintAt(to: ReplicaKey, leader: ReplicaKey): void {
    this.#state.send(to, { type: 'leader-hint', leader })
  }

  #lookForLeader(): void {
    const others = this.#state.voters.replicas.filter((one) => !isSameReplica(one, this.self))
    const next = others[this.#asked++ % Math.max(others.length, 1)]
    if (next !== undefined) this.#observe(next)
  }

  #observe(replica: ReplicaKey): void {
    if (isSameReplica(replica, this.self)) return
    const { endOffset } = this.#state.log
    this.#state.send(replica, { type: 'observe-request', endOffset })
  }
}
