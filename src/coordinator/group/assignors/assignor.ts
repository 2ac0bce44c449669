import type { Uuid } from '../../../base/uuid.ts'
import type { Assignment } from '../assignment.ts'

/** What an assignor is told. Members come in an order that stays the same while they do. */
export interface AssignorInput {
  readonly members: ReadonlyMap<string, AssignorMember>
  /** Partitions by topic id, of all topics that somebody is subscribed to and that exist. */
  readonly topics: ReadonlyMap<Uuid, number>
}

export interface AssignorMember {
  /** Of a static member: it keeps its place when it comes back under another id. */
  readonly instanceId: string | null
  /** Topics, of those that exist. */
  readonly topics: ReadonlySet<Uuid>
  /** What it had by the last assignment, some of which may be gone. */
  readonly previous: Assignment
}

/**
 * Gives every partition that somebody is subscribed to to one of these, and an entry to every
 * member. Pure and deterministic.
 */
export type Assignor = (input: AssignorInput) => Map<string, Map<Uuid, Set<number>>>
