/**
 * Rows of a partition table that are alike: of one shape and one policy, and with the same to add
 * to their epochs. What happens to a broker happens to all rows of a cohort, so that a lost broker
 * is a step for each of some thousand cohorts, and no row of the millions is touched.
 *
 * Cohorts that come to have the same shape stay apart, as their epochs differ; a row that is given
 * a state of its own goes to the one that was first. One without rows is forgotten, and its number
 * is used again.
 */
import { assert } from '../base/assert.ts'
import type { PartitionPolicy, PartitionState } from './partition-rules.ts'
import { NO_SHAPE, type PartitionShape, PartitionShapes } from './partition-shapes.ts'

/** What an event makes of all partitions that are alike; null: that differs among them. */
export type BulkRule = (state: PartitionState, policy: PartitionPolicy) => PartitionState | null

/** Of rows that are no partition. */
export const NO_COHORT = 0

interface Cohort {
  shapeId: number
  policyId: number
  /** Of each row: what it has itself and this are its epochs. */
  leaderEpoch: number
  partitionEpoch: number
  rows: number
}

export class PartitionCohorts {
  readonly shapes = new PartitionShapes()
  readonly #cohorts: Cohort[] = [newCohort(NO_SHAPE, 0)]
  readonly #free: number[] = []
  readonly #policies: PartitionPolicy[] = []
  readonly #policyIds = new Map<string, number>()
  #latestPolicy = 0
  /** By policy and shape: where rows come to. */
  readonly #first: Map<number, number>[] = []

  /** Numbers of cohorts are in [0, size). */
  get size(): number {
    return this.#cohorts.length
  }

  at(id: number): Readonly<Cohort> {
    return this.#cohorts[id] as Cohort
  }

  shape(id: number): PartitionShape {
    return this.shapes.get(this.at(id).shapeId)
  }

  policy(id: number): PartitionPolicy {
    return this.#policies[this.at(id).policyId] as PartitionPolicy
  }

  /** Never forgotten: there are as many as topics have ever had different ones, which are few. */
  policyIdOf({ minInSyncReplicas, allowsUncleanElection }: PartitionPolicy): number {
    const latest = this.#policies[this.#latestPolicy]
    const isLatest =
      latest?.minInSyncReplicas === minInSyncReplicas &&
      latest.allowsUncleanElection === allowsUncleanElection
    if (isLatest) return this.#latestPolicy
    const key = `${minInSyncReplicas}/${allowsUncleanElection}`
    this.#latestPolicy = this.#policyIds.get(key) ?? this.#policies.length
    if (this.#latestPolicy < this.#policies.length) return this.#latestPolicy
    this.#policyIds.set(key, this.#latestPolicy)
    this.#policies.push(Object.freeze({ minInSyncReplicas, allowsUncleanElection }))
    this.#first.push(new Map())
    return this.#latestPolicy
  }

  /** For a row that is about to be counted there. */
  idFor(shapeId: number, policyId: number): number {
    const first = this.#first[policyId] as Map<number, number>
    const known = first.get(shapeId)
    if (known !== undefined) return known
    const id = this.#free.pop() ?? this.#cohorts.length
    this.#cohorts[id] = newCohort(shapeId, policyId)
    first.set(shapeId, id)
    return id
  }

  /** A row is in the one and not in the other any more; either may be NO_COHORT. */
  moveRow(from: number, to: number): void {
    if (from === to) return
    if (to !== NO_COHORT) (this.#cohorts[to] as Cohort).rows++
    if (from === NO_COHORT) return
    const left = this.#cohorts[from] as Cohort
    assert(left.rows > 0)
    left.rows--
    if (left.rows > 0) return
    this.#leaveFirst(from, left)
    this.#free.push(from)
  }

  /** The cohorts with rows whose shape `concerns`. Costs as much as there are cohorts. */
  *of(concerns: (shape: PartitionShape) => boolean): Generator<number> {
    for (let id = NO_COHORT + 1; id < this.#cohorts.length; id++) {
      if (this.at(id).rows > 0 && concerns(this.shape(id))) yield id
    }
  }

  /**
   * Gives all rows of the cohort what `rule` makes of their state. The rule must not look at
   * epochs, and what it adds to them must not depend on them; it says null where it has to see each
   * row.
   */
  change(id: number, rule: BulkRule): 'changed' | 'same' | 'by row' {
    const before = { ...this.shape(id), leaderEpoch: 0, partitionEpoch: 0 }
    const after = rule(before, this.policy(id))
    if (after === before) return 'same'
    if (after === null) return 'by row'
    assert(after.partitionEpoch > 0, 'any change is a new partition epoch')
    const cohort = this.#cohorts[id] as Cohort
    this.#leaveFirst(id, cohort)
    cohort.shapeId = this.shapes.idOf(after)
    cohort.leaderEpoch += after.leaderEpoch
    cohort.partitionEpoch += after.partitionEpoch
    const first = this.#first[cohort.policyId] as Map<number, number>
    if (!first.has(cohort.shapeId)) first.set(cohort.shapeId, id)
    return 'changed'
  }

  /** All rows there are have so many leader epochs more. */
  addLeaderEpochs(count: number): void {
    for (const cohort of this.#cohorts) cohort.leaderEpoch += count
  }

  #leaveFirst(id: number, { policyId, shapeId }: Cohort): void {
    const first = this.#first[policyId]
    if (first?.get(shapeId) === id) first.delete(shapeId)
  }
}

function newCohort(shapeId: number, policyId: number): Cohort {
  return { shapeId, policyId, leaderEpoch: 0, partitionEpoch: 0, rows: 0 }
}
