import { assert, unreachable } from '../base/assert.ts'
import { type Uuid, ZERO_UUID } from '../base/uuid.ts'
import { AccessRules } from './access-rules.ts'
import {
  type BrokerRegistration,
  localRegistration,
  registrationOf,
} from './broker-registration.ts'
import { ChangeCollector, ChangeFan, type MetadataChanges } from './metadata-changes.ts'
import {
  brokerDraining,
  brokerLost,
  brokerRestartedUnclean,
  brokerReturned,
  inSyncReplicasAltered,
  minInSyncReplicasChanged,
  NO_LEADER,
  newPartition,
  type PartitionContext,
  type PartitionPolicy,
  type PartitionState,
  preferredLeaderElected,
  replicaFailed,
  replicasReassigned,
  waitingPartition,
} from './partition-rules.ts'
import type { PartitionShape } from './partition-shapes.ts'
import { type HandleSource, PartitionTable } from './partition-table.ts'
import {
  type BrokerConfigRecord,
  type BrokerRegisteredRecord,
  type ConfigRecord,
  DIRECTORY_RULES,
  type LeaderElectedRecord,
  type MetadataRecord,
  type PartitionReassignedRecord,
  type PartitionsRecord,
  type ReplicasPlacedRecord,
  RULE_VERSION,
} from './records.ts'
import type { Topic } from './topic.ts'
import { TopicNames } from './topic-names.ts'
import { POLICY_OPTIONS, partitionPolicy, type TopicPolicy, topicPolicy } from './topic-policy.ts'

/**
 * The state that the metadata log adds up to: brokers, topics, partitions, configurations, producer
 * ids. `apply` is its only way to change and is deterministic: the same records give the same image
 * on every node. Partitions lie in typed arrays (`partition-table.ts`), topics are objects.
 *
 * A broker on its own (`broker-start`) is a cluster of one: it is active, and the only replica,
 * leader and in-sync replica of each of its partitions.
 */
export class MetadataImage {
  topicsByName = new TopicNames()
  topicsById = new Map<Uuid, Topic>()
  partitions: PartitionTable<Topic>
  /** Registered brokers by id. */
  brokers = new Map<number, BrokerRegistration>()
  /** Grows whenever a topic is made, grown or removed. */
  topicsVersion = 0
  /** What was set while brokers ran: by node id as text, '' for all of them, then by option. */
  brokerConfigs = new Map<string, Map<string, string>>()
  /** By group, then by option. */
  groupConfigs = new Map<string, Map<string, string>>()
  /** ACLs and quotas of clients. */
  access = new AccessRules()
  /** Levels by feature. */
  features = new Map<string, number>()
  nextProducerId = 0
  /** The highest that any registration has. */
  brokerEpoch = 0
  /** Whose log this is while it is that of a broker on its own. */
  localBrokerId: number | null = null
  /** Those that the record is of that is being applied. */
  #ruleVersion = RULE_VERSION
  readonly #changes = new ChangeFan()
  /** Of whoever acts on what this node has. */
  readonly #ownChanges = new ChangeCollector()

  /** `handles`: those of an image that this one is to take the place of. */
  constructor(handles?: HandleSource) {
    this.partitions = new PartitionTable(handles)
  }

