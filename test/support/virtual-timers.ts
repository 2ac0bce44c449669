/**
 * Time that only moves when nothing else can: the timers of a test, which runs as fast as it can
 * and the same way every time.
 */
import type { Timers } from '../../src/client/platform.ts'

const EPOCH_MS = 1_700_000_000_000

interface Timer {
  readonly atMs: number
  readonly order: number
  readonly callback: () => void
  isCancelled: boolean
}

export class VirtualTimers implements Timers {
  #nowMs = 0
  #order = 0
  #timers: Timer[] = []

  wallMs(): number {
    return EPOCH_MS + Math.floor(this.#nowMs)
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  after(delayMs: number, callback: () => void): () => void {
    const atMs = this.#nowMs + Math.max(0, delayMs)
    const timer = { atMs, order: this.#order++, callback, isCancelled: false }
    let index = this.#timers.length
    while (index > 0 && (this.#timers[index - 1] as Timer).atMs > atMs) index--
    this.#timers.splice(index, 0, timer)
    return () => {
      timer.isCancelled = true
    }
  }

  /** Moves time on until `promise` settles. Throws when it takes `limitMs` of this time. */
  async until<T>(promise: Promise<T>, limitMs = 600_000): Promise<T> {
    let isDone = false
    const done = () => {
      isDone = true
    }
    promise.then(done, done)
    const endMs = this.#nowMs + limitMs
    for (;;) {
      await settled()
      if (isDone) return promise
      if (!this.#step(endMs)) {
        const why = this.#timers.length === 0 ? 'nothing is to come' : `${limitMs} ms are over`
        throw new Error(`the promise does not settle: ${why}, at ${this.#nowMs} ms`)
      }
    }
  }

  /** Moves time on by `delayMs`. */
  async pass(delayMs: number): Promise<void> {
    await this.until(new Promise((resolve) => this.after(delayMs, () => resolve(undefined))))
  }

  /** Calls the next timer; false when there is none before `endMs`. */
  #step(endMs: number): boolean {
    for (;;) {
      const timer = this.#timers[0]
      if (timer === undefined || timer.atMs > endMs) return false
      this.#timers.shift()
      if (timer.isCancelled) continue
      this.#nowMs = timer.atMs
      timer.callback()
      return true
    }
  }
}

/** Every promise job that can run has run. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
