import { assert } from '../base/assert.ts'
import type { Uuid } from '../base/uuid.ts'
import { IntColumn, PAGE_ROWS } from './int-column.ts'
import { DirectoryLists, TopicSlots } from './partition-lists.ts'
import type { PartitionState } from './partition-rules.ts'
import { NO_SHAPE, type PartitionShape, PartitionShapes } from './partition-shapes.ts'

/**
 * Every partition of the cluster as a row of typed arrays, named by its handle. Millions of rows
 * cost bytes, not objects, and the garbage collector never walks them: who leads and follows is the
 * number of a shape, the directories of the replicas are the number of a list.
 *
 * A removed row's handle is not used again while the process lives, so that a late message about
 * it cannot hit another partition. A table that is to take the place of another one draws its
 * handles from the same source, and gives rows of partitions that both have the same handles.
 */
export class PartitionTable<T extends TopicLike = TopicLike> {
  readonly handles: HandleSource
  readonly #leaderEpochs = new IntColumn()
  readonly #partitionEpochs = new IntColumn()
  readonly #partitionNumbers = new IntColumn()
  readonly #shapeIds = new IntColumn()
  readonly #directoryLists = new IntColumn()
  readonly #topicSlots = new IntColumn()
  #size = 1
  #live = 0
  readonly #topics = new TopicSlots<T>()
  readonly #shapes = new PartitionShapes()
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
      shapeId: this.#shapes.idOf(row.state),
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
    this.#setShape(handle, row.shapeId)
    this.#leaderEpochs.set(handle, row.leaderEpoch)
    this.#partitionEpochs.set(handle, row.partitionEpoch)
  }

  remove(handle: number): void {
    assert(this.has(handle))
    this.#topics.removeRow(this.#topicSlots.get(handle))
    this.#topicSlots.set(handle, 0)
    this.#setShape(handle, NO_SHAPE)
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
    return this.#leaderEpochs.get(handle)
  }

  partitionEpoch(handle: number): number {
    return this.#partitionEpochs.get(handle)
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
    return {
      ...this.#shape(handle),
      leaderEpoch: this.leaderEpoch(handle),
      partitionEpoch: this.partitionEpoch(handle),
    }
  }

  /** Replicas are changed with `setDirectories` before. */
  setState(handle: number, state: PartitionState): void {
    assert(this.has(handle))
    assert(state.replicas.length === this.directories(handle).length)
    this.#setShape(handle, this.#shapes.idOf(state))
    this.#leaderEpochs.set(handle, state.leaderEpoch)
    this.#partitionEpochs.set(handle, state.partitionEpoch)
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
    return this.#shapeIds.get(handle)
  }

  shapeAt(id: number): PartitionShape {
    return this.#shapes.get(id)
  }

  shapeIdOf(shape: PartitionShape): number {
    return this.#shapes.idOf(shape)
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
    for (let handle = 1; handle < this.#size; handle++) this.#leaderEpochs.add(handle, 1)
  }

  /**
   * Gives every row whose shape `concerns` the state that `rule` makes of it. What the rule asks
   * besides the state is the row's group: it is called once for all rows of one shape and group,
   * and must not look at epochs. Rows of one topic are of one group, apart from those whose
   * replicas are about to change.
   *
   * A lost broker is this loop, over all rows of the cluster, while clients wait for new leaders:
   * it goes along the pages themselves, and what can be done once for many rows is.
   */
  changeAll<G>(change: BulkChange<T, G>): void {
    const shapes = this.#shapes.size
    const known = new Map<G, Transitions>()
    for (const { first, rows } of this.#pagesWith(change.concerns)) {
      const changed = this.#changePage(first, rows, change, (group) => {
        return transitionsOf(known, group, shapes)
      })
      if (changed.length > 0) change.onChanged(changed)
    }
    for (const transitions of known.values()) {
      for (const [from, transition] of transitions.entries()) {
        if (transition !== undefined) this.#shapes.moveRows(from, transition.to, transition.rows)
      }
    }
  }

  /** The handles of the rows that are others now; `first` is where their page begins. */
  #changePage<G>(
    first: number,
    rows: readonly number[],
    change: BulkChange<T, G>,
    transitionsFor: (group: G) => Transitions,
  ): number[] {
    const shapeIds = this.#shapeIds.pageAt(first) as Int32Array
    const slots = this.#topicSlots.pageAt(first) as Int32Array
    const leaderEpochs = this.#leaderEpochs.pageAt(first) as Int32Array
    const partitionEpochs = this.#partitionEpochs.pageAt(first) as Int32Array
    const changed: number[] = []
    let slot = 0
    const { common } = change
    let group = common
    let transitions = common === null ? [] : transitionsFor(common)
    for (const i of rows) {
      const from = shapeIds[i] as number
      if (common === null) {
        const isMoving = this.#reassignments.size > 0 && this.#reassignments.has(first + i)
        if (slots[i] !== slot || isMoving) {
          slot = slots[i] as number
          group = change.groupOf(this.#topics.at(slot), first + i)
          transitions = transitionsFor(group)
          if (isMoving) slot = 0 // The next row is of another group.
        }
      }
      let transition = transitions[from]
      if (transition === undefined) {
        transition = this.#transition(from, change.rule, group as G)
        transitions[from] = transition
      }
      if (transition.partitionEpochs === 0) continue
      shapeIds[i] = transition.to
      leaderEpochs[i]! += transition.leaderEpochs
      partitionEpochs[i]! += transition.partitionEpochs
      transition.rows++
      changed.push(first + i)
    }
    return changed
  }

  /** How many rows have a shape that `concerns`. Costs as much as there are shapes. */
  countOf(concerns: (shape: PartitionShape) => boolean): number {
    let count = 0
    for (let id = NO_SHAPE + 1; id < this.#shapes.size; id++) {
      const rows = this.#shapes.rowCount(id)
      if (rows > 0 && concerns(this.#shapes.get(id))) count += rows
    }
    return count
  }

  /** The rows whose shape is one of those asked for. */
  *handlesOf(concerns: (shape: PartitionShape) => boolean): Generator<number> {
    for (const { first, rows } of this.#pagesWith(concerns)) {
      for (const i of rows) yield first + i
    }
  }

  /** Of each page that has any, those rows, up to the last one: mostly there are few, or none. */
  *#pagesWith(
    concerns: (shape: PartitionShape) => boolean,
  ): Generator<{ readonly first: number; readonly rows: readonly number[] }> {
    let left = this.countOf(concerns)
    const concerned = left === 0 ? NO_SHAPES : this.#shapesOf(concerns)
    for (let first = 0; left > 0 && first < this.#size; first += PAGE_ROWS) {
      const page = this.#shapeIds.pageAt(first)
      const rows = page === undefined ? [] : rowsWith(page, concerned)
      left -= rows.length
      if (rows.length > 0) yield { first, rows }
    }
  }

  /** By shape: 1 for those that `concerns`. A shape that is made later is none of them. */
  #shapesOf(concerns: (shape: PartitionShape) => boolean): Uint8Array {
    const concerned = new Uint8Array(this.#shapes.size)
    for (let id = NO_SHAPE + 1; id < concerned.length; id++) {
      if (concerns(this.#shapes.get(id))) concerned[id] = 1
    }
    return concerned
  }

  #transition<G>(
    shapeId: number,
    rule: (state: PartitionState, group: G) => PartitionState,
    group: G,
  ): Transition {
    const before = { ...this.#shapes.get(shapeId), leaderEpoch: 0, partitionEpoch: 0 }
    const after = rule(before, group)
    if (after === before) return { to: shapeId, leaderEpochs: 0, partitionEpochs: 0, rows: 0 }
    assert(after.partitionEpoch > 0, 'any change is a new partition epoch')
    return {
      to: this.#shapes.idOf(after),
      leaderEpochs: after.leaderEpoch,
      partitionEpochs: after.partitionEpoch,
      rows: 0,
    }
  }

  #setShape(handle: number, id: number): void {
    this.#shapes.moveRows(this.#shapeIds.get(handle), id, 1)
    this.#shapeIds.set(handle, id)
  }

  #shape(handle: number): PartitionShape {
    return this.#shapes.get(this.#shapeIds.get(handle))
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
  /** In the order of the replicas. */
  readonly directories: readonly Uuid[]
}

/** A row by the numbers that the table has for its parts. */
export interface PlacedRow<T> {
  readonly topic: T
  readonly partition: number
  readonly shapeId: number
  readonly directoryListId: number
  readonly leaderEpoch: number
  readonly partitionEpoch: number
}

/** Replicas that are to come and to go (KIP-455). */
export interface Reassignment {
  readonly adding: readonly number[]
  readonly removing: readonly number[]
}

/** `changeAll` says what each of these is asked. */
interface BulkChange<T, G> {
  readonly concerns: (shape: PartitionShape) => boolean
  /** The group of all rows; null when there are several. */
  readonly common: G | null
  readonly groupOf: (topic: T, handle: number) => G
  readonly rule: (partition: PartitionState, group: G) => PartitionState
  readonly onChanged: (handles: readonly number[]) => void
}

/** What a rule does to all rows of one shape and group. */
interface Transition {
  /** The number of the shape that they have afterwards. */
  readonly to: number
  readonly leaderEpochs: number
  readonly partitionEpochs: number
  /** How many it was done to. */
  rows: number
}

/** Of a page, whose shapes are among those. */
function rowsWith(shapeIds: Int32Array, concerned: Uint8Array): readonly number[] {
  const rows: number[] = []
  for (let i = 0; i < PAGE_ROWS; i++) {
    if (concerned[shapeIds[i] as number] === 1) rows.push(i)
  }
  return rows
}

/** By the number of the shape before. */
type Transitions = (Transition | undefined)[]

function transitionsOf<G>(known: Map<G, Transitions>, group: G, shapes: number): Transitions {
  const found = known.get(group)
  if (found !== undefined) return found
  // With room for all: V8 keeps a list that is set here and there as a hash table.
  const made: Transitions = new Array(shapes).fill(undefined)
  known.set(group, made)
  return made
}

const NO_SHAPES = new Uint8Array(0)
const NOBODY: readonly number[] = []
