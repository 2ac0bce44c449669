/**
 * Time as an argument. Pure cores never ask the system: the simulator hands them a clock of its
 * own. `wallMs` stamps records and may jump; `monotonicMs` never goes back and is what timers
 * compare.
 */
export interface Clock {
  /** Milliseconds since the Unix epoch, an integer. */
  wallMs(): number
  /** Milliseconds since some fixed moment, fractional, never decreasing. */
  monotonicMs(): number
}

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
}
