/**
 * Appends that wait for followers, and may not wait for ever: one timer for all of them, because
 * one for each request costs more than most requests do. Runs on main.
 */
export interface Expiring {
  /** Monotonic. */
  readonly deadlineMs: number
  /** Runs once, at most so much later; not any more once it was removed. */
  expire(): void
}

/** How late a deadline may be noticed. */
const TICK_MS = 50

export class AppendDeadlines {
  readonly #nowMs: () => number
  readonly #waiting = new Set<Expiring>()
  #timer: NodeJS.Timeout | null = null

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  /** That wait. */
  get count(): number {
    return this.#waiting.size
  }

  add(one: Expiring): void {
    this.#waiting.add(one)
    if (this.#timer !== null) return
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
    this.#timer.unref()
  }

  remove(one: Expiring): void {
    this.#waiting.delete(one)
  }

  #tick(): void {
    const now = this.#nowMs()
    for (const one of this.#waiting) {
      if (one.deadlineMs > now) continue
      this.#waiting.delete(one)
      one.expire()
    }
    // Not as soon as nobody waits: under load somebody nearly always does.
    if (this.#waiting.size > 0 || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }
}
