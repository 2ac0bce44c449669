/** What a follower's requests and answers are made of. */
import { viewOf } from '../../base/bytes.ts'
import type { Uuid } from '../../base/uuid.ts'
import { batchBytes, batchLeaderEpoch } from '../../record/batch.ts'
import { BATCH_HEADER_BYTES } from '../../record/batch-layout.ts'
import type { RecordsRange } from '../../wire/kafka/api.ts'

export interface FollowedPartition {
  readonly handle: number
  readonly topicId: Uuid
  readonly partition: number
  readonly leaderEpoch: number
}

/** What a fetcher keeps of a partition; `replica-fetcher.ts` says how its state changes. */
export interface Row extends FollowedPartition {
  state: 'ready' | 'busy' | 'resting'
  fetchOffset: number
  latestEpoch: number
  logStartOffset: number
  highWatermark: number
  leaderHighWatermark: number
  /** What the session says of it is what holds. */
  isTold: boolean
  /** The request that said so, counted: answers to those before it are about something else. */
  toldIn: number
  /** The session has it. */
  isInSession: boolean
  /** For how long the next error keeps it out. */
  restMs: number
}

/** Of the last whole batch; −1 when there is none. */
export function lastEpochOf(bytes: Uint8Array, { offset, length }: RecordsRange): number {
  const view = viewOf(bytes)
  const end = offset + length
  let epoch = -1
  for (let at = offset; at + BATCH_HEADER_BYTES <= end; ) {
    const next = at + batchBytes(view, at)
    if (next <= at || next > end) break
    epoch = batchLeaderEpoch(view, at)
    at = next
  }
  return epoch
}

export function keyOf(topicId: Uuid, partition: number): string {
  return `${topicId}/${partition}`
}

/** In the order in which the topics come. */
export function byTopic<R extends { readonly topicId: Uuid }, T>(
  rows: readonly R[],
  make: (row: R) => T,
): { topicId: Uuid; partitions: T[] }[] {
  const topics = new Map<Uuid, { topicId: Uuid; partitions: T[] }>()
  for (const row of rows) {
    let topic = topics.get(row.topicId)
    if (topic === undefined) {
      topic = { topicId: row.topicId, partitions: [] }
      topics.set(row.topicId, topic)
    }
    topic.partitions.push(make(row))
  }
  return [...topics.values()]
}
