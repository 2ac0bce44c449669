/**
 * When what is to be sent. Pure.
 *
 * Open loop: unit i of the whole schedule (a request, or an event of the client source) is due at
 * `beginMs + i / rate` and belongs to lane i modulo the number of lanes, whether or not that lane
 * has room for it then. So unit j of lane k is due at `beginMs + (j·lanes + k) / rate`, a backlog
 * is the difference of two counters and never a queue, and a lane that stalls delays its own
 * units, as a real client's stall does.
 */
export interface ScheduleOptions {
  /** Over all lanes, above 0. */
  readonly unitsPerSecond: number
  readonly lanes: number
  /** When unit 0 is due. */
  readonly beginMs: number
}

export class Schedule {
  readonly #beginMs: number
  readonly #intervalMs: number
  readonly #lanes: number

  constructor({ unitsPerSecond, lanes, beginMs }: ScheduleOptions) {
    this.#beginMs = beginMs
    this.#intervalMs = 1000 / unitsPerSecond
    this.#lanes = lanes
  }

  /** When unit `index` of the whole schedule is due. */
  dueMs(index: number): number {
    return this.#beginMs + index * this.#intervalMs
  }

  /** How many units of the whole schedule are due at `nowMs`, inclusive. */
  countDue(nowMs: number): number {
    if (nowMs < this.#beginMs) return 0
    const count = Math.floor((nowMs - this.#beginMs) / this.#intervalMs) + 1
    // Division and multiplication may round apart: `dueMs` has the last word.
    if (this.dueMs(count - 1) > nowMs) return count - 1
    return this.dueMs(count) <= nowMs ? count + 1 : count
  }

  /** How many of the first `count` units belong to `lane`. */
  countOfLane(lane: number, count: number): number {
    return Math.max(0, Math.ceil((count - lane) / this.#lanes))
  }

  /** When unit `index` of `lane` is due. */
  intendedMs(lane: number, index: number): number {
    return this.dueMs(index * this.#lanes + lane)
  }
}
