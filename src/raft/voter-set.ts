/**
 * The voters of a quorum, and what a majority of them has. Immutable.
 */
import { assert } from '../base/assert.ts'
import { keyText, type ReplicaKey } from './replica-key.ts'

export class VoterSet {
  readonly replicas: readonly ReplicaKey[]
  readonly #keys: ReadonlySet<string>

  /** Node ids must differ. */
  constructor(replicas: readonly ReplicaKey[]) {
    assert(new Set(replicas.map(({ id }) => id)).size === replicas.length, 'a node votes twice')
    this.replicas = [...replicas].sort((a, b) => a.id - b.id)
    this.#keys = new Set(replicas.map(keyText))
  }

  get size(): number {
    return this.replicas.length
  }

  /** The smallest number of voters of which any two sets share one. */
  get majority(): number {
    return Math.floor(this.size / 2) + 1
  }

  has(key: ReplicaKey): boolean {
    return this.#keys.has(keyText(key))
  }

  withId(id: number): ReplicaKey | null {
    return this.replicas.find((replica) => replica.id === id) ?? null
  }

  /** Whether those for whom `agrees` is true are a majority. */
  isQuorum(agrees: (voter: ReplicaKey) => boolean): boolean {
    let count = 0
    for (const voter of this.replicas) if (agrees(voter)) count++
    return count >= this.majority
  }

  /** The highest value that a majority has reached; 0 without voters. */
  reachedByMajority(reachedBy: (voter: ReplicaKey) => number): number {
    const values = this.replicas.map(reachedBy).sort((a, b) => b - a)
    return values[this.majority - 1] ?? 0
  }
}
