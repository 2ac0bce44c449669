/**
 * What must hold in a quorum after every event, whatever goes wrong (Raft §5, figure 3): one leader
 * an epoch, one vote an epoch and disk, what is committed stays and is the same everywhere, a new
 * leader has all of it, states are equal at equal offsets.
 */
import type { QuorumState } from '../../../src/raft/effects.ts'
import type { Entry } from '../../../src/raft/entry.ts'
import type { RaftMessage } from '../../../src/raft/messages.ts'
import type { RaftNode } from '../../../src/raft/raft-node.ts'
import { isSameReplica, keyText, type ReplicaKey } from '../../../src/raft/replica-key.ts'
import { require_ } from '../violation.ts'

/** A node as the checker sees it. */
export interface CheckedHost {
  readonly key: ReplicaKey
  readonly name: string
  readonly life: number
  readonly node: RaftNode | null
  readonly entries: readonly Entry[]
}

interface Committed {
  readonly endOffset: number
  readonly epoch: number
  /** In which it was: an entry of an earlier one may be committed much later. */
  readonly committedIn: number
  readonly text: string
}

interface Proposal {
  readonly host: CheckedHost
  readonly life: number
  readonly entry: Entry
}

const decoder = new TextDecoder()

export class RaftChecker {
  readonly #leaders = new Map<number, string>()
  readonly #votes = new Map<string, ReplicaKey>()
  readonly #given = new Map<string, ReplicaKey>()
  /** By base offset. */
  readonly #committed = new Map<number, Committed>()
  readonly #hashes = new Map<number, number>()
  readonly #seenCommitted = new Map<string, number>()
  readonly #seenEpochs = new Map<string, number>()
  #proposals: Proposal[] = []
  /** What a client was told is safe. */
  readonly acknowledged: Entry[] = []
  committedEnd = 0
  elections = 0

  onStart(host: CheckedHost): void {
    const { node } = host
    const before = this.#seenEpochs.get(keyText(host.key)) ?? 0
    require_(
      node !== null && node.epoch >= before,
      'an epoch that was promised is remembered',
      () => `${host.name}: ${node?.epoch} after ${before}`,
    )
    this.#seenCommitted.delete(host.name)
  }

  onVoteSaved(key: ReplicaKey, { epoch, votedFor }: QuorumState): void {
    this.#seenEpochs.set(keyText(key), epoch)
    if (votedFor === null) return
    const at = `${keyText(key)} in ${epoch}`
    const before = this.#votes.get(at)
    this.#votes.set(at, votedFor)
    require_(
      before === undefined || isSameReplica(before, votedFor),
      'a replica votes once an epoch',
      () => `${at}: ${before?.id} and ${votedFor.id}`,
    )
  }

  /** A vote counts once it is on its way, whatever became of the disk. */
  onSent(message: RaftMessage): void {
    if (message.type !== 'vote-response' || !message.isGranted || message.isPreVote) return
    const at = `${keyText(message.from)} in ${message.epoch}`
    const before = this.#given.get(at)
    this.#given.set(at, message.to)
    require_(
      before === undefined || isSameReplica(before, message.to),
      'a replica votes once an epoch',
      () => `${at}: ${before?.id} and ${message.to.id}, which were told`,
    )
  }

  onProposed(host: CheckedHost, entry: Entry): void {
    this.#proposals.push({ host, life: host.life, entry })
  }

  onStep(host: CheckedHost): void {
    const { node } = host
    if (node === null) return
    const before = this.#seenCommitted.get(host.name) ?? 0
    require_(
      node.committedOffset >= before,
      'what is committed never becomes less',
      () => `${host.name}: ${node.committedOffset} after ${before}`,
    )
    this.#seenCommitted.set(host.name, node.committedOffset)
    if (node.role === 'leader') this.#checkLeader(host)
    this.#acknowledge(host)
  }

  onApplied(host: CheckedHost, entry: Entry, hash: number): void {
    const text = decoder.decode(entry.bytes)
    const known = this.#committed.get(entry.baseOffset)
    if (known === undefined) {
      require_(
        entry.baseOffset === this.committedEnd,
        'commits follow each other',
        () => `${host.name} commits ${entry.baseOffset} after ${this.committedEnd}`,
      )
      const committedIn = host.node?.epoch ?? entry.epoch
      this.#committed.set(entry.baseOffset, { ...entry, committedIn, text })
      this.#hashes.set(entry.endOffset, hash)
      this.committedEnd = entry.endOffset
      return
    }
    require_(
      known.text === text && known.epoch === entry.epoch && known.endOffset === entry.endOffset,
      'what is committed is the same everywhere',
      () => `${host.name} at ${entry.baseOffset}: "${text}" of ${entry.epoch}, not "${known.text}"`,
    )
    require_(
      this.#hashes.get(entry.endOffset) === hash,
      'states are equal at equal offsets',
      () => `${host.name} at ${entry.endOffset}`,
    )
  }

  /** A snapshot of somebody else has taken the place of a host's state. */
  onInstalled(host: CheckedHost, endOffset: number, hash: number): void {
    require_(
      this.#hashes.get(endOffset) === hash,
      'states are equal at equal offsets',
      () => `${host.name} at ${endOffset}, from a snapshot`,
    )
  }

  /** At the end: what clients were told is safe is there. */
  checkAcknowledged(): void {
    for (const entry of this.acknowledged) {
      const text = decoder.decode(entry.bytes)
      require_(
        this.#committed.get(entry.baseOffset)?.text === text,
        'an acknowledged entry stays',
        () => `${text} at ${entry.baseOffset}`,
      )
    }
  }

  #checkLeader(host: CheckedHost): void {
    const node = host.node!
    const text = keyText(host.key)
    const known = this.#leaders.get(node.epoch)
    require_(
      known === undefined || known === text,
      'an epoch has one leader',
      () => `${node.epoch}: ${known} and ${text}`,
    )
    if (known !== undefined) return
    this.#leaders.set(node.epoch, text)
    this.elections++
    const entries = new Map(host.entries.map((entry) => [entry.baseOffset, entry]))
    for (const [baseOffset, committed] of this.#committed) {
      // A candidate of an epoch that is over may hear late that it was elected; it leads nobody.
      if (baseOffset < node.startOffset || committed.committedIn >= node.epoch) continue
      const own = entries.get(baseOffset)
      require_(
        own !== undefined && decoder.decode(own.bytes) === committed.text,
        'a leader has what is committed',
        () => `${host.name} in ${node.epoch} lacks ${baseOffset}, "${committed.text}"`,
      )
    }
  }

  /** A leader answers its clients once it has committed what it took from them. */
  #acknowledge(host: CheckedHost): void {
    this.#proposals = this.#proposals.filter((proposal) => {
      if (proposal.host !== host) return true
      const { node, life } = host
      const isSame = life === proposal.life && node?.epoch === proposal.entry.epoch
      if (!isSame || node.role !== 'leader') return false
      if (node.committedOffset < proposal.entry.endOffset) return true
      this.acknowledged.push(proposal.entry)
      return false
    })
  }
}
