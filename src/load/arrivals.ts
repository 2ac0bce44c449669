/**
 * Joins what producers know of a batch (when its events were to be sent) with what consumers know
 * (when it arrived), by partition and base offset. Either may come first: answer and push are sent
 * at about the same time.
 */
import type { Latency } from './latency.ts'

/** What neither side has joined is bounded: consumers further behind prove nothing. */
const UNJOINED_MAX = 1_000_000

export class Arrivals {
  readonly #latency: Latency
  readonly #recent: Latency
  readonly #isMeasured: (intendedMs: number) => boolean
  /** By place, by base offset: a batch's intended times, and its arrival. */
  readonly #acknowledged: Map<number, readonly number[]>[]
  readonly #arrived: Map<number, number>[]
  #unjoined = 0

  constructor(
    places: number,
    parts: {
      readonly latency: Latency
      /** For who watches. */
      readonly recent: Latency
      readonly isMeasured: (intendedMs: number) => boolean
    },
  ) {
    this.#latency = parts.latency
    this.#recent = parts.recent
    this.#isMeasured = parts.isMeasured
    this.#acknowledged = Array.from({ length: places }, () => new Map())
    this.#arrived = Array.from({ length: places }, () => new Map())
  }

  /** Batches that were acknowledged and have not arrived. */
  get missing(): number {
    return this.#acknowledged.reduce((sum, one) => sum + one.size, 0)
  }

  /** False: too much waits for its other half. */
  acknowledged(place: number, baseOffset: number, intendedMs: readonly number[]): boolean {
    const arrived = this.#arrived[place] as Map<number, number>
    const atMs = arrived.get(baseOffset)
    if (atMs === undefined) {
      // The caller may use its array again.
      this.#acknowledged[place]?.set(baseOffset, intendedMs.slice())
      return ++this.#unjoined <= UNJOINED_MAX
    }
    arrived.delete(baseOffset)
    this.#unjoined--
    this.#record(intendedMs, atMs)
    return true
  }

  /** The same, for what arrived. */
  arrived(place: number, baseOffset: number, atMs: number): boolean {
    const acknowledged = this.#acknowledged[place] as Map<number, readonly number[]>
    const intendedMs = acknowledged.get(baseOffset)
    if (intendedMs === undefined) {
      this.#arrived[place]?.set(baseOffset, atMs)
      return ++this.#unjoined <= UNJOINED_MAX
    }
    acknowledged.delete(baseOffset)
    this.#unjoined--
    this.#record(intendedMs, atMs)
    return true
  }

  /** What never arrived waited until now, at least. */
  giveUp(nowMs: number): void {
    for (const places of this.#acknowledged) {
      for (const intendedMs of places.values()) this.#record(intendedMs, nowMs)
      places.clear()
    }
  }

  #record(intendedMs: readonly number[], atMs: number): void {
    for (const oneMs of intendedMs) {
      this.#recent.record(atMs - oneMs)
      if (this.#isMeasured(oneMs)) this.#latency.record(atMs - oneMs)
    }
  }
}
