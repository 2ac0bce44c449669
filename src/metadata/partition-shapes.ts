/**
 * What a partition's state is apart from its epochs, each kind kept once: partitions are many, but
 * the ways in which a few brokers can lead and follow them are not.
 *
 * Shapes are never forgotten: there are as many as ever were in use, and at most the ways to choose
 * replicas times those in which they can be in sync.
 */
import { NO_LEADER, type PartitionState } from './partition-rules.ts'

export type PartitionShape = Omit<PartitionState, 'leaderEpoch' | 'partitionEpoch'>

/** Of rows that are no partition. */
export const NO_SHAPE = 0

export class PartitionShapes {
  readonly #shapes: PartitionShape[] = [
    {
      replicas: [],
      inSyncReplicas: [],
      eligibleReplicas: [],
      lastKnownLeader: NO_LEADER,
      leader: NO_LEADER,
    },
  ]
  readonly #idByKey = new Map<string, number>()
  /** Lists of broker ids, by their text: most are the list of another shape as well. */
  readonly #lists = new Map<string, readonly number[]>()

  get(id: number): PartitionShape {
    return this.#shapes[id] as PartitionShape
  }

  idOf(shape: PartitionShape): number {
    const replicas = shape.replicas.join()
    const inSync = shape.inSyncReplicas.join()
    const eligible = shape.eligibleReplicas.join()
    const key = `${replicas}|${inSync}|${eligible}|${shape.lastKnownLeader}|${shape.leader}`
    const known = this.#idByKey.get(key)
    if (known !== undefined) return known
    const id = this.#shapes.length
    this.#shapes.push({
      replicas: this.#list(replicas, shape.replicas),
      inSyncReplicas: this.#list(inSync, shape.inSyncReplicas),
      eligibleReplicas: this.#list(eligible, shape.eligibleReplicas),
      lastKnownLeader: shape.lastKnownLeader,
      leader: shape.leader,
    })
    this.#idByKey.set(key, id)
    return id
  }

  #list(text: string, ids: readonly number[]): readonly number[] {
    const known = this.#lists.get(text)
    if (known !== undefined) return known
    // A copy: whoever made it may go on with it.
    const list = Object.freeze([...ids])
    this.#lists.set(text, list)
    return list
  }
}
