/**
 * What the engine drives. A lane is one producer: it takes units at their time and says later what
 * became of them. A driver knows one protocol: it opens connections, and makes requests of them.
 */
import type { Place } from './place.ts'

/** One producer. A unit is a request (prebuilt source) or an event (client source). */
export interface Lane {
  /** Takes one unit. False: there is no room now; `room` is called when there may be again. */
  offer(intendedMs: number, nowMs: number): boolean
  /** Sends what lingers: nothing more is offered. */
  flush(): void
  /** Units that were taken and have no answer. */
  readonly pending: number
  /** Reports what has no answer to its sink, and ends. */
  abandon(nowMs: number): void
}

/** Where a lane reports. */
export interface LaneSink {
  room(lane: number): void
  sample(intendedMs: number, startedMs: number, nowMs: number): void
  unanswered(intendedMs: number, nowMs: number): void
  /**
   * One request was answered. `intendedMs` are those of its units: one for all events, or one for
   * each; the array may be used again afterwards.
   */
  acknowledged(stored: Stored, intendedMs: readonly number[]): void
  refused(what: string): void
  broke(lane: number, reason: string): void
}

/** Events that the broker has, as one batch. */
export interface Stored {
  readonly place: number
  readonly events: number
  readonly bytes: number
  /** −1: the broker did not say. */
  readonly baseOffset: number
}

/** An event before it is encoded. */
export interface LoadRecord {
  readonly key: Uint8Array | null
  readonly value: Uint8Array
}

/** A request that can be sent as often as wanted, on any connection, in one slot. */
export interface PreparedRequest {
  readonly place: number
  readonly events: number
  /** Of the batch: what the broker stores, where the protocol carries batches. */
  readonly batchBytes: number
  /** The whole message as it goes over the wire. */
  readonly message: Uint8Array
}

/** One connection that carries requests. Requests under way have different slots. */
export interface RequestConnection {
  /** Whether a message of so many bytes may be sent now. If not, `room` follows. */
  mayTake(bytes: number): boolean
  send(slot: number, request: PreparedRequest): void
  close(): void
}

export interface RequestEvents {
  /** `refusal` null: the events are stored. */
  answered(slot: number, baseOffset: number, refusal: string | null): void
  room(): void
  /** Once; nothing follows. */
  broke(reason: string): void
}

/** A codec's name in Kafka's terms. */
export type Compression = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'

export interface RequestDriver {
  /** A batch in the form that this driver's broker takes; never changed afterwards. */
  buildBatch(records: readonly LoadRecord[]): Promise<Uint8Array>
  /** The message that sends `batch` to a place in `slot`. */
  prepare(
    place: number,
    slot: number,
    batch: { readonly bytes: Uint8Array; readonly events: number },
  ): PreparedRequest
  open(events: RequestEvents): Promise<RequestConnection>
}

export interface RequestDriverOptions {
  readonly places: readonly Place[]
  readonly acks: 0 | 1 | -1
  readonly compression: Compression
}
