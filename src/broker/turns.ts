/**
 * Work that may only be done one piece at a time, in the order in which it is asked for. Owned by
 * the thread that asks; a piece that fails does not stop those behind it.
 */
export class Turns {
  #last: Promise<unknown> = Promise.resolve()

  /** Settles as `work` does, which begins when everything before it has settled. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work)
    this.#last = done.catch(() => {})
    return done
  }
}
