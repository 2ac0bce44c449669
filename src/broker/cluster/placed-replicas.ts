/**
 * Replicas of this broker that lie in another log directory than the metadata says: their disk was
 * replaced, and they were made anew (`unfound-directories.ts`). Once one is in sync the metadata is
 * told where it is (`replicas-placed`). Until then it names a directory that nobody has, so that
 * the replica does not lead where nobody is known to have everything. Runs on main.
 */
import type { Uuid } from '../../base/uuid.ts'
import type { ReplicasPlacedRecord } from '../../metadata/records.ts'
import type { PartitionPlacement } from '../partition-placement.ts'
import { type OwnReplicasParts, REPORT_MAX, SelfReport } from './self-report.ts'

export interface PlacedReplicasParts extends OwnReplicasParts {
  readonly placement: PartitionPlacement
}

export class PlacedReplicas {
  readonly #parts: PlacedReplicasParts
  /** Handles of those in sync that may have to be told of. */
  readonly #elsewhere = new Set<number>()
  readonly #report: SelfReport<ReplicasPlacedRecord>

  constructor(parts: PlacedReplicasParts) {
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

  /** A partition of this broker is another one in the metadata. To be followed by `look`. */
  changed(handle: number): void {
    if (this.#directoryOf(handle) === null) {
      this.#elsewhere.delete(handle)
    } else {
      this.#elsewhere.add(handle)
      this.#report.due()
    }
  }

  /** The replica is gone. */
  forget(handle: number): void {
    this.#elsewhere.delete(handle)
  }

  look(): void {
    this.#report.look()
  }

  stop(): void {
    this.#report.stop()
  }

  #onTold(told: readonly ReplicasPlacedRecord[]): void {
    for (const { topicId, partitions, directory } of told) {
      const what = 'replicas are in sync in another log directory: the metadata names it now'
      this.#parts.logger.info({ topic: topicId, partitions, directory }, what)
    }
  }

  /** At most `REPORT_MAX` partitions, by topic and directory. */
  #records(): ReplicasPlacedRecord[] {
    const { image, nodeId: brokerId, brokerEpoch } = this.#parts
    const epoch = image.brokers.get(brokerId)?.epoch
    // Registered anew: what was in sync was that of the process before this one.
    if (epoch === undefined || epoch !== brokerEpoch()) return []
    const records = new Map<string, ReplicasPlacedRecord & { partitions: number[] }>()
    let left = REPORT_MAX
    for (const handle of this.#elsewhere) {
      const directory = this.#directoryOf(handle)
      const topic = image.partitions.topic(handle)
      if (directory === null || topic === null) continue
      const place = { brokerId, brokerEpoch: epoch, directory, topicId: topic.id }
      const key = `${topic.id}/${directory}`
      const record = records.get(key) ?? { type: 'replicas-placed', ...place, partitions: [] }
      records.set(key, record)
      record.partitions.push(image.partitions.partitionNumber(handle))
      if (--left === 0) break
    }
    return [...records.values()]
  }

  /** Where it is, when it is in sync and the metadata does not say so. */
  #directoryOf(handle: number): Uuid | null {
    const { image, nodeId, placement } = this.#parts
    const { partitions } = image
    if (!partitions.has(handle) || !partitions.inSyncReplicas(handle).includes(nodeId)) return null
    return placement.standsFor(partitions.directoryOn(handle, nodeId) as Uuid)
  }
}
