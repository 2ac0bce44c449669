import type { Uuid } from '../../base/uuid.ts'
import type { MetadataImage, Topic } from '../../metadata/image.ts'
import type { Loggers } from '../../metrics/logger.ts'
import type { ShardProxy } from '../../shard/shard-proxy.ts'
import { folderOf, missingPath, type PartitionPlacement } from '../partition-placement.ts'

/**
 * Replicas that the metadata places in a log directory that this broker does not have: its disk was
 * replaced, so that the directory in its place has another id, or is not there.
 *
 *   a directory of `log.dirs` cannot be used   they are perhaps on it: offline until it is back
 *   all of them can be used                    made anew from their leaders, in another directory
 *
 * The metadata goes on naming the old directory until the replica is in sync again
 * (`placed-replicas.ts`). At a start before that, what was made anew is found by its folders.
 */
export interface UnfoundParts {
  readonly placement: PartitionPlacement
  readonly hasOffline: boolean
  readonly exists: (path: string) => boolean
  readonly shards: readonly ShardProxy[]
  readonly loggers: Loggers
}

/** `folders`: of the partitions that are to be in the directory `id`. */
export function placeUnfound(
  id: Uuid,
  folders: readonly string[],
  { placement, hasOffline, exists, shards, loggers }: UnfoundParts,
): void {
  const logger = loggers('storage')
  const paths = [...placement.directories.values()]
  const found = paths.find((path) => folders.some((folder) => exists(`${path}/${folder}`)))
  if (found === undefined && (hasOffline || placement.areAllOffline)) {
    const logDirectory = missingPath(id)
    const message = `no directory of log.dirs has directory.id ${id}; start with it to have it back`
    for (const shard of shards) {
      void shard.control({ kind: 'fail-directory', logDirectory, message })
    }
    logger.error({ directory: id }, `replicas are offline: ${message}`)
    return
  }
  const path = found ?? placement.pathOf(placement.chooseDirectory())
  placement.standIn(id, path)
  if (found !== undefined) return
  logger.warn({ directory: path, was: id }, 'the disk of replicas is gone: they are made anew')
}

/** Folders of partitions by the directory that they are said to be in and that is not here. */
export function unplaced(
  rows: readonly { readonly topic: Topic; readonly handle: number }[],
  parts: {
    readonly image: MetadataImage
    readonly nodeId: number
    readonly placement: PartitionPlacement
  },
): Map<Uuid, string[]> {
  const { image, nodeId, placement } = parts
  const found = new Map<Uuid, string[]>()
  for (const { topic, handle } of rows) {
    const id = image.partitions.directoryOn(handle, nodeId) as Uuid
    if (placement.isPlaced(id)) continue
    const folders = found.get(id) ?? []
    found.set(id, folders)
    folders.push(folderOf(topic.id, image.partitions.partitionNumber(handle)))
  }
  return found
}

/**
 * The metadata names another directory for a replica than before, and that is another place: not
 * when something stands for both, as for the disks that a broker had one after the other. What is
 * there may be in sync by now.
 */
export function isElsewhere(
  replica: { readonly topicId: Uuid; readonly partition: number; readonly directory: Uuid },
  now: Uuid,
  parts: UnfoundParts,
): boolean {
  const { topicId, partition, directory: before } = replica
  const { placement } = parts
  if (now === before) return false
  if (!placement.isPlaced(now)) placeUnfound(now, [folderOf(topicId, partition)], parts)
  return placement.pathOf(now) !== placement.pathOf(before)
}
