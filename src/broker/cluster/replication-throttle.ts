/**
 * Which copying of replicas is held back, and how much of it there may be (KIP-73). Runs on main.
 *
 * The rule, for a broker as a leader and for it as a follower, each with a rate and lists of its
 * own: what is copied of a partition counts, and waits while the rate is exceeded, when
 *   – the topic's list has this broker's replica of the partition, or is `*`, and
 *   – the follower is not in sync: not in the ISR that the metadata has, and, as a follower itself
 *     sees it, not at the leader's high watermark either.
 * So nobody in sync is held back, nor falls out of the ISR because of a throttle; and the watermark
 * waits no longer than a moment for one that a throttle keeps from joining. Unlike
 * Kafka, which does not hold back what goes to replicas in sync either but counts it, that leaves
 * the whole rate to the others: a move comes to its end at any rate above what is written.
 *
 * Rates and lists are looked at when they are needed: a change holds at once.
 */
import type { BrokerConfig } from '../../config/broker-config.ts'
import { throttledPartitions } from '../../config/throttled-replicas.ts'
import type { MetadataImage } from '../../metadata/image.ts'
import { ByteRate } from '../../replication/byte-rate.ts'

export interface CopyThrottle {
  /** Another one whenever something may count that did not, or the other way round. */
  readonly version: number
  /** Whether what `replicaId` copies of a partition counts. */
  counts(handle: number, replicaId: number): boolean
  mayTake(): boolean
  /** What turns out to be less is given back as a negative number. */
  take(bytes: number): void
  /** 0: something may be copied now. */
  waitMs(): number
}

export interface ReplicationThrottleParts {
  readonly role: 'leader' | 'follower'
  readonly nodeId: number
  readonly image: MetadataImage
  readonly config: BrokerConfig
  readonly nowMs: () => number
}

/** Texts of lists whose meaning is remembered. */
const LISTS_MAX = 1000

export class ReplicationThrottle implements CopyThrottle {
  readonly #parts: ReplicationThrottleParts
  readonly #rate: ByteRate
  readonly #lists = new Map<string, 'all' | ReadonlySet<number>>()
  #changes = 0
  #bytesPerSecond: number

  constructor(parts: ReplicationThrottleParts) {
    this.#parts = parts
    this.#bytesPerSecond = parts.config.get(`${parts.role}.replication.throttled.rate`)
    this.#rate = new ByteRate(this.#bytesPerSecond, parts.nowMs())
  }

  get version(): number {
    this.#look()
    return this.#changes
  }

  /** Options of topics have changed, or who is in sync. */
  metadataChanged(): void {
    this.#changes++
  }

  counts(handle: number, replicaId: number): boolean {
    this.#look()
    if (this.#rate.isUnlimited || !this.#isListed(handle)) return false
    return !this.#parts.image.partitions.inSyncReplicas(handle).includes(replicaId)
  }

  mayTake(): boolean {
    this.#look()
    return this.#rate.mayTake(this.#parts.nowMs())
  }

  take(bytes: number): void {
    this.#rate.take(bytes, this.#parts.nowMs())
  }

  waitMs(): number {
    this.#look()
    return this.#rate.waitMs(this.#parts.nowMs())
  }

  #look(): void {
    const { config, role, nowMs } = this.#parts
    const bytesPerSecond = config.get(`${role}.replication.throttled.rate`)
    if (bytesPerSecond === this.#bytesPerSecond) return
    this.#bytesPerSecond = bytesPerSecond
    this.#rate.setRate(bytesPerSecond, nowMs())
    this.#changes++
  }

  #isListed(handle: number): boolean {
    const { image, role, nodeId } = this.#parts
    const text = image.partitions
      .topic(handle)
      ?.configs.get(`${role}.replication.throttled.replicas`)
    if (text == null || text === '') return false
    let list = this.#lists.get(text)
    if (list === undefined) {
      if (this.#lists.size >= LISTS_MAX) this.#lists.clear()
      list = throttledPartitions(text, nodeId)
      this.#lists.set(text, list)
    }
    return list === 'all' || list.has(image.partitions.partitionNumber(handle))
  }
}
