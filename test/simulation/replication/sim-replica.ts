/**
 * One replica's log on a simulated disk: records with their leader epochs, of which a power loss
 * leaves what was flushed and a random part of the rest.
 */
import type { Random } from '../../../src/base/random.ts'
import type { EpochEnd, LogEpochs } from '../../../src/replication/fetch-rules.ts'

export interface SimRecord {
  readonly epoch: number
  readonly value: string
}

export class SimReplica implements LogEpochs {
  records: SimRecord[] = []
  /** Exclusive; what lies above is in the page cache only. */
  flushedOffset = 0
  /** As the process knows it. A start knows nothing of it. */
  highWatermark = 0

  get logEndOffset(): number {
    return this.records.length
  }

  get latest(): number {
    return this.records.at(-1)?.epoch ?? -1
  }

  endOffsetFor(epoch: number, logEndOffset: number): EpochEnd {
    const { latest, records } = this
    if (epoch < 0 || epoch > latest) return { epoch: -1, endOffset: -1 }
    if (epoch === latest) return { epoch, endOffset: logEndOffset }
    const next = records.findIndex((record) => record.epoch > epoch)
    return { epoch: records[next - 1]?.epoch ?? epoch, endOffset: next }
  }

  append(records: readonly SimRecord[]): void {
    this.records.push(...records)
  }

  truncateTo(offset: number): void {
    this.records.length = Math.min(this.records.length, offset)
    this.flushedOffset = Math.min(this.flushedOffset, this.records.length)
    this.highWatermark = Math.min(this.highWatermark, this.records.length)
  }

  /** The process is gone; the machine may be too. */
  lose(isPowerLoss: boolean, random: Random): void {
    if (isPowerLoss) this.truncateTo(random.between(this.flushedOffset, this.records.length))
    this.highWatermark = 0
  }
}
