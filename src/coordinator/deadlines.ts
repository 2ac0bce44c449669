/**
 * What is due when, of many things whose deadlines are mostly moved to later: a binary heap whose
 * entries may be too early, never too late. Who is handed out looks whether he is really due.
 */
export class Deadlines<T> {
  readonly #heap: { readonly item: T; readonly atMs: number }[] = []
  /** The earliest entry of each item that counts: others of it are skipped. */
  readonly #earliest = new Map<T, number>()

  /** Infinity when nothing is due ever. */
  get nextMs(): number {
    return this.#heap[0]?.atMs ?? Infinity
  }

  /** `item` is looked at no later than `atMs`. */
  set(item: T, atMs: number): void {
    if (atMs === Infinity || atMs >= (this.#earliest.get(item) ?? Infinity)) return
    this.#earliest.set(item, atMs)
    this.#push({ item, atMs })
  }

  delete(item: T): void {
    this.#earliest.delete(item)
  }

  /** Takes one that is due at `nowMs`, or null. */
  take(nowMs: number): T | null {
    while (this.nextMs <= nowMs) {
      const { item, atMs } = this.#pop()
      if (this.#earliest.get(item) !== atMs) continue
      this.#earliest.delete(item)
      return item
    }
    return null
  }

  #push(entry: { readonly item: T; readonly atMs: number }): void {
    const heap = this.#heap
    let at = heap.push(entry) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if ((heap[parent] as { atMs: number }).atMs <= entry.atMs) break
      heap[at] = heap[parent] as (typeof heap)[number]
      at = parent
    }
    heap[at] = entry
  }

  #pop(): { readonly item: T; readonly atMs: number } {
    const heap = this.#heap
    const first = heap[0] as (typeof heap)[number]
    const last = heap.pop() as (typeof heap)[number]
    if (heap.length === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      const right = heap[child + 1]
      if (right !== undefined && right.atMs < (heap[child] as { atMs: number }).atMs) child++
      if ((heap[child] as { atMs: number }).atMs >= last.atMs) break
      heap[at] = heap[child] as (typeof heap)[number]
      at = child
    }
    heap[at] = last
    return first
  }
}
