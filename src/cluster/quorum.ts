/**
 * The shell around one replica of the quorum (`raft/raft-node.ts`): carries out what the core asks
 * for, in its order, and brings it what has come of that. Runs on main; owns no file itself.
 *
 * Entries are handed out once they are committed, in order (`onCommitted`), each once. Until then
 * they are kept here, so that applying them never waits for the disk.
 */
import { assert } from '../base/assert.ts'
import type { Random } from '../base/random.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { RaftEffects, SnapshotPart, SnapshotRead, SnapshotStore } from '../raft/effects.ts'
import type { Entry } from '../raft/entry.ts'
import type { Refusal } from '../raft/leader.ts'
import type { RaftMessage, SnapshotId } from '../raft/messages.ts'
import type { RaftOptions } from '../raft/options.ts'
import { PeerError } from '../raft/peer-error.ts'
import type { StorageOperation } from '../raft/raft-log.ts'
import { type MakeVotersEntry, RaftNode, type Role } from '../raft/raft-node.ts'
import type { ReplicaKey } from '../raft/replica-key.ts'
import type { FoundLog, QuorumLog } from './quorum-log.ts'
import type { SavedQuorum } from './quorum-state-file.ts'

/** Snapshots of what the entries add up to. */
export interface QuorumSnapshots {
  /** The newest that is durable. */
  newest(): SnapshotId | null
  /** Rejects (SNAPSHOT_NOT_FOUND) when it is gone. */
  read(read: SnapshotRead): Promise<SnapshotPart>
  /** Resolves when the part is durable; the last part makes the snapshot the newest. */
  store(part: SnapshotStore): Promise<void>
  /** The stored snapshot takes the place of everything that was applied. */
  install(snapshot: SnapshotId): void
}

export interface QuorumParts {
  readonly self: ReplicaKey
  readonly options: RaftOptions
  readonly random: Random
  readonly nowMs: () => number
  /** How late this thread's event loop is in all but one of a thousand looks, of late. */
  readonly ownDelayMs?: (() => number) | undefined
  readonly log: QuorumLog
  readonly found: FoundLog
  readonly saved: SavedQuorum
  readonly save: (state: SavedQuorum) => Promise<void>
  readonly snapshots: QuorumSnapshots
  readonly makeVotersEntry: MakeVotersEntry
  readonly send: (messages: readonly RaftMessage[]) => void
  readonly onCommitted: (entries: readonly Entry[]) => void
  /** Role, epoch or leader is another one. */
  readonly onChanged: () => void
  /** A message was dropped: whoever sent it is not in order. */
  readonly onPeerError: (from: ReplicaKey, error: PeerError) => void
  /** The log or the state cannot be written: nothing may go on. */
  readonly onFailure: (error: unknown) => void
}

export interface QuorumPeer {
  readonly key: ReplicaKey
  readonly matchedOffset: number
  readonly silentMs: number
}

/**
 * Of entries that are handed out in one go: a start, or a follower that was away, has megabytes of
 * them, and applying those at once would take longer than others wait for this replica.
 */
const APPLY_BYTES_MAX = 64 * 1024
/** Inputs that wait while the state is written, for milliseconds; then messages are lost. */
const INBOX_MAX = 10_000

export class Quorum {
  readonly #parts: QuorumParts
  readonly #node: RaftNode
  #isSavingState = false
  #isClosed = false
  #inbox: (() => void)[] = []
  /** Of the log, in order and without a gap: what has not been handed out yet. */
  #unapplied: Entry[]
  #appliedOffset: number
  #isApplyDue = false
  #timer: NodeJS.Timeout | null = null
  #timerMs = Number.POSITIVE_INFINITY
  #seen = ''

