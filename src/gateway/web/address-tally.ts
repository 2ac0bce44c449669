/** How many connections each address has, where that is limited. */
export class AddressTally {
  readonly #max: number
  readonly #counts = new Map<string, number>()

  /** Infinity counts nothing. */
  constructor(max: number) {
    this.#max = max
  }

  /** False when the address has as many as it may; otherwise one `release` must follow. */
  tryTake(address: string): boolean {
    if (this.#max === Number.POSITIVE_INFINITY) return true
    const count = this.#counts.get(address) ?? 0
    if (count >= this.#max) return false
    this.#counts.set(address, count + 1)
    return true
  }

  release(address: string): void {
    const count = this.#counts.get(address)
    if (count === undefined) return
    if (count === 1) this.#counts.delete(address)
    else this.#counts.set(address, count - 1)
  }
}
