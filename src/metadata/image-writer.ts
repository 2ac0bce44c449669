/**
 * Writes what an image holds as a snapshot's records, a step at a time, while the image goes on
 * changing: what changes after it was written is collected, and written again. `finish` writes what
 * is left, at once: then the records are the image as it is in that moment.
 *
 *   step, step, … groups and topics; then what has changed meanwhile, until that is little
 *   finish        the rest of it, brokers, ACLs and quotas, counters
 */
import { assert } from '../base/assert.ts'
import { writeUnsignedVarint } from '../base/varint.ts'
import type { MetadataImage } from './image.ts'
import type { ChangeCollector, MetadataChanges } from './metadata-changes.ts'
import type { PartitionShape } from './partition-shapes.ts'
import type { ConfigsOwner, SnapshotRecord } from './snapshot-records.ts'
import type { Topic } from './topic.ts'

/** Of a record: about 30 KiB, so that a batch of them is never much above what it should be. */
const ROWS_MAX = 4096
/** Of a step, more or less: rows, or other records, each for `SMALL_WEIGHT` rows. */
const STEP_WEIGHT = 4096
const SMALL_WEIGHT = 16
/** So few changes can be left to the end. */
const CHANGES_LEFT_MAX = 4096
/** Where more changes come than are written the end takes longer instead. */
const ROUNDS_MAX = 8
const COLUMNS = 4
const VARINT_BYTES_MAX = 5

export class ImageWriter {
  readonly #image: MetadataImage
  readonly #emit: (record: SnapshotRecord) => void
  readonly #collector: ChangeCollector
  readonly #walk: Generator<void, void, void>
  /** Those that come later are among the changes. */
  readonly #topics: readonly Topic[]
  readonly #groups: readonly string[]
  readonly #written = new Set<Topic>()
  readonly #rows: RowWriter
  #configuredBrokers: readonly string[] = []
  #weight = 0

  constructor(image: MetadataImage, emit: (record: SnapshotRecord) => void) {
    this.#image = image
    this.#emit = emit
    this.#rows = new RowWriter(image, emit)
    this.#collector = image.startCollecting()
    this.#topics = [...image.topicsById.values()]
    this.#groups = [...image.groupConfigs.keys()]
    this.#walk = this.#writeAll()
  }

  /** False when `finish` has little left to do. */
  step(): boolean {
    return this.#walk.next().done !== true
  }

