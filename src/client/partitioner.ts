/**
 * Which partition an event goes to. `default` is Kafka's: the hash of the key, and for events
 * without a key one partition for as long as a batch takes to fill, so that batches get large.
 */
import { writeUtf8 } from '../base/utf8.ts'
import { partitionOfKey } from '../record/murmur2.ts'
import type { ProducerRecord } from './producer-record.ts'

/**
 * Returns a partition in [0, partitionsCount). `key` is the event's as bytes, valid during the call
 * only.
 */
export type PartitionerFunction = (
  record: ProducerRecord,
  partitionsCount: number,
  key: Uint8Array | null,
) => number

export type Partitioner = 'default' | 'roundRobin' | PartitionerFunction

/** Longest keys whose UTF-8 form is made in memory that is there already, UTF-16 units. */
const SCRATCH_UNITS = 1024
const scratch = new Uint8Array(SCRATCH_UNITS * 3)
const encoder = new TextEncoder()

/** A key as bytes; those of short text are overwritten by the next call. */
export function keyBytes(key: Uint8Array | string | null | undefined): Uint8Array | null {
  if (key === null || key === undefined) return null
  if (typeof key !== 'string') return key
  if (key.length > SCRATCH_UNITS) return encoder.encode(key)
  return scratch.subarray(0, writeUtf8(scratch, 0, key))
}

/** One topic's turn among its partitions: which one is next. */
export class PartitionChoice {
  readonly #partitioner: Partitioner
  readonly #random: () => number
  #sticky = -1
  #next = -1

  constructor(partitioner: Partitioner, random: () => number) {
    this.#partitioner = partitioner
    this.#random = random
  }

  /** Whether the choice for `key` is the sticky one. */
  isSticky(key: Uint8Array | null): boolean {
    return key === null && this.#partitioner === 'default'
  }

  /** The partition of a batch without keys. */
  sticky(partitionsCount: number): number {
    if (this.#sticky < 0) this.moveOn(partitionsCount)
    return this.#sticky
  }

  /** Chooses another sticky partition, where there is another. */
  moveOn(partitionsCount: number): void {
    const others = this.#sticky < 0 ? partitionsCount : Math.max(1, partitionsCount - 1)
    const drawn = Math.floor(this.#random() * others)
    const skipsOwn = this.#sticky >= 0 && partitionsCount > 1 && drawn >= this.#sticky
    this.#sticky = skipsOwn ? drawn + 1 : drawn
  }

  /** The partition of a record that names none and is not sticky. Throws RangeError. */
  of(record: ProducerRecord, partitionsCount: number, key: Uint8Array | null): number {
    if (this.#partitioner === 'roundRobin') {
      if (this.#next < 0) this.#next = Math.floor(this.#random() * partitionsCount)
      this.#next = (this.#next + 1) % partitionsCount
      return this.#next
    }
    if (this.#partitioner === 'default') {
      return partitionOfKey(key as Uint8Array, partitionsCount)
    }
    const partition = this.#partitioner(record, partitionsCount, key)
    if (Number.isInteger(partition) && partition >= 0 && partition < partitionsCount) {
      return partition
    }
    throw new RangeError(`the partitioner chose ${partition} of ${partitionsCount} partitions`)
  }
}
