import { Turns } from './turns.ts'

/**
 * Long pieces of work that share a thread with everybody else: one at a time, in the order in which
 * they are asked for, and after a while of them the event loop is let through. Owned by one thread.
 */
const SLICE_MS = 10

export class Slices {
  readonly #turns = new Turns()
  readonly #now: () => number
  readonly #sliceMs: number
  #startMs = -Infinity

  constructor(monotonicMs: () => number, sliceMs = SLICE_MS) {
    this.#now = monotonicMs
    this.#sliceMs = sliceMs
  }

  /** Settles as `work` does. */
  run<T>(work: () => T | Promise<T>): Promise<T> {
    return this.#turns.run(async () => {
      await this.breathe()
      return work()
    })
  }

  /** For a piece that is long itself: lets others through when it is time. */
  async breathe(): Promise<void> {
    if (this.#now() - this.#startMs < this.#sliceMs) return
    await new Promise(setImmediate)
    this.#startMs = this.#now()
  }
}
