/**
 * What consumers have seen, by place, and whether it is without a gap. Throughput counts what
 * arrived during the measurement.
 */
import { nameOf, type Place } from './place.ts'

export class ConsumeTally {
  readonly #places: readonly Place[]
  /** By place: the offset that comes next, and where it is enough (exclusive; infinite: never). */
  readonly next: Float64Array
  readonly until: Float64Array
  /** By place, as the broker said last. */
  readonly highWatermark: Float64Array
  isMeasuring = false

  // —— the measurement ——
  events = 0
  bytes = 0

  // —— the whole run ——
  readonly total = { records: 0, bytes: 0, batches: 0 }
  /** The most that consumers were behind the high watermarks, events, all places together. */
  lagMax = 0
  /** The first thing that was wrong. */
  problem: string | null = null
  readonly broken: string[] = []
  #left: number

  /** `from` and `until` are in the order of `places`. */
  constructor(
    places: readonly Place[],
    range: { readonly from: readonly number[]; readonly until: readonly number[] | null },
  ) {
    this.#places = places
    this.next = Float64Array.from(range.from)
    this.until =
      range.until === null
        ? new Float64Array(places.length).fill(Infinity)
        : Float64Array.from(range.until)
    this.highWatermark = Float64Array.from(range.from)
    this.#left = this.next.filter((next, i) => next < this.until[i]!).length
  }

  /** Whether every place has come as far as it should. */
  get isComplete(): boolean {
    return this.#left === 0
  }

  /** A batch has arrived; offsets inclusive. What lies before the next offset was asked for. */
  arrived(place: number, batch: Arrived): void {
    const { baseOffset, lastOffset, bytes } = batch
    const next = this.next[place]!
    if (lastOffset < next) return
    if (baseOffset > next) this.#gap(place, `offset ${baseOffset} came after ${next - 1}`)
    const events = lastOffset + 1 - Math.max(next, baseOffset)
    this.next[place] = lastOffset + 1
    this.total.records += events
    this.total.bytes += bytes
    this.total.batches++
    if (this.isMeasuring) {
      this.events += events
      this.bytes += bytes
    }
    const until = this.until[place]!
    if (next < until && lastOffset + 1 >= until) this.#left--
  }

  /** Goes on until `ends` (exclusive, in the order of places). */
  expect(ends: readonly number[]): void {
    for (const [place, end] of ends.entries()) this.until[place] = end
    this.#left = this.next.filter((next, place) => next < this.until[place]!).length
  }

  /** How far consumers are behind what the broker said last, events. */
  look(): number {
    let lag = 0
    for (const [place, next] of this.next.entries()) {
      lag += Math.max(0, this.highWatermark[place]! - next)
    }
    this.lagMax = Math.max(this.lagMax, lag)
    return lag
  }

  wrong(place: number, what: string): void {
    this.problem ??= `${nameOf(this.#places[place] as Place)}: ${what}`
  }

  #gap(place: number, what: string): void {
    this.wrong(place, `${what}: events are missing (a compacted topic has gaps of its own)`)
  }
}

export interface Arrived {
  readonly baseOffset: number
  readonly lastOffset: number
  readonly bytes: number
}
