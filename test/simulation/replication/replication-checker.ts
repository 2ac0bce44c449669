/**
 * What must hold in a partition's replicas after every event: one leader an epoch, a new leader has
 * everything that was ever below the high watermark, that is the same wherever it is seen, and what
 * a client was told is safe stays.
 */
import type { PartitionState } from '../../../src/metadata/partition-rules.ts'
import { require_ } from '../violation.ts'
import type { SimRecord, SimReplica } from './sim-replica.ts'

interface Named {
  readonly id: number
}

/** So many records below a watermark that moves are compared again. */
const COMPARED_AGAIN = 20

export class ReplicationChecker {
  /** By partition: what was below a watermark, by offset. */
  readonly #committed: SimRecord[][] = []
  readonly #leaders = new Map<string, number>()
  readonly #acknowledged: { partition: number; offset: number; value: string }[] = []

  get acknowledged(): number {
    return this.#acknowledged.length
  }

  committedEnd(partition: number): number {
    return this.#of(partition).length
  }

  onLeader(broker: Named, partition: number, epoch: number, replica: SimReplica): void {
    const at = `${partition} in ${epoch}`
    const known = this.#leaders.get(at)
    require_(
      known === undefined || known === broker.id,
      'an epoch has one leader',
      () => `${at}: ${known} and ${broker.id}`,
    )
    this.#leaders.set(at, broker.id)
    const committed = this.#of(partition)
    this.#compare(broker, partition, replica, { from: 0, to: committed.length })
  }

  onWatermark(broker: Named, partition: number, replica: SimReplica): void {
    const committed = this.#of(partition)
    const { highWatermark, records } = replica
    const from = Math.max(0, Math.min(committed.length, highWatermark) - COMPARED_AGAIN)
    this.#compare(broker, partition, replica, {
      from,
      to: Math.min(committed.length, highWatermark),
    })
    for (let i = committed.length; i < highWatermark; i++) committed.push(records[i] as SimRecord)
  }

  onAcknowledged(partition: number, offset: number, value: string): void {
    require_(
      this.#of(partition)[offset]?.value === value,
      'what is acknowledged is below the watermark',
      () => `${value} at ${offset} of ${partition}`,
    )
    this.#acknowledged.push({ partition, offset, value })
  }

  /** Epochs only grow, and by one; a leader is in sync. */
  onChange(partition: number, before: PartitionState, after: PartitionState): void {
    const { leader, leaderEpoch, partitionEpoch, inSyncReplicas, replicas } = after
    const steps = leaderEpoch - before.leaderEpoch
    require_(
      partitionEpoch === before.partitionEpoch + 1 && (steps === 0 || steps === 1),
      'epochs are dense',
      () => `${partition}: ${JSON.stringify(before)} to ${JSON.stringify(after)}`,
    )
    require_(
      steps === 1 || leader === before.leader,
      'a change of leader is a new epoch',
      () => `${partition}: ${JSON.stringify(before)} to ${JSON.stringify(after)}`,
    )
    require_(
      (leader < 0 || inSyncReplicas.includes(leader)) &&
        inSyncReplicas.every((id) => replicas.includes(id)),
      'a leader is in sync',
      () => `${partition}: ${JSON.stringify(after)}`,
    )
  }

  /** At the end, when all is well: every replica has the same, and all that was acknowledged. */
  checkReplicas(partition: number, replicas: readonly SimReplica[]): void {
    for (const replica of replicas) {
      for (const each of this.#acknowledged) {
        if (each.partition !== partition) continue
        require_(
          replica.records[each.offset]?.value === each.value,
          'an acknowledged record stays',
          () => `${each.value} at ${each.offset} of ${partition}`,
        )
      }
      this.#compare({ id: 0 }, partition, replica, {
        from: 0,
        to: this.#of(partition).length,
      })
    }
  }

  #compare(
    broker: Named,
    partition: number,
    { records }: SimReplica,
    { from, to }: { readonly from: number; readonly to: number },
  ): void {
    const committed = this.#of(partition)
    for (let i = from; i < to; i++) {
      const known = committed[i] as SimRecord
      const own = records[i]
      require_(
        own?.value === known.value && own.epoch === known.epoch,
        'what was below a watermark stays, everywhere',
        () =>
          `broker ${broker.id}, partition ${partition}, ${i}: ${own?.value} of ${own?.epoch}, not ${known.value} of ${known.epoch}`,
      )
    }
  }

  #of(partition: number): SimRecord[] {
    this.#committed[partition] ??= []
    return this.#committed[partition]
  }
}
