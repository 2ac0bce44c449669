/**
 * Who takes part in a quorum: a node id together with the id of the directory that holds its log
 * (KIP-853). A node whose disk was lost comes back with a new directory id, so as somebody who has
 * promised nothing: its old votes cannot be given twice.
 */
import type { Uuid } from '../base/uuid.ts'

export interface ReplicaKey {
  readonly id: number
  readonly directoryId: Uuid
}

/** Equal for equal replicas; a key of maps. */
export function keyText({ id, directoryId }: ReplicaKey): string {
  return `${id}:${directoryId}`
}

export function isSameReplica(a: ReplicaKey | null, b: ReplicaKey | null): boolean {
  if (a === null || b === null) return a === b
  return a.id === b.id && a.directoryId === b.directoryId
}