  /** The image is as the records say right after this. */
  finish(): void {
    const image = this.#image
    const changes = image.takeFrom(this.#collector)
    for (const _ of this.#writeChanges(changes));
    this.cancel()
    for (const broker of image.brokers.values()) this.#emit({ type: 'broker-state', ...broker })
    this.#writeBrokerConfigs()
    for (const record of image.access.records()) this.#emit(record)
    for (const [name, level] of image.features) this.#emit({ type: 'features', name, level })
    const { brokerEpoch, nextProducerId, topicsVersion } = image
    const localBrokerId = image.localBrokerId ?? -1
    this.#emit({ type: 'counters', localBrokerId, brokerEpoch, nextProducerId, topicsVersion })
  }

  /** Nothing more is written. */
  cancel(): void {
    this.#image.stopCollecting(this.#collector)
  }

  // —— inside ——

  *#writeAll(): Generator<void, void, void> {
    // Rows are read with them in mind. They are written again at the end, as they are then.
    this.#writeBrokerConfigs()
    for (const group of this.#groups) {
      this.#writeGroup(group)
      if (this.#isLong(SMALL_WEIGHT)) yield
    }
    for (const topic of this.#topics) yield* this.#writeTopic(topic)
    for (let round = 0; round < ROUNDS_MAX; round++) {
      if (this.#collector.size <= CHANGES_LEFT_MAX) return
      yield* this.#writeChanges(this.#image.takeFrom(this.#collector))
    }
  }

  *#writeTopic(topic: Topic): Generator<void, void, void> {
    if (!this.#exists(topic)) return
    this.#emit({ type: 'topic', topicId: topic.id, name: topic.name })
    this.#written.add(topic)
    if (topic.configs.size > 0) this.#writeConfigs('topic', topic.id, topic.configs)
    if (this.#isLong(SMALL_WEIGHT)) yield
    yield* this.#writeRows(topic, 0, topic.handles.length)
  }

  *#writeRows(topic: Topic, from: number, to: number): Generator<void, void, void> {
    for (let first = from; first < to && this.#exists(topic); first += ROWS_MAX) {
      const end = Math.min(first + ROWS_MAX, to)
      this.#rows.write(topic, first, end)
      if (this.#isLong(end - first)) yield
    }
  }

  *#writeChanges(changes: MetadataChanges): Generator<void, void, void> {
    // Before anything else happens: cohorts are those of this moment.
    const changed = [...this.#image.changedPartitions(changes)]
    // First of all, and at once: topics that come may have the names of those that are gone.
    for (const topic of changes.topicsRemoved) {
      if (!this.#written.delete(topic)) continue
      this.#emit({ type: 'remove-topic', topicId: topic.id })
    }
    for (const topic of changes.topicsCreated) yield* this.#writeTopic(topic)
    const created = new Set(changes.topicsCreated)
    for (const { topic, first } of changes.partitionsAdded) {
      if (!created.has(topic)) yield* this.#writeRows(topic, first, topic.handles.length)
    }
    yield* this.#writeChangedRows(changed)
    for (const topic of changes.topicConfigsChanged) {
      if (this.#exists(topic)) this.#writeConfigs('topic', topic.id, topic.configs)
      if (this.#isLong(SMALL_WEIGHT)) yield
    }
    for (const group of changes.groupConfigsChanged) {
      this.#writeGroup(group)
      if (this.#isLong(SMALL_WEIGHT)) yield
    }
  }

  *#writeChangedRows(handles: readonly number[]): Generator<void, void, void> {
    const { partitions } = this.#image
    let i = 0
    while (i < handles.length) {
      const handle = handles[i++] as number
      const topic = partitions.topic(handle)
      if (topic === null) continue
      const first = partitions.partitionNumber(handle)
      let end = first + 1
      // Changes come in the order of the table mostly, in which partitions of a topic are together.
      while (i < handles.length && end - first < ROWS_MAX && topic.handles[end] === handles[i]) {
        end++
        i++
      }
      this.#rows.write(topic, first, end)
      if (this.#isLong(SMALL_WEIGHT + end - first)) yield
    }
  }

  #writeBrokerConfigs(): void {
    const { brokerConfigs } = this.#image
    for (const [id, configs] of brokerConfigs) this.#writeConfigs('brokers', id, configs)
    for (const id of this.#configuredBrokers) {
      if (!brokerConfigs.has(id)) this.#writeConfigs('brokers', id, NONE)
    }
    this.#configuredBrokers = [...brokerConfigs.keys()]
  }

  #writeGroup(group: string): void {
    this.#writeConfigs('group', group, this.#image.groupConfigs.get(group) ?? NONE)
  }

  #writeConfigs(
    ownerType: ConfigsOwner,
    owner: string,
    options: ReadonlyMap<string, string>,
  ): void {
    const configs = [...options].map(([name, value]) => ({ name, value }))
    this.#emit({ type: 'configs', ownerType, owner, configs })
  }

  #exists(topic: Topic): boolean {
    return this.#image.topicsById.get(topic.id) === topic
  }

  #isLong(weight: number): boolean {
    this.#weight += weight
    if (this.#weight < STEP_WEIGHT) return false
    this.#weight = 0
    return true
  }
}

const NONE: ReadonlyMap<string, string> = new Map()

/** Rows of a table, and what they are made of as soon as one needs it. */
class RowWriter {
  readonly #image: MetadataImage
  readonly #emit: (record: SnapshotRecord) => void
  /** By the table's number: one more than the snapshot's, 0 while that has none. */
  readonly #shapeNumbers: number[] = []
  #shapes = 0
  readonly #listNumbers: number[] = []
  #lists = 0
  readonly #bytes = new Uint8Array(ROWS_MAX * COLUMNS * VARINT_BYTES_MAX)

  constructor(image: MetadataImage, emit: (record: SnapshotRecord) => void) {
    this.#image = image
    this.#emit = emit
  }

  write(topic: Topic, firstPartition: number, end: number): void {
    const { partitions } = this.#image
    const count = end - firstPartition
    assert(count > 0 && count <= ROWS_MAX)
    const { handles } = topic
    const bytes = this.#bytes
    this.#nameShapes(handles, firstPartition, end)
    this.#nameLists(handles, firstPartition, end)
    let at = 0
    for (let i = firstPartition; i < end; i++) {
      const shapeId = partitions.shapeId(handles[i] as number)
      at = writeUnsignedVarint(bytes, at, (this.#shapeNumbers[shapeId] as number) - 1)
    }
    for (let i = firstPartition; i < end; i++) {
      const listId = partitions.directoryListId(handles[i] as number)
      at = writeUnsignedVarint(bytes, at, (this.#listNumbers[listId] as number) - 1)
    }
    for (let i = firstPartition; i < end; i++) {
      at = writeUnsignedVarint(bytes, at, partitions.leaderEpoch(handles[i] as number))
    }
    for (let i = firstPartition; i < end; i++) {
      at = writeUnsignedVarint(bytes, at, partitions.partitionEpoch(handles[i] as number))
    }
    const columns = bytes.slice(0, at)
    this.#emit({ type: 'partition-rows', topicId: topic.id, firstPartition, count, columns })
    if (partitions.reassignments.size > 0) this.#writeReassigning(topic, firstPartition, end)
  }

  #nameShapes(handles: readonly number[], from: number, to: number): void {
    const { partitions } = this.#image
    const shapes: PartitionShape[] = []
    for (let i = from; i < to; i++) {
      const id = partitions.shapeId(handles[i] as number)
      if (known(this.#shapeNumbers, id)) continue
      shapes.push(partitions.shapeAt(id))
      this.#shapeNumbers[id] = this.#shapes + shapes.length
    }
    if (shapes.length === 0) return
    this.#emit({ type: 'partition-shapes', first: this.#shapes, shapes })
    this.#shapes += shapes.length
  }

  #nameLists(handles: readonly number[], from: number, to: number): void {
    const { partitions } = this.#image
    const lists: { directories: readonly string[] }[] = []
    for (let i = from; i < to; i++) {
      const id = partitions.directoryListId(handles[i] as number)
      if (known(this.#listNumbers, id)) continue
      lists.push({ directories: partitions.directoryListAt(id) })
      this.#listNumbers[id] = this.#lists + lists.length
    }
    if (lists.length === 0) return
    this.#emit({ type: 'directory-lists', first: this.#lists, lists })
    this.#lists += lists.length
  }

  #writeReassigning(topic: Topic, from: number, to: number): void {
    const { reassignments } = this.#image.partitions
    for (let partition = from; partition < to; partition++) {
      const reassignment = reassignments.get(topic.handles[partition] as number)
      if (reassignment === undefined) continue
      const { adding: addingReplicas, removing: removingReplicas } = reassignment
      const topicId = topic.id
      this.#emit({ type: 'reassigning', topicId, partition, addingReplicas, removingReplicas })
    }
  }
}

/** `numbers` reaches as far as `id` afterwards: a list without holes. */
function known(numbers: number[], id: number): boolean {
  while (numbers.length <= id) numbers.push(0)
  return numbers[id] !== 0
}
