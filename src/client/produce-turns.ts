/**
 * Who may produce next where credits or requests are short: whoever was refused first, until it
 * needs no more. Nobody overtakes: a large message would never find enough credits behind small
 * ones. Pure.
 */

/** Somebody who produces, and waits its turn. */
export interface CreditWaiter {
  /** It may be that there is room now: try again. */
  sendMore(): void
}

export class ProduceTurns {
  /** In the order in which they were refused. */
  readonly #waiters = new Set<CreditWaiter>()
  #refused = false
  #waking = false

  get hasWaiters(): boolean {
    return this.#waiters.size > 0
  }

  /** Whether nobody else is before `waiter`. */
  isFirst(waiter: CreditWaiter): boolean {
    return this.#waiters.size === 0 || this.#waiters.values().next().value === waiter
  }

  /** There is no room for `waiter`, or somebody before it: it is called when there may be. */
  refuse(waiter: CreditWaiter): void {
    if (this.isFirst(waiter)) this.#refused = true
    this.#waiters.add(waiter)
  }

  /** `waiter` wants nothing any more. */
  forget(waiter: CreditWaiter): void {
    this.#waiters.delete(waiter)
  }

  /** Lets those go on who waited, the longest first, until one of them has to wait again. */
  wake(): void {
    if (this.#waking) return
    this.#waking = true
    for (const waiter of this.#waiters) {
      this.#refused = false
      waiter.sendMore()
      if (this.#refused) break
      this.#waiters.delete(waiter)
    }
    this.#waking = false
  }

  clear(): void {
    this.#waiters.clear()
  }
}
