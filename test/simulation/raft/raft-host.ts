/**
 * One node of a simulated quorum: the real `RaftNode`, a disk that keeps only what was flushed, and
 * a state machine that adds up what is committed. What a shell does in order is done in order here:
 * nothing comes in while the quorum state is being written.
 */
import { Random } from '../../../src/base/random.ts'
import type { QuorumState, RaftEffects } from '../../../src/raft/effects.ts'
import type { Entry } from '../../../src/raft/entry.ts'
import type { RaftMessage, SnapshotId } from '../../../src/raft/messages.ts'
import type { StorageOperation } from '../../../src/raft/raft-log.ts'
import { RaftNode } from '../../../src/raft/raft-node.ts'
import type { ReplicaKey } from '../../../src/raft/replica-key.ts'
import type { EventClock } from '../event-clock.ts'
import { journal } from '../journal.ts'
import { require_ } from '../violation.ts'
import type { CheckedHost, RaftChecker } from './raft-checker.ts'
import type { RaftPlan } from './raft-plan.ts'

export interface StoredSnapshot {
  readonly id: SnapshotId
  readonly voters: readonly ReplicaKey[]
  /** Of the state machine. */
  readonly hash: number
}

/** What a power loss leaves. */
interface Disk {
  quorumState: QuorumState
  snapshot: StoredSnapshot
  /** Received from a leader; the log may not have been reset to it. */
  received: StoredSnapshot | null
  /** From the snapshot's end on. */
  entries: Entry[]
}

