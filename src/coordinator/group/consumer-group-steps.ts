import type { Uuid } from '../../base/uuid.ts'
import type { EffectsBuilder } from '../effects.ts'
import { type Assignment, isSame, NO_PARTITIONS } from './assignment.ts'
import type { Assignor, AssignorMember } from './assignors/assignor.ts'
import { assignRange } from './assignors/range.ts'
import { assignUniform } from './assignors/uniform.ts'
import type { ConsumerGroup } from './consumer-group.ts'
import {
  assignmentEpochRecord,
  groupEpochRecord,
  memberRecord,
  memberTombstones,
  progressRecord,
  regexRecord,
  targetRecord,
} from './consumer-group-records.ts'
import {
  type ConsumerMember,
  isSameProfile,
  isSameSubscription,
  type MemberProfile,
  type MemberProgress,
} from './consumer-member.ts'
import type { GroupConfig, Now } from './group-context.ts'
import { isToDowngrade } from './migration.ts'
import { reconcile } from './reconcile.ts'
import type { GroupRecord } from './record-schema.ts'
import type { TopicRegexes } from './topic-regexes.ts'
import type { TopicView } from './topic-view.ts'
import { hashOfTopics } from './topics-hash.ts'

/**
 * What the transitions of a consumer group are made of, whichever protocol its members speak: a
 * member changes, the group's epoch grows, a target is made, a member comes closer to it. Each
 * writes its records. Pure.
 */
export const ASSIGNORS: ReadonlyMap<string, Assignor> = new Map([
  ['uniform', assignUniform],
  ['range', assignRange],
])

export interface ConsumerGroupParts {
  readonly config: GroupConfig
  readonly effects: EffectsBuilder<GroupRecord>
  readonly topics: TopicView
  readonly regexes: TopicRegexes
  readonly newId: () => string
}

export class ConsumerGroupSteps {
  readonly #parts: ConsumerGroupParts

  constructor(parts: ConsumerGroupParts) {
    this.#parts = parts
  }

  /** True when the group must be assigned anew: another subscription, or another assignor. */
  changeProfile(group: ConsumerGroup, member: ConsumerMember, profile: MemberProfile): boolean {
    const before = member.profile
    if (isSameProfile(before, profile)) return false
    member.profile = profile
    this.#parts.effects.write(memberRecord(group, member))
    return !isSameSubscription(before, profile) || before.serverAssignor !== profile.serverAssignor
  }

  add(group: ConsumerGroup, member: ConsumerMember): void {
    group.add(member)
    this.#parts.effects.write(memberRecord(group, member))
  }

  /** The static member `known` is back as `member`, and has what it had; `advance` comes next. */
  replace(group: ConsumerGroup, known: ConsumerMember, member: ConsumerMember): void {
    const { effects } = this.#parts
    const target = group.targets.get(known.memberId)
    for (const record of memberTombstones(group, known.memberId)) effects.write(record)
    group.remove(known)
    group.add(member)
    effects.write(memberRecord(group, member))
    if (target !== undefined) {
      group.targets.set(member.memberId, target)
      effects.write(targetRecord(group, member.memberId))
    }
  }

