import type { BrokerConfig } from '../config/broker-config.ts'
import { resolveTopicConfig } from '../config/topic-config.ts'
import type { Topic } from '../metadata/image.ts'
import type { OpenPartition } from '../shard/control.ts'
import type { ShardHub } from '../shard/shard-hub.ts'
import type { ShardProxy } from '../shard/shard-proxy.ts'
import type { LogHint, LogOptions } from '../storage/log-types.ts'
import { logOptions } from './log-options.ts'
import type { MetadataStore } from './metadata-store.ts'
import { folderOf, type PartitionPlacement } from './partition-placement.ts'
import { replicationFactorOf } from './replica-placer.ts'

/**
 * Tells shards what a change of a topic means for the partitions that they own, once it is in the
 * image. Whoever changes a topic waits for it.
 */
export interface PartitionOpener {
  /** Partitions `first` and following are new. */
  opened(topic: Topic, first: number): Promise<void>
  /** What holds for the topic's logs is something else. */
  configured(topic: Topic): Promise<void>
  /** The topic is in the image no more. */
  deleted(topic: Topic): Promise<void>
}

export interface LocalPartitionsParts {
  readonly config: BrokerConfig
  readonly store: MetadataStore
  readonly placement: PartitionPlacement
  readonly hub: ShardHub
  readonly nodeId: number
}

/** A partition that has just been created: nothing of it is on disk, nothing needs a scan. */
export const EMPTY_LOG: LogHint = {
  clean: true,
  recoveryPoint: 0,
  logStartOffset: 0,
  logEndOffset: 0,
  truncations: 0,
  bytes: 0,
}
/** Of paths in one control message: well below what a lane's record holds. */
const OPEN_PATH_BYTES = 64 * 1024

/** Of a broker that is alone: it has all of every topic. */
export class LocalPartitions implements PartitionOpener {
  readonly #parts: LocalPartitionsParts

  constructor(parts: LocalPartitionsParts) {
    this.#parts = parts
  }

  async opened(topic: Topic, first: number): Promise<void> {
    const byShard = new Map<number, OpenPartition[]>()
    for (const handle of topic.handles.slice(first)) {
      const shard = this.#parts.placement.assign(handle, 0)
      const open = openPartition(this.#parts, topic, { handle, hint: EMPTY_LOG })
      const list = byShard.get(shard)
      if (list === undefined) byShard.set(shard, [open])
      else list.push(open)
    }
    const options = this.#options(topic)
    const opened: Promise<unknown>[] = []
    for (const [shard, list] of byShard) {
      const proxy = this.#parts.hub.host.proxies[shard]!
      for (const batch of openBatches(list)) {
        opened.push(proxy.control({ kind: 'open', recover: false, options, partitions: batch }))
      }
    }
    await Promise.all(opened)
  }

  async configured(topic: Topic): Promise<void> {
    const options = this.#options(topic)
    const told = topic.handles.map((handle) =>
      this.#shardOf(handle).control({ kind: 'configure', handle, options }),
    )
    await Promise.all(told)
  }

  async deleted(topic: Topic): Promise<void> {
    await Promise.all(
      topic.handles.map((handle) => this.#shardOf(handle).control({ kind: 'delete', handle })),
    )
  }

  #options(topic: Topic): LogOptions {
    const { config, store } = this.#parts
    const factor = replicationFactorOf(store.image, topic)
    return logOptions(resolveTopicConfig(topic.configs, config, factor), config)
  }

  #shardOf(handle: number): ShardProxy {
    return this.#parts.hub.host.proxies[this.#parts.placement.shardOf(handle)] as ShardProxy
  }
}

/** Cuts a list of partitions into pieces that fit a control message each. */
export function* openBatches(partitions: readonly OpenPartition[]): Generator<OpenPartition[]> {
  let batch: OpenPartition[] = []
  let bytes = 0
  for (const partition of partitions) {
    batch.push(partition)
    bytes += Buffer.byteLength(partition.directory) + Buffer.byteLength(partition.logDirectory)
    if (bytes < OPEN_PATH_BYTES) continue
    yield batch
    batch = []
    bytes = 0
  }
  if (batch.length > 0) yield batch
}

/** What a shard must know of a partition that this broker has a replica of. */
export function openPartition(
  parts: Pick<LocalPartitionsParts, 'store' | 'placement' | 'nodeId'>,
  topic: Topic,
  at: { handle: number; hint: LogHint | null },
): OpenPartition {
  const { partitions } = parts.store.image
  const partition = partitions.partitionNumber(at.handle)
  const id = partitions.directoryOn(at.handle, parts.nodeId) ?? partitions.directory(at.handle)
  const logDirectory = parts.placement.pathOf(id)
  return {
    handle: at.handle,
    topicId: topic.id,
    partition,
    logDirectory,
    directory: `${logDirectory}/${folderOf(topic.id, partition)}`,
    hint: at.hint,
    leaderEpoch: partitions.leaderEpoch(at.handle),
  }
}
