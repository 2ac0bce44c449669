/**
 * How many bytes a second may be copied. A bucket: it fills at the rate, up to what one second
 * gives, and is empty at the start and when the rate changes. Whoever finds something in it takes
 * what he copies, more than there is if need be; the next one waits until that is paid for. So in
 * any t seconds no more is taken than rate × (t + 1) and one taking. Pure.
 */
import { assert } from '../base/assert.ts'

/** What is saved up while nothing is copied. */
const BURST_SECONDS = 1

export class ByteRate {
  #bytesPerSecond: number
  /** Negative while more was taken than there was. */
  #bytes = 0
  #atMs: number

  /** Infinity: there is no limit. 0: nothing may be copied. `nowMs` is monotonic, as everywhere. */
  constructor(bytesPerSecond: number, nowMs: number) {
    assert(bytesPerSecond >= 0)
    this.#bytesPerSecond = bytesPerSecond
    this.#atMs = nowMs
  }

  get isUnlimited(): boolean {
    return this.#bytesPerSecond === Number.POSITIVE_INFINITY
  }

  /** A debt of the rate before is forgotten: at a byte a second it would be there for weeks. */
  setRate(bytesPerSecond: number, nowMs: number): void {
    assert(bytesPerSecond >= 0)
    if (bytesPerSecond === this.#bytesPerSecond) return
    this.#bytesPerSecond = bytesPerSecond
    this.#bytes = 0
    this.#atMs = nowMs
  }

  /** Whether something may be copied now. */
  mayTake(nowMs: number): boolean {
    if (this.isUnlimited) return true
    this.#fill(nowMs)
    return this.#bytes > 0
  }

  /** So much is copied; what turns out to be less is given back as a negative number. */
  take(bytes: number, nowMs: number): void {
    if (this.isUnlimited) return
    this.#fill(nowMs)
    this.#bytes = Math.min(this.#bytes - bytes, this.#bytesMax)
  }

  /** How long until something may be copied; 0 when it may now, Infinity when never. */
  waitMs(nowMs: number): number {
    if (this.mayTake(nowMs)) return 0
    return ((1 - this.#bytes) / this.#bytesPerSecond) * 1000
  }

  #fill(nowMs: number): void {
    const seconds = Math.max(0, nowMs - this.#atMs) / 1000
    this.#bytes = Math.min(this.#bytes + seconds * this.#bytesPerSecond, this.#bytesMax)
    this.#atMs = Math.max(this.#atMs, nowMs)
  }

  get #bytesMax(): number {
    return this.#bytesPerSecond * BURST_SECONDS
  }
}
