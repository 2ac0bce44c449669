import { assert } from '../../base/assert.ts'
import type { Uuid } from '../../base/uuid.ts'
import {
  type Assignment,
  eachPartition,
  has,
  NO_PARTITIONS,
  type OwnedPartitions,
} from './assignment.ts'
import type { ConsumerMember, MemberProfile, MemberProgress } from './consumer-member.ts'

/**
 * A group of the new protocol (KIP-848): the coordinator assigns, and each member converges on its
 * own towards the target.
 *
 *   groupEpoch       grows when a member, a subscription or a subscribed topic changes
 *   assignmentEpoch  the group epoch that the target assignment was made for
 *   member epoch     the assignment epoch that the member has reached (`reconcile.ts`)
 *
 *   EMPTY     nobody is in it            RECONCILING  a member has not reached the target
 *   ASSIGNING the target is not made     STABLE       all have
 *
 * Pure data and questions about it; `consumer-group-protocol.ts` has the transitions.
 */
export type ConsumerGroupState = 'Empty' | 'Assigning' | 'Reconciling' | 'Stable'

export class ConsumerGroup {
  readonly type = 'consumer'
  readonly groupId: string
  groupEpoch = 0
  assignmentEpoch = 0
  /** When the target was made, wall clock. */
  assignedAtMs = 0
  /** Of the subscribed topics as the group epoch knows them; 0: of none. */
  metadataHash = 0
  /** Version of the topics that `metadataHash` was last compared with; −1: never. */
  topicsVersion = -1
  /** Since when nobody is in it, wall clock; −1: it is not known. */
  emptySinceMs = -1
  readonly members = new Map<string, ConsumerMember>()
  /** Member ids by instance id. */
  readonly staticMembers = new Map<string, string>()
  /** By member id. */
  readonly targets = new Map<string, Assignment>()
  /** Names of topics by regular expression, as they were when it was last looked. */
  readonly regexes = new Map<string, ReadonlySet<string>>()
  /** Who has a partition, or has not given it up: never more than one. */
  readonly #owners = new Map<Uuid, Map<number, string>>()

  constructor(groupId: string) {
    this.groupId = groupId
  }

  get isEmpty(): boolean {
    return this.members.size === 0
  }

  get state(): ConsumerGroupState {
    if (this.isEmpty) return 'Empty'
    if (this.groupEpoch > this.assignmentEpoch) return 'Assigning'
    for (const { progress } of this.members.values()) {
      if (progress.state !== 'stable' || progress.memberEpoch !== this.assignmentEpoch) {
        return 'Reconciling'
      }
    }
    return 'Stable'
  }

  get hasClassicMembers(): boolean {
    for (const member of this.members.values()) if (member.isClassic) return true
    return false
  }

  get hasOnlyClassicMembers(): boolean {
    for (const member of this.members.values()) if (!member.isClassic) return false
    return !this.isEmpty
  }

  memberOfInstance(instanceId: string): ConsumerMember | undefined {
    return this.members.get(this.staticMembers.get(instanceId) ?? '')
  }

  add(member: ConsumerMember): void {
    assert(!this.members.has(member.memberId))
    this.members.set(member.memberId, member)
    const { instanceId } = member.profile
    if (instanceId !== null) this.staticMembers.set(instanceId, member.memberId)
    this.#occupy(member.memberId, member.progress)
  }

  remove(member: ConsumerMember): void {
    const { memberId, profile } = member
    this.members.delete(memberId)
    this.targets.delete(memberId)
    this.#vacate(memberId, member.progress)
    const { instanceId } = profile
    if (instanceId !== null && this.staticMembers.get(instanceId) === memberId) {
      this.staticMembers.delete(instanceId)
    }
  }

  /** `progress` is what the member has come to. */
  advance(member: ConsumerMember, progress: MemberProgress): void {
    this.#vacate(member.memberId, member.progress)
    member.progress = progress
    this.#occupy(member.memberId, progress)
  }

  /** True when somebody else than `memberId` has the partition. */
  isTaken(memberId: string, topicId: Uuid, partition: number): boolean {
    const owner = this.#owners.get(topicId)?.get(partition)
    return owner !== undefined && owner !== memberId
  }

  target(memberId: string): Assignment {
    return this.targets.get(memberId) ?? NO_PARTITIONS
  }

  /** True when what the member waits for is still with others, or it waits for nothing. */
  isHeldUp({ memberId, progress }: ConsumerMember): boolean {
    for (const { topicId, partition } of eachPartition(this.target(memberId))) {
      const isMissing = !has(progress.assigned, topicId, partition)
      if (isMissing && !this.isTaken(memberId, topicId, partition)) return false
    }
    return true
  }

  /** Names of the topics that a member is subscribed to, whether they exist or not. */
  topicsOf({ topicNames, regex }: MemberProfile): ReadonlySet<string> {
    const matched = regex === null ? undefined : this.regexes.get(regex)
    if (matched === undefined) return new Set(topicNames)
    return topicNames.length === 0 ? matched : new Set([...topicNames, ...matched])
  }

  subscribedTopics(): ReadonlySet<string> {
    const topics = new Set<string>()
    for (const { topicNames } of this.#profiles()) for (const name of topicNames) topics.add(name)
    for (const matched of this.regexes.values()) for (const name of matched) topics.add(name)
    return topics
  }

  /** The assignor that most members prefer, of those that say so; else `byDefault`. */
  preferredAssignor(byDefault: string): string {
    const votes = new Map<string, number>()
    for (const { serverAssignor } of this.#profiles()) {
      if (serverAssignor !== null) votes.set(serverAssignor, (votes.get(serverAssignor) ?? 0) + 1)
    }
    let winner = byDefault
    let most = 0
    for (const [name, count] of votes) {
      if (count <= most) continue
      winner = name
      most = count
    }
    return winner
  }

  isRegexUsed(regex: string): boolean {
    for (const profile of this.#profiles()) if (profile.regex === regex) return true
    return false
  }

  /** When something is due though no request comes, monotonic. */
  get deadlineMs(): number {
    let first = Infinity
    for (const member of this.members.values()) first = Math.min(first, member.deadlineMs)
    return first
  }

  *#profiles(): Generator<MemberProfile> {
    for (const { profile } of this.members.values()) yield profile
  }

  #occupy(memberId: string, { assigned, pendingRevocation }: MemberProgress): void {
    this.#setOwners(memberId, assigned)
    this.#setOwners(memberId, pendingRevocation)
  }

  #setOwners(memberId: string, partitions: OwnedPartitions): void {
    for (const { topicId, partition } of eachPartition(partitions)) {
      let owners = this.#owners.get(topicId)
      if (owners === undefined) {
        owners = new Map()
        this.#owners.set(topicId, owners)
      }
      owners.set(partition, memberId)
    }
  }

  #vacate(memberId: string, { assigned, pendingRevocation }: MemberProgress): void {
    for (const partitions of [assigned, pendingRevocation]) {
      for (const { topicId, partition } of eachPartition(partitions)) {
        const owners = this.#owners.get(topicId)
        // Records are replayed in an order in which the next owner may be known before.
        if (owners?.get(partition) === memberId) owners.delete(partition)
        if (owners?.size === 0) this.#owners.delete(topicId)
      }
    }
  }
}
