import type { Uuid } from '../../base/uuid.ts'
import type { OffsetValue } from './record-schema.ts'

/** How far a group has come in one partition. */
export interface CommittedOffset {
  readonly offset: number
  /** −1: not known. */
  readonly leaderEpoch: number
  readonly metadata: string
  readonly commitTimestampMs: number
  /** Of old clients that asked for it; −1: the broker's retention. */
  readonly expireTimestampMs: number
  /** The topic that was meant, should its name be taken by another one; the zero uuid: any. */
  readonly topicId: Uuid
}

/** The committed offsets of all groups of a coordinator, by group, topic and partition. Pure. */
export class GroupOffsets {
  readonly #groups = new Map<string, Map<string, Map<number, CommittedOffset>>>()
  #count = 0

  get count(): number {
    return this.#count
  }

  get(groupId: string, topic: string, partition: number): CommittedOffset | undefined {
    return this.#groups.get(groupId)?.get(topic)?.get(partition)
  }

  topics(groupId: string): ReadonlyMap<string, ReadonlyMap<number, CommittedOffset>> {
    return this.#groups.get(groupId) ?? NONE
  }

  /** Of the groups that have any. */
  groupIds(): Iterable<string> {
    return this.#groups.keys()
  }

  has(groupId: string): boolean {
    return this.#groups.has(groupId)
  }

  set(groupId: string, at: { topic: string; partition: number }, value: OffsetValue | null): void {
    if (value === null) {
      this.#delete(groupId, at)
      return
    }
    const topics = entry(this.#groups, groupId)
    const partitions = entry(topics, at.topic)
    if (!partitions.has(at.partition)) this.#count++
    partitions.set(at.partition, {
      offset: value.offset,
      leaderEpoch: value.leaderEpoch,
      metadata: value.metadata,
      commitTimestampMs: value.commitTimestamp,
      expireTimestampMs: value.expireTimestamp,
      topicId: value.topicId,
    })
  }

  #delete(groupId: string, { topic, partition }: { topic: string; partition: number }): void {
    const topics = this.#groups.get(groupId)
    const partitions = topics?.get(topic)
    if (topics === undefined || partitions === undefined) return
    if (partitions.delete(partition)) this.#count--
    if (partitions.size === 0) topics.delete(topic)
    if (topics.size === 0) this.#groups.delete(groupId)
  }
}

const NONE: ReadonlyMap<string, ReadonlyMap<number, CommittedOffset>> = new Map()

function entry<K, L, V>(map: Map<K, Map<L, V>>, key: K): Map<L, V> {
  let inner = map.get(key)
  if (inner === undefined) {
    inner = new Map()
    map.set(key, inner)
  }
  return inner
}
