/**
 * What a member of a group has, and how far the application has come in each partition.
 *
 *   assigned ──> given (the application has events of it) ──> processed ──> committed
 *
 * A partition that is `retired` gives no events any more; what was given before still counts.
 */
import type { Consumer } from './consumer.ts'
import type { AssignedPartition } from './group-membership.ts'
import type { GroupPartition, OffsetToCommit } from './group-options.ts'

export class OwnedPartition {
  readonly topic: string
  readonly partition: number
  /** What the group has; −1: nothing. */
  committed: number
  /** Behind the last event that was given to the application; −1: none was. */
  given = -1
  /** Behind the last event that it is done with; −1: with none. */
  processed = -1
  isRetired = false
  /** The application wants none of it. */
  isPaused = false
  /** A worker has events of it. */
  isBusy = false

  constructor({ topic, partition, committed }: AssignedPartition) {
    this.topic = topic
    this.partition = partition
    this.committed = committed
  }

  /** The application gets events up to `next`, exclusive. */
  give(next: number): void {
    // What was committed is no longer in the log: reading began anew in front of it.
    if (this.given < 0 && next <= this.committed) this.committed = -1
    this.given = next
  }
}

export class OwnedPartitions {
  readonly #consumer: Consumer
  readonly #all = new Map<string, OwnedPartition>()
  #isHeld = false
  /** Of a loop: the partition whose events the application has now. */
  #out: OwnedPartition | null = null
  /** The last one that was looked for. */
  #last: OwnedPartition | null = null

  constructor(consumer: Consumer) {
    this.#consumer = consumer
  }

  /** The application of a loop has an event that it may not be done with. */
  get isOut(): boolean {
    return this.#out !== null
  }

  list(): GroupPartition[] {
    return [...this.#all.values()].map(({ topic, partition }) => ({ topic, partition }))
  }

  find(topic: string, partition: number): OwnedPartition | undefined {
    const last = this.#last
    if (last !== null && last.partition === partition && last.topic === topic) return last
    const found = this.#all.get(keyOf(topic, partition))
    this.#last = found ?? null
    return found
  }

  assign(partitions: readonly AssignedPartition[], from: 'earliest' | 'latest'): void {
    for (const at of partitions) {
      this.#all.set(keyOf(at.topic, at.partition), new OwnedPartition(at))
    }
    this.#consumer.assign(
      partitions.map(({ topic, partition, committed }) => {
        return { topic, partition, offset: committed < 0 ? from : committed }
      }),
    )
  }

  /** Nothing more is given of any. */
  retire(): void {
    for (const owned of this.#all.values()) {
      this.#notePosition(owned)
      owned.isRetired = true
    }
    this.#consumer.unassign()
  }

  clear(): void {
    this.#all.clear()
    this.#last = null
    this.#isHeld = false
  }

  // —— how far it has come ——

  /** The application of a loop gets events up to `next`; false: they are not its own any more. */
  give({ topic, partition }: GroupPartition, next: number): boolean {
    const owned = this.find(topic, partition)
    if (owned === undefined || owned.isRetired) return false
    owned.give(next)
    this.#out = owned
    return true
  }

  /** The application of a loop is done with what it has. */
  settle(): void {
    const owned = this.#out
    if (owned === null) return
    owned.processed = owned.given
    this.#out = null
  }

  /** What was read before does not count: the application reads from another place. */
  forget(topic: string, partition: number): void {
    const owned = this.find(topic, partition)
    if (owned === undefined) return
    owned.given = -1
    owned.processed = -1
    owned.committed = -1
    if (this.#out === owned) this.#out = null
  }

  /** The application of a loop says itself that it is done with what it has. */
  settleGiven(): void {
    const owned = this.#out
    if (owned !== null) owned.processed = owned.given
  }

  /**
   * What is processed and not committed yet. Never less than what the application has committed
   * itself, which may be further: it knows best.
   */
  toCommit(): OffsetToCommit[] {
    const offsets: OffsetToCommit[] = []
    for (const owned of this.#all.values()) {
      this.#notePosition(owned)
      const { topic, partition, committed, processed } = owned
      if (processed > committed) offsets.push({ topic, partition, offset: processed })
    }
    return offsets
  }

  /** These are stored; `isOwn`: the application named them, and may have gone back. */
  committed(offsets: readonly OffsetToCommit[], isOwn: boolean): void {
    for (const { topic, partition, offset } of offsets) {
      const owned = this.find(topic, partition)
      // Answers may come in another order than the commits were made in.
      if (owned !== undefined) owned.committed = isOwn ? offset : Math.max(owned.committed, offset)
    }
  }

  /** Where it began counts as well: who comes later must not begin behind it. */
  #notePosition(owned: OwnedPartition): void {
    if (owned.given >= 0 || owned.processed >= 0 || owned.isRetired) return
    const { topic, partition } = owned
    owned.processed = this.#consumer.position(topic, partition) ?? -1
  }

  // —— pauses ——

  /** Throws RangeError for what is not its own. */
  pause(topic: string, partition: number, isPaused: boolean): void {
    const owned = this.find(topic, partition)
    if (owned === undefined) throw new RangeError(`${topic}-${partition} is not read here`)
    owned.isPaused = isPaused
    this.applyPause(owned)
  }

  holdAll(isHeld: boolean): void {
    this.#isHeld = isHeld
    for (const owned of this.#all.values()) this.applyPause(owned)
  }

  applyPause(owned: OwnedPartition): void {
    if (owned.isRetired || this.#all.get(keyOf(owned.topic, owned.partition)) !== owned) return
    const { topic, partition } = owned
    if (owned.isPaused || owned.isBusy || this.#isHeld) this.#consumer.pause(topic, partition)
    else this.#consumer.resume(topic, partition)
  }
}

function keyOf(topic: string, partition: number): string {
  return `${partition}:${topic}`
}
