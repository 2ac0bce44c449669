import { assert } from '../../base/assert.ts'

/**
 * The credits of all WebSocket clients together: bytes that they may send before they are asked.
 * What is granted is reserved here until it comes back, used or not. Runs on main.
 *
 * An extent of the arena is up to twice as large as what lies in it, so the pool is half as large
 * as the memory that it stands for.
 *
 * While there is enough, everybody gets what he asks for. When somebody has less than a fair share
 * and the pool is empty, who has more gives it up: idle clients when they are asked, busy ones by
 * getting less back than their messages cost.
 */
export interface WindowHolder {
  /** What it has of the pool, bytes. */
  readonly window: number
}

export class CreditPool {
  readonly bytesTotal: number
  #bytesFree: number
  /** Accounts whose clients have asked for a window of their own. */
  readonly #asking = new Set<WindowHolder>()
  /** Of these, in the order in which they came up short: those with less than a fair share. */
  readonly #short = new Set<WindowHolder>()

  constructor(bytesTotal: number) {
    this.bytesTotal = bytesTotal
    this.#bytesFree = bytesTotal
  }

  get bytesFree(): number {
    return this.#bytesFree
  }

  /** Somebody has less than a fair share. */
  get isShort(): boolean {
    return this.#short.size > 0
  }

  /** What every client that asked could have, if all wanted that much. */
  get fairShare(): number {
    return Math.floor(this.bytesTotal / Math.max(1, this.#asking.size))
  }

  /** Those who come up short, the first one first. */
  get short(): readonly WindowHolder[] {
    return [...this.#short]
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

  /** `account` has asked, got, given or gone: keeps the lists. */
  note(account: WindowHolder, wanted: number): void {
    if (wanted > 0) this.#asking.add(account)
    else this.#asking.delete(account)
    if (account.window < Math.min(wanted, this.fairShare)) this.#short.add(account)
    else this.#short.delete(account)
  }
}
