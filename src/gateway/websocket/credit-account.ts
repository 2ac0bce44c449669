import type { CreditPool } from './credit-pool.ts'

/**
 * One client's credits. Its window is what it holds plus what its messages under way have cost;
 * all of it is reserved in the pool, some of it perhaps as a loan of the reserve. Runs on main.
 */
export class CreditAccount {
  readonly #pool: CreditPool
  readonly #windowMax: number
  /** Bytes that the client may still send. */
  #inHand = 0
  /** Cost of messages that have not been answered. */
  #underWay = 0
  /** Part of the window that belongs to the reserve; never more than the window. */
  #borrowed = 0
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

  get borrowed(): number {
    return this.#borrowed
  }

  /** It waits for a loan. What it still has of an earlier one keeps others from theirs. */
  get isInLine(): boolean {
    return this.#pool.isInLine(this)
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

  /**
   * Lends the client, if it is first in line, what it lacks for the largest message that it may
   * want to send; returns how much. 0: it is not its turn, or the reserve has less than that.
   */
  borrow(): number {
    if (this.#pool.firstInLine !== this) return 0
    const lent = this.#lineTarget - this.#inHand
    if (!this.#pool.borrow(lent)) return 0
    this.#borrowed += lent
    this.#inHand += lent
    this.#note()
    return lent
  }

  /** A message arrived. False: the client has overdrawn. */
  spend(cost: number): boolean {
    if (cost > this.#inHand) return false
    this.#inHand -= cost
    this.#underWay += cost
    this.#pool.leaveLine(this)
    return true
  }

  /**
   * The message is answered: the client may send as much again, less what is returned here, which
   * goes to those who wait for a loan or have less than a fair share.
   */
  restore(cost: number): number {
    const owed = this.#pool.firstInLine === null ? 0 : this.#borrowed
    const own = this.window - this.#borrowed
    const spare = this.#pool.isShort ? Math.max(0, own - this.#pool.fairShare) : 0
    // What is still borrowed goes first, also where it is for the sake of shares only.
    const kept = Math.min(cost, owed + spare)
    this.#underWay -= cost
    this.#inHand += cost - kept
    if (kept > 0) this.#shrink(kept)
    else this.#noteLine()
    return kept
  }

  /** The client gives credits back: keeps its place in line, or wants no more than is left. */
  yield(bytes: number): void {
    const given = Math.min(bytes, this.#inHand)
    if (given === 0) return
    this.#inHand -= given
    if (this.isInLine) {
      this.#giveBack(given)
      this.#note()
      return
    }
    this.#shrink(given)
  }

  /** The connection is gone; messages under way give their part back by `settle`. */
  close(): void {
    const given = this.#inHand
    this.#inHand = 0
    this.#wanted = 0
    this.#giveBack(given)
    this.#note()
  }

  /** After `close`: a message that was under way is done. */
  settle(cost: number): void {
    this.#underWay -= cost
    this.#giveBack(cost)
  }

  #shrink(bytes: number): void {
    this.#wanted = Math.min(this.#wanted, this.window)
    this.#giveBack(bytes)
    this.#note()
  }

  /** What was borrowed goes back first. */
  #giveBack(bytes: number): void {
    const repaid = Math.min(bytes, this.#borrowed)
    this.#borrowed -= repaid
    this.#pool.repay(repaid)
    this.#pool.give(bytes - repaid)
  }

  #note(): void {
    this.#pool.note(this, this.#wanted)
    this.#noteLine()
  }

  /** Who has something under way gets that back first: a loan is for a whole message. */
  #noteLine(): void {
    if (this.#underWay === 0 && this.#inHand < this.#lineTarget) this.#pool.lineUp(this)
    else this.#pool.leaveLine(this)
  }

  /** Up to here a loan fills the window. */
  get #lineTarget(): number {
    return Math.min(this.#wanted, this.#pool.messageCostMax)
  }
}
