/**
 * What records changed in an image, for whoever has to act on it: collected from the moment that
 * somebody asks, and handed out and forgotten with `take`. What came and went in between is not
 * told at all. Changes that are taken together have lost their order: a leader needs the higher
 * `min.insync.replicas`, of before and after, until it has been told of its partition.
 */
import type { PartitionTable } from './partition-table.ts'
import type { Topic } from './topic.ts'

export interface MetadataChanges {
  readonly topicsCreated: readonly Topic[]
  /** Partitions from number `first` on, also of topics that were created. */
  readonly partitionsAdded: readonly { readonly topic: Topic; readonly first: number }[]
  readonly topicsRemoved: readonly Topic[]
  /** Handles, each once, of partitions that exist and were there before or were added. */
  readonly partitionsChanged: readonly number[]
  /**
   * Besides: rows that are now in these cohorts of the table, for whom something happened to a
   * broker, and perhaps some for whom nothing did (`MetadataImage.changedPartitions`).
   */
  readonly cohortsChanged: readonly number[]
  readonly topicConfigsChanged: readonly Topic[]
  readonly brokerConfigsChanged: boolean
  /** Ids of brokers whose registration is another one, or gone. */
  readonly brokersChanged: readonly number[]
  /** Groups whose options are others. */
  readonly groupConfigsChanged: readonly string[]
}

/** Where an image says what changes. */
export type ChangeSink = Pick<
  ChangeCollector,
  | 'topicCreated'
  | 'partitionsAdded'
  | 'topicRemoved'
  | 'partitionChanged'
  | 'partitionsChanged'
  | 'cohortsChanged'
  | 'cohortLeft'
  | 'topicConfigsChanged'
  | 'brokerConfigChanged'
  | 'groupConfigChanged'
  | 'brokerChanged'
>

export class ChangeCollector {
  readonly #topicsCreated = new Set<Topic>()
  readonly #topicsRemoved = new Set<Topic>()
  /** The lowest new partition of each. */
  readonly #firstAdded = new Map<Topic, number>()
  #partitionsChanged: number[] = []
  /** A bit for each handle in the list. A set of millions would cost more than the table. */
  #isChanged = new Int32Array(0)
  readonly #cohortsChanged = new Set<number>()
  /** Of those cohorts, when they changed. */
  #cohortRows = 0
  #hasRemoved = false
  readonly #topicConfigsChanged = new Set<Topic>()
  readonly #brokersChanged = new Set<number>()
  readonly #groupConfigsChanged = new Set<string>()
  #brokerConfigsChanged = false

