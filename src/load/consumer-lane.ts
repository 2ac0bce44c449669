/** One consumer with a connection of its own. */
import type { Arrived } from './consume-tally.ts'
import type { Place } from './place.ts'

export interface ConsumerOptions {
  readonly places: readonly Place[]
  /** The places (their indexes) that this one reads. */
  readonly mine: readonly number[]
  /** By place: where it begins. */
  readonly from: readonly number[]
  /** The most that one answer or push carries of a place. */
  readonly fetchBytes: number
  readonly checkCrc: boolean
}

export interface ConsumerSink {
  arrived(place: number, batch: Arrived): void
  highWatermark(place: number, offset: number): void
  /** What came is not what should: nothing more is read. */
  wrong(place: number, what: string): void
  broke(reason: string): void
}

export interface ConsumerLane {
  /** Begins to read: only when all are connected. */
  start(): void
  close(): void | Promise<void>
}
