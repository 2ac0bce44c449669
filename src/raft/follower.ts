/**
 * What a replica does with what a leader sends: it takes entries where the logs agree, cuts its own
 * where they do not, and answers how far both are the same on its disk (Raft §5.3). Voters and
 * observers do the same.
 */
import type { SnapshotPart } from './effects.ts'
import type { Entry } from './entry.ts'
import type { AppendRequest, SnapshotId, SnapshotRequest } from './messages.ts'
import { expectOfPeer } from './peer-error.ts'
import type { RaftState } from './raft-state.ts'
import { isSameReplica, type ReplicaKey } from './replica-key.ts'
import { VoterHistory } from './voter-history.ts'
import { VoterSet } from './voter-set.ts'

export class Follower {
  readonly leader: ReplicaKey
  readonly #state: RaftState
  /** Up to there the log is known to be the leader's; exclusive. Of this epoch. */
  #matchedOffset: number
  /** What the leader was last told. */
  #toldOffset = -1
  /** Where the next part of the snapshot that is being stored begins. */
  #snapshotPosition = 0
  #snapshotEndOffset = -1
  /** A part of it is being stored. */
  #isStoring = false

  constructor(state: RaftState, leader: ReplicaKey) {
    this.#state = state
    this.leader = leader
    // Whatever is committed is in the log of every later leader (Raft §5.4.3).
    this.#matchedOffset = state.log.committedOffset
  }

  onAppend(request: AppendRequest): void {
    const { log } = this.#state
    const above = aboveCommitted(request, log.committedOffset)
    if (above === null) {
      this.#answer()
      return
    }
    const { offset, previousEpoch, entries } = above
    if (offset > log.endOffset || log.epochBefore(offset) !== previousEpoch) {
      // The last place where the logs can agree: our epochs above the leader's are none of its
      // (KIP-101, KIP-279). The leader does the same with its own; one of them goes down each time.
      const hintOffset = Math.min(offset, log.endOffset, log.endOfEpoch(previousEpoch))
      this.#state.send(this.leader, {
        type: 'append-response',
        matchedOffset: -1,
        hintEpoch: log.epochBefore(hintOffset),
        hintOffset,
      })
      return
    }
    this.#take(entries)
    const end = entries.at(-1)?.endOffset ?? offset
    this.#matchedOffset = Math.max(this.#matchedOffset, end)
    const committed = Math.min(request.committedOffset, this.#matchedOffset)
    if (committed > log.committedOffset) {
      expectOfPeer(log.isBoundary(committed), 'it has committed a part of an entry')
      log.commit(committed)
    }
    this.#answer()
  }

  /** More of the log is durable. */
  onFlushed(): void {
    if (this.#durableMatch > this.#toldOffset) this.#answer()
  }

  onSnapshot(request: SnapshotRequest): void {
    const { snapshot, position } = request
    if (this.#has(snapshot)) {
      this.#matchedOffset = Math.max(this.#matchedOffset, snapshot.endOffset)
      this.#state.send(this.leader, {
        type: 'snapshot-response',
        snapshot,
        position,
        isDone: true,
      })
      return
    }
    if (this.#isStoring) return
    if (this.#snapshotEndOffset !== snapshot.endOffset) {
      this.#snapshotEndOffset = snapshot.endOffset
      this.#snapshotPosition = 0
    }
    if (position !== this.#snapshotPosition) {
      this.#answerSnapshot(request, false)
      return
    }
    this.#isStoring = true
    const { bytes, isLast, voters, epoch } = request
    const { leader } = this
    this.#state.storeSnapshot({ leader, epoch, snapshot, position, bytes, isLast, voters })
  }

  /** The part is durable; with the last one the snapshot takes the place of the log. */
  onSnapshotStored(part: SnapshotPart): void {
    const isExpected =
      this.#isStoring &&
      part.snapshot.endOffset === this.#snapshotEndOffset &&
      part.position === this.#snapshotPosition
    // Of a part that this leader had sent before it was lost and found again.
    if (!isExpected) return
    this.#isStoring = false
    this.#snapshotPosition = part.position + part.bytes.length
    const { snapshot, isLast, voters } = part
    if (isLast) {
      this.#snapshotEndOffset = -1
      // What came meanwhile may reach further, and be acknowledged: it is not thrown away.
      if (!this.#has(snapshot)) {
        this.#state.log.resetTo(snapshot)
        this.#state.voterHistory = new VoterHistory(new VoterSet(voters), snapshot.endOffset)
      }
      this.#matchedOffset = Math.max(this.#matchedOffset, snapshot.endOffset)
    }
    this.#answerSnapshot(part, isLast)
  }

  /** Whether our log holds all that the snapshot does. */
  #has({ endOffset, epoch }: SnapshotId): boolean {
    const { log } = this.#state
    if (endOffset <= log.committedOffset) return true
    return endOffset <= log.endOffset && log.epochBefore(endOffset) === epoch
  }

  #answerSnapshot({ snapshot }: Pick<SnapshotRequest, 'snapshot'>, isDone: boolean): void {
    const position = this.#snapshotPosition
    this.#state.send(this.leader, { type: 'snapshot-response', snapshot, position, isDone })
  }

  #take(entries: readonly Entry[]): void {
    const { log } = this.#state
    for (const [i, entry] of entries.entries()) {
      const isKnown =
        entry.endOffset <= log.endOffset && log.epochBefore(entry.endOffset) === entry.epoch
      // Records of one epoch and offset are the same in all logs (Raft §5.3, Log Matching).
      if (isKnown) continue
      if (entry.baseOffset < log.endOffset) {
        const { baseOffset } = entry
        // Its log is append-only in its epoch (Raft §5.3).
        expectOfPeer(baseOffset >= this.#matchedOffset, 'it takes back what it has sent')
        expectOfPeer(log.isBoundary(baseOffset), 'it cuts an entry')
        this.#state.truncateTo(baseOffset)
      }
      this.#state.append(entries.slice(i))
      return
    }
  }

  get #durableMatch(): number {
    return Math.min(this.#matchedOffset, this.#state.log.flushedOffset)
  }

  #answer(): void {
    this.#toldOffset = this.#durableMatch
    this.#state.send(this.leader, {
      type: 'append-response',
      matchedOffset: this.#toldOffset,
      hintEpoch: -1,
      hintOffset: -1,
    })
  }

  isLedBy(replica: ReplicaKey): boolean {
    return isSameReplica(this.leader, replica)
  }
}

/**
 * The part of a request from `committedOffset` on; what lies below is the same in every log, and
 * the epochs of it may have gone into a snapshot. Null when all of it does.
 */
function aboveCommitted(
  request: AppendRequest,
  committedOffset: number,
): Pick<AppendRequest, 'offset' | 'previousEpoch' | 'entries'> | null {
  if (request.offset >= committedOffset) return request
  const below = request.entries.filter(({ endOffset }) => endOffset <= committedOffset)
  const last = below.at(-1)
  // A commit ends where an entry ends, in all logs.
  if (last?.endOffset !== committedOffset) return null
  const entries = request.entries.slice(below.length)
  return { offset: committedOffset, previousEpoch: last.epoch, entries }
}
