/** What the rows of a partition table name by number, so that it is there once. */
import { assert } from '../base/assert.ts'
import type { Uuid } from '../base/uuid.ts'

/** Lists of directory ids; never forgotten. */
export class DirectoryLists {
  readonly #lists: (readonly Uuid[])[] = []
  readonly #rowCounts: number[] = []
  readonly #idByKey = new Map<string, number>()

  at(id: number): readonly Uuid[] {
    return this.#lists[id] as readonly Uuid[]
  }

  idOf(directories: readonly Uuid[]): number {
    const key = directories.join()
    const known = this.#idByKey.get(key)
    if (known !== undefined) return known
    const id = this.#lists.length
    this.#lists.push(Object.freeze([...directories]))
    this.#rowCounts.push(0)
    this.#idByKey.set(key, id)
    return id
  }

  addRow(id: number): void {
    this.#rowCounts[id]! += 1
  }

  removeRow(id: number): void {
    assert(this.#rowCounts[id]! > 0)
    this.#rowCounts[id]! -= 1
  }

  counts(): Map<Uuid, number> {
    const counts = new Map<Uuid, number>()
    for (const [id, list] of this.#lists.entries()) {
      const rows = this.#rowCounts[id] as number
      if (rows === 0) continue
      for (const directory of list) counts.set(directory, (counts.get(directory) ?? 0) + rows)
    }
    return counts
  }
}

/** Topics that have rows. Slot 0 is nobody's; that of a topic without rows is used again. */
export class TopicSlots<T> {
  readonly #topics: (T | null)[] = [null]
  readonly #rowCounts: number[] = [0]
  readonly #slotOf = new Map<T, number>()
  readonly #free: number[] = []
  /** Rows come topic by topic. */
  #latest: T | null = null
  #latestSlot = 0

  at(slot: number): T {
    return this.#topics[slot] as T
  }

  /** The topic's slot, for one more row. */
  addRow(topic: T): number {
    const slot = topic === this.#latest ? this.#latestSlot : this.#find(topic)
    this.#rowCounts[slot]! += 1
    return slot
  }

  removeRow(slot: number): void {
    this.#rowCounts[slot]! -= 1
    if (this.#rowCounts[slot] !== 0) return
    this.#slotOf.delete(this.#topics[slot] as T)
    this.#topics[slot] = null
    this.#free.push(slot)
    this.#latest = null
  }

  #find(topic: T): number {
    const slot = this.#slotOf.get(topic) ?? this.#free.pop() ?? this.#topics.length
    if (slot === this.#topics.length) {
      this.#topics.push(topic)
      this.#rowCounts.push(0)
    }
    this.#topics[slot] = topic
    this.#slotOf.set(topic, slot)
    this.#latest = topic
    this.#latestSlot = slot
    return slot
  }
}
