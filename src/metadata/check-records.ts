/**
 * Whether records fit an image. The image asserts what it is told: a record in the log that does
 * not fit would end every node that applies it, again at every start. So whoever leads the quorum
 * asks here before anything is appended, and refuses what a broken broker proposes. Pure.
 *
 * Records are checked in their order, each on what those before it leave behind. What that is for
 * a partition's leader and replicas is followed only as far as proposals need it: the end of a move
 * may follow the change of in-sync replicas that brings it. Other mixtures are refused; nobody
 * writes them.
 */
import type { Uuid } from '../base/uuid.ts'
import { AccessCheck } from './access-rules.ts'
import type { MetadataImage } from './image.ts'
import { inSyncReplicasAltered, NO_LEADER, type PartitionState } from './partition-rules.ts'
import type {
  BrokerRegisteredRecord,
  LeaderElectedRecord,
  MetadataRecord,
  PartitionAlteredRecord,
  PartitionReassignedRecord,
  PartitionsRecord,
  ReplicasFailedRecord,
  ReplicasPlacedRecord,
  TopicRecord,
} from './records.ts'

/** What is wrong with the first record that does not fit, in words; null when all of them fit. */
export function checkRecords(
  image: MetadataImage,
  records: readonly MetadataRecord[],
): string | null {
  const check = new RecordCheck(image)
  for (const record of records) {
    const problem = check.next(record)
    if (problem !== null) return `${record.type}: ${problem}`
  }
  return null
}

class RecordCheck {
  readonly #image: MetadataImage
  /** Names and partitions of topics that records have changed; null for one that is gone. */
  readonly #topics = new Map<Uuid, { readonly name: string; count: number } | null>()
  /** By name: whether there is such a topic, where records have changed that. */
  readonly #names = new Map<string, boolean>()
  /** Epochs of brokers that records have changed; null for one that is gone. */
  readonly #brokers = new Map<number, number | null>()
  #brokerEpoch: number
  /** Partitions whose state is known to be another one; null: not known. */
  readonly #states = new Map<number, PartitionState | null>()
  readonly #access: AccessCheck
  /** Any partition may have got another leader. */
  #isUnsettled = false

  constructor(image: MetadataImage) {
    this.#image = image
    this.#brokerEpoch = image.brokerEpoch
    this.#access = new AccessCheck(image.access)
  }

  /** Null when the record fits; it is taken for applied then. */
  next(record: MetadataRecord): string | null {
    switch (record.type) {
      case 'broker-start':
        return 'only a broker that is alone writes it'
      case 'topic':
        return this.#addTopic(record)
      case 'partitions':
        return this.#addPartitions(record)
      case 'config':
        this.#isUnsettled = true
        return this.#topic(record.topicId) === null ? 'the topic is not known' : null
      case 'remove-topic':
        return this.#removeTopic(record.topicId)
      case 'broker-config':
        this.#isUnsettled = true
        return null
      case 'acl':
      case 'remove-acl':
      case 'client-quota':
        return this.#access.next(record)
      case 'producer-ids':
      case 'group-config':
      case 'features':
        return null
      case 'broker-registered':
        return this.#register(record)
      case 'broker-fenced':
      case 'broker-unfenced':
      case 'broker-draining':
      case 'broker-unregistered':
        return this.#brokerEvent(record)
      case 'partition-altered':
        return this.#alter(record)
      case 'leader-elected':
        return this.#changeSome(record)
      case 'replicas-failed':
      case 'replicas-placed':
        return this.#epochProblem(record) ?? this.#changeSome(record)
      case 'partition-reassigned':
        return this.#reassign(record)
    }
  }

  // —— topics ——

