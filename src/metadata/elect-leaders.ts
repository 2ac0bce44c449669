/**
 * Elections that somebody asks for, and those that keep the leaders balanced: as records. The rules
 * themselves are in `partition-rules.ts`.
 */
import type { Uuid } from '../base/uuid.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { MetadataImage } from './image.ts'
import {
  brokerReturned,
  NO_LEADER,
  type PartitionState,
  preferredLeaderElected,
} from './partition-rules.ts'
import { type ElectionKind, type LeaderElectedRecord, RULE_VERSION } from './records.ts'

export interface ElectionResult {
  readonly topicId: Uuid
  readonly partition: number
  readonly errorCode: ErrorCode
}

export interface Election {
  readonly records: readonly LeaderElectedRecord[]
  /** One for each partition that was named. */
  readonly results: readonly ElectionResult[]
}

/** Elects where it is needed and possible; the others say why not. */
export function electLeaders(
  image: MetadataImage,
  kind: ElectionKind,
  partitions: readonly { readonly topicId: Uuid; readonly partition: number }[],
): Election {
  const elected: number[] = []
  const results = partitions.map(({ topicId, partition }): ElectionResult => {
    const handle = image.handleOf(topicId, partition)
    const errorCode =
      handle === undefined ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION : outcomeOf(image, kind, handle)
    if (errorCode === ErrorCode.NONE) elected.push(handle as number)
    return { topicId, partition, errorCode }
  })
  return { records: electionRecords(image, kind, new Set(elected)), results }
}

/** Gives up to `max` partitions the preferred leader that they could have. */
export function balanceLeaders(image: MetadataImage, max: number): LeaderElectedRecord[] {
  const handles: number[] = []
  const could = image.partitions.handlesOf(({ leader, replicas, inSyncReplicas }) => {
    const preferred = replicas[0] as number
    const isOther = leader !== NO_LEADER && leader !== preferred
    return isOther && inSyncReplicas.includes(preferred) && image.isActive(preferred)
  })
  for (const handle of could) {
    if (handles.length >= max) break
    handles.push(handle)
  }
  return electionRecords(image, 'preferred', handles)
}

function outcomeOf(image: MetadataImage, kind: ElectionKind, handle: number): ErrorCode {
  const before = image.partitions.state(handle)
  const hasLeader = before.leader !== NO_LEADER
  const isThere = kind === 'preferred' ? before.leader === before.replicas[0] : hasLeader
  if (isThere) return ErrorCode.ELECTION_NOT_NEEDED
  if (elect(image, kind, handle, before) !== before) return ErrorCode.NONE
  return kind === 'preferred'
    ? ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE
    : ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE
}

function elect(
  image: MetadataImage,
  kind: ElectionKind,
  handle: number,
  before: PartitionState,
): PartitionState {
  const context = image.context(handle)
  return kind === 'preferred'
    ? preferredLeaderElected(before, context)
    : brokerReturned(before, { ...context, allowsUncleanElection: true })
}

/** One for each topic. */
function electionRecords(
  image: MetadataImage,
  kind: ElectionKind,
  handles: Iterable<number>,
): LeaderElectedRecord[] {
  const byTopic = new Map<Uuid, number[]>()
  for (const handle of handles) {
    const topicId = image.partitions.topic(handle)!.id
    const partitions = byTopic.get(topicId) ?? []
    partitions.push(image.partitions.partitionNumber(handle))
    byTopic.set(topicId, partitions)
  }
  return [...byTopic].map(([topicId, partitions]) => {
    return { type: 'leader-elected', topicId, partitions, kind, ruleVersion: RULE_VERSION }
  })
}