  /** Of what there is to take: topics, partitions and groups, more or less. */
  get size(): number {
    let size = this.#partitionsChanged.length + this.#cohortRows + this.#topicsRemoved.size
    size += this.#topicConfigsChanged.size + this.#groupConfigsChanged.size
    for (const [topic, first] of this.#firstAdded) size += topic.handles.length - first
    return size
  }

  topicCreated(topic: Topic): void {
    this.#topicsCreated.add(topic)
  }

  partitionsAdded(topic: Topic, first: number): void {
    if (!this.#firstAdded.has(topic)) this.#firstAdded.set(topic, first)
  }

  topicRemoved(topic: Topic): void {
    this.#hasRemoved = true
    if (!this.#topicsCreated.delete(topic)) this.#topicsRemoved.add(topic)
    this.#firstAdded.delete(topic)
    this.#topicConfigsChanged.delete(topic)
  }

  partitionsChanged(handles: readonly number[]): void {
    for (const handle of handles) this.partitionChanged(handle)
  }

  partitionChanged(handle: number): void {
    const word = handle >>> 5
    if (word >= this.#isChanged.length) {
      const grown = new Int32Array(Math.max(32, word * 2))
      grown.set(this.#isChanged)
      this.#isChanged = grown
    }
    const bits = this.#isChanged[word] as number
    const bit = 1 << (handle & 31)
    if ((bits & bit) !== 0) return
    this.#isChanged[word] = bits | bit
    this.#partitionsChanged.push(handle)
  }

  /** `rows`: how many there are in them. */
  cohortsChanged(cohorts: Iterable<number>, rows: number): void {
    for (const id of cohorts) this.#cohortsChanged.add(id)
    this.#cohortRows += rows
  }

  /** The row is in another cohort from now on, and nothing else of it changes. */
  cohortLeft(handle: number, cohort: number): void {
    if (this.#cohortsChanged.has(cohort)) this.partitionChanged(handle)
  }

  /** What is known by cohorts is known by rows from now on. */
  nameRows(partitions: PartitionTable<Topic>): void {
    for (const handle of partitions.handlesIn(this.#cohortsChanged)) this.partitionChanged(handle)
    this.#forgetCohorts()
  }

  topicConfigsChanged(topic: Topic): void {
    this.#topicConfigsChanged.add(topic)
  }

  brokerConfigChanged(): void {
    this.#brokerConfigsChanged = true
  }

  groupConfigChanged(group: string): void {
    this.#groupConfigsChanged.add(group)
  }

  brokerChanged(id: number): void {
    this.#brokersChanged.add(id)
  }

  /** As if all of it had been told here; what is known by cohorts must be of the same table. */
  addAll(changes: MetadataChanges): void {
    this.#hasRemoved = true // It may speak of partitions that have gone since.
    for (const topic of changes.topicsRemoved) this.topicRemoved(topic)
    for (const topic of changes.topicsCreated) this.topicCreated(topic)
    for (const { topic, first } of changes.partitionsAdded) this.partitionsAdded(topic, first)
    this.partitionsChanged(changes.partitionsChanged)
    this.cohortsChanged(changes.cohortsChanged, 0)
    for (const topic of changes.topicConfigsChanged) this.topicConfigsChanged(topic)
    if (changes.brokerConfigsChanged) this.brokerConfigChanged()
    for (const id of changes.brokersChanged) this.brokerChanged(id)
    for (const group of changes.groupConfigsChanged) this.groupConfigChanged(group)
  }

  /** `exists`: whether a handle is still that of a partition. */
  take(exists: (handle: number) => boolean): MetadataChanges {
    const changed = this.#partitionsChanged
    const changes: MetadataChanges = {
      topicsCreated: [...this.#topicsCreated],
      partitionsAdded: [...this.#firstAdded].map(([topic, first]) => ({ topic, first })),
      topicsRemoved: [...this.#topicsRemoved],
      // Only with a topic do partitions go, as far as records say.
      partitionsChanged: this.#hasRemoved ? changed.filter(exists) : changed,
      cohortsChanged: [...this.#cohortsChanged],
      topicConfigsChanged: [...this.#topicConfigsChanged],
      brokerConfigsChanged: this.#brokerConfigsChanged,
      brokersChanged: [...this.#brokersChanged],
      groupConfigsChanged: [...this.#groupConfigsChanged],
    }
    for (const handle of changed) this.#isChanged[handle >>> 5] = 0
    this.#hasRemoved = false
    this.#topicsCreated.clear()
    this.#firstAdded.clear()
    this.#topicsRemoved.clear()
    this.#partitionsChanged = []
    this.#forgetCohorts()
    this.#topicConfigsChanged.clear()
    this.#brokersChanged.clear()
    this.#groupConfigsChanged.clear()
    this.#brokerConfigsChanged = false
    return changes
  }

  #forgetCohorts(): void {
    this.#cohortsChanged.clear()
    this.#cohortRows = 0
  }
}

/** Tells several collectors, of which there are few and mostly one. */
export class ChangeFan implements ChangeSink {
  readonly collectors = new Set<ChangeCollector>()

  topicCreated(topic: Topic): void {
    for (const one of this.collectors) one.topicCreated(topic)
  }

  partitionsAdded(topic: Topic, first: number): void {
    for (const one of this.collectors) one.partitionsAdded(topic, first)
  }

  topicRemoved(topic: Topic): void {
    for (const one of this.collectors) one.topicRemoved(topic)
  }

  partitionChanged(handle: number): void {
    for (const one of this.collectors) one.partitionChanged(handle)
  }

  partitionsChanged(handles: readonly number[]): void {
    for (const one of this.collectors) one.partitionsChanged(handles)
  }

  cohortsChanged(cohorts: readonly number[], rows: number): void {
    for (const one of this.collectors) one.cohortsChanged(cohorts, rows)
  }

  cohortLeft(handle: number, cohort: number): void {
    for (const one of this.collectors) one.cohortLeft(handle, cohort)
  }

  topicConfigsChanged(topic: Topic): void {
    for (const one of this.collectors) one.topicConfigsChanged(topic)
  }

  brokerConfigChanged(): void {
    for (const one of this.collectors) one.brokerConfigChanged()
  }

  groupConfigChanged(group: string): void {
    for (const one of this.collectors) one.groupConfigChanged(group)
  }

  brokerChanged(id: number): void {
    for (const one of this.collectors) one.brokerChanged(id)
  }
}
