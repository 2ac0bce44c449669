/**
 * A leader of one epoch: sends its log to the other voters and to observers, commits what a
 * majority of voters has on its disk (Raft §5.3, §5.4.2), changes the voters one at a time (Raft
 * dissertation, 4.1), hands over to another voter (3.10), and gives up when it does not reach a
 * majority (6.2).
 */
import { assert } from '../base/assert.ts'
import type { Entry } from './entry.ts'
import type { AppendResponse, ObserveRequest, SnapshotId, SnapshotResponse } from './messages.ts'
import { expectOfPeer } from './peer-error.ts'
import { Progress } from './progress.ts'
import type { RaftState } from './raft-state.ts'
import { isSameReplica, keyText, type ReplicaKey } from './replica-key.ts'
import { VoterSet } from './voter-set.ts'

/** Why a proposal is not taken. */
export type Refusal =
  | 'NOT_LEADER'
  | 'TRANSFERRING'
  /** The change of voters before this one, or this leader's first entry, is not committed yet. */
  | 'CHANGE_IN_PROGRESS'
  /** The replica is not known, or too far behind to be a voter. */
  | 'NOT_CAUGHT_UP'
  | 'UNKNOWN_REPLICA'
  /** A voter has this node id, with another disk: it has to be taken out first. */
  | 'DUPLICATE_VOTER'
  | 'LAST_VOTER'
  /** Too much is not on disks yet. */
  | 'BUSY'

/** The newest snapshot that can be sent; null when there is none. */
export type SnapshotSource = () => SnapshotId | null

export class Leader {
  /** Of this leader's first record: what is committed before is committed through it. */
  readonly epochStartOffset: number
  readonly #state: RaftState
  readonly #snapshot: SnapshotSource
  /** Of all others: voters and observers. */
  readonly #progress = new Map<string, Progress>()
  #transfer: { readonly to: ReplicaKey; readonly untilMs: number } | null = null
  /** When a majority was last known to follow. */
  #checkedMs: number

  constructor(state: RaftState, snapshot: SnapshotSource, nowMs: number) {
    this.#state = state
    this.#snapshot = snapshot
    this.epochStartOffset = state.log.endOffset
    this.#checkedMs = nowMs
    this.#followVoters(nowMs)
  }

  get isTransferring(): boolean {
    return this.#transfer !== null
  }

  /** Progress by replica; for `DescribeQuorum` and tests. */
  get replicas(): IterableIterator<Progress> {
    return this.#progress.values()
  }

