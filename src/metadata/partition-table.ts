import { assert } from '../base/assert.ts'
import type { Uuid } from '../base/uuid.ts'
import { IntColumn, PAGE_ROWS } from './int-column.ts'
import { type BulkRule, NO_COHORT, PartitionCohorts } from './partition-cohorts.ts'
import { DirectoryLists, TopicSlots } from './partition-lists.ts'
import type { PartitionPolicy, PartitionState } from './partition-rules.ts'
import type { PartitionShape } from './partition-shapes.ts'

/**
 * Every partition of the cluster as a row of typed arrays, named by its handle. Millions of rows
 * cost bytes, not objects, and the garbage collector never walks them: who leads and follows is the
 * number of a cohort of rows that are alike, which has the better part of the epochs as well; the
 * directories of the replicas are the number of a list.
 *
 * A removed row's handle is not used again while the process lives, so that a late message about
 * it cannot hit another partition. A table that is to take the place of another one draws its
 * handles from the same source, and gives rows of partitions that both have the same handles.
 */
export class PartitionTable<T extends TopicLike = TopicLike> {
  readonly handles: HandleSource
  /** What a row has more than its cohort, or less. */
  readonly #leaderEpochs = new IntColumn()
  readonly #partitionEpochs = new IntColumn()
  readonly #partitionNumbers = new IntColumn()
  readonly #cohortIds = new IntColumn()
  readonly #directoryLists = new IntColumn()
  readonly #topicSlots = new IntColumn()
  #size = 1
  #live = 0
  readonly #topics = new TopicSlots<T>()
  readonly #cohorts = new PartitionCohorts()
  readonly #directories = new DirectoryLists()
  /** Rows whose replicas are about to change; few at any time. */
  readonly #reassignments = new Map<number, Reassignment>()

  constructor(handles: HandleSource = new HandleSource()) {
    this.handles = handles
  }

  /** Handles are in [1, size). */
  get size(): number {
    return this.#size
  }

  /** Partitions that exist. */
  get count(): number {
    return this.#live
  }

  add(topic: T, row: NewRow): number {
    assert(row.directories.length === row.state.replicas.length)
    const handle = this.handles.next()
    this.place(handle, {
      topic,
      partition: row.partition,
      shapeId: this.#cohorts.shapes.idOf(row.state),
      policyId: this.#cohorts.policyIdOf(row.policy),
      directoryListId: this.#directories.idOf(row.directories),
      leaderEpoch: row.state.leaderEpoch,
      partitionEpoch: row.state.partitionEpoch,
    })
    return handle
  }

