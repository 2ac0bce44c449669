/**
 * How a quorum begins. The controllers that are configured tell each other which disk each of them
 * has; once every one has been heard they all begin with the same voters, and write them down
 * before they vote. Whoever comes when that has been done, with a disk that is not among them, or
 * without being a controller, is told the voters and follows as an observer.
 */
import type { PeerHello } from '../../cluster/link.ts'
import type { SavedQuorum } from '../../cluster/quorum-state-file.ts'
import type { ReplicaKey } from '../../raft/replica-key.ts'

export class Formation {
  readonly #self: ReplicaKey
  readonly #controllerIds: readonly number[]
  readonly #directories = new Map<number, string>()
  readonly #resolve: (state: SavedQuorum) => void
  /** A controller does not let this node in. */
  readonly fail: (error: Error) => void
  /** What this replica begins with; rejects with what `fail` was told. */
  readonly done: Promise<SavedQuorum>

  constructor(self: ReplicaKey, controllerIds: readonly number[]) {
    this.#self = self
    this.#controllerIds = controllerIds
    if (controllerIds.includes(self.id)) this.#directories.set(self.id, self.directoryId)
    let settle = { resolve: (_: SavedQuorum): void => undefined, reject: (_: Error) => {} }
    this.done = new Promise((resolve, reject) => {
      settle = { resolve, reject }
    })
    this.#resolve = settle.resolve
    this.fail = settle.reject
    this.#settle()
  }

  /** Controllers that have not been heard yet. */
  get missing(): number[] {
    return this.#controllerIds.filter((id) => !this.#directories.has(id))
  }

  onHello(peerId: number, { directoryId, voters }: PeerHello): void {
    if (voters.length > 0) {
      this.#resolve({ epoch: 0, votedFor: null, firstVoters: voters })
      return
    }
    if (this.#controllerIds.includes(peerId)) this.#directories.set(peerId, directoryId)
    this.#settle()
  }

  #settle(): void {
    // Who is no controller waits until those have a quorum.
    if (this.missing.length > 0 || !this.#controllerIds.includes(this.#self.id)) return
    const firstVoters = this.#controllerIds.map((id) => {
      return { id, directoryId: this.#directories.get(id) as string }
    })
    this.#resolve({ epoch: 0, votedFor: null, firstVoters })
  }
}
