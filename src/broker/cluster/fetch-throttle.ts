/** What a follower does not ask for while it copies more than it may (replication-throttle.ts). */
import type { CopyThrottle } from './replication-throttle.ts'

export interface ThrottledRow {
  readonly handle: number
  readonly fetchOffset: number
  /** As the leader has last said it; −1 before. */
  readonly leaderHighWatermark: number
}

/** The rate may have changed: it is looked at so often at least. */
const LOOK_MS_MAX = 100

export class FetchThrottle {
  readonly #throttle: CopyThrottle
  readonly #nodeId: () => number
  /** Rows that were held back may be asked for again. */
  readonly #onFree: () => void
  #timer: NodeJS.Timeout | null = null

  constructor(throttle: CopyThrottle, nodeId: () => number, onFree: () => void) {
    this.#throttle = throttle
    this.#nodeId = nodeId
    this.#onFree = onFree
  }

  /** Those of `rows` that must wait; `onFree` is called when they need not. */
  heldBack<R extends ThrottledRow>(rows: readonly R[]): ReadonlySet<R> {
    if (this.#throttle.mayTake()) return NONE
    const held = new Set(rows.filter((row) => this.#counts(row)))
    if (held.size > 0) this.#lookAgain()
    return held
  }

  /** The same of one row. */
  holdsBack(row: ThrottledRow): boolean {
    if (this.#throttle.mayTake() || !this.#counts(row)) return false
    this.#lookAgain()
    return true
  }

  /** So much of a row has come, before the row knows of it. */
  came(row: ThrottledRow, bytes: number): void {
    if (bytes > 0 && this.#counts(row)) this.#throttle.take(bytes)
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }

  #counts({ handle, fetchOffset, leaderHighWatermark }: ThrottledRow): boolean {
    const isCaughtUp = leaderHighWatermark >= 0 && fetchOffset >= leaderHighWatermark
    return !isCaughtUp && this.#throttle.counts(handle, this.#nodeId())
  }

  #lookAgain(): void {
    const waitMs = Math.min(Math.ceil(this.#throttle.waitMs()), LOOK_MS_MAX)
    this.#timer ??= setTimeout(() => {
      this.#timer = null
      this.#onFree()
    }, waitMs).unref()
  }
}

const NONE: ReadonlySet<never> = new Set()