interface HostParts {
  readonly plan: RaftPlan
  /** Of its disk. */
  readonly flushMsMax: number
  readonly clock: EventClock
  readonly random: Random
  readonly checker: RaftChecker
  readonly send: (message: RaftMessage) => void
  readonly count: (what: string) => void
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export class RaftHost implements CheckedHost {
  key: ReplicaKey
  node: RaftNode | null = null
  isPaused = false
  /** Goes up with every start: what an earlier life has under way means nothing. */
  life = 0
  readonly #parts: HostParts
  #disk: Disk
  /** The log as the process sees it, from the disk's start on; flushed or not. */
  #entries: Entry[] = []
  #operations: StorageOperation[] = []
  #isFlushing = false
  #isSavingState = false
  /** What is being written, and what follows once it is. */
  #saving: QuorumState | null = null
  #onResume: (() => void) | null = null
  #inbox: (() => void)[] = []
  #appliedOffset = 0
  #hash = 0
  /** Of this life, by end offset. */
  readonly #received = new Map<number, StoredSnapshot>()
  #incoming: { readonly id: SnapshotId; text: string } | null = null
  #deadlineMs = Number.POSITIVE_INFINITY
  #lagMs = 0
  #rate = 1

  constructor(key: ReplicaKey, voters: readonly ReplicaKey[], parts: HostParts) {
    this.key = key
    this.#parts = parts
    this.#disk = emptyDisk(voters)
  }

  get isUp(): boolean {
    return this.node !== null
  }

  get hash(): number {
    return this.#hash
  }

  get appliedOffset(): number {
    return this.#appliedOffset
  }

  get entries(): readonly Entry[] {
    return this.#entries
  }

  /** The local monotonic clock: off, and too fast or too slow. */
  get nowMs(): number {
    return this.#parts.clock.nowMs * this.#rate + this.#lagMs
  }

  // —— living and dying ——

  start(): void {
    const { plan, random, checker } = this.#parts
    this.life++
    this.#rate = 1 + (random.fraction() * 2 - 1) * plan.clockDriftMax
    this.#lagMs = random.fraction() * 10_000
    this.#finishReset()
    this.#received.clear()
    const { snapshot, entries, quorumState } = this.#disk
    this.#entries = [...entries]
    this.#operations = []
    this.#isFlushing = false
    this.#isSavingState = false
    this.#saving = null
    this.#onResume = null
    this.#inbox = []
    this.#incoming = null
    this.#appliedOffset = snapshot.id.endOffset
    this.#hash = snapshot.hash
    this.#deadlineMs = Number.POSITIVE_INFINITY
    const epochs: { epoch: number; startOffset: number }[] = []
    for (const { epoch, baseOffset } of entries) {
      if ((epochs.at(-1)?.epoch ?? snapshot.id.epoch) < epoch) {
        epochs.push({ epoch, startOffset: baseOffset })
      }
    }
    this.node = new RaftNode(
      {
        self: this.key,
        options: plan.options,
        random: new Random(random.u32()),
        quorumState,
        log: {
          snapshot: snapshot.id,
          epochs,
          endOffset: entries.at(-1)?.endOffset ?? snapshot.id.endOffset,
        },
        voters: snapshot.voters,
        voterEntries: entries.filter(({ voters }) => voters !== null),
        makeVotersEntry: ({ epoch, baseOffset, voters, isLeaderChange }) => ({
          epoch,
          baseOffset,
          endOffset: baseOffset + 1,
          bytes: encoder.encode(`${isLeaderChange ? 'leader' : 'voters'} of ${epoch}`),
          voters: isLeaderChange ? null : voters,
        }),
        snapshot: () => {
          const { id } = this.#newestSnapshot
          return id.endOffset === 0 ? null : id
        },
      },
      this.nowMs,
    )
    journal(() => `${this.name} starts, log to ${this.node?.endOffset}`)
    checker.onStart(this)
    this.#after()
  }

  /** The process ends. What it wrote is there; after a power loss what was flushed, and more. */
  kill(isPowerLoss: boolean): void {
    const { random, checker } = this.#parts
    if (this.#saving !== null && random.chance(0.5)) {
      checker.onVoteSaved(this.key, this.#saving)
      this.#disk.quorumState = this.#saving
    }
    journal(() => `${this.name} ${isPowerLoss ? 'loses power' : 'is killed'}`)
    const kept = isPowerLoss ? random.below(this.#operations.length + 1) : this.#operations.length
    for (const operation of this.#operations.slice(0, kept)) this.#toDisk(operation)
    const torn = this.#operations[kept]
    if (torn?.type === 'append' && random.chance(0.5)) {
      const entries = torn.entries.slice(0, random.below(torn.entries.length + 1))
      this.#toDisk({ ...torn, entries })
    }
    this.node = null
    this.life++
    this.isPaused = false
  }

  /** The disk is lost, and with it who this was. */
  wipe(directoryId: string, voters: readonly ReplicaKey[]): void {
    journal(() => `${this.name} is wiped`)
    this.key = { id: this.key.id, directoryId: directoryId as ReplicaKey['directoryId'] }
    this.#disk = emptyDisk(voters)
  }

  get name(): string {
    return `${this.key.id}/${this.key.directoryId}`
  }

  /** The voters that this node's disk knows of, committed or not; for what a majority is. */
  get voterSets(): readonly (readonly ReplicaKey[])[] {
    const { snapshot, entries } = this.#disk
    const sets = [snapshot.voters]
    for (const { voters } of this.isUp ? this.#entries : entries) {
      if (voters !== null) sets.push(voters)
    }
    return sets
  }

  // —— input ——

  receive(message: RaftMessage): void {
    this.input(() => this.node?.onMessage(message, this.nowMs))
  }

  /** Now, or as soon as the process goes on. */
  input(run: () => void): void {
    if (this.node === null) return
    if (this.isPaused || this.#isSavingState) {
      this.#inbox.push(run)
      return
    }
    run()
    this.#after()
  }

  resume(): void {
    this.isPaused = false
    const goOn = this.#onResume
    this.#onResume = null
    goOn?.()
    this.#drainInbox()
  }

  propose(value: string): boolean {
    const { node } = this
    if (node === null || this.isPaused || this.#isSavingState) return false
    const { random, checker } = this.#parts
    const entries: Entry[] = []
    let at = node.endOffset
    for (let i = random.between(1, 3); i > 0; i--) {
      const endOffset = at + random.between(1, 3)
      const bytes = encoder.encode(`${value}.${i}`)
      entries.push({ epoch: node.epoch, baseOffset: at, endOffset, bytes, voters: null })
      at = endOffset
    }
    if (node.propose(entries, this.nowMs) !== null) return false
    for (const entry of entries) checker.onProposed(this, entry)
    this.#after()
    return true
  }

  /** Keeps the state in place of the log below it. */
  takeSnapshot(): void {
    const { node } = this
    if (node === null || this.isPaused || this.#isSavingState) return
    const endOffset = this.#appliedOffset
    if (endOffset <= this.#disk.snapshot.id.endOffset) return
    // What is flushed later would be written to a log that begins above it.
    if (endOffset > node.flushedOffset || this.#operations.length > 0) return
    this.#parts.count('snapshots taken')
    this.#disk.snapshot = {
      id: { endOffset, epoch: node.epochBefore(endOffset) },
      voters: node.votersAt(endOffset).replicas,
      hash: this.#hash,
    }
    this.#disk.entries = this.#disk.entries.filter((entry) => entry.baseOffset >= endOffset)
    this.#entries = this.#entries.filter((entry) => entry.baseOffset >= endOffset)
    node.onSnapshotTaken(endOffset)
    this.#after()
  }

  // —— output ——

  #after(): void {
    const { node } = this
    if (node === null) return
    const effects = node.take()
    if (effects.quorumState !== null) {
      this.#saveState(effects)
      return
    }
    this.#carryOut(effects)
  }

  #saveState(effects: RaftEffects): void {
    const { clock, random, checker } = this.#parts
    const { life } = this
    this.#isSavingState = true
    this.#saving = effects.quorumState as QuorumState
    const quorumState = this.#saving
    clock.after(random.fraction() * this.#parts.flushMsMax, () => {
      if (life !== this.life) return
      checker.onVoteSaved(this.key, quorumState)
      this.#disk.quorumState = quorumState
      this.#saving = null
      const goOn = (): void => {
        this.#isSavingState = false
        this.node?.onStateSaved(this.nowMs)
        this.#carryOut(effects)
      }
      if (this.isPaused) {
        this.#onResume = goOn
        return
      }
      goOn()
      this.#drainInbox()
    })
  }

  #drainInbox(): void {
    while (!this.isPaused && !this.#isSavingState && this.node !== null) {
      const next = this.#inbox.shift()
      if (next === undefined) return
      next()
      this.#after()
    }
  }

  #carryOut(effects: RaftEffects): void {
    const { clock, random, checker, send } = this.#parts
    const { life } = this
    for (const operation of effects.storage) this.#store(operation)
    for (const { to, epoch, offset } of effects.loads) {
      clock.after(random.fraction() * 5, () => {
        if (life !== this.life) return
        this.input(() => {
          const from = this.#entries.findIndex(({ baseOffset }) => baseOffset === offset)
          const count = random.between(1, 4)
          const found = from < 0 ? [] : this.#entries.slice(from, from + count)
          this.node?.onLoaded(to, epoch, found, this.nowMs)
        })
      })
    }
    for (const read of effects.snapshotReads) {
      clock.after(random.fraction() * 5, () => {
        if (life === this.life) this.input(() => this.#readSnapshot(read))
      })
    }
    for (const part of effects.snapshotStores) {
      clock.after(random.fraction() * this.#parts.flushMsMax, () => {
        if (life !== this.life) return
        this.input(() => {
          if (part.position === 0) this.#incoming = { id: part.snapshot, text: '' }
          const incoming = this.#incoming
          if (incoming === null || incoming.text.length !== part.position) return
          incoming.text += decoder.decode(part.bytes)
          if (part.isLast) {
            const hash = Number(incoming.text.split(' ')[0])
            const received = { id: part.snapshot, voters: part.voters, hash }
            this.#disk.received = received
            this.#received.set(part.snapshot.endOffset, received)
          }
          this.node?.onSnapshotStored(part)
        })
      })
    }
    for (const message of effects.messages) send(message)
    this.#apply()
    checker.onStep(this)
    this.#schedule()
  }

  #readSnapshot(read: RaftEffects['snapshotReads'][number]): void {
    const { id, hash, voters } = this.#newestSnapshot
    if (id.endOffset !== read.snapshot.endOffset) return
    const all = encoder.encode(`${hash} ${'x'.repeat(hash % 40)}`)
    const bytes = all.subarray(read.position, read.position + this.#parts.plan.snapshotPartBytes)
    this.node?.onSnapshotRead(read.to, {
      epoch: read.epoch,
      snapshot: id,
      position: read.position,
      bytes,
      isLast: read.position + bytes.length === all.length,
      voters,
    })
  }

  // —— the disk ——

  #store(operation: StorageOperation): void {
    this.#operations.push(operation)
    if (operation.type === 'append') this.#entries.push(...operation.entries)
    else if (operation.type === 'truncate') {
      this.#parts.count('truncations')
      const gone = this.#entries.filter(({ endOffset }) => endOffset > operation.offset)
      if (new Set(gone.map(({ epoch }) => epoch)).size > 1) {
        this.#parts.count('truncations over several epochs')
      }
      this.#entries = this.#entries.filter(({ endOffset }) => endOffset <= operation.offset)
    } else {
      this.#parts.count('snapshots installed')
      const received = this.#received.get(operation.snapshot.endOffset)
      require_(received !== undefined, 'an installed snapshot is stored', () => this.name)
      this.#entries = []
      this.#appliedOffset = operation.snapshot.endOffset
      this.#hash = received?.hash ?? 0
      this.#parts.checker.onInstalled(this, this.#appliedOffset, this.#hash)
    }
    this.#flush()
  }

  /** What the log begins with, also while it is still being reset to it. */
  get #newestSnapshot(): StoredSnapshot {
    return this.#received.get(this.node?.startOffset ?? -1) ?? this.#disk.snapshot
  }

