/**
 * One connection's right to hold data of the shards' egress memory: one response at a time, from
 * its first read until its last byte has been taken by the system. A client that pipelines fetches
 * and does not read them so holds one response, not the memory that others need. Runs on main.
 */
export class SendTurns {
  readonly #waiting: (() => void)[] = []
  #isTaken = false

  /** Null when the turn is free, and taken from now on; else resolves once it is this caller's. */
  enter(): Promise<void> | null {
    if (!this.#isTaken) {
      this.#isTaken = true
      return null
    }
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Ends the turn of whoever holds it. */
  leave(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#isTaken = false
    else next()
  }
}
