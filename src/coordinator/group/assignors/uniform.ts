import { assert } from '../../../base/assert.ts'
import type { Uuid } from '../../../base/uuid.ts'
import { addPartition } from '../assignment.ts'
import type { Assignor, AssignorInput } from './assignor.ts'

/**
 * Uniform and sticky: members keep what they have as far as that is even. Where all are subscribed
 * to the same topics, nobody has more than one partition above another, and no partition moves that
 * need not. Otherwise partitions move one by one, from who has more to who has at least two less,
 * until there is none to move.
 */
export const assignUniform: Assignor = (input) => {
  const draft = new Draft(input)
  if (input.members.size === 0) return draft.assignment
  if (isHomogeneous(input)) draft.fillEvenly()
  else draft.balance()
  return draft.assignment
}

function isHomogeneous({ members }: AssignorInput): boolean {
  const [first] = members.values()
  if (first === undefined) return true
  for (const { topics } of members.values()) {
    if (topics === first.topics) continue
    if (topics.size !== first.topics.size) return false
    for (const topic of topics) if (!first.topics.has(topic)) return false
  }
  return true
}

interface Partition {
  readonly topicId: Uuid
  readonly partition: number
}

class Draft {
  readonly #input: AssignorInput
  readonly assignment = new Map<string, Map<Uuid, Set<number>>>()
  readonly #counts = new Map<string, number>()
  /** Topic → owners by partition; undefined: nobody yet. */
  readonly #owners = new Map<Uuid, (string | undefined)[]>()

  constructor(input: AssignorInput) {
    this.#input = input
    for (const [topicId, partitions] of input.topics) {
      this.#owners.set(topicId, new Array<string | undefined>(partitions).fill(undefined))
    }
    for (const memberId of input.members.keys()) {
      this.assignment.set(memberId, new Map())
      this.#counts.set(memberId, 0)
    }
  }

  /** All are subscribed to the same. */
  fillEvenly(): void {
    const { members } = this.#input
    const [{ topics }] = members.values() as unknown as [{ topics: ReadonlySet<Uuid> }]
    let total = 0
    for (const topicId of topics) total += this.#input.topics.get(topicId) ?? 0
    const quota = Math.floor(total / members.size)
    let larger = total % members.size
    for (const memberId of members.keys()) {
      const kept = [...this.#keepable(memberId)]
      const isLarger = kept.length > quota && larger > 0
      if (isLarger) larger--
      for (const each of kept.slice(0, quota + (isLarger ? 1 : 0))) this.#give(each, memberId)
    }
    const free = this.#unowned(topics)
    // One each in turn, so that a topic's partitions are spread over members.
    let hungry = [...members.keys()]
    while (free.length > 0) {
      const next: string[] = []
      for (const memberId of hungry) {
        const count = this.#counts.get(memberId)!
        const mayTake = count < quota || (count === quota && larger > 0)
        const each = mayTake ? free.pop() : undefined
        if (each === undefined) continue
        if (count === quota) larger--
        this.#give(each, memberId)
        next.push(memberId)
      }
      assert(next.length > 0, 'partitions are left and nobody may take them')
      hungry = next
    }
  }

  balance(): void {
    const subscribers = this.#subscribers()
    for (const memberId of this.#input.members.keys()) {
      for (const each of this.#keepable(memberId)) this.#give(each, memberId)
    }
    // Those that the fewest could take first.
    const topics = [...subscribers].sort(([, a], [, b]) => a.length - b.length)
    for (const [topicId, candidates] of topics) {
      for (const [partition, owner] of this.#owners.get(topicId)!.entries()) {
        if (owner === undefined) this.#give({ topicId, partition }, this.#poorest(candidates))
      }
    }
    // Each move makes the sum of the squared counts smaller, so this ends.
    while (topics.map(([topicId, each]) => this.#even(topicId, each)).includes(true)) {}
  }

  /** Moves partitions of a topic from its richest to its poorest; false when none had to move. */
  #even(topicId: Uuid, candidates: readonly string[]): boolean {
    let hasMoved = false
    let poorest = this.#poorest(candidates)
    for (const [partition, owner] of this.#owners.get(topicId)!.entries()) {
      if (this.#counts.get(owner!)! < this.#counts.get(poorest)! + 2) continue
      this.#take({ topicId, partition }, owner!)
      this.#give({ topicId, partition }, poorest)
      poorest = this.#poorest(candidates)
      hasMoved = true
    }
    return hasMoved
  }

  #subscribers(): Map<Uuid, string[]> {
    const subscribers = new Map<Uuid, string[]>()
    for (const [memberId, { topics }] of this.#input.members) {
      for (const topicId of topics) {
        const list = subscribers.get(topicId)
        if (list === undefined) subscribers.set(topicId, [memberId])
        else list.push(memberId)
      }
    }
    return subscribers
  }

  #poorest(candidates: readonly string[]): string {
    let poorest = candidates[0]!
    for (const memberId of candidates) {
      if (this.#counts.get(memberId)! < this.#counts.get(poorest)!) poorest = memberId
    }
    return poorest
  }

  /** What a member had and may have still, unless somebody else has it already. */
  *#keepable(memberId: string): Generator<Partition> {
    const { topics, previous } = this.#input.members.get(memberId)!
    for (const [topicId, partitions] of previous) {
      const owners = topics.has(topicId) ? this.#owners.get(topicId) : undefined
      if (owners === undefined) continue
      for (const partition of [...partitions].sort((a, b) => a - b)) {
        if (partition < owners.length && owners[partition] === undefined) {
          yield { topicId, partition }
        }
      }
    }
  }

  /** In the opposite order, to be popped. */
  #unowned(topics: ReadonlySet<Uuid>): Partition[] {
    const free: Partition[] = []
    for (const topicId of topics) {
      for (const [partition, owner] of (this.#owners.get(topicId) ?? []).entries()) {
        if (owner === undefined) free.push({ topicId, partition })
      }
    }
    return free.reverse()
  }

  #give({ topicId, partition }: Partition, memberId: string): void {
    this.#owners.get(topicId)![partition] = memberId
    addPartition(this.assignment.get(memberId)!, topicId, partition)
    this.#counts.set(memberId, this.#counts.get(memberId)! + 1)
  }

  #take({ topicId, partition }: Partition, memberId: string): void {
    const own = this.assignment.get(memberId)!
    const partitions = own.get(topicId)!
    partitions.delete(partition)
    if (partitions.size === 0) own.delete(topicId)
    this.#counts.set(memberId, this.#counts.get(memberId)! - 1)
  }
}
