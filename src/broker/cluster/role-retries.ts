/** Partitions whose shard has refused to lead or to follow, and when it is asked again. */
const RETRY_MS_MIN = 200
const RETRY_MS_MAX = 30_000

export class RoleRetries {
  /** Takes all that are due. */
  readonly #onDue: (handles: readonly number[]) => void
  /** By handle: how long it waits, and until when. */
  readonly #waiting = new Map<number, { ms: number; dueMs: number }>()
  readonly #nowMs: () => number
  #timer: NodeJS.Timeout | null = null
  #timerMs = Number.POSITIVE_INFINITY

  constructor(onDue: (handles: readonly number[]) => void, nowMs: () => number) {
    this.#onDue = onDue
    this.#nowMs = nowMs
  }

  /** It was refused, again perhaps: each time it waits twice as long. True for the first time. */
  refused(handle: number): boolean {
    const before = this.#waiting.get(handle)
    const ms = before === undefined ? RETRY_MS_MIN : Math.min(before.ms * 2, RETRY_MS_MAX)
    const dueMs = this.#nowMs() + ms
    this.#waiting.set(handle, { ms, dueMs })
    this.#wakeAt(dueMs)
    return before === undefined
  }

  /** It was taken, or is another matter from now on. True when it had been refused. */
  forget(handle: number): boolean {
    return this.#waiting.delete(handle)
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#waiting.clear()
  }

  #wakeAt(dueMs: number): void {
    if (this.#timer !== null && this.#timerMs <= dueMs) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timerMs = dueMs
    const ms = Math.max(0, dueMs - this.#nowMs())
    this.#timer = setTimeout(() => this.#wake(), ms).unref()
  }

  #wake(): void {
    this.#timer = null
    const nowMs = this.#nowMs()
    const due: number[] = []
    let next = Number.POSITIVE_INFINITY
    for (const [handle, waiting] of this.#waiting) {
      if (waiting.dueMs > nowMs) next = Math.min(next, waiting.dueMs)
      else {
        due.push(handle)
        // Until it is refused again, or taken.
        waiting.dueMs = Number.POSITIVE_INFINITY
      }
    }
    if (next < Number.POSITIVE_INFINITY) this.#wakeAt(next)
    if (due.length > 0) this.#onDue(due)
  }
}
