import { ByteBudget } from '../../base/byte-budget.ts'

/**
 * The memory of all bodies that arrive or are worked on, in bytes. One address has at most half of
 * it, or one body where that is more, so that no slow or greedy one takes it from all others.
 */
export class BodyMemory {
  readonly #all: ByteBudget
  readonly #addressBytesMax: number
  readonly #bytesOf = new Map<string, number>()

  constructor(limits: { readonly bodyBytesMax: number; readonly bodiesBytesMax: number }) {
    this.#all = new ByteBudget(limits.bodiesBytesMax)
    this.#addressBytesMax = Math.max(limits.bodyBytesMax, limits.bodiesBytesMax / 2)
  }

  /** False when there is not so much left for the address; what is taken is to be given back. */
  tryTake(address: string, bytes: number): boolean {
    const taken = (this.#bytesOf.get(address) ?? 0) + bytes
    if (taken > this.#addressBytesMax || !this.#all.tryTake(bytes)) return false
    this.#bytesOf.set(address, taken)
    return true
  }

  give(address: string, bytes: number): void {
    if (bytes === 0) return
    this.#all.give(bytes)
    const left = (this.#bytesOf.get(address) ?? 0) - bytes
    if (left > 0) this.#bytesOf.set(address, left)
    else this.#bytesOf.delete(address)
  }
}
