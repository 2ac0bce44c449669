/** The events of a simulated cluster by time; those of one instant in the order they were made. */
interface TimedEvent {
  readonly atMs: number
  readonly sequence: number
  readonly run: () => void
  /** Whose it is, for whoever counts them. */
  readonly owner: unknown
}

export class EventClock {
  nowMs = 0
  #sequence = 0
  readonly #heap: TimedEvent[] = []

  after(delayMs: number, run: () => void, owner: unknown = null): void {
    const atMs = this.nowMs + Math.max(delayMs, 0)
    const event = { atMs, sequence: this.#sequence++, run, owner }
    const heap = this.#heap
    let i = heap.push(event) - 1
    while (i > 0) {
      const parent = (i - 1) >>> 1
      if (!isBefore(event, heap[parent]!)) break
      heap[i] = heap[parent]!
      i = parent
    }
    heap[i] = event
  }

  /** Owners of all that is to come, in no order. */
  owners(): unknown[] {
    return this.#heap.map(({ owner }) => owner)
  }

  /** Runs the next event, if it is due by `untilMs`; otherwise the clock goes there. */
  step(untilMs: number): boolean {
    const heap = this.#heap
    const first = heap[0]
    if (first === undefined || first.atMs > untilMs) {
      this.nowMs = untilMs
      return false
    }
    const last = heap.pop()!
    if (heap.length > 0) this.#sink(last)
    this.nowMs = first.atMs
    first.run()
    return true
  }

  #sink(event: TimedEvent): void {
    const heap = this.#heap
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, event)) break
      heap[i] = heap[child]!
      i = child
    }
    heap[i] = event
  }
}

function isBefore(a: TimedEvent, b: TimedEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.sequence < b.sequence)
}
