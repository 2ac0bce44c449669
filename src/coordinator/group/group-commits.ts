import { ErrorCode } from '../../errors/error-code.ts'
import type { EffectsBuilder } from '../effects.ts'
import type { ClassicGroup } from './classic-group.ts'
import { memberError } from './classic-protocol.ts'
import type { ConsumerGroup } from './consumer-group.ts'
import { type Group, idleSinceMs } from './group.ts'
import type { GroupConfig, Now } from './group-context.ts'
import { isGroupId } from './group-limits.ts'
import { type CommittedOffset, GroupOffsets } from './group-offsets.ts'
import type { GroupRecord, ReadGroupRecord } from './record-schema.ts'
import type { TopicView } from './topic-view.ts'

/** How far groups have come: who may commit and ask, what is kept, and for how long. Pure. */
export interface OffsetToCommit {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly offset: number
  readonly leaderEpoch: number
  readonly metadata: string | null
}

export interface CommitRequest {
  readonly groupId: string
  /** Generation or member epoch; −1 from who is no member: then the group must be empty. */
  readonly generationId: number
  readonly memberId: string
  readonly instanceId: string | null
  readonly offsets: readonly OffsetToCommit[]
  /** Of versions 2 to 4; −1 for the broker's. */
  readonly retentionMs: number
  /** Of a client's OffsetCommit; members that the broker plays are of the classic protocol. */
  readonly apiVersion?: number
}

/** Of OffsetCommit: the first that members of the new protocol may use (KIP-848). */
const CONSUMER_VERSION_MIN = 9
const CLASSIC_VERSION = CONSUMER_VERSION_MIN - 1

export class GroupCommits {
  readonly #config: GroupConfig
  readonly #effects: EffectsBuilder<GroupRecord>
  readonly #topics: TopicView
  readonly offsets = new GroupOffsets()

  constructor(config: GroupConfig, effects: EffectsBuilder<GroupRecord>, topics: TopicView) {
    this.#config = config
    this.#effects = effects
    this.#topics = topics
  }

  /** Why nothing of the request is taken. */
  refusal(group: Group | undefined, request: CommitRequest): ErrorCode {
    // Offsets can be kept in a group that nobody is in (an administrator's, a simple consumer's).
    // The generation alone says so: consumers of the new protocol have an id from their start.
    const isOutside = request.generationId < 0
    if (group === undefined) {
      if (!isGroupId(request.groupId)) return ErrorCode.INVALID_GROUP_ID
      if (isOutside) return ErrorCode.NONE
      const isNew = (request.apiVersion ?? CLASSIC_VERSION) >= CONSUMER_VERSION_MIN
      return isNew ? ErrorCode.GROUP_ID_NOT_FOUND : ErrorCode.ILLEGAL_GENERATION
    }
    if (group.type === 'consumer') return consumerRefusal(group, request)
    return isOutside && group.state === 'Empty' ? ErrorCode.NONE : classicRefusal(group, request)
  }

  /** Takes what `refusal` has let pass. An error for each of the offsets, in their order. */
  commit(group: Group, request: CommitRequest, now: Now): ErrorCode[] {
    const { groupId, retentionMs } = request
    const expireTimestamp = retentionMs < 0 ? -1 : now.wallMs + retentionMs
    return request.offsets.map((offset) => {
      const metadata = offset.metadata ?? ''
      if (metadata.length > this.#config.offsetMetadataBytesMax) {
        return ErrorCode.OFFSET_METADATA_TOO_LARGE
      }
      if (this.#isStale(group, request, offset)) return ErrorCode.STALE_MEMBER_EPOCH
      const record: ReadGroupRecord & { readonly type: 'offset' } = {
        type: 'offset',
        key: { group: groupId, topic: offset.topic, partition: offset.partition },
        value: {
          offset: offset.offset,
          leaderEpoch: offset.leaderEpoch,
          metadata,
          commitTimestamp: now.wallMs,
          expireTimestamp,
          topicId: offset.topicId,
        },
      }
      this.offsets.set(groupId, record.key, record.value)
      this.#effects.write(record)
      return ErrorCode.NONE
    })
  }

  /** An epoch that is not the member's last will do for what it has had since (KIP-1251). */
  #isStale(group: Group, request: CommitRequest, offset: OffsetToCommit): boolean {
    if (group.type !== 'consumer') return false
    const member = group.members.get(request.memberId)
    if (member === undefined || request.generationId === member.progress.memberEpoch) return false
    const topic = this.#topics.byName(offset.topic)
    if (topic === undefined) return true
    const { assigned, pendingRevocation } = member.progress
    const since =
      assigned.get(topic.id)?.get(offset.partition) ??
      pendingRevocation.get(topic.id)?.get(offset.partition)
    return since === undefined || request.generationId < since
  }

