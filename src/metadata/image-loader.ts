/**
 * Makes an image of a snapshot's records, and then another image become it: the one that a node
 * has, which goes on changing meanwhile, and which others hold on to.
 *
 *   apply, apply, …  a record at a time           compare  what the two differ in, a step at a time
 *   install          at once: the image is what the snapshot says, and whoever collects its changes
 *                    is told the difference
 *
 * A partition that both images have has the same handle in both, so that what is known by handle
 * stays known: handles of the image's are taken where it has the partition, new ones come from the
 * same source, and what came into the image meanwhile is given the image's at the end.
 */
import { assert, unreachable } from '../base/assert.ts'
import type { Uuid } from '../base/uuid.ts'
import { VarintCursor } from '../base/varint.ts'
import { MetadataImage } from './image.ts'
import type { ChangeCollector, MetadataChanges } from './metadata-changes.ts'
import type { PartitionShape } from './partition-shapes.ts'
import type {
  ConfigsRecord,
  DirectoryListsRecord,
  PartitionRowsRecord,
  PartitionShapesRecord,
  SnapshotRecord,
} from './snapshot-records.ts'
import type { Topic } from './topic.ts'
import { POLICY_OPTIONS, partitionPolicy, type TopicPolicy, topicPolicy } from './topic-policy.ts'

/** Whether somebody wants to be told of partitions with these replicas. */
export type Concerns = (replicas: readonly number[]) => boolean

/** A step of `compare`. */
const TOPICS_PER_STEP = 256
const NO_ROW = 0
/** Whose options are those of all brokers. */
const ALL_BROKERS = ''

export class ImageLoader {
  readonly image: MetadataImage
  readonly #target: MetadataImage
  readonly #concerns: Concerns
  /** What the target has gone through since this began. */
  readonly #collector: ChangeCollector
  readonly #shapeIds: number[] = []
  /** By the snapshot's number, as `#shapeIds`. */
  readonly #shapeConcerns: boolean[] = []
  readonly #listIds: number[] = []
  readonly #created = new Set<Topic>()
  readonly #removed = new Set<Topic>()
  readonly #configured = new Set<Topic>()
  readonly #changed: number[] = []
  /** That rows came of last; null: what its policy is has to be looked up again. */
  #latestTopic: Topic | null = null
  #latestPolicy: TopicPolicy = topicPolicy(new Map())
  #hasCounters = false
  #columns = [0, 1, 2, 3].map(() => new Int32Array(0))

  /** `concerns`: partitions of which it says no are left out of the changes. */
  constructor(target: MetadataImage, concerns: Concerns = () => true) {
    this.#target = target
    this.#concerns = concerns
    this.image = new MetadataImage(target.partitions.handles)
    this.#collector = target.startCollecting()
  }

