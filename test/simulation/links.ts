/**
 * The network of a simulated cluster: every ordered pair of nodes is a link of its own, which can
 * be cut, loses, doubles, delays and so reorders messages.
 */
import type { Random } from '../../src/base/random.ts'
import type { EventClock } from './event-clock.ts'

export interface LinkPlan {
  readonly loss: number
  readonly duplication: number
  readonly delayMsMax: number
  /** Of messages: how many come long after those that were sent later. */
  readonly late: number
  readonly lateMsMax: number
}

/** What a connection held back that has been given up comes late, if at all. */
export const NOT_LATE = { late: 0, lateMsMax: 0 }

/** Longest delay once the network is calm. */
const CALM_DELAY_MS = 5

export class Links {
  /** No loss, no copies, short delays; what is cut stays cut. */
  isCalm = false
  readonly #plan: LinkPlan
  readonly #clock: EventClock
  readonly #random: Random
  /** `from>to` by node id. */
  readonly #cut = new Set<string>()

  constructor(plan: LinkPlan, clock: EventClock, random: Random) {
    this.#plan = plan
    this.#clock = clock
    this.#random = random
  }

  /** Calls `deliver` as often as the message arrives. */
  send(from: number, to: number, deliver: () => void): void {
    const { loss, duplication, delayMsMax, late, lateMsMax } = this.#plan
    const random = this.#random
    if (this.#cut.has(`${from}>${to}`)) return
    if (!this.isCalm && random.chance(loss)) return
    const copies = !this.isCalm && random.chance(duplication) ? 2 : 1
    const delayMax = this.isCalm ? Math.min(delayMsMax, CALM_DELAY_MS) : delayMsMax
    for (let i = 0; i < copies; i++) {
      const isLate = late > 0 && !this.isCalm && random.chance(late)
      this.#clock.after(random.fraction() * (isLate ? lateMsMax : delayMax), deliver)
    }
  }

  cut(from: number, to: number): void {
    this.#cut.add(`${from}>${to}`)
  }

  mend(from: number, to: number): void {
    this.#cut.delete(`${from}>${to}`)
  }

  mendAll(): void {
    this.#cut.clear()
  }

  /** Between two sides of `ids`, both ways. */
  partition(ids: readonly number[], random: Random): void {
    const sides = ids.map((id) => ({ id, isLeft: random.chance(0.5) }))
    for (const a of sides) {
      for (const b of sides) if (a.isLeft !== b.isLeft) this.cut(a.id, b.id)
    }
  }
}
