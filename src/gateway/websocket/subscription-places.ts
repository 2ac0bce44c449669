/** Subscriptions of all clients together: each costs main and its shard about a kilobyte. */
export class SubscriptionPlaces {
  readonly max: number
  #taken = 0

  constructor(max: number) {
    this.max = max
  }

  get taken(): number {
    return this.#taken
  }

  /** False when there are as many as there may be; otherwise one `leave` must follow. */
  take(): boolean {
    if (this.#taken >= this.max) return false
    this.#taken++
    return true
  }

  leave(): void {
    this.#taken--
  }
}
