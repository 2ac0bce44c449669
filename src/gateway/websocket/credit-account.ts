import type { CreditPool } from './credit-pool.ts'

/**
 * One client's credits. Its window is what it holds plus what its messages under way have cost;
 * all of it is reserved in the pool. Runs on main.
 */
export class CreditAccount {
  readonly #pool: CreditPool
  readonly #windowMax: number
  /** Bytes that the client may still send. */
  #inHand = 0
  /** Cost of messages that have not been answered. */
  #underWay = 0
  /** The window that the client has asked for. */
  #wanted = 0

  constructor(pool: CreditPool, windowMax: number) {
    this.#pool = pool
    this.#windowMax = windowMax
  }

  get inHand(): number {
    return this.#inHand
  }

  get window(): number {
    return this.#inHand + this.#underWay
  }

  /** It asked for more than the pool had. */
  get isWaiting(): boolean {
    return this.window < this.#wanted
  }

  /** The client wants its window to be `bytes`. Returns what to grant now. */
  want(bytes: number): number {
    this.#wanted = Math.min(bytes, this.#windowMax)
    return this.grow()
  }

  /** Grants of what was asked for as much as the pool has; returns how much. */
  grow(): number {
    const granted = this.#pool.take(Math.max(0, this.#wanted - this.window))
    this.#inHand += granted
    return granted
  }

  /** A message arrived. False: the client has overdrawn. */
  spend(cost: number): boolean {
    if (cost > this.#inHand) return false
    this.#inHand -= cost
    this.#underWay += cost
    return true
  }

  /** The message is answered: the client may send as much again. */
  restore(cost: number): void {
    this.#underWay -= cost
    this.#inHand += cost
  }

  /** The client gives credits back and wants no more than it keeps. */
  yield(bytes: number): void {
    const given = Math.min(bytes, this.#inHand)
    this.#inHand -= given
    this.#pool.give(given)
    this.#wanted = Math.min(this.#wanted, this.window)
  }

  /** The connection is gone; messages under way give their part back by `settle`. */
  close(): void {
    this.#pool.give(this.#inHand)
    this.#inHand = 0
    this.#wanted = 0
  }

  /** After `close`: a message that was under way is done. */
  settle(cost: number): void {
    this.#underWay -= cost
    this.#pool.give(cost)
  }
}
