import { type Uuid, uuidFromHex } from '../../base/uuid.ts'
import type { MetadataImage } from '../../metadata/image.ts'
import type { Logger } from '../../metrics/logger.ts'
import { NodeFiles } from '../../storage/node-files.ts'
import { isRemoved, removeReplica } from '../../storage/removal.ts'

/**
 * Removes what this broker has of partitions that are not its any more: the topic was deleted, or
 * the replica given to another broker, while it was away. Files of a topic that the metadata has
 * never heard of are left alone: rather the metadata is the wrong one than the data.
 */
export interface LeftoverParts {
  readonly image: MetadataImage
  readonly nodeId: number
  /** Of the log directories. */
  readonly paths: Iterable<string>
  /** Topics of whose deletion this process has heard. */
  readonly removed: ReadonlySet<Uuid>
  readonly logger: Logger
}

const PARTITION_DIRECTORY = /^([0-9a-f]{32})-(\d+)$/

export function removeLeftovers({ image, nodeId, paths, removed, logger }: LeftoverParts): void {
  const files = new NodeFiles()
  for (const path of paths) {
    for (const name of files.list(path)) {
      if (isRemoved(name)) files.removeDirectory(`${path}/${name}`)
      const match = PARTITION_DIRECTORY.exec(name)
      if (match === null) continue
      const topicId = uuidFromHex(match[1] as string)
      const handle = image.handleOf(topicId, Number(match[2]))
      const directory = `${path}/${name}`
      if (handle !== undefined && image.partitions.replicas(handle).includes(nodeId)) continue
      if (handle !== undefined) removeReplica(files, directory)
      else if (removed.has(topicId)) files.removeDirectory(directory)
      else {
        const message = 'the metadata does not know the topic of a directory; it is left alone'
        logger.warn({ directory }, message)
      }
    }
  }
}