  /** Appends entries of this epoch and sends them on. */
  append(entries: readonly Entry[], nowMs: number): void {
    assert(entries.every(({ epoch }) => epoch === this.#state.epoch))
    this.#state.append(entries)
    if (entries.some(({ voters }) => voters !== null)) this.#followVoters(nowMs)
    for (const progress of this.#progress.values()) this.#send(progress, nowMs)
    this.#commit(nowMs)
  }

  /** Of our own log more is durable. */
  onFlushed(nowMs: number): void {
    this.#commit(nowMs)
  }

  // —— what others say ——

  onAppendResponse(response: AppendResponse, nowMs: number): void {
    const progress = this.#progress.get(keyText(response.from))
    if (progress === undefined) return
    const { log } = this.#state
    // Truncated nowhere, a leader's log reaches as far as anything that matched it.
    expectOfPeer(response.matchedOffset <= log.endOffset, 'it has more than its leader')
    const isPlace = response.matchedOffset < 0 || log.isBoundary(response.matchedOffset)
    expectOfPeer(isPlace, 'it has a part of an entry')
    progress.heardMs = nowMs
    if (response.matchedOffset >= 0) {
      // What is durable may be less than what was asked about, until that is flushed.
      const isFound = response.matchedOffset >= progress.nextOffset
      progress.matchedTo(response.matchedOffset)
      if (progress.state === 'probe' && isFound) {
        progress.state = 'replicate'
        progress.isProbeOut = false
      }
      this.#commit(nowMs)
    } else if (progress.state !== 'snapshot' && progress.state !== 'load') {
      // The largest offset at which the logs can agree: one epoch of ours is skipped at a time
      // (Raft §5.3; KIP-279 shows why the epoch alone would not do).
      const { startOffset } = log
      const isBelowStart = response.hintEpoch < log.epochBefore(startOffset)
      const agreed = isBelowStart ? startOffset - 1 : log.endOfEpoch(response.hintEpoch)
      progress.probeFrom(Math.min(response.hintOffset, agreed, log.endOffset))
    }
    this.#send(progress, nowMs)
    this.#handOver()
  }

  onSnapshotResponse(response: SnapshotResponse, nowMs: number): void {
    const progress = this.#progress.get(keyText(response.from))
    if (progress === undefined) return
    progress.heardMs = nowMs
    const { snapshot } = progress
    if (progress.state !== 'snapshot' || snapshot === null) return
    if (snapshot.endOffset !== response.snapshot.endOffset) return
    if (response.isDone) {
      progress.matchedTo(Math.min(snapshot.endOffset, this.#state.log.endOffset))
      progress.probeFrom(snapshot.endOffset)
      this.#send(progress, nowMs)
      return
    }
    progress.snapshotPosition = response.position
    this.#sendSnapshotPart(progress, nowMs)
  }

  onObserve(request: ObserveRequest, nowMs: number): void {
    const text = keyText(request.from)
    const known = this.#progress.get(text)
    if (known !== undefined) {
      // It does not hear us, or has just begun: what it was sent may be lost.
      known.heardMs = nowMs
      if (known.state === 'replicate') known.probeFrom(known.nextOffset)
      known.isProbeOut = false
      this.#send(known, nowMs)
      return
    }
    if (this.#progress.size >= this.#state.options.observersMax) return
    const from = Math.min(request.endOffset, this.#state.log.endOffset)
    const progress = new Progress(request.from, from, nowMs)
    this.#progress.set(text, progress)
    this.#send(progress, nowMs)
  }

  onLoaded(to: ReplicaKey, entries: readonly Entry[], nowMs: number): void {
    const progress = this.#progress.get(keyText(to))
    if (progress?.state !== 'load') return
    progress.state = 'replicate'
    const isThere =
      entries[0]?.baseOffset === progress.nextOffset &&
      progress.nextOffset >= this.#state.log.startOffset
    if (!isThere) {
      // What was to be read has gone into a snapshot meanwhile: look again what there is.
      progress.probeFrom(progress.nextOffset)
    } else {
      this.#sendEntries(progress, entries, nowMs)
    }
    this.#send(progress, nowMs)
  }

  // —— membership and transfer ——

  /** The voters after `replica` has been added; or why not. */
  votersWith(replica: ReplicaKey): VoterSet | Refusal {
    const { voters, log } = this.#state
    if (voters.has(replica)) return voters
    if (this.#isChanging) return 'CHANGE_IN_PROGRESS'
    const progress = this.#progress.get(keyText(replica))
    if (progress === undefined || progress.matchedOffset < log.committedOffset) {
      return 'NOT_CAUGHT_UP'
    }
    // One at a time: with one taken out and another put in, two majorities need not share anybody.
    if (voters.withId(replica.id) !== null) return 'DUPLICATE_VOTER'
    return new VoterSet([...voters.replicas, replica])
  }

  votersWithout(replica: ReplicaKey): VoterSet | Refusal {
    const { voters } = this.#state
    if (!voters.has(replica)) return 'UNKNOWN_REPLICA'
    if (voters.size === 1) return 'LAST_VOTER'
    if (this.#isChanging) return 'CHANGE_IN_PROGRESS'
    return new VoterSet(voters.replicas.filter((one) => !isSameReplica(one, replica)))
  }

  /** Begins to hand over: to the given voter, or to the one that is furthest. */
  transfer(to: ReplicaKey | null, nowMs: number): Refusal | null {
    const target = to ?? this.#furthestVoter()
    if (target === null) return 'LAST_VOTER'
    const { voters, self, options } = this.#state
    if (!voters.has(target) || isSameReplica(target, self)) return 'UNKNOWN_REPLICA'
    this.#transfer = { to: target, untilMs: nowMs + options.electionTimeoutMsMax }
    this.#handOver()
    return null
  }

  // —— time ——

  get nextDeadlineMs(): number {
    let next = this.#checkedMs + this.#state.options.checkQuorumMs
    for (const { sentMs } of this.#progress.values()) {
      next = Math.min(next, sentMs + this.#state.options.heartbeatMs)
    }
    return Math.min(next, this.#transfer?.untilMs ?? next)
  }

  /** False when this leader has lost its majority, and is none any more. */
  onTime(nowMs: number): boolean {
    const { options } = this.#state
    if (this.#transfer !== null && nowMs >= this.#transfer.untilMs) this.#transfer = null
    if (nowMs - this.#checkedMs >= options.checkQuorumMs) {
      if (!this.#hasQuorum(nowMs)) return false
      this.#checkedMs = nowMs
    }
    for (const [text, progress] of this.#progress) {
      const isObserver = !this.#state.voters.has(progress.key)
      if (isObserver && nowMs - progress.heardMs > options.observerTimeoutMs) {
        this.#progress.delete(text)
      } else if (nowMs - progress.sentMs >= options.heartbeatMs) {
        this.#heartbeat(progress, nowMs)
      }
    }
    return true
  }

  // —— sending ——

  #followVoters(nowMs: number): void {
    const { voters, self, log } = this.#state
    for (const key of voters.replicas) {
      if (isSameReplica(key, self) || this.#progress.has(keyText(key))) continue
      this.#progress.set(keyText(key), new Progress(key, log.endOffset, nowMs))
    }
  }

  #send(progress: Progress, nowMs: number): void {
    const { log, options } = this.#state
    if (progress.state === 'load' || progress.state === 'snapshot') return
    if (progress.nextOffset < log.startOffset) {
      this.#startSnapshot(progress, nowMs)
      return
    }
    if (progress.state === 'probe') {
      if (progress.isProbeOut) return
      progress.isProbeOut = true
      this.#request(progress, [], { offset: progress.nextOffset, nowMs })
      return
    }
    while (progress.nextOffset < log.endOffset && progress.inFlight.length < options.inFlightMax) {
      const entries = log.recent(progress.nextOffset, options.appendBytesMax)
      if (entries === null) {
        progress.state = 'load'
        this.#state.load(progress.key, progress.nextOffset)
        return
      }
      this.#sendEntries(progress, entries, nowMs)
    }
    this.#tellCommitted(progress, nowMs)
  }

  /**
   * What is committed goes along with entries; once by itself where none are left to send. A
   * replica that is still writing may apply it, and one whose answer comes after that of the
   * majority would else hear of it a heartbeat later.
   */
  #tellCommitted(progress: Progress, nowMs: number): void {
    const { log } = this.#state
    const { state, nextOffset, toldCommittedOffset } = progress
    if (state !== 'replicate' || nextOffset !== log.endOffset) return
    if (toldCommittedOffset >= log.committedOffset) return
    this.#request(progress, [], { offset: nextOffset, nowMs })
  }

  #sendEntries(progress: Progress, entries: readonly Entry[], nowMs: number): void {
    this.#request(progress, entries, { offset: progress.nextOffset, nowMs })
    progress.nextOffset = (entries.at(-1) as Entry).endOffset
    progress.inFlight.push(progress.nextOffset)
  }

  #request(
    progress: Progress,
    entries: readonly Entry[],
    { offset, nowMs }: { readonly offset: number; readonly nowMs: number },
  ): void {
    const { log } = this.#state
    progress.sentMs = nowMs
    // It commits no more than what it is known to have.
    const end = entries.at(-1)?.endOffset ?? offset
    progress.toldCommittedOffset = Math.min(log.committedOffset, end)
    this.#state.send(progress.key, {
      type: 'append-request',
      offset,
      previousEpoch: log.epochBefore(offset),
      entries,
      committedOffset: log.committedOffset,
    })
  }

  /** Says that we are there, and finds out what got lost. */
  #heartbeat(progress: Progress, nowMs: number): void {
    const { log, options } = this.#state
    if (progress.state === 'snapshot') {
      // It says that we are there; the part that is under way may take long, or be lost.
      this.#request(progress, [], { offset: log.endOffset, nowMs })
      const isLate = nowMs - progress.partSentMs >= options.snapshotRetryMs
      if (isLate) this.#sendSnapshotPart(progress, nowMs)
      return
    }
    if (progress.nextOffset < log.startOffset) {
      this.#startSnapshot(progress, nowMs)
      return
    }
    this.#request(progress, [], { offset: progress.nextOffset, nowMs })
  }

  #startSnapshot(progress: Progress, nowMs: number): void {
    const snapshot = this.#snapshot()
    assert(
      snapshot !== null && snapshot.endOffset >= this.#state.log.startOffset,
      'what a log does not hold any more is in a snapshot',
    )
    progress.state = 'snapshot'
    progress.snapshot = snapshot
    progress.snapshotPosition = 0
    progress.inFlight = []
    this.#sendSnapshotPart(progress, nowMs)
  }

  #sendSnapshotPart(progress: Progress, nowMs: number): void {
    const newest = this.#snapshot()
    // The one that was being sent may be gone: another one has everything that it had.
    if (newest !== null && newest.endOffset !== progress.snapshot?.endOffset) {
      progress.snapshot = newest
      progress.snapshotPosition = 0
    }
    progress.sentMs = nowMs
    progress.partSentMs = nowMs
    this.#state.readSnapshot({
      to: progress.key,
      snapshot: progress.snapshot as SnapshotId,
      position: progress.snapshotPosition,
    })
  }

  // —— counting ——

  /** Only records of this epoch are committed by counting (Raft §5.4.2). */
  #commit(nowMs: number): void {
    const { log, voters, self } = this.#state
    const reached = voters.reachedByMajority((voter) =>
      isSameReplica(voter, self)
        ? log.flushedOffset
        : (this.#progress.get(keyText(voter))?.matchedOffset ?? 0),
    )
    if (reached <= log.committedOffset || reached <= this.epochStartOffset) return
    log.commit(reached)
    for (const progress of this.#progress.values()) this.#tellCommitted(progress, nowMs)
  }

  #hasQuorum(nowMs: number): boolean {
    const { voters, self, options } = this.#state
    return voters.isQuorum((voter) => {
      if (isSameReplica(voter, self)) return true
      const progress = this.#progress.get(keyText(voter))
      return progress !== undefined && nowMs - progress.heardMs < options.checkQuorumMs
    })
  }

  get #isChanging(): boolean {
    const { log, voterHistory } = this.#state
    const isFirstOpen = log.committedOffset <= this.epochStartOffset
    return isFirstOpen || voterHistory.latestEndOffset > log.committedOffset
  }

  #furthestVoter(): ReplicaKey | null {
    const { voters } = this.#state
    let best: Progress | null = null
    for (const progress of this.#progress.values()) {
      if (!voters.has(progress.key)) continue
      if (best === null || progress.matchedOffset > best.matchedOffset) best = progress
    }
    return best?.key ?? null
  }

  #handOver(): void {
    if (this.#transfer === null) return
    const progress = this.#progress.get(keyText(this.#transfer.to))
    if (progress === undefined || progress.matchedOffset < this.#state.log.endOffset) return
    this.#state.send(this.#transfer.to, { type: 'transfer-request' })
  }
}
