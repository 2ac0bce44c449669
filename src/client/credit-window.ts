/**
 * What a connection may send: credits in hand, and the window they are part of (in hand plus those
 * that messages under way took with them). Pure accounting.
 *
 * Credits for produces with `acks` 0 come home in the same message that grants new ones; they are
 * counted as come home first.
 */
import { assert } from '../base/assert.ts'

export class CreditWindow {
  #inHand: number
  #window: number
  /** Spent by messages that nobody answers. */
  #unanswered = 0

  constructor(bytes: number) {
    this.#inHand = bytes
    this.#window = bytes
  }

  /** Bytes that may be sent now. */
  get inHand(): number {
    return this.#inHand
  }

  /** Credits in hand and out, bytes. */
  get window(): number {
    return this.#window
  }

  /** Never more than there is: the caller has asked `inHand`. */
  spend(bytes: number, answered: boolean): void {
    assert(bytes <= this.#inHand, 'credits are never overdrawn')
    this.#inHand -= bytes
    if (!answered) this.#unanswered += bytes
  }

  /** A message's cost comes back with its answer, less what the server keeps for others. */
  restore(bytes: number, kept: number): void {
    const lost = Math.min(bytes, kept)
    this.#inHand += bytes - lost
    this.#window -= lost
  }

  /** The server's message `credits`. */
  grant(bytes: number): void {
    const home = Math.min(bytes, this.#unanswered)
    this.#unanswered -= home
    this.#inHand += bytes
    this.#window += bytes - home
  }

  /** Gives up at most `bytes`; returns how many. */
  yieldUpTo(bytes: number): number {
    const given = Math.min(bytes, this.#inHand)
    this.#inHand -= given
    this.#window -= given
    return given
  }
}