  /** Makes a row, or gives one that is there all of this: it is not about to change then. */
  place(handle: number, row: PlacedRow<T>): void {
    if (this.has(handle)) {
      assert(this.#topics.at(this.#topicSlots.get(handle)) === row.topic)
      this.#directories.removeRow(this.#directoryLists.get(handle))
      if (this.#reassignments.size > 0) this.#reassignments.delete(handle)
    } else {
      this.#topicSlots.set(handle, this.#topics.addRow(row.topic))
      this.#partitionNumbers.set(handle, row.partition)
      this.#live++
      if (handle >= this.#size) this.#size = handle + 1
    }
    this.#directories.addRow(row.directoryListId)
    this.#directoryLists.set(handle, row.directoryListId)
    this.#setCohort(handle, this.#cohorts.idFor(row.shapeId, row.policyId))
    this.#setEpochs(handle, row)
  }

  remove(handle: number): void {
    assert(this.has(handle))
    this.#topics.removeRow(this.#topicSlots.get(handle))
    this.#topicSlots.set(handle, 0)
    this.#setCohort(handle, NO_COHORT)
    this.#directories.removeRow(this.#directoryLists.get(handle))
    this.#reassignments.delete(handle)
    this.#live--
  }

  /** The row has the handle `to` from now on, which no row has. */
  move(from: number, to: number): void {
    assert(!this.has(to))
    const topic = this.topic(from)
    assert(topic !== null)
    this.place(to, {
      topic,
      partition: this.partitionNumber(from),
      shapeId: this.shapeId(from),
      policyId: this.#cohort(from).policyId,
      directoryListId: this.directoryListId(from),
      leaderEpoch: this.leaderEpoch(from),
      partitionEpoch: this.partitionEpoch(from),
    })
    const reassignment = this.#reassignments.get(from)
    if (reassignment !== undefined) this.#reassignments.set(to, reassignment)
    this.remove(from)
  }

  has(handle: number): boolean {
    return handle > 0 && handle < this.#size && this.#topicSlots.get(handle) !== 0
  }

  /** Null when there is no such row. */
  topic(handle: number): T | null {
    return this.has(handle) ? this.#topics.at(this.#topicSlots.get(handle)) : null
  }

  /** Null when there is no such row. */
  topicName(handle: number): string | null {
    return this.topic(handle)?.name ?? null
  }

  partitionNumber(handle: number): number {
    return this.#partitionNumbers.get(handle)
  }

  // —— who has it: NO_LEADER and empty lists for a row that was removed ——

  /** A broker id, or NO_LEADER. */
  leader(handle: number): number {
    return this.#shape(handle).leader
  }

  leaderEpoch(handle: number): number {
    return this.#leaderEpochs.get(handle) + this.#cohort(handle).leaderEpoch
  }

  partitionEpoch(handle: number): number {
    return this.#partitionEpochs.get(handle) + this.#cohort(handle).partitionEpoch
  }

  /** Broker ids, the preferred leader first. The lists are shared and never change. */
  replicas(handle: number): readonly number[] {
    return this.#shape(handle).replicas
  }

  inSyncReplicas(handle: number): readonly number[] {
    return this.#shape(handle).inSyncReplicas
  }

  eligibleReplicas(handle: number): readonly number[] {
    return this.#shape(handle).eligibleReplicas
  }

  lastKnownLeader(handle: number): number {
    return this.#shape(handle).lastKnownLeader
  }

  state(handle: number): PartitionState {
    const shape = this.#shape(handle)
    return {
      replicas: shape.replicas,
      inSyncReplicas: shape.inSyncReplicas,
      eligibleReplicas: shape.eligibleReplicas,
      lastKnownLeader: shape.lastKnownLeader,
      leader: shape.leader,
      leaderEpoch: this.leaderEpoch(handle),
      partitionEpoch: this.partitionEpoch(handle),
    }
  }

  /** Replicas are changed with `setDirectories` before. */
  setState(handle: number, state: PartitionState): void {
    assert(this.has(handle))
    assert(state.replicas.length === this.directories(handle).length)
    const { policyId } = this.#cohort(handle)
    this.#setCohort(handle, this.#cohorts.idFor(this.#cohorts.shapes.idOf(state), policyId))
    this.#setEpochs(handle, state)
  }

  // —— what the rules ask about it ——

  policy(handle: number): PartitionPolicy {
    assert(this.has(handle))
    return this.#cohorts.policy(this.#cohortIds.get(handle))
  }

  /** False when it is that already; else the row is in another cohort. */
  setPolicy(handle: number, policy: PartitionPolicy): boolean {
    assert(this.has(handle))
    const policyId = this.#cohorts.policyIdOf(policy)
    if (policyId === this.#cohort(handle).policyId) return false
    const epochs = {
      leaderEpoch: this.leaderEpoch(handle),
      partitionEpoch: this.partitionEpoch(handle),
    }
    this.#setCohort(handle, this.#cohorts.idFor(this.shapeId(handle), policyId))
    this.#setEpochs(handle, epochs)
    return true
  }

  // —— where its replicas lie ——

  /** Of the first replica: of a broker on its own, the only one. */
  directory(handle: number): Uuid {
    return this.directories(handle)[0] as Uuid
  }

  /** In the order of the replicas. */
  directories(handle: number): readonly Uuid[] {
    return this.#directories.at(this.#directoryLists.get(handle))
  }

  /** Null when that broker has no replica. */
  directoryOn(handle: number, brokerId: number): Uuid | null {
    const index = this.replicas(handle).indexOf(brokerId)
    return index < 0 ? null : (this.directories(handle)[index] as Uuid)
  }

  setDirectories(handle: number, replicas: readonly number[], directories: readonly Uuid[]): void {
    assert(this.has(handle) && replicas.length === directories.length)
    const id = this.#directories.idOf(directories)
    this.#directories.removeRow(this.#directoryLists.get(handle))
    this.#directories.addRow(id)
    this.#directoryLists.set(handle, id)
  }

  /** Replicas by directory, of those that have any. */
  replicasByDirectory(): Map<Uuid, number> {
    return this.#directories.counts()
  }

  // —— what rows are made of, by number: of this table only, and never another one again ——

  shapeId(handle: number): number {
    return this.#cohort(handle).shapeId
  }

  shapeAt(id: number): PartitionShape {
    return this.#cohorts.shapes.get(id)
  }

  shapeIdOf(shape: PartitionShape): number {
    return this.#cohorts.shapes.idOf(shape)
  }

  policyIdOf(policy: PartitionPolicy): number {
    return this.#cohorts.policyIdOf(policy)
  }

  directoryListId(handle: number): number {
    return this.#directoryLists.get(handle)
  }

  directoryListAt(id: number): readonly Uuid[] {
    return this.#directories.at(id)
  }

  directoryListIdOf(directories: readonly Uuid[]): number {
    return this.#directories.idOf(directories)
  }

  // —— replicas that change ——

  /** By handle, of the partitions whose replicas are about to change. */
  get reassignments(): ReadonlyMap<number, Reassignment> {
    return this.#reassignments
  }

  addingReplicas(handle: number): readonly number[] {
    return this.#reassignments.get(handle)?.adding ?? NOBODY
  }

  removingReplicas(handle: number): readonly number[] {
    return this.#reassignments.get(handle)?.removing ?? NOBODY
  }

  setReassignment(handle: number, { adding, removing }: Reassignment): void {
    if (adding.length === 0 && removing.length === 0) this.#reassignments.delete(handle)
    else this.#reassignments.set(handle, { adding, removing })
  }

  // —— all rows at once ——

  bumpLeaderEpochs(): void {
    this.#cohorts.addLeaderEpochs(1)
  }

  /**
   * Gives every row whose shape `concerns` the state that `rule` makes of it, which is asked once
   * for all rows of a cohort and must not look at epochs. A lost broker is this, while clients wait
   * for new leaders. Returns the cohorts that are others now, and the rows of which the rule says
   * that it has to see each.
   */
  changeAll(
    concerns: (shape: PartitionShape) => boolean,
    rule: BulkRule,
  ): { cohorts: readonly number[]; rows: number; left: readonly number[] } {
    const cohorts: number[] = []
    const byRow: number[] = []
    let rows = 0
    for (const id of this.#cohorts.of(concerns)) {
      const outcome = this.#cohorts.change(id, rule)
      if (outcome === 'by row') byRow.push(id)
      if (outcome !== 'changed') continue
      cohorts.push(id)
      rows += this.#cohorts.at(id).rows
    }
    return { cohorts, rows, left: [...this.#handlesIn(byRow)] }
  }

  /** How many rows have a shape that `concerns`. Costs as much as there are cohorts. */
  countOf(concerns: (shape: PartitionShape) => boolean): number {
    let count = 0
    for (const id of this.#cohorts.of(concerns)) count += this.#cohorts.at(id).rows
    return count
  }

  /** The rows whose shape is one of those asked for. */
  handlesOf(concerns: (shape: PartitionShape) => boolean): Generator<number> {
    return this.#handlesIn(this.#cohorts.of(concerns))
  }

  cohortId(handle: number): number {
    return this.#cohortIds.get(handle)
  }

  /** The rows that are now in one of these, as far as its shape `concerns`. */
  handlesIn(
    cohorts: Iterable<number>,
    concerns: (shape: PartitionShape) => boolean = () => true,
  ): Generator<number> {
    return this.#handlesIn([...cohorts].filter((id) => concerns(this.#cohorts.shape(id))))
  }

  *#handlesIn(cohorts: Iterable<number>): Generator<number> {
    const isMember = new Uint8Array(this.#cohorts.size)
    let members = 0
    for (const id of cohorts) {
      isMember[id] = 1
      members++
    }
    for (let first = 0; members > 0 && first < this.#size; first += PAGE_ROWS) {
      const page = this.#cohortIds.pageAt(first)
      if (page === undefined) continue
      for (const i of rowsWith(page, isMember)) yield first + i
    }
  }

  // —— inside ——

  #setCohort(handle: number, id: number): void {
    this.#cohorts.moveRow(this.#cohortIds.get(handle), id)
    this.#cohortIds.set(handle, id)
  }

  /** Of a row whose cohort is the one that it will have. */
  #setEpochs(handle: number, epochs: { leaderEpoch: number; partitionEpoch: number }): void {
    const { leaderEpoch, partitionEpoch } = this.#cohort(handle)
    this.#leaderEpochs.set(handle, epochs.leaderEpoch - leaderEpoch)
    this.#partitionEpochs.set(handle, epochs.partitionEpoch - partitionEpoch)
  }

  #cohort(handle: number): ReturnType<PartitionCohorts['at']> {
    return this.#cohorts.at(this.#cohortIds.get(handle))
  }

  #shape(handle: number): PartitionShape {
    return this.#cohorts.shape(this.#cohortIds.get(handle))
  }
}

/** The table keeps rows apart from topics; it needs only to tell whether a row is taken. */
export interface TopicLike {
  readonly name: string
}

/** Of the rows of all tables that may take each other's place. */
export class HandleSource {
  /** Handle 0 is the metadata log's own. */
  #next = 1

  next(): number {
    return this.#next++
  }
}

export interface NewRow {
  readonly partition: number
  readonly state: PartitionState
  readonly policy: PartitionPolicy
  /** In the order of the replicas. */
  readonly directories: readonly Uuid[]
}

/** A row by the numbers that the table has for its parts. */
export interface PlacedRow<T> {
  readonly topic: T
  readonly partition: number
  readonly shapeId: number
  readonly policyId: number
  readonly directoryListId: number
  readonly leaderEpoch: number
  readonly partitionEpoch: number
}

/** Replicas that are to come and to go (KIP-455). */
export interface Reassignment {
  readonly adding: readonly number[]
  readonly removing: readonly number[]
}

/** Of a page of cohorts by row, those rows that are in one of them. */
function rowsWith(cohortIds: Int32Array, isMember: Uint8Array): readonly number[] {
  const rows: number[] = []
  for (let i = 0; i < PAGE_ROWS; i++) {
    if (isMember[cohortIds[i] as number] === 1) rows.push(i)
  }
  return rows
}

const NOBODY: readonly number[] = []
