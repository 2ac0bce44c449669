/** A lane whose broker is a function: how long each unit takes, in virtual time. */

import type { Lane } from '../../src/load/driver.ts'
import type { Engine, EngineTime } from '../../src/load/engine.ts'
import type { VirtualTimers } from '../support/virtual-timers.ts'

export function engineTime(timers: VirtualTimers): EngineTime {
  return {
    nowMs: () => timers.monotonicMs(),
    after: (delayMs, callback) => timers.after(delayMs, callback),
    // Looking takes time too, or a busy core would look for ever.
    soon: (callback) => void timers.after(0.01, callback),
  }
}

export interface FakeBroker {
  /** Milliseconds from being sent to the answer; null: there is none. */
  readonly takesMs: (sentMs: number) => number | null
  /** What the answer claims to be stored. */
  readonly events: number
}

/** One unit at a time. */
export class FakeLane implements Lane {
  readonly #index: number
  readonly #timers: VirtualTimers
  readonly #broker: FakeBroker
  engine: Engine | null = null
  #underWayMs: number | null = null
  sent = 0

  constructor(index: number, timers: VirtualTimers, broker: FakeBroker) {
    this.#index = index
    this.#timers = timers
    this.#broker = broker
  }

  get pending(): number {
    return this.#underWayMs === null ? 0 : 1
  }

  offer(intendedMs: number, nowMs: number): boolean {
    if (this.#underWayMs !== null) return false
    this.#underWayMs = intendedMs
    this.sent++
    const takesMs = this.#broker.takesMs(nowMs)
    if (takesMs === null) return true
    this.#timers.after(takesMs, () => {
      this.#underWayMs = null
      this.engine?.sample(intendedMs, nowMs, this.#timers.monotonicMs())
      const { events } = this.#broker
      this.engine?.acknowledged({ place: 0, events, bytes: 100, baseOffset: -1 }, [intendedMs])
      this.engine?.room(this.#index)
    })
    return true
  }

  flush(): void {}

  abandon(nowMs: number): void {
    if (this.#underWayMs !== null) this.engine?.unanswered(this.#underWayMs, nowMs)
    this.#underWayMs = null
  }
}
