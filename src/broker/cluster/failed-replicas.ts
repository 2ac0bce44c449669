/**
 * Replicas of this broker that it cannot use, and how the cluster goes on without them: where
 * others have everything, the metadata is told that this broker's replica is out, so that they lead
 * (`replicas-failed`, which every broker proposes for itself). Runs on main.
 *
 *   offline   its log directory has failed (KIP-112): out until this broker is restarted
 *   damaged   its log holds what nobody wrote: once it is out, it begins anew and fetches all of it
 *
 * One that nobody else can stand in for stays as it is, and is looked at again with each change of
 * metadata.
 */
import type { Uuid } from '../../base/uuid.ts'
import { BrokerError } from '../../errors/broker-error.ts'
import type { MetadataImage } from '../../metadata/image.ts'
import { isReplaceable } from '../../metadata/partition-rules.ts'
import { type ReplicasFailedRecord, RULE_VERSION } from '../../metadata/records.ts'
import type { Logger } from '../../metrics/logger.ts'
import type { MetadataStore } from '../metadata-store.ts'

export interface FailedReplicasParts {
  readonly nodeId: number
  readonly image: MetadataImage
  readonly brokerEpoch: () => number
  readonly change: MetadataStore['change']
  readonly logger: Logger
  readonly onFailure: (error: unknown) => void
}

/** Partitions in one change. */
const REPORT_MAX = 1000
/** Before it is tried again where no controller has taken it. */
const RETRY_MS = 500

export class FailedReplicas {
  readonly #parts: FailedReplicasParts
  /** By handle. */
  readonly #failed = new Map<number, 'damaged' | 'offline'>()
  #hasBegun = false
  #isStopped = false
  #isReporting = false
  #timer: NodeJS.Timeout | null = null
  /** Whoever waits until there is nothing to tell. */
  #waiting: (() => void)[] = []

  constructor(parts: FailedReplicasParts) {
    this.#parts = parts
  }

  /** This broker is registered: it may speak for itself. */
  begin(): void {
    this.#hasBegun = true
    this.look()
  }

  /** To be followed by `look`. Damage on a disk that has failed is the smaller matter. */
  add(handle: number, kind: 'damaged' | 'offline'): void {
    if (this.#failed.get(handle) !== 'offline') this.#failed.set(handle, kind)
  }

  has(handle: number): boolean {
    return this.#failed.has(handle)
  }

  /** The replica is gone. */
  forget(handle: number): void {
    this.#failed.delete(handle)
  }

  /** It is damaged, and the cluster does without it: nothing of it is needed any more. */
  mayStartOver(handle: number): boolean {
    if (this.#failed.get(handle) !== 'damaged') return false
    const { image, nodeId } = this.#parts
    const { leader, inSyncReplicas, eligibleReplicas } = image.partitions.state(handle)
    const hasAll = [...inSyncReplicas, ...eligibleReplicas]
    return leader !== nodeId && hasAll.length > 0 && !hasAll.includes(nodeId)
  }

  /** Resolves once the metadata says all that it can be told, or this broker stops. */
  whenTold(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
      this.look()
    })
  }

  /** Tells the metadata what it does not say yet. */
  look(): void {
    if (!this.#hasBegun || this.#isStopped || this.#isReporting) return
    if (this.#failed.size === 0 || this.#records().length === 0) {
      for (const resolve of this.#waiting.splice(0)) resolve()
      return
    }
    this.#isReporting = true
    this.#report().then(
      () => {
        this.#isReporting = false
        this.look()
      },
      (error: unknown) => {
        this.#isReporting = false
        if (!(error instanceof BrokerError)) this.#parts.onFailure(error)
        else this.#timer ??= setTimeout(() => this.#again(), RETRY_MS).unref()
      },
    )
  }

  stop(): void {
    this.#isStopped = true
    for (const resolve of this.#waiting.splice(0)) resolve()
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  #again(): void {
    this.#timer = null
    this.look()
  }

  async #report(): Promise<void> {
    const { change, logger } = this.#parts
    const told = await change(() => {
      const records = this.#isStopped ? [] : this.#records()
      return { records, result: records }
    })
    for (const { topicId, partitions } of told) {
      const what = 'replicas of this broker cannot be used: others lead and are in sync without it'
      logger.warn({ topic: topicId, partitions }, what)
    }
  }

  /** At most `REPORT_MAX` partitions, by topic. */
  #records(): ReplicasFailedRecord[] {
    const { image, nodeId: brokerId, brokerEpoch } = this.#parts
    const epoch = image.brokers.get(brokerId)?.epoch
    // Registered anew, in other words: what was decided of the process before it comes first.
    if (epoch === undefined || epoch !== brokerEpoch()) return []
    const byTopic = new Map<Uuid, number[]>()
    let left = REPORT_MAX
    for (const handle of this.#failed.keys()) {
      const topic = image.partitions.topic(handle)
      if (topic === null || !isReplaceable(image.partitions.state(handle), brokerId)) continue
      const partitions = byTopic.get(topic.id) ?? []
      byTopic.set(topic.id, partitions)
      partitions.push(image.partitions.partitionNumber(handle))
      if (--left === 0) break
    }
    return [...byTopic].map(([topicId, partitions]) => ({
      type: 'replicas-failed',
      brokerId,
      brokerEpoch: epoch,
      topicId,
      partitions,
      ruleVersion: RULE_VERSION,
    }))
  }
}
