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

interface Member extends Named {
  readonly replicas: readonly (SimReplica | undefined)[]
}

/** So many records below a watermark that moves are compared again. */
const COMPARED_AGAIN = 20

export class ReplicationChecker {
  /** By partition: what was below a watermark, by offset. */
  readonly #committed: SimRecord[][] = []
  /** By partition and offset: the epoch of the leader whose watermark was first above it. */
  readonly #committedIn: number[][] = []
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
    // One that learns late that it leads may have been deposed: what came later it need not have.
    const committedIn = this.#committedIn[partition] ?? []
    const later = committedIn.findIndex((other) => other > epoch)
    const to = later < 0 ? committedIn.length : later
    this.#compare(broker, partition, replica, { from: 0, to })
  }

  /** Of a leader, in its epoch. */
  onWatermark(
    broker: Named,
    { partition, epoch }: { readonly partition: number; readonly epoch: number },
    replica: SimReplica,
  ): void {
    const committed = this.#of(partition)
    this.#committedIn[partition] ??= []
    const { highWatermark, records } = replica
    const from = Math.max(0, Math.min(committed.length, highWatermark) - COMPARED_AGAIN)
    this.#compare(broker, partition, replica, {
      from,
      to: Math.min(committed.length, highWatermark),
    })
    for (let i = committed.length; i < highWatermark; i++) {
      committed.push(records[i] as SimRecord)
      this.#committedIn[partition].push(epoch)
    }
  }

  /** What a leader has counted the others of its ISR have, whether they run or not. */
  onCounted(partition: number, leader: SimReplica, members: readonly Member[]): void {
    const last = leader.highWatermark - 1
    if (last < 0) return
    const own = leader.records[last] as SimRecord
    for (const { id, replicas } of members) {
      const record = replicas[partition]?.records[last]
      require_(
        record?.value === own.value && record.epoch === own.epoch,
        'what is below a watermark is on all that are in sync',
        () => `broker ${id}, partition ${partition}, ${last}: ${record?.value}, not ${own.value}`,
      )
    }
  }

  /** It is in sync from now on, and may be elected. */
  onJoined(broker: Named, partition: number, { records }: SimReplica): void {
    const last = this.committedEnd(partition) - 1
    const known = this.#of(partition)[last]
    require_(
      last < 0 || (records[last]?.value === known?.value && records[last]?.epoch === known?.epoch),
      'who joins the ISR has what is committed',
      () => `broker ${broker.id}, partition ${partition}: ${records.length} of ${last + 1}`,
    )
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
