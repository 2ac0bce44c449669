/**
 * The clock that drives the lanes: warm-up, measurement, drain. Open loop: `schedule.ts` says what
 * is due, and a lane without room makes its units wait. Closed loop: a lane gets a unit whenever it
 * has room. Everything happens on the event loop of one thread.
 */
import { assert } from '../base/assert.ts'
import type { Lane, LaneSink, Stored } from './driver.ts'
import { Schedule } from './schedule.ts'
import type { Tally } from './tally.ts'

/** How the time until the next unit passes: asleep (timers of 1 ms), or looking all the time. */
export type Pacing = 'sleep' | 'spin'

export type StopReason = 'time' | 'signal' | 'connections' | 'refused'

/** Time as an argument: a test has one of its own. */
export interface EngineTime {
  nowMs(): number
  /** Calls back once; the result takes it back. */
  after(delayMs: number, callback: () => void): () => void
  /** After the sockets had their turn. */
  soon(callback: () => void): void
}

const systemTime: EngineTime = {
  nowMs: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs)
    return () => clearTimeout(timer)
  },
  soon: (callback) => void setImmediate(callback),
}

export interface EngineOptions {
  readonly lanes: number
  /** Over all lanes; null: closed loop. */
  readonly unitsPerSecond: number | null
  readonly warmUpMs: number
  readonly durationMs: number
  readonly pacing: Pacing
  /** How long answers may take once nothing is sent any more. */
  readonly drainMs: number
  /** Ends the measurement early. */
  readonly signal: AbortSignal
  /** Default: the system's. */
  readonly time?: EngineTime
}

export interface EngineEvents {
  /** At the first and the last instant of the measurement. */
  measure(at: 'start' | 'end'): void
  /** Of every acknowledged request. */
  acknowledged(stored: Stored, intendedMs: readonly number[]): void
}

/** So many units of one lane, then the others' turn, and the sockets'. */
const UNITS_PER_TURN = 256
/** Timers fire up to about this much late: closer than that only looking helps. */
const SPIN_WITHIN_MS = 2
const DRAIN_LOOK_MS = 5

export class Engine implements LaneSink {
  readonly #options: EngineOptions
  readonly #time: EngineTime
  readonly #tally: Tally
  readonly #events: EngineEvents
  #lanes: readonly Lane[] = []
  #schedule: Schedule | null = null
  /** By lane: units that it took. */
  readonly #taken: Float64Array
  readonly #isBroken: boolean[]
  /** Units of the schedule that were due at the last look. */
  #dueCount = 0
  #beginMs = 0
  #stopReason: StopReason | null = null
  readonly #resume = new Set<number>()
  #isResuming = false
  #cancelTimer: (() => void) | null = null
  #isLooking = false
  #ended: (() => void) | null = null

  constructor(options: EngineOptions, tally: Tally, events: EngineEvents) {
    this.#options = options
    this.#time = options.time ?? systemTime
    this.#tally = tally
    this.#events = events
    this.#taken = new Float64Array(options.lanes)
    this.#isBroken = new Array<boolean>(options.lanes).fill(false)
  }

  /** Runs the lanes from warm-up to drain. Resolves with what ended the measurement. */
  async run(lanes: readonly Lane[]): Promise<StopReason> {
    assert(lanes.length === this.#options.lanes)
    this.#lanes = lanes
    const { unitsPerSecond, signal } = this.#options
    const stop = (): void => this.#stop('signal')
    signal.addEventListener('abort', stop, { once: true })
    this.#beginMs = this.#time.nowMs()
    if (unitsPerSecond !== null) {
      this.#schedule = new Schedule({
        unitsPerSecond,
        lanes: lanes.length,
        beginMs: this.#beginMs,
      })
    }
    await new Promise<void>((resolve) => {
      this.#ended = resolve
      if (signal.aborted) stop()
      if (this.#schedule === null) for (const index of lanes.keys()) this.room(index)
      this.#look()
    })
    signal.removeEventListener('abort', stop)
    await this.#drain()
    return this.#stopReason ?? 'time'
  }

  // —— time ——

  #look(): void {
    if (this.#tally.phase === 'drain') return
    let nowMs = this.#time.nowMs()
    this.#turnPhase(nowMs)
    if (this.#stopReason !== null) {
      this.#endMeasurement(nowMs)
      return
    }
    if (this.#schedule !== null) {
      this.#pumpDue(this.#schedule, nowMs)
      nowMs = this.#time.nowMs()
    }
    this.#sleepUntil(this.#nextMs(), nowMs)
  }