  /** Forgets offsets, but not of topics that the group's members are subscribed to (KIP-496). */
  delete(
    group: Group,
    partitions: readonly { readonly topic: string; readonly partition: number }[],
  ): { readonly code: ErrorCode; readonly codes: readonly ErrorCode[] } {
    const subscribed = group.subscribedTopics()
    if (!group.isEmpty && subscribed === null) {
      return { code: ErrorCode.NON_EMPTY_GROUP, codes: [] }
    }
    const codes = partitions.map((at) => {
      if (subscribed?.has(at.topic)) return ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
      if (this.offsets.get(group.groupId, at.topic, at.partition) !== undefined) {
        this.#forget(group.groupId, at)
      }
      return ErrorCode.NONE
    })
    return { code: ErrorCode.NONE, codes }
  }

  /**
   * Forgets the offsets of an empty group that are older than the retention, counted from when the
   * group became empty where that is known (KIP-211).
   */
  expire(group: Group, now: Now): void {
    for (const [topic, partitions] of [...this.offsets.topics(group.groupId)]) {
      for (const [partition, offset] of [...partitions]) {
        if (this.#isExpired(group, offset, now)) this.#forget(group.groupId, { topic, partition })
      }
    }
  }

  #isExpired(group: Group, offset: CommittedOffset, { wallMs }: Now): boolean {
    if (offset.expireTimestampMs >= 0) return wallMs >= offset.expireTimestampMs
    const sinceMs = Math.max(offset.commitTimestampMs, idleSinceMs(group))
    return wallMs - sinceMs >= this.#config.offsetsRetentionMs
  }

  forgetTopics(groupId: string, topics: Iterable<string>): void {
    const committed = this.offsets.topics(groupId)
    for (const topic of [...topics]) {
      for (const partition of [...(committed.get(topic)?.keys() ?? [])]) {
        this.#forget(groupId, { topic, partition })
      }
    }
  }

  forgetAll(groupId: string): void {
    this.forgetTopics(groupId, this.offsets.topics(groupId).keys())
  }

  #forget(groupId: string, at: { topic: string; partition: number }): void {
    this.offsets.set(groupId, at, null)
    const key = { group: groupId, topic: at.topic, partition: at.partition }
    this.#effects.write({ type: 'offset', key, value: null })
  }
}

function classicRefusal(
  group: ClassicGroup,
  { generationId, memberId, instanceId }: CommitRequest,
): ErrorCode {
  const error = memberError(group, memberId, instanceId)
  if (error !== ErrorCode.NONE) return error
  if (generationId !== group.generationId) return ErrorCode.ILLEGAL_GENERATION
  // While others join, members may still save what they did: the heartbeat tells them to come.
  return group.state === 'CompletingRebalance' ? ErrorCode.REBALANCE_IN_PROGRESS : ErrorCode.NONE
}

function consumerRefusal(
  group: ConsumerGroup,
  { generationId, memberId, apiVersion = CLASSIC_VERSION }: CommitRequest,
): ErrorCode {
  if (generationId < 0 && group.isEmpty) return ErrorCode.NONE
  const isClassic = group.members.get(memberId)?.isClassic ?? true
  if (apiVersion < CONSUMER_VERSION_MIN && !isClassic) return ErrorCode.UNSUPPORTED_VERSION
  return consumerMemberError(group, { memberId, memberEpoch: generationId, mayBeOlder: true })
}

/** Whether a member is known and its epoch is the one that the coordinator knows. */
export function consumerMemberError(
  group: ConsumerGroup,
  {
    memberId,
    memberEpoch,
    mayBeOlder,
  }: {
    readonly memberId: string
    readonly memberEpoch: number
    /** Older epochs are looked at by partition. */
    readonly mayBeOlder: boolean
  },
): ErrorCode {
  const member = group.members.get(memberId)
  if (member === undefined) return ErrorCode.UNKNOWN_MEMBER_ID
  const known = member.progress.memberEpoch
  if (memberEpoch === known) return ErrorCode.NONE
  if (member.isClassic) return ErrorCode.ILLEGAL_GENERATION
  const isOlder = memberEpoch >= 0 && memberEpoch < known
  return mayBeOlder && isOlder ? ErrorCode.NONE : ErrorCode.STALE_MEMBER_EPOCH
}