  /** Members are gone: the next heartbeat of another one assigns anew. */
  remove(group: ConsumerGroup, members: readonly ConsumerMember[], now: Now): void {
    const { effects } = this.#parts
    for (const member of members) {
      for (const record of memberTombstones(group, member.memberId)) effects.write(record)
      group.remove(member)
    }
    if (group.isEmpty) group.emptySinceMs = now.wallMs
    // A group that goes back to its classic members keeps the epoch: it is their generation.
    if (!isToDowngrade(group, this.#parts.config)) this.bring(group, now, true)
  }

  /**
   * Brings the group's epoch up to what its members are subscribed to and to what is there of it;
   * `mustGrow`: a member has changed.
   */
  bring(group: ConsumerGroup, now: Now, mustGrow: boolean): void {
    const { topics, effects } = this.#parts
    if (!mustGrow && group.topicsVersion === topics.version) return
    group.topicsVersion = topics.version
    this.#matchRegexes(group, now)
    const hash = hashOfTopics(group.subscribedTopics(), topics)
    if (!mustGrow && hash === group.metadataHash) return
    group.metadataHash = hash
    group.groupEpoch++
    effects.write(groupEpochRecord(group))
  }

  #matchRegexes(group: ConsumerGroup, now: Now): void {
    const { topics, effects, regexes } = this.#parts
    const used = new Set<string>()
    for (const { profile } of group.members.values()) {
      if (profile.regex !== null) used.add(profile.regex)
    }
    for (const regex of [...group.regexes.keys()]) {
      if (used.has(regex)) continue
      group.regexes.delete(regex)
      effects.write(regexRecord(group, regex, null))
    }
    for (const regex of used) {
      const matched = regexes.match(regex, topics)
      if (isSameNames(matched, group.regexes.get(regex))) continue
      group.regexes.set(regex, matched)
      const version = topics.version
      const value = { topics: [...matched], version, timestamp: now.wallMs }
      effects.write(regexRecord(group, regex, value))
    }
  }

  /** Makes the target for the group's epoch, unless there is one. */
  assign(group: ConsumerGroup, now: Now): void {
    if (group.assignmentEpoch >= group.groupEpoch) return
    const { config, effects } = this.#parts
    const name = group.preferredAssignor(config.consumer.assignors[0] as string)
    const assignor = ASSIGNORS.get(name) ?? assignUniform
    const assigned = assignor(this.#assignorInput(group))
    for (const [memberId, target] of assigned) {
      const before = group.targets.get(memberId)
      if (before !== undefined && isSame(before, target)) continue
      group.targets.set(memberId, target)
      effects.write(targetRecord(group, memberId))
    }
    group.assignmentEpoch = group.groupEpoch
    group.assignedAtMs = now.wallMs
    effects.write(assignmentEpochRecord(group))
  }

  #assignorInput(group: ConsumerGroup): Parameters<Assignor>[0] {
    const partitions = new Map<Uuid, number>()
    const idsByNames = new Map<string, ReadonlySet<Uuid>>()
    const members = new Map<string, AssignorMember>()
    for (const [memberId, { profile }] of group.members) {
      // Most members of a group are subscribed to the same: they share the set.
      const key = JSON.stringify([profile.topicNames, profile.regex])
      let ids = idsByNames.get(key)
      if (ids === undefined) {
        ids = this.#existing(group.topicsOf(profile), partitions)
        idsByNames.set(key, ids)
      }
      const previous = group.targets.get(memberId) ?? NO_PARTITIONS
      members.set(memberId, { instanceId: profile.instanceId, topics: ids, previous })
    }
    return { members, topics: partitions }
  }

  /** Ids of the topics that exist, whose numbers of partitions are put into `partitions`. */
  #existing(names: ReadonlySet<string>, partitions: Map<Uuid, number>): ReadonlySet<Uuid> {
    const ids = new Set<Uuid>()
    for (const name of names) {
      const topic = this.#parts.topics.byName(name)
      if (topic === undefined) continue
      ids.add(topic.id)
      partitions.set(topic.id, topic.partitions)
    }
    return ids
  }

  /** A step of `member` towards its target; `reported`: what it says to have, null for nothing. */
  advance(
    group: ConsumerGroup,
    member: ConsumerMember,
    { reported, now }: { readonly reported: Assignment | null; readonly now: Now },
  ): MemberProgress {
    const { memberId, progress: before } = member
    const after = reconcile(before, {
      target: group.target(memberId),
      targetEpoch: group.assignmentEpoch,
      reported,
      isTaken: (topicId, partition) => group.isTaken(memberId, topicId, partition),
    })
    if (after === before) return after
    group.advance(member, after)
    this.#parts.effects.write(progressRecord(group, member))
    const mustRevoke = after.state === 'unrevoked'
    const { rebalanceTimeoutMs } = member.profile
    member.revocationDeadlineMs = mustRevoke ? now.monotonicMs + rebalanceTimeoutMs : Infinity
    return after
  }

  /** Records a member's progress that no reconciliation made. */
  setProgress(group: ConsumerGroup, member: ConsumerMember, progress: MemberProgress): void {
    group.advance(member, progress)
    this.#parts.effects.write(progressRecord(group, member))
  }
}

function isSameNames(a: ReadonlySet<string>, b: ReadonlySet<string> | undefined): boolean {
  if (b === undefined || a.size !== b.size) return false
  for (const name of a) if (!b.has(name)) return false
  return true
}