  #turnPhase(nowMs: number): void {
    const { warmUpMs, durationMs } = this.#options
    const tally = this.#tally
    if (tally.phase === 'warm-up' && nowMs >= this.#beginMs + warmUpMs) {
      tally.phase = 'measure'
      this.#events.measure('start')
      tally.measureFromMs = this.#time.nowMs()
    }
    if (tally.phase === 'measure' && nowMs >= tally.measureFromMs + durationMs) this.#stop('time')
  }

  /** When something is to happen next. */
  #nextMs(): number {
    const { warmUpMs, durationMs } = this.#options
    const turnMs =
      this.#tally.phase === 'warm-up'
        ? this.#beginMs + warmUpMs
        : this.#tally.measureFromMs + durationMs
    return this.#schedule === null ? turnMs : Math.min(turnMs, this.#schedule.dueMs(this.#dueCount))
  }

  #sleepUntil(atMs: number, nowMs: number): void {
    const waitMs = atMs - nowMs
    const isSpinning = this.#options.pacing === 'spin'
    if (waitMs <= 0 || (isSpinning && this.#schedule !== null && waitMs < SPIN_WITHIN_MS)) {
      this.#lookSoon()
      return
    }
    const early = isSpinning && this.#schedule !== null ? SPIN_WITHIN_MS : 0
    const delayMs = Math.max(1, Math.floor(waitMs - early))
    this.#cancelTimer = this.#time.after(delayMs, () => this.#look())
  }

  #lookSoon(): void {
    if (this.#isLooking) return
    this.#isLooking = true
    this.#time.soon(() => {
      this.#isLooking = false
      this.#look()
    })
  }

  #stop(reason: StopReason): void {
    if (this.#stopReason !== null || this.#tally.phase === 'drain') return
    this.#stopReason = reason
    this.#cancelTimer?.()
    this.#lookSoon()
  }

  #endMeasurement(nowMs: number): void {
    const tally = this.#tally
    const wasMeasuring = tally.phase === 'measure'
    tally.measureToMs = wasMeasuring ? nowMs : tally.measureFromMs
    if (wasMeasuring) this.#events.measure('end')
    this.#countDue(nowMs)
    this.#countOverdue(nowMs)
    tally.phase = 'drain'
    this.#ended?.()
  }

  async #drain(): Promise<void> {
    for (const [index, lane] of this.#lanes.entries()) if (!this.#isBroken[index]) lane.flush()
    const untilMs = this.#time.nowMs() + this.#options.drainMs
    const isUnderWay = (lane: Lane, index: number): boolean => {
      return lane.pending > 0 && !this.#isBroken[index]
    }
    while (this.#lanes.some(isUnderWay) && this.#time.nowMs() < untilMs) {
      await new Promise<void>((resolve) => this.#time.after(DRAIN_LOOK_MS, resolve))
    }
    const nowMs = this.#time.nowMs()
    for (const lane of this.#lanes) lane.abandon(nowMs)
  }

  // —— units ——

  #pumpDue(schedule: Schedule, nowMs: number): void {
    const before = this.#dueCount
    this.#countDue(nowMs)
    const lanes = this.#lanes.length
    const first = Math.max(before, this.#dueCount - lanes)
    for (let unit = first; unit < this.#dueCount; unit++) this.#pump(unit % lanes, schedule)
  }

  #countDue(nowMs: number): void {
    const schedule = this.#schedule
    if (schedule === null) return
    const count = schedule.countDue(nowMs)
    const tally = this.#tally
    for (; this.#dueCount < count; this.#dueCount++) {
      if (tally.isMeasured(schedule.dueMs(this.#dueCount))) tally.offeredUnits++
    }
  }

  #pump(index: number, schedule: Schedule | null): void {
    if (this.#stopReason !== null || this.#isBroken[index]) return
    const lane = this.#lanes[index] as Lane
    const due = schedule === null ? Infinity : schedule.countOfLane(index, this.#dueCount)
    const nowMs = this.#time.nowMs()
    for (let left = UNITS_PER_TURN; this.#taken[index]! < due; left--) {
      if (left === 0) {
        this.#pumpLater(index)
        return
      }
      const intendedMs = schedule?.intendedMs(index, this.#taken[index]!) ?? nowMs
      if (!lane.offer(intendedMs, nowMs)) return
      this.#taken[index]!++
      if (schedule === null && this.#tally.isMeasured(nowMs)) this.#tally.offeredUnits++
    }
  }

  #pumpLater(index: number): void {
    this.#resume.add(index)
    if (this.#isResuming) return
    this.#isResuming = true
    this.#time.soon(() => {
      this.#isResuming = false
      const lanes = [...this.#resume]
      this.#resume.clear()
      for (const lane of lanes) this.#pump(lane, this.#schedule)
    })
  }

  #countOverdue(nowMs: number): void {
    const schedule = this.#schedule
    if (schedule === null) return
    for (const index of this.#lanes.keys()) {
      const due = schedule.countOfLane(index, this.#dueCount)
      for (let unit = this.#taken[index]!; unit < due; unit++) {
        this.#tally.overdue(schedule.intendedMs(index, unit), nowMs)
      }
    }
  }

  // —— what lanes say ——

  room(lane: number): void {
    if (this.#tally.phase !== 'drain') this.#pump(lane, this.#schedule)
  }

  sample(intendedMs: number, startedMs: number, nowMs: number): void {
    this.#tally.sample(intendedMs, startedMs, nowMs)
  }

  unanswered(intendedMs: number, nowMs: number): void {
    this.#tally.unanswered(intendedMs, nowMs)
  }

  acknowledged(stored: Stored, intendedMs: readonly number[]): void {
    this.#tally.acknowledged(stored.place, stored.events, stored.bytes, stored.baseOffset)
    this.#events.acknowledged(stored, intendedMs)
  }

  /** A run with refusals proves nothing: no need to go on. */
  refused(what: string): void {
    this.#tally.refused(what)
    this.#stop('refused')
  }

  broke(lane: number, reason: string): void {
    this.#isBroken[lane] = true
    this.#tally.broken.push(reason)
    if (this.#isBroken.every(Boolean)) this.#stop('connections')
  }
}
