import { NO_PARTITIONS, type OwnedPartitions } from './assignment.ts'
import type { MemberProtocol } from './classic-member.ts'

/**
 * A member of a consumer group (KIP-848): what it is subscribed to, and how far it has come towards
 * the group's target assignment. Pure data; times are monotonic, in milliseconds.
 */
export type MemberState =
  /** Has what its epoch says. */
  | 'stable'
  /** Has been told to give partitions up and has not reported that it has. */
  | 'unrevoked'
  /** Waits for partitions that others have not given up. */
  | 'unreleased'

/** Where a member stands; replaced as a whole. */
export interface MemberProgress {
  /** The target assignment it has reached; −2: a static member that is away. */
  readonly memberEpoch: number
  /** The epoch before, from which a lost answer is asked for again. */
  readonly previousMemberEpoch: number
  readonly state: MemberState
  /** What it may have. Disjoint from `pendingRevocation`. */
  readonly assigned: OwnedPartitions
  /** What it must give up, and has until then. */
  readonly pendingRevocation: OwnedPartitions
}

/** What a member of the classic protocol, in a group of the new one, joined with. */
export interface ClassicSide {
  readonly sessionTimeoutMs: number
  readonly protocols: readonly MemberProtocol[]
}

/** What a member has said of itself; replaced as a whole. */
export interface MemberProfile {
  readonly instanceId: string | null
  readonly rackId: string | null
  readonly clientId: string
  readonly clientHost: string
  readonly rebalanceTimeoutMs: number
  /** Sorted. */
  readonly topicNames: readonly string[]
  readonly regex: string | null
  readonly serverAssignor: string | null
  /** Null for a member of the new protocol. */
  readonly classic: ClassicSide | null
}

/** Of a member that has said nothing. */
export const NEW_PROFILE: MemberProfile = {
  instanceId: null,
  rackId: null,
  clientId: '',
  clientHost: '',
  rebalanceTimeoutMs: 0,
  topicNames: [],
  regex: null,
  serverAssignor: null,
  classic: null,
}

export const NEW_PROGRESS: MemberProgress = {
  memberEpoch: 0,
  previousMemberEpoch: 0,
  state: 'stable',
  assigned: NO_PARTITIONS,
  pendingRevocation: NO_PARTITIONS,
}

export const LEFT_STATIC_EPOCH = -2

export class ConsumerMember {
  readonly memberId: string
  profile: MemberProfile
  progress: MemberProgress = NEW_PROGRESS
  /** When it is taken for dead. */
  sessionDeadlineMs = Infinity
  /** Until when it must have given up what it must: its rebalance timeout. */
  revocationDeadlineMs = Infinity
  /** Of a classic member: until when it must have joined again, and asked for its assignment. */
  joinDeadlineMs = Infinity
  syncDeadlineMs = Infinity

  constructor(memberId: string, profile: MemberProfile) {
    this.memberId = memberId
    this.profile = profile
  }

  get isClassic(): boolean {
    return this.profile.classic !== null
  }

  get deadlineMs(): number {
    return Math.min(
      this.sessionDeadlineMs,
      this.revocationDeadlineMs,
      this.joinDeadlineMs,
      this.syncDeadlineMs,
    )
  }
}

export function isSameProfile(a: MemberProfile, b: MemberProfile): boolean {
  return (
    a.instanceId === b.instanceId &&
    a.rackId === b.rackId &&
    a.clientId === b.clientId &&
    a.clientHost === b.clientHost &&
    a.rebalanceTimeoutMs === b.rebalanceTimeoutMs &&
    a.serverAssignor === b.serverAssignor &&
    a.classic === b.classic &&
    isSameSubscription(a, b)
  )
}

export function isSameSubscription(a: MemberProfile, b: MemberProfile): boolean {
  return (
    a.regex === b.regex &&
    a.topicNames.length === b.topicNames.length &&
    a.topicNames.every((name, i) => name === b.topicNames[i])
  )
}
