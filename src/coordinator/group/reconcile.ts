import type { Uuid } from '../../base/uuid.ts'
import {
  type Assignment,
  eachPartition,
  has,
  intersects,
  isSame,
  NO_PARTITIONS,
  type OwnedPartitions,
  own,
} from './assignment.ts'
import type { MemberProgress, MemberState } from './consumer-member.ts'

/**
 * One step of a member towards the group's target (KIP-848, "Rebalance Process"). Each member
 * converges on its own:
 *
 *   STABLE ─ must give something up ─▶ UNREVOKED ─ reports that it has ─▶ STABLE or UNRELEASED
 *   STABLE ─ others have what it is to get ─▶ UNRELEASED ─ they gave it up ─▶ STABLE
 *
 * While UNREVOKED it keeps its epoch; otherwise it takes the target's. Pure.
 */
export interface Reconciliation {
  readonly target: Assignment
  readonly targetEpoch: number
  /** What the member reports to have; null: it says nothing about it. */
  readonly reported: Assignment | null
  /** True when another member has it, or has not given it up. */
  isTaken(topicId: Uuid, partition: number): boolean
}

/** Returns `before` itself when nothing changes. */
export function reconcile(before: MemberProgress, step: Reconciliation): MemberProgress {
  switch (before.state) {
    case 'stable':
      return before.memberEpoch === step.targetEpoch ? before : advance(before, step)
    case 'unrevoked': {
      const { reported } = step
      if (reported === null || intersects(reported, before.pendingRevocation)) return before
      return advance(before, step)
    }
    case 'unreleased':
      return advance(before, step)
  }
}

function advance(before: MemberProgress, step: Reconciliation): MemberProgress {
  const { target, targetEpoch, reported } = step
  const kept = new Map<Uuid, Map<number, number>>()
  const revoked = new Map<Uuid, Map<number, number>>()
  for (const [topicId, partitions] of before.assigned) {
    for (const [partition, epoch] of partitions) {
      own(has(target, topicId, partition) ? kept : revoked, { topicId, partition, epoch })
    }
  }
  if (revoked.size > 0 && (reported === null || intersects(reported, revoked))) {
    return changed(before, before.memberEpoch, {
      state: 'unrevoked',
      assigned: kept,
      pendingRevocation: revoked,
    })
  }
  let state: MemberState = 'stable'
  for (const { topicId, partition } of eachPartition(target)) {
    if (has(kept, topicId, partition)) continue
    if (step.isTaken(topicId, partition)) state = 'unreleased'
    else own(kept, { topicId, partition, epoch: targetEpoch })
  }
  return changed(before, targetEpoch, { state, assigned: kept, pendingRevocation: NO_PARTITIONS })
}

function changed(
  before: MemberProgress,
  memberEpoch: number,
  next: {
    readonly state: MemberState
    readonly assigned: OwnedPartitions
    readonly pendingRevocation: OwnedPartitions
  },
): MemberProgress {
  const isEqual =
    before.memberEpoch === memberEpoch &&
    before.state === next.state &&
    isSame(before.assigned, next.assigned) &&
    isSame(before.pendingRevocation, next.pendingRevocation)
  if (isEqual) return before
  // An epoch that stays leaves the one before it as it is: its answer may still be asked for again.
  const previousMemberEpoch =
    before.memberEpoch === memberEpoch ? before.previousMemberEpoch : before.memberEpoch
  return { memberEpoch, previousMemberEpoch, ...next }
}
