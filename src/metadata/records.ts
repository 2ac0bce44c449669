import type { Uuid } from '../base/uuid.ts'

/**
 * What the metadata log says, record by record. The image is nothing but these records applied in
 * order; whoever changes metadata appends records and applies them only once they are durable.
 * Their bytes are defined in `record-schema.ts`.
 */
export type MetadataRecord =
  | BrokerStartRecord
  | TopicRecord
  | PartitionsRecord
  | ConfigRecord
  | RemoveTopicRecord
  | ProducerIdsRecord
  | BrokerConfigRecord
  | GroupConfigRecord

/** A broker process began. After an unclean stop every partition's leader epoch goes up by one. */
export interface BrokerStartRecord {
  readonly type: 'broker-start'
  readonly brokerId: number
  /** Goes up with each start. */
  readonly brokerEpoch: number
  readonly clean: boolean
}

export interface TopicRecord {
  readonly type: 'topic'
  readonly topicId: Uuid
  readonly name: string
}

/** Partitions `firstPartition` and following of a topic, one for each element of `directories`. */
export interface PartitionsRecord {
  readonly type: 'partitions'
  readonly topicId: Uuid
  readonly firstPartition: number
  /** The id of the log directory that holds each partition. */
  readonly directories: readonly Uuid[]
}

/** Sets one configuration of a topic; a null value removes it. */
export interface ConfigRecord {
  readonly type: 'config'
  readonly topicId: Uuid
  readonly name: string
  readonly value: string | null
}

export interface RemoveTopicRecord {
  readonly type: 'remove-topic'
  readonly topicId: Uuid
}

/** Producer ids below `nextProducerId` have been handed out to brokers in blocks. */
export interface ProducerIdsRecord {
  readonly type: 'producer-ids'
  readonly brokerId: number
  readonly nextProducerId: number
}

/** Sets one option of brokers while they run; a null value removes it. */
export interface BrokerConfigRecord {
  readonly type: 'broker-config'
  /** A node id, or '' for all brokers of the cluster. */
  readonly broker: string
  readonly name: string
  readonly value: string | null
}

/** Sets one option of a consumer group; a null value removes it. */
export interface GroupConfigRecord {
  readonly type: 'group-config'
  readonly group: string
  readonly name: string
  readonly value: string | null
}
