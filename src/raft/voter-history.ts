/**
 * Which set of voters holds from which offset on. A set holds as soon as its entry is in the log,
 * committed or not (Raft dissertation, 4.1), so that a truncation brings back the one before it.
 */
import { assert } from '../base/assert.ts'
import type { ReplicaKey } from './replica-key.ts'
import type { VoterSet } from './voter-set.ts'

interface Change {
  /** Of the entry; exclusive. */
  readonly endOffset: number
  readonly voters: VoterSet
}

export class VoterHistory {
  /** Never empty, by offset. The first is the set of the log's start. */
  #changes: Change[]

  constructor(voters: VoterSet, startOffset: number) {
    this.#changes = [{ endOffset: startOffset, voters }]
  }

  get latest(): VoterSet {
    return this.#newest.voters
  }

  /** End offset of the entry that the newest set came with; exclusive. */
  get latestEndOffset(): number {
    return this.#newest.endOffset
  }

  /** The set at the end of the log's first `offset` records. */
  at(offset: number): VoterSet {
    let i = this.#changes.length - 1
    while (i > 0 && (this.#changes[i] as Change).endOffset > offset) i--
    return (this.#changes[i] as Change).voters
  }

  /** Whether `key` is in the set at `offset` or in a later one. */
  hasSince(offset: number, key: ReplicaKey): boolean {
    return this.#changes.some(({ voters }, i) => {
      const next = this.#changes[i + 1]
      return (next === undefined || next.endOffset > offset) && voters.has(key)
    })
  }

  add(endOffset: number, voters: VoterSet): void {
    assert(endOffset > this.latestEndOffset, 'sets of voters come in order')
    this.#changes.push({ endOffset, voters })
  }

  /** Forgets sets whose entries end above `offset`. */
  truncateTo(offset: number): void {
    while (this.#changes.length > 1 && this.latestEndOffset > offset) this.#changes.pop()
  }

  /** The log begins at `offset` from now on. */
  startAt(offset: number): void {
    while (this.#changes.length > 1 && (this.#changes[1] as Change).endOffset <= offset) {
      this.#changes.shift()
    }
  }

  get #newest(): Change {
    return this.#changes.at(-1) as Change
  }
}
