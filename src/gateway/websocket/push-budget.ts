import type { Subscription } from '../../broker/subscription.ts'

/**
 * What one connection may have on its way to the client: bytes in its send buffer and reads under
 * way for its subscriptions. Subscriptions that find no room wait here in turn, so that none
 * starves. Runs on main.
 */
export class PushBudget {
  readonly #bytesMax: number
  readonly #bufferedBytes: () => number
  readonly #waiting = new Set<Subscription>()
  #reserved = 0

  constructor(bytesMax: number, bufferedBytes: () => number) {
    this.#bytesMax = bytesMax
    this.#bufferedBytes = bufferedBytes
  }

  /**
   * Takes room; else remembers who asked. One push of any size always finds room while no other is
   * being read and at most half of the budget is buffered.
   */
  reserve(subscription: Subscription, bytes: number): boolean {
    const buffered = this.#bufferedBytes()
    const isAlone = this.#reserved === 0 && buffered <= this.#bytesMax / 2
    if (!isAlone && this.#reserved + buffered + bytes > this.#bytesMax) {
      this.#waiting.add(subscription)
      return false
    }
    this.#waiting.delete(subscription)
    this.#reserved += bytes
    return true
  }

  free(bytes: number): void {
    this.#reserved -= bytes
  }

  forget(subscription: Subscription): void {
    this.#waiting.delete(subscription)
  }

  /** Room may have come: lets those who wait try again, in their order. */
  resume(): void {
    if (this.#waiting.size === 0) return
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const subscription of waiting) subscription.pump()
  }
}
