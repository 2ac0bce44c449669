import { assert } from '../../base/assert.ts'

/**
 * The credits of all WebSocket clients together: bytes that they may send before they are asked.
 * What is granted is reserved here until it comes back, used or not. Runs on main.
 *
 * An extent of the arena is up to twice as large as what lies in it, so the pool is half as large
 * as the memory that it stands for.
 */
export class CreditPool {
  readonly bytesTotal: number
  #bytesFree: number

  constructor(bytesTotal: number) {
    this.bytesTotal = bytesTotal
    this.#bytesFree = bytesTotal
  }

  get bytesFree(): number {
    return this.#bytesFree
  }

  /** Reserves as much of `bytes` as there is; returns how much. */
  take(bytes: number): number {
    const taken = Math.min(bytes, this.#bytesFree)
    this.#bytesFree -= taken
    return taken
  }

  give(bytes: number): void {
    assert(bytes >= 0 && this.#bytesFree + bytes <= this.bytesTotal)
    this.#bytesFree += bytes
  }
}
