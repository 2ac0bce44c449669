import { assert } from '../../base/assert.ts'
import { ClassicMember, type MemberProtocol } from './classic-member.ts'
import { CONSUMER_PROTOCOL_TYPE, decodeSubscription } from './consumer-protocol.ts'
import type { GroupMetadataValue, GroupRecord } from './record-schema.ts'

/**
 * A group of the classic protocol (KIP-62): its members meet in rounds, one of them assigns.
 *
 *            first member joins               all have joined, or the time is over
 *   EMPTY ────────────────────▶ PREPARING_REBALANCE ────────────────▶ COMPLETING_REBALANCE
 *     ▲                          │      ▲      ▲                         │        │
 *     └──── nobody is left ──────┘      │      └─ somebody comes or goes ┘        │ the leader has
 *                                       │                                         │ brought the
 *                   somebody comes or goes                                        │ assignment
 *                                       └──────────────── STABLE ◀────────────────┘
 *
 * DEAD is a group that has been deleted. Pure data and questions about it; `classic-protocol.ts`
 * has the transitions.
 */
export type ClassicState =
  | 'Empty'
  | 'PreparingRebalance'
  | 'CompletingRebalance'
  | 'Stable'
  | 'Dead'

export class ClassicGroup {
  readonly type = 'classic'
  readonly groupId: string
  state: ClassicState = 'Empty'
  /** When the state changed, wall clock: idle offsets expire from then on. −1: it is not known. */
  stateSinceMs = -1
  generationId = 0
  /** Null until a member has joined. */
  protocolType: string | null = null
  /** The assignor of this generation. */
  protocolName: string | null = null
  leaderId: string | null = null
  readonly members = new Map<string, ClassicMember>()
  /** Member ids by instance id (KIP-345). */
  readonly staticMembers = new Map<string, string>()
  /** Ids that were handed out and not joined with yet (KIP-394), with when they expire. */
  readonly pendingJoins = new Map<string, number>()
  /** Members of this generation that have not asked for their assignment yet. */
  readonly pendingSyncs = new Set<string>()
  /** When the round of joining ends whoever has joined, and until when others are waited for. */
  joinDeadlineMs = Infinity
  syncDeadlineMs = Infinity
  /** Of the first round of an empty group: how much longer it may wait; −1 for any other round. */
  initialDelayLeftMs = -1
  /** Somebody joined since the wait of the first round began. */
  hasNewJoin = false

  constructor(groupId: string) {
    this.groupId = groupId
  }

  get isEmpty(): boolean {
    return this.members.size === 0
  }

  /** About what its record takes. */
  get bytes(): number {
    let bytes = 0
    for (const member of this.members.values()) bytes += member.bytes
    return bytes
  }

  get awaitingJoinCount(): number {
    let count = 0
    for (const member of this.members.values()) if (member.awaitingJoin !== null) count++
    return count
  }

  get hasAllJoined(): boolean {
    return this.pendingJoins.size === 0 && this.awaitingJoinCount === this.members.size
  }

  /** The longest that one of the members wants to be waited for. */
  get rebalanceTimeoutMs(): number {
    let max = 0
    for (const member of this.members.values()) max = Math.max(max, member.rebalanceTimeoutMs)
    return max
  }

  moveTo(state: ClassicState, wallMs: number): void {
    assert(this.state !== 'Dead' || state === 'Dead')
    this.state = state
    this.stateSinceMs = wallMs
  }

  add(member: ClassicMember): void {
    assert(!this.members.has(member.memberId))
    this.members.set(member.memberId, member)
    if (member.instanceId !== null) this.staticMembers.set(member.instanceId, member.memberId)
    this.leaderId ??= member.memberId
    this.pendingJoins.delete(member.memberId)
  }

  remove(member: ClassicMember): void {
    this.members.delete(member.memberId)
    this.pendingSyncs.delete(member.memberId)
    const { instanceId } = member
    if (instanceId !== null && this.staticMembers.get(instanceId) === member.memberId) {
      this.staticMembers.delete(instanceId)
    }
    if (this.leaderId !== member.memberId) return
    this.leaderId = this.members.keys().next().value ?? null
  }

