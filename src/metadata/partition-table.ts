import { assert } from '../base/assert.ts'
import type { Uuid } from '../base/uuid.ts'

/**
 * Every partition of the cluster as a row of typed arrays, named by its handle. Millions of rows
 * cost bytes, not objects, and the garbage collector never walks them.
 *
 * A removed row's handle is not used again while the process lives, so that a late message about
 * it cannot hit another partition.
 */
export class PartitionTable {
  #leaderEpochs = new Int32Array(1024)
  #partitionNumbers = new Int32Array(1024)
  #directories = new Uint16Array(1024)
  /** Handle 0 is the metadata log's own. */
  #size = 1
  #live = 0
  /** Row → topic. One reference a partition; topics are few. */
  readonly #topics: (TopicLike | null)[] = [null]
  readonly #directoryIds: Uuid[] = []

  /** Handles are in [1, size). */
  get size(): number {
    return this.#size
  }

  /** Partitions that exist. */
  get count(): number {
    return this.#live
  }

  add(topic: TopicLike, partition: number, directory: Uuid): number {
    const handle = this.#size++
    if (handle >= this.#leaderEpochs.length) this.#grow()
    this.#leaderEpochs[handle] = 0
    this.#partitionNumbers[handle] = partition
    this.#directories[handle] = this.#directoryIndex(directory)
    this.#topics[handle] = topic
    this.#live++
    return handle
  }

  remove(handle: number): void {
    assert(this.has(handle))
    this.#topics[handle] = null
    this.#live--
  }

  has(handle: number): boolean {
    return handle > 0 && handle < this.#size && this.#topics[handle] !== null
  }

  /** Null when there is no such row. */
  topicName(handle: number): string | null {
    return this.has(handle) ? (this.#topics[handle] as TopicLike).name : null
  }

  leaderEpoch(handle: number): number {
    return this.#leaderEpochs[handle] as number
  }

  partitionNumber(handle: number): number {
    return this.#partitionNumbers[handle] as number
  }

  directory(handle: number): Uuid {
    return this.#directoryIds[this.#directories[handle] as number] as Uuid
  }

  bumpLeaderEpochs(): void {
    for (let handle = 1; handle < this.#size; handle++) this.#leaderEpochs[handle]! += 1
  }

  #directoryIndex(directory: Uuid): number {
    const known = this.#directoryIds.indexOf(directory)
    if (known >= 0) return known
    assert(this.#directoryIds.length < 0xffff, 'too many log directories')
    return this.#directoryIds.push(directory) - 1
  }

  #grow(): void {
    const capacity = this.#leaderEpochs.length * 2
    const epochs = new Int32Array(capacity)
    epochs.set(this.#leaderEpochs)
    this.#leaderEpochs = epochs
    const numbers = new Int32Array(capacity)
    numbers.set(this.#partitionNumbers)
    this.#partitionNumbers = numbers
    const directories = new Uint16Array(capacity)
    directories.set(this.#directories)
    this.#directories = directories
  }
}

/** The table keeps rows apart from topics; it needs only to tell whether a row is taken. */
export interface TopicLike {
  readonly name: string
}