  /** Throws for a record that does not follow from those before it. */
  apply(record: SnapshotRecord): void {
    const { image } = this
    switch (record.type) {
      case 'topic':
        this.#addTopic(record.topicId, record.name)
        return
      case 'remove-topic':
        this.#removeTopic(this.#topic(record.topicId))
        return
      case 'features':
        image.features.set(record.name, record.level)
        return
      case 'acl':
      case 'client-quota':
        image.access.apply(record)
        return
      case 'counters':
        image.localBrokerId = record.localBrokerId < 0 ? null : record.localBrokerId
        image.brokerEpoch = record.brokerEpoch
        image.nextProducerId = record.nextProducerId
        image.topicsVersion = record.topicsVersion
        this.#hasCounters = true
        return
      case 'broker-state': {
        const { type: _, ...broker } = record
        image.brokers.set(broker.id, broker)
        return
      }
      case 'configs':
        this.#configure(record)
        return
      case 'partition-shapes':
        this.#addShapes(record)
        return
      case 'directory-lists':
        this.#addLists(record)
        return
      case 'partition-rows':
        this.#setRows(record)
        return
      case 'reassigning': {
        const handle = this.#topic(record.topicId).handles[record.partition]
        assert(handle !== undefined, 'a partition that changes its replicas is there')
        const { addingReplicas: adding, removingReplicas: removing } = record
        image.partitions.setReassignment(handle, { adding, removing })
        image.renewPolicy(this.#topic(record.topicId), [handle])
        return
      }
      default:
        unreachable(record)
    }
  }

  /** What the target has and the snapshot does not, or otherwise; after the last record. */
  *compare(): Generator<void, void, void> {
    assert(this.#hasCounters, 'a snapshot ends with its counters')
    let count = 0
    for (const before of this.#target.topicsById.values()) {
      const after = this.image.topicsById.get(before.id)
      if (after === undefined) this.#removed.add(before)
      else if (!isSame(before.configs, after.configs)) this.#configured.add(after)
      if (++count % TOPICS_PER_STEP === 0) yield
    }
  }

  install(): void {
    const target = this.#target
    const meanwhile = target.takeFrom(this.#collector)
    target.stopCollecting(this.#collector)
    this.#follow(meanwhile)
    const brokers = new Set([...target.brokers.keys(), ...this.image.brokers.keys()])
    const groups = new Set([...target.groupConfigs.keys(), ...this.image.groupConfigs.keys()])
    target.become(this.image, {
      topicsCreated: [...this.#created],
      // Their partitions are among those that have changed, as far as somebody wants to know.
      partitionsAdded: [],
      topicsRemoved: [...this.#removed],
      partitionsChanged: this.#changed,
      cohortsChanged: [],
      topicConfigsChanged: [...this.#configured],
      brokerConfigsChanged: !isSameOfAll(target.brokerConfigs, this.image.brokerConfigs),
      brokersChanged: [...brokers],
      groupConfigsChanged: [...groups],
    })
  }

  /** It is not installed. */
  cancel(): void {
    this.#target.stopCollecting(this.#collector)
  }

  // —— what happened to the target meanwhile ——

  #follow(meanwhile: MetadataChanges): void {
    const { image } = this
    for (const topic of meanwhile.topicsRemoved) this.#removed.delete(topic)
    for (const topic of meanwhile.topicsCreated) {
      const after = image.topicsById.get(topic.id)
      if (after === undefined) this.#removed.add(topic)
      else {
        this.#created.delete(after)
        this.#configured.add(after)
      }
    }
    for (const { topic, first } of meanwhile.partitionsAdded) {
      const after = image.topicsById.get(topic.id)
      if (after !== undefined) this.#takeHandles(topic, after, first)
    }
    const isOurs = ({ replicas }: PartitionShape): boolean => this.#concerns(replicas)
    for (const handle of this.#target.changedPartitions(meanwhile, isOurs)) {
      this.#changed.push(handle)
    }
    for (const topic of meanwhile.topicConfigsChanged) {
      const after = image.topicsById.get(topic.id)
      if (after !== undefined) this.#configured.add(after)
    }
  }

  #takeHandles(before: Topic, after: Topic, first: number): void {
    const { partitions } = this.image
    const end = Math.min(before.handles.length, after.handles.length)
    for (let partition = first; partition < end; partition++) {
      const from = after.handles[partition] as number
      const to = before.handles[partition] as number
      if (from !== to) partitions.move(from, to)
      after.handles[partition] = to
      this.#changed.push(to)
    }
  }

  // —— records ——

  #addTopic(id: Uuid, name: string): void {
    const { image } = this
    assert(!image.topicsByName.has(name) && !image.topicsById.has(id), `${name} is there twice`)
    const topic: Topic = { id, name, handles: [], configs: new Map() }
    image.topicsByName.set(name, topic)
    image.topicsById.set(id, topic)
    if (!this.#target.topicsById.has(id)) this.#created.add(topic)
  }

  #removeTopic(topic: Topic): void {
    const { image } = this
    for (const handle of topic.handles) image.partitions.remove(handle)
    image.topicsByName.delete(topic.name)
    image.topicsById.delete(topic.id)
    this.#created.delete(topic)
  }

  #configure({ ownerType, owner, configs }: ConfigsRecord): void {
    const { image } = this
    if (ownerType === 'topic') {
      const topic = this.#topic(owner)
      topic.configs.clear()
      for (const { name, value } of configs) topic.configs.set(name, value)
      this.#renewPolicy(topic)
      return
    }
    const before = image.brokerConfigs.get(ALL_BROKERS)
    const all = ownerType === 'group' ? image.groupConfigs : image.brokerConfigs
    if (configs.length === 0) all.delete(owner)
    else all.set(owner, new Map(configs.map(({ name, value }) => [name, value])))
    if (ownerType !== 'brokers' || owner !== ALL_BROKERS) return
    const after = image.brokerConfigs.get(ALL_BROKERS)
    if ([...POLICY_OPTIONS].every((name) => before?.get(name) === after?.get(name))) return
    for (const topic of image.topicsById.values()) this.#renewPolicy(topic)
  }

  /** Of the rows that the topic has so far. */
  #renewPolicy(topic: Topic): void {
    this.#latestTopic = null
    this.image.renewPolicy(topic)
  }

  /** The number that the table has for it. */
  #policyIdOf(topic: Topic, replicationFactor: number): number {
    if (topic !== this.#latestTopic) {
      this.#latestTopic = topic
      this.#latestPolicy = this.image.policy(topic)
    }
    return this.image.partitions.policyIdOf(partitionPolicy(this.#latestPolicy, replicationFactor))
  }

  #addShapes({ first, shapes }: PartitionShapesRecord): void {
    assert(first === this.#shapeIds.length, 'shapes have numbers without a gap')
    for (const shape of shapes) {
      const { replicas, inSyncReplicas, eligibleReplicas, lastKnownLeader, leader } = shape
      const own: PartitionShape = {
        replicas,
        inSyncReplicas,
        eligibleReplicas,
        lastKnownLeader,
        leader,
      }
      this.#shapeIds.push(this.image.partitions.shapeIdOf(own))
      this.#shapeConcerns.push(this.#concerns(replicas))
    }
  }

  #addLists({ first, lists }: DirectoryListsRecord): void {
    assert(first === this.#listIds.length, 'lists have numbers without a gap')
    for (const { directories } of lists) {
      this.#listIds.push(this.image.partitions.directoryListIdOf(directories))
    }
  }

  #setRows({ topicId, firstPartition, count, columns }: PartitionRowsRecord): void {
    const topic = this.#topic(topicId)
    assert(firstPartition <= topic.handles.length, `partitions of ${topic.name} have a gap`)
    const before = this.#target.topicsById.get(topicId)
    const [shapes, lists, leaderEpochs, partitionEpochs] = this.#read(columns, count)
    const { partitions } = this.image
    for (let i = 0; i < count; i++) {
      const partition = firstPartition + i
      const known = before?.handles[partition] ?? NO_ROW
      let handle = topic.handles[partition]
      if (handle === undefined) {
        handle = known === NO_ROW ? partitions.handles.next() : known
        topic.handles.push(handle)
      }
      const shape = shapes[i] as number
      const shapeId = this.#shapeIds[shape]
      const directoryListId = this.#listIds[lists[i] as number]
      assert(shapeId !== undefined && directoryListId !== undefined, 'what a row names is known')
      const leaderEpoch = leaderEpochs[i] as number
      const partitionEpoch = partitionEpochs[i] as number
      const policyId = this.#policyIdOf(topic, partitions.shapeAt(shapeId).replicas.length)
      const epochs = { leaderEpoch, partitionEpoch }
      const row = { topic, partition, shapeId, policyId, directoryListId, ...epochs }
      partitions.place(handle, row)
      if (this.#isNews(known, row, this.#shapeConcerns[shape] as boolean))
        this.#changed.push(handle)
    }
  }

  /** Epochs tell: no two states of a partition have the same. */
  #isNews(
    known: number,
    row: { readonly leaderEpoch: number; readonly partitionEpoch: number },
    isConcerned: boolean,
  ): boolean {
    if (known === NO_ROW) return isConcerned
    const { partitions } = this.#target
    const isSameState =
      partitions.leaderEpoch(known) === row.leaderEpoch &&
      partitions.partitionEpoch(known) === row.partitionEpoch
    return !isSameState && (isConcerned || this.#concerns(partitions.replicas(known)))
  }

  /** Valid until the next call. */
  #read(bytes: Uint8Array, count: number): [Int32Array, Int32Array, Int32Array, Int32Array] {
    assert(count > 0 && count * this.#columns.length <= bytes.length, 'a row has bytes')
    if ((this.#columns[0]?.length ?? 0) < count) {
      this.#columns = [0, 1, 2, 3].map(() => new Int32Array(count))
    }
    const cursor = new VarintCursor(bytes)
    for (const column of this.#columns) {
      for (let i = 0; i < count; i++) column[i] = cursor.readUnsignedVarint()
    }
    assert(cursor.remaining === 0, 'columns are as long as they say')
    return this.#columns as [Int32Array, Int32Array, Int32Array, Int32Array]
  }

  #topic(id: Uuid): Topic {
    const topic = this.image.topicsById.get(id)
    assert(topic !== undefined, `topic id ${id} is not known`)
    return topic
  }
}

type Options = ReadonlyMap<string, string>

function isSame(a: Options, b: Options): boolean {
  if (a.size !== b.size) return false
  for (const [name, value] of a) if (b.get(name) !== value) return false
  return true
}

function isSameOfAll(a: ReadonlyMap<string, Options>, b: ReadonlyMap<string, Options>): boolean {
  if (a.size !== b.size) return false
  for (const [owner, options] of a) if (!isSame(options, b.get(owner) ?? new Map())) return false
  return true
}