  constructor(parts: QuorumParts) {
    this.#parts = parts
    const { found, saved } = parts
    this.#unapplied = [...found.entries]
    this.#appliedOffset = found.snapshot.endOffset
    this.#node = new RaftNode(
      {
        self: parts.self,
        options: parts.options,
        random: parts.random,
        quorumState: saved,
        log: found,
        voters: found.voters ?? saved.firstVoters,
        voterEntries: found.entries.filter(({ voters }) => voters !== null),
        makeVotersEntry: parts.makeVotersEntry,
        snapshot: () => parts.snapshots.newest(),
      },
      parts.nowMs(),
    )
  }

  /** From here on time passes. */
  start(): void {
    this.#after()
  }

  close(): void {
    this.#isClosed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#inbox = []
  }

  get role(): Role {
    return this.#node.role
  }

  get epoch(): number {
    return this.#node.epoch
  }

  get self(): ReplicaKey {
    return this.#parts.self
  }

  get leader(): ReplicaKey | null {
    return this.#node.leader
  }

  get isLeader(): boolean {
    return this.#node.role === 'leader'
  }

  get voters(): readonly ReplicaKey[] {
    return this.#node.voters.replicas
  }

  get isVoter(): boolean {
    return this.#node.isVoter
  }

  get committedOffset(): number {
    return this.#node.committedOffset
  }

  get endOffset(): number {
    return this.#node.endOffset
  }

  /** Everything below has been handed out. */
  get appliedOffset(): number {
    return this.#appliedOffset
  }

  get epochStartOffset(): number | null {
    return this.#node.epochStartOffset
  }

  /** The epoch of the last record below `offset`, which the log holds or begins with. */
  epochBefore(offset: number): number {
    return this.#node.epochBefore(offset)
  }

  votersAt(offset: number): readonly ReplicaKey[] {
    return this.#node.votersAt(offset).replicas
  }

  /** Of a leader: how far the others are, and for how long each has said nothing. */
  get replicas(): QuorumPeer[] {
    const nowMs = this.#parts.nowMs()
    return [...this.#node.replicas].map(({ key, matchedOffset, heardMs }) => {
      return { key, matchedOffset, silentMs: Math.max(0, nowMs - heardMs) }
    })
  }

  /** The shortest time without a word of its leader after which this replica asks for votes. */
  get electionTimeoutMs(): number {
    return this.#node.electionTimeoutMs
  }

  /** When this replica heard another one last that led. */
  get leaderHeardMs(): number {
    return this.#node.leaderHeardMs
  }

  // —— input ——

  /** A connection of that replica broke. Not to be called from within one of the callbacks. */
  connectionLost(id: number): void {
    this.#input(() => this.#node.onConnectionLost(id, this.#parts.nowMs()))
  }

  receive(messages: readonly RaftMessage[]): void {
    // What is too much is lost, as on any network.
    if (this.#inbox.length > INBOX_MAX) return
    this.#input(() => {
      for (const message of messages) this.#take(message)
    })
  }

  /** One that contradicts what is certain here is lost, as on any network, and somebody is told. */
  #take(message: RaftMessage): void {
    try {
      this.#node.onMessage(message, this.#parts.nowMs())
    } catch (error) {
      if (!(error instanceof PeerError)) throw error
      this.#parts.onPeerError(message.from, error)
    }
  }

  /**
   * Of a leader: appends what `make` gives for the place at the log's end. Returns where it ends,
   * exclusive: it is durable on a majority once it is handed out, and may yet come to nothing.
   */
  propose(make: (place: { epoch: number; baseOffset: number }) => Entry): number | Refusal {
    if (this.#isSavingState || this.#isClosed) return 'NOT_LEADER'
    const node = this.#node
    const entry = make({ epoch: node.epoch, baseOffset: node.endOffset })
    const refusal = node.propose([entry], this.#parts.nowMs())
    this.#after()
    return refusal ?? entry.endOffset
  }

  addVoter(replica: ReplicaKey): Refusal | null {
    return this.#change(() => this.#node.addVoter(replica, this.#parts.nowMs()))
  }

  removeVoter(replica: ReplicaKey): Refusal | null {
    return this.#change(() => this.#node.removeVoter(replica, this.#parts.nowMs()))
  }

  /** Hands leadership over, to whoever is furthest. */
  transfer(): Refusal | null {
    return this.#change(() => this.#node.transfer(null, this.#parts.nowMs()))
  }

  /** A snapshot of ours is durable, and what it holds has left the log. */
  onSnapshotTaken(endOffset: number): void {
    this.#input(() => this.#node.onSnapshotTaken(endOffset))
  }

  #change(run: () => Refusal | null): Refusal | null {
    if (this.#isSavingState || this.#isClosed) return 'NOT_LEADER'
    const refusal = run()
    this.#after()
    return refusal
  }

  /** Now, or once the state that was asked for is durable. */
  #input(run: () => void): void {
    if (this.#isClosed) return
    if (this.#isSavingState) {
      this.#inbox.push(run)
      return
    }
    run()
    this.#after()
  }

  // —— output ——

  #after(): void {
    if (this.#isClosed) return
    const effects = this.#node.take()
    if (effects.quorumState === null) {
      this.#carryOut(effects)
      return
    }
    this.#isSavingState = true
    const { firstVoters } = this.#parts.saved
    this.#parts.save({ ...effects.quorumState, firstVoters }).then(
      () => this.#onStateSaved(effects),
      (error: unknown) => this.#fail(error),
    )
  }

  #onStateSaved(effects: RaftEffects): void {
    this.#isSavingState = false
    if (this.#isClosed) return
    this.#node.onStateSaved(this.#parts.nowMs())
    this.#carryOut(effects)
    while (!this.#isSavingState && this.#inbox.length > 0) {
      const run = this.#inbox.shift() as () => void
      run()
      this.#after()
    }
  }

  #carryOut(effects: RaftEffects): void {
    for (const operation of effects.storage) this.#store(operation)
    for (const { to, epoch, offset } of effects.loads) {
      this.#parts.log.read(offset).then(
        (entries) => {
          this.#input(() => this.#node.onLoaded(to, epoch, entries, this.#parts.nowMs()))
        },
        (error: unknown) => this.#fail(error),
      )
    }
    for (const read of effects.snapshotReads) this.#readSnapshot(read)
    for (const part of effects.snapshotStores) {
      this.#parts.snapshots.store(part).then(
        () => this.#input(() => this.#node.onSnapshotStored(part)),
        (error: unknown) => this.#fail(error),
      )
    }
    if (effects.messages.length > 0) this.#parts.send(effects.messages)
    this.#apply()
    this.#schedule()
    this.#tellChanges()
  }

  #readSnapshot(read: SnapshotRead): void {
    this.#parts.snapshots.read(read).then(
      (part) => this.#input(() => this.#node.onSnapshotRead(read.to, part)),
      (error: unknown) => {
        // A newer one has taken its place: the follower is sent that one when it asks again.
        if (error instanceof BrokerError && error.code === ErrorCode.SNAPSHOT_NOT_FOUND) return
        this.#fail(error)
      },
    )
  }

  #store(operation: StorageOperation): void {
    const { log } = this.#parts
    let done: Promise<void>
    if (operation.type === 'append') {
      this.#unapplied.push(...operation.entries)
      done = log.append(operation.entries)
    } else if (operation.type === 'truncate') {
      while ((this.#unapplied.at(-1)?.endOffset ?? 0) > operation.offset) this.#unapplied.pop()
      done = log.truncate(operation.offset)
    } else {
      this.#unapplied = []
      this.#appliedOffset = operation.snapshot.endOffset
      this.#parts.snapshots.install(operation.snapshot)
      done = log.reset(operation.snapshot.endOffset)
    }
    const { sequence } = operation
    done.then(
      () => this.#input(() => this.#node.onFlushed(sequence, this.#parts.nowMs())),
      (error: unknown) => this.#fail(error),
    )
  }

  /** Who has stopped waits for nothing any more, and what is not done comes to nothing. */
  #fail(error: unknown): void {
    if (!this.#isClosed) this.#parts.onFailure(error)
  }

  #apply(): void {
    const { committedOffset } = this.#node
    // One go in a turn of the event loop, however many messages have come in it.
    if (this.#isApplyDue || this.#appliedOffset >= committedOffset) return
    let count = 0
    let bytes = 0
    for (const entry of this.#unapplied) {
      bytes += entry.bytes.length
      if (entry.endOffset > committedOffset || (count > 0 && bytes > APPLY_BYTES_MAX)) break
      count++
    }
    const entries = this.#unapplied.splice(0, count)
    const last = entries.at(-1)
    assert(last !== undefined, 'what is committed is there')
    this.#appliedOffset = last.endOffset
    if (last.endOffset < committedOffset) this.#applyLater()
    this.#parts.onCommitted(entries)
  }

  #applyLater(): void {
    if (this.#isApplyDue) return
    this.#isApplyDue = true
    setImmediate(() => {
      this.#isApplyDue = false
      this.#input(() => undefined)
    })
  }

  // —— time ——

  #schedule(): void {
    const deadlineMs = this.#node.nextDeadlineMs
    if (this.#timer !== null && deadlineMs >= this.#timerMs) return // It looks again by itself.
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timerMs = deadlineMs
    const ms = Math.max(0, Math.ceil(deadlineMs - this.#parts.nowMs()))
    const timer = setTimeout(() => {
      // Where this process was late, messages that have arrived meanwhile are looked at first:
      // a leader that was heard in time is not given up because nobody listened.
      setImmediate(() => {
        if (this.#timer !== timer) return
        this.#timer = null
        this.#node.ownDelay(this.#parts.ownDelayMs?.() ?? 0)
        this.#input(() => this.#node.onTime(this.#parts.nowMs()))
      })
    }, ms)
    this.#timer = timer
  }

  #tellChanges(): void {
    const { role, epoch, leader } = this.#node
    const now = `${role} ${epoch} ${leader?.id}`
    if (now === this.#seen) return
    this.#seen = now
    this.#parts.onChanged()
  }
}
