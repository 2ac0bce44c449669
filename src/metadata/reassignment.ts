/**
 * Moving partitions to other brokers (KIP-455), as records. A partition that moves has its new
 * replicas beside the old ones until all new ones are in sync; then the old ones go.
 *
 *   [1, 2] to [2, 3]   replicas [2, 3, 1], adding [3], removing [1]
 *          ended       replicas [2, 3]
 *          cancelled   replicas [2, 1]
 */
import type { Uuid } from '../base/uuid.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { MetadataImage } from './image.ts'
import type { PartitionState } from './partition-rules.ts'
import { type MetadataRecord, type PartitionReassignedRecord, RULE_VERSION } from './records.ts'
import { DirectoryChoice, isRefused, type Refusal } from './replica-placement.ts'

export interface ReassignRequest {
  readonly topicId: Uuid
  readonly partition: number
  /** The preferred leader first; null cancels what is under way. */
  readonly targetReplicas: readonly number[] | null
}

export interface ReassignResult {
  readonly topicId: Uuid
  readonly partition: number
  readonly errorCode: ErrorCode
  readonly errorMessage: string | null
}

/** A partition at most once. Those that are refused say why; the others are in `records`. */
export function reassignPartitions(
  image: MetadataImage,
  requests: readonly ReassignRequest[],
): { records: MetadataRecord[]; results: ReassignResult[] } {
  const choice = new DirectoryChoice(image)
  const seen = new Set<number>()
  const records: MetadataRecord[] = []
  const results = requests.map((request): ReassignResult => {
    const { topicId, partition } = request
    const handle = image.handleOf(topicId, partition)
    const outcome =
      handle === undefined
        ? refused(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 'There is no such partition')
        : seen.has(handle)
          ? refused(ErrorCode.INVALID_REQUEST, 'The partition is named twice')
          : decide({ image, handle, request, choice })
    if (handle !== undefined) seen.add(handle)
    if (isRefused(outcome)) return { topicId, partition, ...outcome }
    records.push(...outcome)
    return { topicId, partition, errorCode: ErrorCode.NONE, errorMessage: null }
  })
  return { records, results }
}

/**
 * What ends the reassignment of a partition: nothing while some of the new replicas are not in
 * sync. `state`: the partition as it is about to be.
 */
export function completion(
  image: MetadataImage,
  handle: number,
  state: PartitionState = image.partitions.state(handle),
): MetadataRecord[] {
  const { partitions } = image
  if (!partitions.reassignments.has(handle)) return []
  const removing = partitions.removingReplicas(handle)
  const target = state.replicas.filter((id) => !removing.includes(id))
  if (!target.every((id) => state.inSyncReplicas.includes(id))) return []
  const directories = target.map((id) => partitions.directoryOn(handle, id) as Uuid)
  return [record(image, handle, { replicas: target, directories, adding: [], removing: [] })]
}

// —— inside ——

interface Decision {
  readonly image: MetadataImage
  readonly handle: number
  readonly request: ReassignRequest
  readonly choice: DirectoryChoice
}

function decide({ image, handle, request, choice }: Decision): MetadataRecord[] | Refusal {
  const { partitions } = image
  const isUnderWay = partitions.reassignments.has(handle)
  if (request.targetReplicas === null && !isUnderWay) {
    return refused(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, 'No reassignment is under way')
  }
  const adding = partitions.addingReplicas(handle)
  // Those that it had before, whatever is under way.
  const original = partitions.replicas(handle).filter((id) => !adding.includes(id))
  const target = request.targetReplicas ?? original
  const invalid = checkTarget(image, target, original)
  if (invalid !== null) return invalid
  const removing = original.filter((id) => !target.includes(id))
  const replicas = [...target, ...removing]
  const inSync = partitions.inSyncReplicas(handle)
  const hasLeader = partitions.leader(handle) >= 0
  if (hasLeader && !replicas.some((id) => inSync.includes(id))) {
    const message = 'All replicas that are in sync would go'
    return refused(ErrorCode.INVALID_REPLICA_ASSIGNMENT, message)
  }
  const directories: Uuid[] = []
  for (const id of replicas) {
    const directory = partitions.directoryOn(handle, id) ?? choice.choose(id)
    if (directory === null) {
      const message = `Broker ${id} has no log directory`
      return refused(ErrorCode.INVALID_REPLICA_ASSIGNMENT, message)
    }
    directories.push(directory)
  }
  const isDone = target.every((id) => inSync.includes(id))
  if (isDone) {
    const kept = directories.slice(0, target.length)
    return [record(image, handle, { replicas: target, directories: kept, ...NOTHING })]
  }
  const added = target.filter((id) => !original.includes(id))
  return [record(image, handle, { replicas, directories, adding: added, removing })]
}

const NOTHING = { adding: [], removing: [] }

/** Replicas that stay may be on a broker that is gone; new ones may not. */
function checkTarget(
  image: MetadataImage,
  target: readonly number[],
  original: readonly number[],
): Refusal | null {
  const code = ErrorCode.INVALID_REPLICA_ASSIGNMENT
  if (target.length === 0) return refused(code, 'A partition has at least one replica')
  if (new Set(target).size < target.length) return refused(code, 'A broker is named twice')
  const unknown = target.find((id) => !image.brokers.has(id) && !original.includes(id))
  return unknown === undefined ? null : refused(code, `Broker ${unknown} is not registered`)
}

function record(
  image: MetadataImage,
  handle: number,
  to: {
    readonly replicas: readonly number[]
    readonly directories: readonly Uuid[]
    readonly adding: readonly number[]
    readonly removing: readonly number[]
  },
): PartitionReassignedRecord {
  return {
    type: 'partition-reassigned',
    topicId: image.partitions.topic(handle)!.id,
    partition: image.partitions.partitionNumber(handle),
    replicas: to.replicas,
    replicaDirectories: to.directories,
    addingReplicas: to.adding,
    removingReplicas: to.removing,
    ruleVersion: RULE_VERSION,
  }
}

function refused(errorCode: ErrorCode, errorMessage: string): Refusal {
  return { errorCode, errorMessage }
}
