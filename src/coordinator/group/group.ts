import type { ClassicGroup } from './classic-group.ts'
import type { ConsumerGroup } from './consumer-group.ts'

/** A group of either protocol. */
export type Group = ClassicGroup | ConsumerGroup

/** True when nobody is in it and nobody is about to be. */
export function isDeletable(group: Group): boolean {
  if (group.type === 'consumer') return group.isEmpty
  return group.state === 'Empty' && group.isEmpty && group.pendingJoins.size === 0
}

/** Since when it is idle, wall clock; −1: it is not known. */
export function idleSinceMs(group: Group): number {
  if (group.type === 'consumer') return group.emptySinceMs
  return group.protocolType === null ? -1 : group.stateSinceMs
}