  #topic(id: Uuid): { readonly name: string; count: number } | null {
    const changed = this.#topics.get(id)
    if (changed !== undefined) return changed
    const topic = this.#image.topicsById.get(id)
    return topic === undefined ? null : { name: topic.name, count: topic.handles.length }
  }

  #addTopic({ topicId, name }: TopicRecord): string | null {
    const isTaken = this.#names.get(name) ?? this.#image.topicsByName.has(name)
    if (isTaken) return 'a topic has this name'
    if (this.#image.topicsById.has(topicId) || this.#topics.has(topicId)) return 'the id is taken'
    this.#topics.set(topicId, { name, count: 0 })
    this.#names.set(name, true)
    return null
  }

  #addPartitions(record: PartitionsRecord): string | null {
    const topic = this.#topic(record.topicId)
    if (topic === null) return 'the topic is not known'
    if (!('replicas' in record)) return 'only a broker that is alone writes this version'
    if (record.firstPartition !== topic.count) return `the next partition is ${topic.count}`
    for (const [i, replicas] of record.replicas.entries()) {
      const problem = replicasProblem(replicas, record.replicaDirectories[i] ?? [])
      if (problem !== null) return problem
    }
    this.#topics.set(record.topicId, { ...topic, count: topic.count + record.replicas.length })
    return null
  }

  #removeTopic(id: Uuid): string | null {
    const topic = this.#topic(id)
    if (topic === null) return 'the topic is not known'
    this.#topics.set(id, null)
    this.#names.set(topic.name, false)
    return null
  }

  // —— brokers ——

  #register({ brokerId, brokerEpoch }: BrokerRegisteredRecord): string | null {
    if (brokerId < 0) return `${brokerId} is the id of no broker`
    // Not only a higher one: who took the highest there is would be the last to register.
    if (brokerEpoch !== this.#brokerEpoch + 1) return `the next epoch is ${this.#brokerEpoch + 1}`
    this.#brokerEpoch = brokerEpoch
    this.#brokers.set(brokerId, brokerEpoch)
    this.#isUnsettled = true
    return null
  }

  #brokerEvent(event: {
    readonly type: MetadataRecord['type']
    readonly brokerId: number
    readonly brokerEpoch: number
  }): string | null {
    const { brokerId } = event
    const problem = this.#epochProblem(event)
    if (problem !== null) return problem
    if (event.type === 'broker-unregistered') this.#brokers.set(brokerId, null)
    this.#isUnsettled = true
    return null
  }

  #epochProblem({ brokerId, brokerEpoch }: { brokerId: number; brokerEpoch: number }) {
    const changed = this.#brokers.get(brokerId)
    const epoch = changed === undefined ? this.#image.brokers.get(brokerId)?.epoch : changed
    return epoch === brokerEpoch ? null : `broker ${brokerId} is not registered with this epoch`
  }

  // —— partitions ——

  #handleOf(topicId: Uuid, partition: number): number | null {
    // Of a topic that these records make, or make anew, no handle is known yet.
    if (this.#topics.has(topicId)) return null
    return this.#image.handleOf(topicId, partition) ?? null
  }

  /** As it is when the record is applied; in words why that is not known. */
  #stateOf(topicId: Uuid, partition: number): { handle: number; state: PartitionState } | string {
    const handle = this.#handleOf(topicId, partition)
    if (handle === null) return `partition ${partition} of topic ${topicId} is not known`
    const changed = this.#states.get(handle)
    if (changed === null || this.#isUnsettled) return 'records before it change the same partition'
    return { handle, state: changed ?? this.#image.partitions.state(handle) }
  }

  #alter({ topicId, partition, inSyncReplicas }: PartitionAlteredRecord): string | null {
    const found = this.#stateOf(topicId, partition)
    if (typeof found === 'string') return found
    const { handle, state } = found
    if (state.leader === NO_LEADER) return 'nobody leads the partition'
    if (!inSyncReplicas.includes(state.leader)) return 'a leader is in sync with itself'
    if (!inSyncReplicas.every((id) => state.replicas.includes(id))) return 'not all are replicas'
    const context = this.#image.context(handle)
    this.#states.set(handle, inSyncReplicasAltered(state, inSyncReplicas, context))
    return null
  }

  /** What they are then is known when it is applied. */
  #changeSome({
    topicId,
    partitions,
  }: LeaderElectedRecord | ReplicasFailedRecord | ReplicasPlacedRecord): string | null {
    for (const partition of partitions) {
      const handle = this.#handleOf(topicId, partition)
      if (handle === null) return `partition ${partition} of topic ${topicId} is not known`
      this.#states.set(handle, null)
    }
    return null
  }

  #reassign(record: PartitionReassignedRecord): string | null {
    const { replicas, replicaDirectories, addingReplicas, removingReplicas } = record
    const found = this.#stateOf(record.topicId, record.partition)
    if (typeof found === 'string') return found
    const { handle, state } = found
    const problem = replicasProblem(replicas, replicaDirectories)
    if (problem !== null) return problem
    const arePart = [addingReplicas, removingReplicas].every((ids) => isPartOf(ids, replicas))
    if (!arePart) return 'those that come and go are not among the replicas'
    if (removingReplicas.length >= replicas.length) return 'all replicas would go'
    const stays = replicas.some((id) => state.inSyncReplicas.includes(id))
    if (!stays && state.leader !== NO_LEADER) return 'all that are in sync would go'
    this.#states.set(handle, null)
    return null
  }
}

function replicasProblem(replicas: readonly number[], directories: readonly Uuid[]): string | null {
  if (replicas.length === 0) return 'a partition has at least one replica'
  if (replicas.some((id) => id < 0)) return 'a replica is on no broker'
  if (new Set(replicas).size < replicas.length) return 'a broker has one replica of a partition'
  return replicas.length === directories.length ? null : 'each replica lies in a directory'
}

function isPartOf(some: readonly number[], all: readonly number[]): boolean {
  return new Set(some).size === some.length && some.every((id) => all.includes(id))
}
