/**
 * Replicas of this broker that it cannot use, and how the cluster goes on without them: where
 * somebody else may lead who has everything, the metadata is told that this broker's replica is out
 * (`replicas-failed`, which every broker proposes for itself). Runs on main.
 *
 *   offline   its log directory has failed (KIP-112): out until this broker is restarted
 *   damaged   its log holds what nobody wrote: once it is out, it begins anew and fetches all of it
 *   cut       its log has turned out to be shorter: once it is out, it goes on from where it ends
 *
 * What a damaged or a cut one has asked its leader for, and what was decided because of that, is of
 * a leader epoch that must be over: it counts as out from the next one on. One that nobody else can
 * stand in for stays as it is, and is looked at again as the metadata changes.
 */
import type { Uuid } from '../../base/uuid.ts'
import { isReplaceable, NO_LEADER } from '../../metadata/partition-rules.ts'
import { type ReplicasFailedRecord, RULE_VERSION } from '../../metadata/records.ts'
import { type OwnReplicasParts, REPORT_MAX, SelfReport } from './self-report.ts'

export type FailureKind = 'offline' | 'damaged' | 'cut'

interface Failed {
  readonly kind: FailureKind
  /** In which it was noticed. */
  readonly leaderEpoch: number
}

/** The more of these the worse. */
const KINDS: readonly FailureKind[] = ['cut', 'damaged', 'offline']

export class FailedReplicas {
  readonly #parts: OwnReplicasParts
  /** By handle. */
  readonly #failed = new Map<number, Failed>()
  readonly #report: SelfReport<ReplicasFailedRecord>

  constructor(parts: OwnReplicasParts) {
    this.#parts = parts
    this.#report = new SelfReport({
      ...parts,
      records: () => this.#records(),
      onTold: (records) => this.#onTold(records),
    })
  }

  /** This broker is registered: it may speak for itself. */
  begin(): void {
    this.#report.begin()
  }

  /** To be followed by `look`. Of two the worse one stands. */
  add(handle: number, kind: FailureKind): void {
    const before = this.#failed.get(handle)
    if (before !== undefined && KINDS.indexOf(before.kind) > KINDS.indexOf(kind)) return
    if (before?.kind === 'offline') return
    const leaderEpoch = this.#parts.image.partitions.leaderEpoch(handle)
    this.#failed.set(handle, { kind, leaderEpoch })
    this.#report.due()
  }

  /** Nothing is to be fetched for it. */
  has(handle: number): boolean {
    const failed = this.#failed.get(handle)
    return failed !== undefined && failed.kind !== 'cut'
  }

  /** The replica is gone. */
  forget(handle: number): void {
    this.#failed.delete(handle)
  }

  /** It is damaged, and the cluster does without it: nothing of it is needed any more. */
  mayStartOver(handle: number): boolean {
    const failed = this.#failed.get(handle)
    return failed?.kind === 'damaged' && this.#isOut(handle, failed) && this.#isLedByOther(handle)
  }

  /** These partitions are others in the metadata, or brokers are. */
  changed(handles: Iterable<number>, areBrokers: boolean): void {
    if (this.#failed.size === 0) return
    if (areBrokers) this.#report.due()
    for (const handle of handles) {
      const failed = this.#failed.get(handle)
      if (failed === undefined) continue
      if (failed.kind === 'cut' && this.#isOut(handle, failed)) this.#failed.delete(handle)
      else this.#report.due()
    }
    this.look()
  }

  /** Resolves once the metadata says all that it can be told, or this broker stops. */
  whenTold(): Promise<void> {
    return this.#report.whenTold()
  }

  /** Tells the metadata what it does not say yet. */
  look(): void {
    this.#report.look()
  }

  stop(): void {
    this.#report.stop()
  }

  #onTold(told: readonly ReplicasFailedRecord[]): void {
    for (const { topicId, partitions } of told) {
      const what = 'replicas of this broker cannot be used: others lead and are in sync without it'
      this.#parts.logger.warn({ topic: topicId, partitions }, what)
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
    for (const [handle, failed] of this.#failed) {
      const topic = image.partitions.topic(handle)
      if (topic === null || this.#isOut(handle, failed)) continue
      if (!isReplaceable(image.partitions.state(handle), brokerId, image.context(handle))) continue
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

  /** Nobody counts on it, nor on what it has asked for before. */
  #isOut(handle: number, { kind, leaderEpoch }: Failed): boolean {
    const { partitions } = this.#parts.image
    const { nodeId } = this.#parts
    const isCounted =
      partitions.inSyncReplicas(handle).includes(nodeId) ||
      partitions.eligibleReplicas(handle).includes(nodeId)
    return !isCounted && (kind === 'offline' || partitions.leaderEpoch(handle) > leaderEpoch)
  }

  #isLedByOther(handle: number): boolean {
    const leader = this.#parts.image.partitions.leader(handle)
    return leader !== NO_LEADER && leader !== this.#parts.nodeId
  }
}
