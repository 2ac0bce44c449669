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

  /** It asked for more than it has. */
  get isWaiting(): boolean {
    return this.window < this.#wanted
  }

  /** What the client gets before it has asked; returns how much that is. */
  begin(bytes: number): number {
    const granted = this.#pool.take(bytes)
    this.#inHand += granted
    return granted
  }

  /** The client wants its window to be `bytes`. Returns what to grant now. */
  want(bytes: number): number {
    this.#wanted = Math.min(bytes, this.#windowMax)
    return this.grow()
  }

  /** Grants of what was asked for as much as the pool has; returns how much. */
  grow(): number {
    this.#note()
    // Who has his share leaves the rest to those who have not.
    const target = this.#pool.isShort ? Math.min(this.#wanted, this.#pool.fairShare) : this.#wanted
    const granted = this.#pool.take(Math.max(0, target - this.window))
    this.#inHand += granted
    this.#note()
    return granted
  }

  /** A message arrived. False: the client has overdrawn. */
  spend(cost: number): boolean {
    if (cost > this.#inHand) return false
    this.#inHand -= cost
    this.#underWay += cost
    return true
  }

  /**
   * The message is answered: the client may send as much again, less what is returned here, which
   * goes to those who have less than a fair share.
   */
  restore(cost: number): number {
    const spare = this.#pool.isShort ? this.window - this.#pool.fairShare : 0
    const kept = Math.max(0, Math.min(cost, spare))
    this.#underWay -= cost
    this.#inHand += cost - kept
    if (kept > 0) this.#shrink(kept)
    return kept
  }

  /** The client gives credits back and wants no more than it keeps. */
  yield(bytes: number): void {
    const given = Math.min(bytes, this.#inHand)
    this.#inHand -= given
    this.#shrink(given)
  }

  /** The connection is gone; messages under way give their part back by `settle`. */
  close(): void {
    this.#pool.give(this.#inHand)
    this.#inHand = 0
    this.#wanted = 0
    this.#note()
  }

  /** After `close`: a message that was under way is done. */
  settle(cost: number): void {
    this.#underWay -= cost
    this.#pool.give(cost)
  }

  #shrink(bytes: number): void {
    this.#wanted = Math.min(this.#wanted, this.window)
    this.#pool.give(bytes)
    this.#note()
  }

  #note(): void {
    this.#pool.note(this, this.#wanted)
  }
}