  /** True when everybody could take part in one of these. An empty group takes any. */
  supports(protocolType: string, protocols: readonly MemberProtocol[]): boolean {
    if (protocolType === '' || protocols.length === 0) return false
    if (this.isEmpty) return true
    if (this.protocolType !== protocolType) return false
    return protocols.some(({ name }) => this.isKnownToAll(name))
  }

  isKnownToAll(protocolName: string): boolean {
    for (const { protocols } of this.members.values()) {
      if (!protocols.some(({ name }) => name === protocolName)) return false
    }
    return true
  }

  /** Each member votes for the first of its protocols that all know; the most votes win. */
  selectProtocol(): string {
    const votes = new Map<string, number>()
    for (const { protocols } of this.members.values()) {
      const choice = protocols.find(({ name }) => this.isKnownToAll(name))
      assert(choice !== undefined, 'members without a protocol in common')
      votes.set(choice.name, (votes.get(choice.name) ?? 0) + 1)
    }
    let winner = ''
    let most = 0
    for (const [name, count] of votes) {
      if (count <= most) continue
      winner = name
      most = count
    }
    return winner
  }

  /** What consumers are subscribed to; null when that cannot be known. */
  subscribedTopics(): ReadonlySet<string> | null {
    if (this.isEmpty) return new Set()
    if (this.protocolType !== CONSUMER_PROTOCOL_TYPE || this.protocolName === null) return null
    const topics = new Set<string>()
    for (const member of this.members.values()) {
      const subscription = decodeSubscription(member.metadataOf(this.protocolName))
      if (subscription === null) return null
      for (const topic of subscription.topics) topics.add(topic)
    }
    return topics
  }

  /** When something is due though no request comes, monotonic. */
  get deadlineMs(): number {
    let first = Math.min(this.joinDeadlineMs, this.syncDeadlineMs)
    for (const member of this.members.values()) first = Math.min(first, member.deadlineMs)
    for (const deadlineMs of this.pendingJoins.values()) first = Math.min(first, deadlineMs)
    return first
  }

  /** What is durable of the group: written when a generation begins or ends. */
  record(): GroupRecord {
    const value: GroupMetadataValue = {
      protocolType: this.protocolType ?? '',
      generation: this.generationId,
      protocol: this.protocolName,
      leader: this.leaderId,
      currentStateTimestamp: this.stateSinceMs,
      members: [...this.members.values()].map((member) => ({
        memberId: member.memberId,
        groupInstanceId: member.instanceId,
        clientId: member.clientId,
        clientHost: member.clientHost,
        rebalanceTimeout: member.rebalanceTimeoutMs,
        sessionTimeout: member.sessionTimeoutMs,
        subscription: member.metadataOf(this.protocolName ?? ''),
        assignment: member.assignment,
      })),
    }
    return { type: 'group', key: { group: this.groupId }, value }
  }
}

/** The group that a record describes. */
export function restoreClassicGroup(groupId: string, value: GroupMetadataValue): ClassicGroup {
  const group = new ClassicGroup(groupId)
  group.state = value.members.length === 0 ? 'Empty' : 'Stable'
  group.stateSinceMs = value.currentStateTimestamp
  group.generationId = value.generation
  group.protocolType = value.protocolType === '' ? null : value.protocolType
  group.protocolName = value.protocol
  for (const each of value.members) {
    const member = new ClassicMember({
      memberId: each.memberId,
      instanceId: each.groupInstanceId,
      clientId: each.clientId,
      clientHost: each.clientHost,
      rebalanceTimeoutMs: each.rebalanceTimeout < 0 ? each.sessionTimeout : each.rebalanceTimeout,
      sessionTimeoutMs: each.sessionTimeout,
      // The others are not written down: a member names them again when it joins again.
      protocols:
        value.protocol === null ? [] : [{ name: value.protocol, metadata: each.subscription }],
    })
    member.assignment = each.assignment
    group.add(member)
  }
  group.leaderId = value.leader
  return group
}
