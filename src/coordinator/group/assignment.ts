import type { Uuid } from '../../base/uuid.ts'

/** Partitions by topic id, as an assignor hands them out. No topic has an empty set. */
export type Assignment = ReadonlyMap<Uuid, ReadonlySet<number>>

/**
 * Partitions by topic id that a member has, each with the member epoch at which it got it
 * (KIP-1251). No topic has an empty map.
 */
export type OwnedPartitions = ReadonlyMap<Uuid, ReadonlyMap<number, number>>

/** How records and messages write partitions down. */
export interface TopicPartitions {
  readonly topicId: Uuid
  readonly partitions: readonly number[]
}

export const NO_PARTITIONS: Assignment & OwnedPartitions = new Map<Uuid, never>()

export function assignmentOf(list: readonly TopicPartitions[]): Assignment {
  const assignment = new Map<Uuid, Set<number>>()
  for (const { topicId, partitions } of list) {
    for (const partition of partitions) addPartition(assignment, topicId, partition)
  }
  return assignment
}

export function addPartition(to: Map<Uuid, Set<number>>, topicId: Uuid, partition: number): void {
  const partitions = to.get(topicId)
  if (partitions === undefined) to.set(topicId, new Set([partition]))
  else partitions.add(partition)
}

export function own(
  to: Map<Uuid, Map<number, number>>,
  at: { readonly topicId: Uuid; readonly partition: number; readonly epoch: number },
): void {
  const partitions = to.get(at.topicId)
  if (partitions === undefined) to.set(at.topicId, new Map([[at.partition, at.epoch]]))
  else partitions.set(at.partition, at.epoch)
}

export function has(
  partitions: Assignment | OwnedPartitions,
  id: Uuid,
  partition: number,
): boolean {
  return partitions.get(id)?.has(partition) === true
}

export function listOf(partitions: Assignment | OwnedPartitions): TopicPartitions[] {
  return [...partitions].map(([topicId, each]) => ({
    topicId,
    partitions: [...each.keys()].sort((a, b) => a - b),
  }))
}

export function* eachPartition(
  of: Assignment | OwnedPartitions,
): Generator<{ readonly topicId: Uuid; readonly partition: number }> {
  for (const [topicId, partitions] of of) {
    for (const partition of partitions.keys()) yield { topicId, partition }
  }
}

/** True when both name the same partitions. */
export function isSame(a: Assignment | OwnedPartitions, b: Assignment | OwnedPartitions): boolean {
  return a === b || (a.size === b.size && sizesMatch(a, b) && isSubset(a, b))
}

function sizesMatch(a: Assignment | OwnedPartitions, b: Assignment | OwnedPartitions): boolean {
  for (const [topicId, partitions] of a) if (b.get(topicId)?.size !== partitions.size) return false
  return true
}

export function isSubset(
  inner: Assignment | OwnedPartitions,
  outer: Assignment | OwnedPartitions,
): boolean {
  for (const { topicId, partition } of eachPartition(inner)) {
    if (!has(outer, topicId, partition)) return false
  }
  return true
}

export function intersects(
  a: Assignment | OwnedPartitions,
  b: Assignment | OwnedPartitions,
): boolean {
  for (const { topicId, partition } of eachPartition(a)) if (has(b, topicId, partition)) return true
  return false
}