  /** The process may have ended with the snapshot durable and the log not yet reset to it. */
  #finishReset(): void {
    const { received, snapshot, entries } = this.#disk
    this.#disk.received = null
    if (received === null || received.id.endOffset <= snapshot.id.endOffset) return
    const isHeld = entries.some(
      ({ endOffset, epoch }) => endOffset === received.id.endOffset && epoch === received.id.epoch,
    )
    if (isHeld) return
    this.#parts.count('resets finished at a start')
    this.#disk.snapshot = received
    this.#disk.entries = []
  }

  #flush(): void {
    if (this.#isFlushing || this.#operations.length === 0) return
    const { clock, random } = this.#parts
    const { life } = this
    this.#isFlushing = true
    const count = random.between(1, this.#operations.length)
    const last = this.#operations[count - 1] as StorageOperation
    clock.after(random.fraction() * this.#parts.flushMsMax, () => {
      if (life !== this.life) return
      this.#isFlushing = false
      while ((this.#operations[0]?.sequence ?? Number.POSITIVE_INFINITY) <= last.sequence) {
        this.#toDisk(this.#operations.shift() as StorageOperation)
      }
      this.#flush()
      this.input(() => this.node?.onFlushed(last.sequence, this.nowMs))
    })
  }

  #toDisk(operation: StorageOperation): void {
    const { entries } = this.#disk
    if (operation.type === 'append') {
      for (const entry of operation.entries) entries.push(entry)
    } else if (operation.type === 'truncate') {
      while ((entries.at(-1)?.endOffset ?? 0) > operation.offset) entries.pop()
    } else {
      this.#disk.snapshot = this.#received.get(operation.snapshot.endOffset) as StoredSnapshot
      this.#disk.entries = []
    }
  }

  // —— the state machine ——

  #apply(): void {
    const node = this.node as RaftNode
    if (this.#appliedOffset >= node.committedOffset) return
    for (const entry of this.#entries) {
      if (entry.baseOffset < this.#appliedOffset) continue
      if (entry.endOffset > node.committedOffset) break
      this.#hash = hashOf(this.#hash, entry)
      this.#appliedOffset = entry.endOffset
      this.#parts.checker.onApplied(this, entry, this.#hash)
    }
    require_(
      this.#appliedOffset === node.committedOffset,
      'what is committed is there',
      () => `${this.name}: ${this.#appliedOffset} of ${node.committedOffset}`,
    )
  }

  // —— time ——

  #schedule(): void {
    const node = this.node as RaftNode
    const { clock } = this.#parts
    const { life } = this
    const deadlineMs = node.nextDeadlineMs
    if (deadlineMs === this.#deadlineMs) return
    this.#deadlineMs = deadlineMs
    clock.after((deadlineMs - this.nowMs) / this.#rate + 0.001, () => {
      if (life !== this.life || this.#deadlineMs !== deadlineMs) return
      this.input(() => {
        this.#deadlineMs = Number.NaN
        this.node?.onTime(this.nowMs)
      })
    })
  }
}

function emptyDisk(voters: readonly ReplicaKey[]): Disk {
  return {
    quorumState: { epoch: 0, votedFor: null },
    snapshot: { id: { endOffset: 0, epoch: 0 }, voters, hash: 0 },
    received: null,
    entries: [],
  }
}

export function hashOf(before: number, { endOffset, epoch, bytes }: Entry): number {
  let hash = Math.imul(before ^ endOffset, 0x01000193) ^ Math.imul(epoch, 0x9e3779b1)
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash >>> 0
}
