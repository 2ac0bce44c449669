/**
 * The controller of a simulated cluster: who is registered and alive, and the state of every
 * partition, decided by the real rules of `src/metadata`. It never fails: that its log and its
 * leadership survive is what the quorum's simulation is about. Brokers ask it over the network.
 */
import { ErrorCode } from '../../../src/errors/error-code.ts'
import { type AlterPartition, alterPartition } from '../../../src/metadata/alter-partition.ts'
import {
  brokerDraining,
  brokerLost,
  brokerRestartedUnclean,
  brokerReturned,
  minInSyncReplicasChanged,
  newPartition,
  type PartitionContext,
  type PartitionState,
  preferredLeaderElected,
} from '../../../src/metadata/partition-rules.ts'
import type { EventClock } from '../event-clock.ts'
import { journal } from '../journal.ts'
import { Violation } from '../violation.ts'
import type { ReplicationPlan } from './replication-plan.ts'

interface Registration {
  readonly epoch: number
  /** The process that registered. */
  readonly incarnation: number
  isFenced: boolean
  isStopping: boolean
  heardMs: number
}

export interface Metadata {
  readonly version: number
  readonly partitions: readonly PartitionState[]
  readonly minInSyncReplicas: number
  /** By broker: its epoch, if it may be in sync. */
  readonly active: ReadonlyMap<number, number>
}

export class SimController {
  readonly #plan: ReplicationPlan
  readonly #clock: EventClock
  readonly #registrations = new Map<number, Registration>()
  readonly #onChange: (partition: number, before: PartitionState, after: PartitionState) => void
  partitions: PartitionState[] = []
  version = 0
  minInSyncReplicas: number
  #brokerEpochs = 100

  constructor(
    plan: ReplicationPlan,
    clock: EventClock,
    onChange: (partition: number, before: PartitionState, after: PartitionState) => void,
  ) {
    this.#plan = plan
    this.#clock = clock
    this.#onChange = onChange
    this.minInSyncReplicas = plan.minInSyncReplicas
  }

  createPartitions(): void {
    const { brokers, partitions, replicationFactor } = this.#plan
    for (let i = 0; i < partitions; i++) {
      const replicas = Array.from(
        { length: replicationFactor },
        (_, at) => ((i + at) % brokers) + 1,
      )
      const made = newPartition(replicas, { ...this.context, isActive: () => true })
      if (made === null) throw new Violation('a partition can be made', `${i}`)
      this.partitions.push(made)
    }
    this.version++
  }

  get context(): PartitionContext {
    return {
      minInSyncReplicas: this.minInSyncReplicas,
      isActive: (id) => this.#isActive(id),
      hasDirectory: () => true,
      allowsUncleanElection: false,
    }
  }

  metadata(): Metadata {
    const active = new Map<number, number>()
    for (const [id, { epoch }] of this.#registrations) {
      if (this.#isActive(id)) active.set(id, epoch)
    }
    const { version, minInSyncReplicas } = this
    return { version, partitions: [...this.partitions], minInSyncReplicas, active }
  }

  /** The new epoch. `previousEpoch`: since when nothing was lost; −1 when that is not known. */
  register(id: number, incarnation: number, previousEpoch: number): number {
    const known = this.#registrations.get(id)
    if (known !== undefined && known.incarnation >= incarnation) return known.epoch
    const epoch = this.#brokerEpochs++
    // The process may have died before it learnt its last epoch: it knows one before.
    const isWhole = previousEpoch >= 0 && previousEpoch <= (known?.epoch ?? -1)
    const isClean = known === undefined || isWhole
    this.#registrations.set(id, {
      epoch,
      incarnation,
      isFenced: true,
      isStopping: false,
      heardMs: this.#clock.nowMs,
    })
    journal(() => `broker ${id} is registered with ${epoch}${isClean ? '' : ', unclean'}`)
    this.#changeAll((partition) =>
      isClean
        ? brokerLost(partition, id, this.context)
        : brokerRestartedUnclean(partition, id, this.context),
    )
    this.version++
    return epoch
  }

  /** Whether that process has registered; a later one too. */
  knows(id: number, incarnation: number): boolean {
    return (this.#registrations.get(id)?.incarnation ?? -1) >= incarnation
  }

  heartbeat(id: number, epoch: number, appliedVersion: number): void {
    const known = this.#registrations.get(id)
    if (known?.epoch !== epoch) return
    known.heardMs = this.#clock.nowMs
    // One that has not seen what it was registered into would lead by what is over.
    if (!known.isFenced || known.isStopping || appliedVersion < this.version) return
    journal(() => `broker ${id} is unfenced`)
    known.isFenced = false
    this.version++
    this.#changeAll((partition) => brokerReturned(partition, this.context))
  }

  /** The broker is about to stop: it leads only what nobody else can, until it is not heard. */
  stop(id: number, epoch: number): void {
    const known = this.#registrations.get(id)
    if (known?.epoch !== epoch) return
    known.isStopping = true
    this.version++
    this.#changeAll((partition) => brokerDraining(partition, id, this.context))
  }

  alter(index: number, request: AlterPartition): ErrorCode {
    const partition = this.partitions[index] as PartitionState
    const result = alterPartition(partition, request, {
      ...this.context,
      brokerEpochOf: (id) => this.#registrations.get(id)?.epoch ?? -1,
    })
    if (typeof result === 'number') return result
    this.#set(index, result)
    return ErrorCode.NONE
  }

  changeMinimum(minInSyncReplicas: number): void {
    if (minInSyncReplicas === this.minInSyncReplicas) return
    journal(() => `min.insync.replicas is ${minInSyncReplicas}`)
    this.minInSyncReplicas = minInSyncReplicas
    this.version++
    this.#changeAll((partition) => minInSyncReplicasChanged(partition, this.context))
  }

  electPreferred(index: number): void {
    const partition = this.partitions[index] as PartitionState
    this.#set(index, preferredLeaderElected(partition, this.context))
  }

  /** Fences who is not heard. */
  tick(): void {
    for (const [id, registration] of this.#registrations) {
      const isSilent = this.#clock.nowMs - registration.heardMs > this.#plan.sessionMs
      if (registration.isFenced || !isSilent) continue
      journal(() => `broker ${id} is fenced`)
      registration.isFenced = true
      this.version++
      this.#changeAll((partition) => brokerLost(partition, id, this.context))
    }
  }

  #isActive(id: number): boolean {
    const known = this.#registrations.get(id)
    return known !== undefined && !known.isFenced && !known.isStopping
  }

  #changeAll(change: (partition: PartitionState) => PartitionState): void {
    for (const [index, partition] of this.partitions.entries()) {
      this.#set(index, change(partition))
    }
  }

  #set(index: number, after: PartitionState): void {
    const before = this.partitions[index] as PartitionState
    if (after === before) return
    journal(() => `partition ${index}: ${describe(after)}`)
    this.partitions[index] = after
    this.version++
    this.#onChange(index, before, after)
  }
}

export function describe(partition: PartitionState): string {
  const { leader, leaderEpoch, inSyncReplicas, eligibleReplicas, partitionEpoch } = partition
  return `leader ${leader} in ${leaderEpoch}, ISR ${inSyncReplicas.join()}, ELR ${eligibleReplicas.join()}, ${partitionEpoch}`
}
