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
  | BrokerRegisteredRecord
  | BrokerFencedRecord
  | BrokerUnfencedRecord
  | BrokerDrainingRecord
  | BrokerUnregisteredRecord
  | PartitionAlteredRecord
  | LeaderElectedRecord
  | ReplicasFailedRecord
  | ReplicasPlacedRecord
  | PartitionReassignedRecord
  | FeaturesRecord
  | AclRecord
  | RemoveAclRecord
  | ClientQuotaRecord

/**
 * The rules of `partition-rules.ts` that a record is to be applied with. A record from which nodes
 * derive states says which ones its author meant: no node may derive something else from it.
 *
 *   1   the first
 *   2   who has no log directory any more does not lead where nobody is known to have everything
 */
export const RULE_VERSION = 2
/** From which version on the rules ask for log directories. */
export const DIRECTORY_RULES = 2

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

/** Partitions `firstPartition` and following of a topic. */
export type PartitionsRecord = LocalPartitionsRecord | PlacedPartitionsRecord

/** Version 0, of a broker on its own: the only replica of each is on the broker that began last. */
export interface LocalPartitionsRecord {
  readonly type: 'partitions'
  readonly topicId: Uuid
  readonly firstPartition: number
  /** The id of the log directory that holds each partition. */
  readonly directories: readonly Uuid[]
}

/** Version 1. Who leads is derived: the first replica whose broker is active. */
export interface PlacedPartitionsRecord {
  readonly type: 'partitions'
  readonly topicId: Uuid
  readonly firstPartition: number
  /** Broker ids of each partition, the preferred leader first. */
  readonly replicas: readonly (readonly number[])[]
  /** The log directory of each replica, in the same order. */
  readonly replicaDirectories: readonly (readonly Uuid[])[]
  readonly ruleVersion: number
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

/** Where clients reach a broker; `listener` is 'HTTP' for the WebSocket and REST door. */
export interface Endpoint {
  readonly listener: string
  readonly host: string
  readonly port: number
}

/**
 * A broker process is a member of the cluster from now on, fenced until it has caught up. What the
 * process before it led or was in sync with is over.
 */
export interface BrokerRegisteredRecord {
  readonly type: 'broker-registered'
  readonly brokerId: number
  /** Greater than that of any registration before, of whatever broker. */
  readonly brokerEpoch: number
  /** Names the process. */
  readonly incarnationId: Uuid
  /** Of the listener for other brokers. */
  readonly host: string
  readonly port: number
  readonly endpoints: readonly Endpoint[]
  readonly rack: string | null
  readonly directories: readonly Uuid[]
  /** What it had may be gone: a machine has failed since it was registered. */
  readonly isUnclean: boolean
  readonly ruleVersion: number
}

/** The broker was not heard, or has stopped in order: it leads nothing and is in no ISR. */
export interface BrokerFencedRecord {
  readonly type: 'broker-fenced'
  readonly brokerId: number
  readonly brokerEpoch: number
  readonly ruleVersion: number
}

/** The broker has caught up with the metadata: it may lead and may join an ISR. */
export interface BrokerUnfencedRecord {
  readonly type: 'broker-unfenced'
  readonly brokerId: number
  readonly brokerEpoch: number
  readonly ruleVersion: number
}

/** The broker stops in order: what others can lead they lead. May come again while it does. */
export interface BrokerDrainingRecord {
  readonly type: 'broker-draining'
  readonly brokerId: number
  readonly brokerEpoch: number
  readonly ruleVersion: number
}

/** The broker is no member any more, and does not come back with what it had. */
export interface BrokerUnregisteredRecord {
  readonly type: 'broker-unregistered'
  readonly brokerId: number
  readonly brokerEpoch: number
  readonly ruleVersion: number
}

/** The in-sync replicas that a leader proposed and the controller took. */
export interface PartitionAlteredRecord {
  readonly type: 'partition-altered'
  readonly topicId: Uuid
  readonly partition: number
  readonly inSyncReplicas: readonly number[]
  readonly ruleVersion: number
}

export type ElectionKind = 'preferred' | 'unclean'

/** The preferred replica leads again, or one leads that may lack acknowledged records. */
export interface LeaderElectedRecord {
  readonly type: 'leader-elected'
  readonly topicId: Uuid
  readonly partitions: readonly number[]
  readonly kind: ElectionKind
  readonly ruleVersion: number
}

/**
 * Replicas that their broker cannot use: their disk has failed, or they are not what was written.
 * They are in no ISR any more, and others lead, where others have everything.
 */
export interface ReplicasFailedRecord {
  readonly type: 'replicas-failed'
  readonly brokerId: number
  readonly brokerEpoch: number
  readonly topicId: Uuid
  readonly partitions: readonly number[]
  readonly ruleVersion: number
}

/**
 * In-sync replicas of a broker lie in this log directory, one of those that it has registered
 * (KIP-858): they were made anew there, after the disk that the metadata names was replaced.
 */
export interface ReplicasPlacedRecord {
  readonly type: 'replicas-placed'
  readonly brokerId: number
  readonly brokerEpoch: number
  readonly directory: Uuid
  readonly topicId: Uuid
  readonly partitions: readonly number[]
}

/**
 * The replicas of a partition are others (KIP-455). While it is under way they are the new ones, in
 * their order, and then those that are to go; one without adding and removing ones ends it.
 */
export interface PartitionReassignedRecord {
  readonly type: 'partition-reassigned'
  readonly topicId: Uuid
  readonly partition: number
  readonly replicas: readonly number[]
  /** The log directory of each replica, in the same order. */
  readonly replicaDirectories: readonly Uuid[]
  readonly addingReplicas: readonly number[]
  readonly removingReplicas: readonly number[]
  readonly ruleVersion: number
}

/** The level of a feature that all nodes have from now on; 0 takes it away. */
export interface FeaturesRecord {
  readonly type: 'features'
  readonly name: string
  readonly level: number
}

/** A principal may do something, or may not, in Kafka's codes (`AclBinding`). */
export interface AclRecord {
  readonly type: 'acl'
  readonly aclId: Uuid
  readonly resourceType: number
  readonly resourceName: string
  /** Literal or prefixed (KIP-290). */
  readonly patternType: number
  /** Type and name, as in User:alice. */
  readonly principal: string
  /** An address, or * for all of them. */
  readonly host: string
  readonly operation: number
  readonly permission: number
}

export interface RemoveAclRecord {
  readonly type: 'remove-acl'
  readonly aclId: Uuid
}

/** How much clients may use (KIP-546); a null value takes the quota away. */
export interface ClientQuotaRecord {
  readonly type: 'client-quota'
  /** Whom it is for: one name for each of its types; null is whoever has no quota by name. */
  readonly entity: readonly { readonly entityType: string; readonly entityName: string | null }[]
  readonly name: string
  /** Bytes a second, per cent, or mutations or connections a second, as the name says. */
  readonly value: number | null
}
