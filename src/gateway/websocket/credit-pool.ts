import { assert } from '../../base/assert.ts'

/**
 * The credits of all WebSocket clients together: bytes that they may send before they are asked.
 * What is granted is reserved here until it comes back, used or not. Runs on main.
 *
 * An extent of the arena is up to twice as large as what lies in it, so the pool is half as large
 * as the memory that it stands for.
 *
 * ```
 *  ├──────────── shared, bytesShared ────────────┤── reserve ──┤   together bytesTotal
 *    granted as asked for; when short, by shares    lent, whole, to whom a share is too little
 * ```
 *
 * While there is enough, everybody gets what he asks for. When somebody has less than a fair share
 * and the shared part is empty, who has more gives it up: idle clients when they are asked, busy
 * ones by getting less back than their messages cost.
 *
 * With many clients a fair share is less than one message, and shares alone would stand still.
 * So who waits with nothing under way stands in a line, and the first of it is lent what it lacks
 * for one message, at once or not at all. While anybody is in line, a loan is paid back before
 * anything else of what the borrower uses or gives; and who lines up again with a rest of it in
 * hand is asked for that at once and has to give it: many such rests could be the whole reserve.
 * The reserve is never less than the largest loan: once all are back the first in line gets its
 * own, so everybody has his turn.
 */
export interface WindowHolder {
  /** What it has of the pool, bytes. */
  readonly window: number
}

export interface PoolSizes {
  readonly bytesTotal: number
  /** Kept apart for loans. */
  readonly reserveBytes: number
  /** What one message of the largest size costs. */
  readonly messageCostMax: number
}

export class CreditPool {
  readonly bytesTotal: number
  readonly messageCostMax: number
  readonly #bytesShared: number
  #sharedFree: number
  #reserveFree: number
  /** Accounts whose clients have asked for a window of their own. */
  readonly #asking = new Set<WindowHolder>()
  /** Of these, in the order in which they came up short: those with less than a fair share. */
  readonly #short = new Set<WindowHolder>()
  /** Those who wait for credits with nothing under way that would bring some, longest first. */
  readonly #line = new Set<WindowHolder>()

  constructor({ bytesTotal, reserveBytes, messageCostMax }: PoolSizes) {
    assert(messageCostMax <= reserveBytes && reserveBytes <= bytesTotal)
    this.bytesTotal = bytesTotal
    this.messageCostMax = messageCostMax
    this.#bytesShared = bytesTotal - reserveBytes
    this.#sharedFree = this.#bytesShared
    this.#reserveFree = reserveBytes
  }

  /** Of both parts. */
  get bytesFree(): number {
    return this.#sharedFree + this.#reserveFree
  }

  /** What `take` has. */
  get sharedFree(): number {
    return this.#sharedFree
  }

  /** Somebody has less than a fair share. */
  get isShort(): boolean {
    return this.#short.size > 0
  }

  /** What every client that asked could have without a loan, if all wanted that much. */
  get fairShare(): number {
    return Math.floor(this.#bytesShared / Math.max(1, this.#asking.size))
  }

  /** Those who come up short, the first one first. */
  get short(): readonly WindowHolder[] {
    return [...this.#short]
  }

  /** Who gets the next loan; null: nobody waits for one. */
  get firstInLine(): WindowHolder | null {
    for (const first of this.#line) return first
    return null
  }

  /** Reserves as much of `bytes` as the shared part has; returns how much. */
  take(bytes: number): number {
    const taken = Math.min(bytes, this.#sharedFree)
    this.#sharedFree -= taken
    return taken
  }

  give(bytes: number): void {
    assert(bytes >= 0 && this.#sharedFree + bytes <= this.#bytesShared)
    this.#sharedFree += bytes
  }

  /** Lends `bytes` of the reserve; false: it has not that much. */
  borrow(bytes: number): boolean {
    assert(bytes >= 0 && bytes <= this.messageCostMax)
    if (bytes > this.#reserveFree) return false
    this.#reserveFree -= bytes
    return true
  }

  repay(bytes: number): void {
    assert(bytes >= 0 && this.#reserveFree + bytes <= this.bytesTotal - this.#bytesShared)
    this.#reserveFree += bytes
  }

  /** `account` has asked, got, given or gone: keeps the lists. */
  note(account: WindowHolder, wanted: number): void {
    if (wanted > 0) this.#asking.add(account)
    else this.#asking.delete(account)
    if (account.window < Math.min(wanted, this.fairShare)) this.#short.add(account)
    else this.#short.delete(account)
  }

  /** `account` goes to the end of the line, or keeps its place there. */
  lineUp(account: WindowHolder): void {
    this.#line.add(account)
  }

  isInLine(account: WindowHolder): boolean {
    return this.#line.has(account)
  }

  leaveLine(account: WindowHolder): void {
    this.#line.delete(account)
  }
}
