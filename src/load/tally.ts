/**
 * What a run of producers counts. Throughput counts what was acknowledged during the measurement;
 * latencies are those of units that were due in it, also when their answer came in the drain. What
 * the verification needs is counted over the whole run.
 */
import { Latency } from './latency.ts'

export type Phase = 'warm-up' | 'measure' | 'drain'

export class Tally {
  phase: Phase = 'warm-up'
  /** When the measurement began and ended; infinite until then. */
  measureFromMs = Number.POSITIVE_INFINITY
  measureToMs = Number.POSITIVE_INFINITY

  // —— the measurement ——
  requests = 0
  events = 0
  bytes = 0
  /** Units that were due in it; closed loop: that were begun. */
  offeredUnits = 0
  /** Of them: answered before it ended. */
  achievedUnits = 0
  /** From the intended send time to the answer. */
  readonly latency = new Latency()
  /** From the actual one: what the broker took, the wait in front of it left out. */
  readonly service = new Latency()

  /** Ages of units that were due in it and never answered: they are in `latency` as well. */
  readonly undone = new Latency()

  // —— the whole run ——
  /** Units that were due and never begun; their age is in `latency`. */
  overdueUnits = 0
  /** Units that were begun and never answered; likewise. */
  unansweredUnits = 0
  readonly total = { requests: 0, records: 0, bytes: 0 }
  /** By place: events and bytes acknowledged, and one past the last offset that was told. */
  readonly acknowledgedEvents: Float64Array
  readonly acknowledgedBytes: Float64Array
  readonly toldEnd: Float64Array
  /** What was refused: "NAME: what the broker said" → how often. */
  readonly refusals = new Map<string, number>()
  /** Connections that ended, and why. */
  readonly broken: string[] = []

  /** Latencies since they were last taken, for who watches. */
  readonly recent = new Latency()

  constructor(places: number) {
    this.acknowledgedEvents = new Float64Array(places)
    this.acknowledgedBytes = new Float64Array(places)
    this.toldEnd = new Float64Array(places).fill(-1)
  }

  isMeasured(intendedMs: number): boolean {
    return intendedMs >= this.measureFromMs && intendedMs < this.measureToMs
  }

  /** One unit was answered. */
  sample(intendedMs: number, startedMs: number, nowMs: number): void {
    this.recent.record(nowMs - intendedMs)
    if (!this.isMeasured(intendedMs)) return
    if (this.phase === 'measure') this.achievedUnits++
    this.latency.record(nowMs - intendedMs)
    this.service.record(nowMs - startedMs)
  }

  /** One unit will never be answered: it waited until now. Leaving it out would flatter. */
  unanswered(intendedMs: number, nowMs: number): void {
    this.unansweredUnits++
    this.#never(intendedMs, nowMs)
  }

  /** The same for one that was due and not begun. */
  overdue(intendedMs: number, nowMs: number): void {
    if (intendedMs >= this.measureToMs) return // At the very end: not of this run.
    this.overdueUnits++
    this.#never(intendedMs, nowMs)
  }

  #never(intendedMs: number, nowMs: number): void {
    if (!this.isMeasured(intendedMs)) return
    this.latency.record(nowMs - intendedMs)
    this.undone.record(nowMs - intendedMs)
  }

  /** A request's events are stored. `baseOffset` −1: nobody said where. */
  acknowledged(place: number, events: number, bytes: number, baseOffset: number): void {
    this.total.requests++
    this.total.records += events
    this.total.bytes += bytes
    this.acknowledgedEvents[place]! += events
    this.acknowledgedBytes[place]! += bytes
    if (baseOffset >= 0) {
      this.toldEnd[place] = Math.max(this.toldEnd[place]!, baseOffset + events)
    }
    if (this.phase !== 'measure') return
    this.requests++
    this.events += events
    this.bytes += bytes
  }

  refused(what: string): void {
    this.refusals.set(what, (this.refusals.get(what) ?? 0) + 1)
  }
}
