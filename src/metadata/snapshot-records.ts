/**
 * What a snapshot of an image says, record by record. Unlike the records of the log these are
 * states and never events: no rule is applied when they are read, each takes the place of what was
 * said before of the same thing, and what a snapshot ends with is the image.
 *
 * Rows name shapes and lists of directories by numbers that the same snapshot has given them
 * before: the ways in which a few brokers have millions of partitions are few, and are said once.
 */
import type { Uuid } from '../base/uuid.ts'
import type { PartitionShape } from './partition-shapes.ts'
import type {
  AclRecord,
  ClientQuotaRecord,
  Endpoint,
  FeaturesRecord,
  RemoveTopicRecord,
  TopicRecord,
} from './records.ts'

export type SnapshotRecord =
  | TopicRecord
  | RemoveTopicRecord
  | FeaturesRecord
  | AclRecord
  | ClientQuotaRecord
  | CountersRecord
  | BrokerStateRecord
  | ConfigsRecord
  | PartitionShapesRecord
  | DirectoryListsRecord
  | PartitionRowsRecord
  | ReassigningRecord

export interface CountersRecord {
  readonly type: 'counters'
  /** −1: nobody's. */
  readonly localBrokerId: number
  readonly brokerEpoch: number
  readonly nextProducerId: number
  readonly topicsVersion: number
}

export interface BrokerStateRecord {
  readonly type: 'broker-state'
  readonly id: number
  readonly epoch: number
  readonly incarnationId: Uuid
  readonly host: string
  readonly port: number
  readonly endpoints: readonly Endpoint[]
  readonly rack: string | null
  readonly directories: readonly Uuid[]
  readonly isFenced: boolean
  readonly isDraining: boolean
}

export type ConfigsOwner = 'topic' | 'brokers' | 'group'

/** All that the owner has set, and nothing else. */
export interface ConfigsRecord {
  readonly type: 'configs'
  readonly ownerType: ConfigsOwner
  /** The topic's id, the node id as text or '' for all of them, the group. */
  readonly owner: string
  readonly configs: readonly { readonly name: string; readonly value: string }[]
}

export interface PartitionShapesRecord {
  readonly type: 'partition-shapes'
  /** The number of the first one; the others follow. */
  readonly first: number
  readonly shapes: readonly PartitionShape[]
}

export interface DirectoryListsRecord {
  readonly type: 'directory-lists'
  readonly first: number
  readonly lists: readonly { readonly directories: readonly Uuid[] }[]
}

/** Partitions of a topic that follow each other; they are not about to change their replicas. */
export interface PartitionRowsRecord {
  readonly type: 'partition-rows'
  readonly topicId: Uuid
  readonly firstPartition: number
  readonly count: number
  /**
   * Unsigned varints, column by column: shapes, lists of directories, leader epochs, partition
   * epochs; each of `count` rows.
   */
  readonly columns: Uint8Array
}

/** A partition that was said before is about to change its replicas. */
export interface ReassigningRecord {
  readonly type: 'reassigning'
  readonly topicId: Uuid
  readonly partition: number
  readonly addingReplicas: readonly number[]
  readonly removingReplicas: readonly number[]
}