  /** Throws an AssertionError for a record that does not fit the image: the log is inconsistent. */
  apply(record: MetadataRecord): void {
    this.#ruleVersion = 'ruleVersion' in record ? record.ruleVersion : RULE_VERSION
    switch (record.type) {
      case 'broker-start':
        this.localBrokerId = record.brokerId
        this.brokerEpoch = record.brokerEpoch
        this.#setBroker(localRegistration(record, ZERO_UUID))
        if (!record.clean) this.#bumpLeaderEpochs()
        return
      case 'topic':
        this.#addTopic(record.topicId, record.name)
        return
      case 'partitions':
        this.#addPartitions(record)
        return
      case 'config':
        this.#configureTopic(record)
        return
      case 'remove-topic':
        this.#removeTopic(this.#topic(record.topicId))
        return
      case 'producer-ids':
        this.nextProducerId = Math.max(this.nextProducerId, record.nextProducerId)
        return
      case 'broker-config':
        this.#configureBrokers(record)
        return
      case 'group-config':
        setIn(this.groupConfigs, record.group, record)
        this.#changes.groupConfigChanged(record.group)
        return
      case 'features':
        if (record.level === 0) this.features.delete(record.name)
        else this.features.set(record.name, record.level)
        return
      case 'acl':
      case 'remove-acl':
      case 'client-quota':
        this.access.apply(record)
        return
      case 'broker-registered':
        this.#registerBroker(record)
        return
      case 'broker-fenced':
        this.#setBroker({ ...this.#broker(record), isFenced: true })
        this.#changeAll(hasInSync(record.brokerId), (partition, context) =>
          brokerLost(partition, record.brokerId, context),
        )
        return
      case 'broker-unfenced':
        this.#setBroker({ ...this.#broker(record), isFenced: false })
        this.#changeAll(waitsFor(record.brokerId), brokerReturned)
        return
      case 'broker-draining':
        this.#setBroker({ ...this.#broker(record), isDraining: true })
        this.#changeAll(hasInSync(record.brokerId), (partition, context) =>
          brokerDraining(partition, record.brokerId, context),
        )
        return
      case 'broker-unregistered':
        this.#unregisterBroker(this.#broker(record).id)
        return
      case 'partition-altered': {
        const handle = this.#handle(record.topicId, record.partition)
        this.#change(handle, (partition, context) =>
          inSyncReplicasAltered(partition, record.inSyncReplicas, context),
        )
        return
      }
      case 'leader-elected':
        this.#electLeaders(record)
        return
      case 'replicas-failed':
        for (const partition of record.partitions) {
          this.#change(this.#handle(record.topicId, partition), (state, context) =>
            replicaFailed(state, record.brokerId, context),
          )
        }
        return
      case 'replicas-placed':
        this.#place(record)
        return
      case 'partition-reassigned':
        this.#reassign(record)
        return
      default:
        unreachable(record)
    }
  }

  // —— what follows from it ——

  /** Registered, not fenced and not about to stop: may lead and join in-sync replicas. */
  isActive(brokerId: number): boolean {
    const broker = this.brokers.get(brokerId)
    return broker !== undefined && !broker.isFenced && !broker.isDraining
  }

  /** For the next registration. */
  get nextBrokerEpoch(): number {
    return this.brokerEpoch + 1
  }

  policy(topic: Topic): TopicPolicy {
    return topicPolicy(topic.configs, this.brokerConfigs.get(''))
  }

  /**
   * `min.insync.replicas` of a partition. Its leader must count with this and nothing else: who is
   * eligible to lead is derived from it.
   */
  minInSyncReplicas(handle: number): number {
    return this.partitions.policy(handle).minInSyncReplicas
  }

  /** What the rules ask about a partition. */
  context(handle: number): PartitionContext {
    return this.#contextOf(this.partitions.policy(handle), (id) => {
      return this.#hasDirectory(id, this.partitions.directoryOn(handle, id))
    })
  }

  /** Rows know their policy: this makes it what the options and the replicas say now. */
  renewPolicy(topic: Topic, handles: readonly number[] = topic.handles): void {
    const ofTopic = this.policy(topic)
    for (const handle of handles) {
      const policy = partitionPolicy(ofTopic, this.#replicationFactor(handle))
      const cohort = this.partitions.cohortId(handle)
      if (this.partitions.setPolicy(handle, policy)) this.#changes.cohortLeft(handle, cohort)
    }
  }

  /**
   * The handles of partitions that `changes` speaks of, but for those that were added; those of
   * cohorts only as far as their shape `concerns`. Some may come twice. To be walked at once: what
   * is in a cohort is asked now.
   */
  *changedPartitions(
    changes: MetadataChanges,
    concerns?: (shape: PartitionShape) => boolean,
  ): Generator<number> {
    yield* changes.partitionsChanged
    yield* this.partitions.handlesIn(changes.cohortsChanged, concerns)
  }

  handleOf(topicId: Uuid, partition: number): number | undefined {
    return this.topicsById.get(topicId)?.handles[partition]
  }

  /** From now on what changes is remembered until it is taken. */
  collectChanges(): void {
    this.#changes.collectors.add(this.#ownChanges)
  }

  /** What has changed since the last call. */
  takeChanges(): MetadataChanges {
    assert(this.#changes.collectors.has(this.#ownChanges), 'changes are not collected')
    return this.takeFrom(this.#ownChanges)
  }

  /** Besides: for a piece of work that takes a while, until it is `stopCollecting`. */
  startCollecting(): ChangeCollector {
    const collector = new ChangeCollector()
    this.#changes.collectors.add(collector)
    return collector
  }

  takeFrom(collector: ChangeCollector): MetadataChanges {
    return collector.take((handle) => this.partitions.has(handle))
  }

  stopCollecting(collector: ChangeCollector): void {
    this.#changes.collectors.delete(collector)
  }

  /**
   * Becomes what `other` is, which nobody uses any more. `changes` is the difference, for whoever
   * collects; handles of partitions that both have must be the same in both.
   */
  become(other: MetadataImage, changes: MetadataChanges): void {
    assert(other.partitions.handles === this.partitions.handles)
    // Numbers of cohorts are of this table only.
    for (const collector of this.#changes.collectors) collector.nameRows(this.partitions)
    this.topicsByName = other.topicsByName
    this.topicsById = other.topicsById
    this.partitions = other.partitions
    this.brokers = other.brokers
    this.topicsVersion = other.topicsVersion
    this.brokerConfigs = other.brokerConfigs
    this.groupConfigs = other.groupConfigs
    this.access = other.access
    this.features = other.features
    this.nextProducerId = other.nextProducerId
    this.brokerEpoch = other.brokerEpoch
    this.localBrokerId = other.localBrokerId
    for (const collector of this.#changes.collectors) collector.addAll(changes)
  }

  // —— topics ——

  #addTopic(id: Uuid, name: string): void {
    assert(!this.topicsByName.has(name), `topic ${name} is created twice`)
    const topic: Topic = { id, name, handles: [], configs: new Map() }
    this.topicsByName.set(name, topic)
    this.topicsById.set(id, topic)
    this.topicsVersion++
    this.#changes.topicCreated(topic)
  }

  #removeTopic(topic: Topic): void {
    for (const handle of topic.handles) this.partitions.remove(handle)
    this.topicsByName.delete(topic.name)
    this.topicsById.delete(topic.id)
    this.topicsVersion++
    this.#changes.topicRemoved(topic)
  }

  #addPartitions(record: PartitionsRecord): void {
    const topic = this.#topic(record.topicId)
    const first = record.firstPartition
    this.topicsVersion++
    assert(first === topic.handles.length, `partitions of ${topic.name} have a gap`)
    const ofTopic = this.policy(topic)
    const add = (replicas: readonly number[], directories: readonly Uuid[]): void => {
      const policy = partitionPolicy(ofTopic, replicas.length)
      const state =
        newPartition(replicas, this.#contextOf(policy, ALWAYS)) ?? waitingPartition(replicas)
      const partition = topic.handles.length
      topic.handles.push(this.partitions.add(topic, { partition, state, policy, directories }))
    }
    if ('replicas' in record) {
      for (const [i, replicas] of record.replicas.entries()) {
        add(replicas, record.replicaDirectories[i] as readonly Uuid[])
      }
    } else {
      assert(this.localBrokerId !== null, 'nobody has begun this log')
      const replicas = [this.localBrokerId]
      for (const directory of record.directories) add(replicas, [directory])
    }
    this.#changes.partitionsAdded(topic, first)
  }

  #configureTopic({ topicId, name, value }: ConfigRecord): void {
    const topic = this.#topic(topicId)
    const before = this.policy(topic)
    if (value === null) topic.configs.delete(name)
    else topic.configs.set(name, value)
    this.#changes.topicConfigsChanged(topic)
    if (POLICY_OPTIONS.has(name)) this.#policyChanged(topic, before)
  }

  #configureBrokers(record: BrokerConfigRecord): void {
    const concerns = record.broker === '' && POLICY_OPTIONS.has(record.name)
    const topics = concerns ? [...this.topicsById.values()] : []
    const before = topics.map((topic) => this.policy(topic))
    setIn(this.brokerConfigs, record.broker, record)
    this.#changes.brokerConfigChanged()
    for (const [i, topic] of topics.entries()) this.#policyChanged(topic, before[i] as TopicPolicy)
  }

  #policyChanged(topic: Topic, before: TopicPolicy): void {
    this.renewPolicy(topic)
    const allows = this.policy(topic).allowsUncleanElection && !before.allowsUncleanElection
    for (const handle of topic.handles) {
      this.#change(handle, minInSyncReplicasChanged)
      if (allows) this.#change(handle, brokerReturned)
    }
  }

  // —— brokers ——

  #registerBroker(record: BrokerRegisteredRecord): void {
    const { brokerId, brokerEpoch, isUnclean } = record
    assert(brokerEpoch > this.brokerEpoch, `broker epoch ${brokerEpoch} is not a new one`)
    this.brokerEpoch = brokerEpoch
    this.localBrokerId = null
    this.#setBroker(registrationOf(record))
    if (isUnclean) this.#lostForGood(brokerId)
    else {
      this.#changeAll(hasInSync(brokerId), (partition, context) =>
        brokerLost(partition, brokerId, context),
      )
    }
  }

  #unregisterBroker(brokerId: number): void {
    this.brokers.delete(brokerId)
    this.#changes.brokerChanged(brokerId)
    // Whoever comes back under this id need not say what it has: nothing is expected of it.
    this.#lostForGood(brokerId)
  }

  /** What the broker had is not counted with any more. */
  #lostForGood(brokerId: number): void {
    this.#changeAll(hasAllOf(brokerId), (partition, context) =>
      brokerRestartedUnclean(partition, brokerId, context),
    )
  }

  #setBroker(broker: BrokerRegistration): void {
    this.brokers.set(broker.id, broker)
    this.#changes.brokerChanged(broker.id)
  }

  // —— partitions ——

  #electLeaders({ topicId, partitions, kind }: LeaderElectedRecord): void {
    for (const partition of partitions) {
      this.#change(this.#handle(topicId, partition), (state, context) =>
        kind === 'preferred'
          ? preferredLeaderElected(state, context)
          : brokerReturned(state, { ...context, allowsUncleanElection: true }),
      )
    }
  }

  /** Only of those in sync: of others the directory would say that they have what they had. */
  #place({ brokerId, directory, topicId, partitions }: ReplicasPlacedRecord): void {
    if (this.brokers.get(brokerId)?.directories.includes(directory) !== true) return
    for (const partition of partitions) {
      const handle = this.#handle(topicId, partition)
      if (!this.partitions.inSyncReplicas(handle).includes(brokerId)) continue
      const replicas = this.partitions.replicas(handle)
      const before = this.partitions.directories(handle)
      const after = before.map((id, i) => (replicas[i] === brokerId ? directory : id))
      const state = this.partitions.state(handle)
      this.partitions.setDirectories(handle, replicas, after)
      // Two states of a partition never have the same epochs.
      this.partitions.setState(handle, { ...state, partitionEpoch: state.partitionEpoch + 1 })
      this.#changes.partitionChanged(handle)
    }
  }

  #reassign(record: PartitionReassignedRecord): void {
    const handle = this.#handle(record.topicId, record.partition)
    const { replicas, replicaDirectories, addingReplicas, removingReplicas } = record
    const before = this.partitions.state(handle)
    this.partitions.setReassignment(handle, { adding: addingReplicas, removing: removingReplicas })
    const factor = replicas.length - removingReplicas.length
    const policy = partitionPolicy(this.policy(this.partitions.topic(handle) as Topic), factor)
    this.partitions.setPolicy(handle, policy)
    const context = this.#contextOf(policy, (id) => {
      return this.#hasDirectory(id, replicaDirectories[replicas.indexOf(id)] ?? null)
    })
    const after = replicasReassigned(before, replicas, context)
    this.partitions.setDirectories(handle, replicas, replicaDirectories)
    this.partitions.setState(handle, after)
    this.#changes.partitionChanged(handle)
  }

  #change(
    handle: number,
    rule: (partition: PartitionState, context: PartitionContext) => PartitionState,
  ): void {
    const before = this.partitions.state(handle)
    const after = rule(before, this.context(handle))
    if (after === before) return
    this.partitions.setState(handle, after)
    this.#changes.partitionChanged(handle)
  }

  #changeAll(
    concerns: (shape: PartitionShape) => boolean,
    rule: (partition: PartitionState, context: PartitionContext) => PartitionState,
  ): void {
    const { cohorts, rows, left } = this.partitions.changeAll(concerns, (partition, policy) => {
      let isByRow = false
      const hasDirectory = (): boolean => {
        isByRow = true
        return true
      }
      const after = rule(partition, this.#contextOf(policy, hasDirectory))
      return isByRow ? null : after
    })
    if (rows > 0) this.#changes.cohortsChanged(cohorts, rows)
    for (const handle of left) this.#change(handle, rule)
  }

  #bumpLeaderEpochs(): void {
    this.partitions.bumpLeaderEpochs()
    if (this.#changes.collectors.size === 0) return
    for (const topic of this.topicsById.values()) this.#changes.partitionsChanged(topic.handles)
  }

  /** Of those that the partition has in the end. */
  #replicationFactor(handle: number): number {
    return this.partitions.replicas(handle).length - this.partitions.removingReplicas(handle).length
  }

  #contextOf(
    policy: PartitionPolicy,
    hasDirectory: PartitionContext['hasDirectory'],
  ): PartitionContext {
    // Field by field: this is made for each new partition, and a spread costs 2 µs.
    const { minInSyncReplicas, allowsUncleanElection } = policy
    const isActive = this.#isActive
    return { minInSyncReplicas, allowsUncleanElection, isActive, hasDirectory }
  }

  #hasDirectory(brokerId: number, directory: Uuid | null): boolean {
    if (this.#ruleVersion < DIRECTORY_RULES) return true
    if (directory === null) return false
    return this.brokers.get(brokerId)?.directories.includes(directory) === true
  }

  readonly #isActive = (id: number): boolean => this.isActive(id)

  #topic(id: Uuid): Topic {
    const topic = this.topicsById.get(id)
    assert(topic !== undefined, `topic id ${id} is not known`)
    return topic
  }

  #handle(topicId: Uuid, partition: number): number {
    const handle = this.handleOf(topicId, partition)
    assert(handle !== undefined, `partition ${partition} of topic id ${topicId} is not known`)
    return handle
  }

  /** The registration that an event is about. */
  #broker(event: { readonly brokerId: number; readonly brokerEpoch: number }): BrokerRegistration {
    const broker = this.brokers.get(event.brokerId)
    assert(broker?.epoch === event.brokerEpoch, `broker ${event.brokerId} is not so registered`)
    return broker
  }
}

/** Of partitions that are being made: they lie where their record says. */
const ALWAYS = (): boolean => true

export type { Topic } from './topic.ts'

// —— which partitions an event of a broker concerns ——

type Concerns = (shape: PartitionShape) => boolean

function hasInSync(brokerId: number): Concerns {
  return (shape) => shape.inSyncReplicas.includes(brokerId)
}

function hasAllOf(brokerId: number): Concerns {
  return ({ inSyncReplicas, eligibleReplicas }) =>
    inSyncReplicas.includes(brokerId) || eligibleReplicas.includes(brokerId)
}

function waitsFor(brokerId: number): Concerns {
  return ({ leader, replicas }) => leader === NO_LEADER && replicas.includes(brokerId)
}

/** Who has nothing set has no entry. */
function setIn(
  all: Map<string, Map<string, string>>,
  owner: string,
  { name, value }: { readonly name: string; readonly value: string | null },
): void {
  const configs = all.get(owner) ?? new Map<string, string>()
  if (value === null) configs.delete(name)
  else configs.set(name, value)
  if (configs.size === 0) all.delete(owner)
  else all.set(owner, configs)
}
