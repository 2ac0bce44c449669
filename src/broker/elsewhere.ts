/**
 * What the doors whose clients need not know who leads ask of the brokers that do. A door puts it
 * in: a broker that is alone has none. Nothing is asked further than one broker. Never rejects:
 * who cannot be reached is an error code like any other.
 */
export interface Elsewhere {
  /** One batch, as it lies in `bytes`, which are the callee's from now on: once, to who leads. */
  appendOnce(handle: number, bytes: Uint8Array, acks: number): Promise<AppendedElsewhere>
  /** The same, and to whoever leads next, for a few seconds, while it is refused for that. */
  append(handle: number, bytes: Uint8Array, acks: number): Promise<AppendedElsewhere>
  fetch(handle: number, asked: FetchElsewhere): Promise<FetchedElsewhere>
  /** As Kafka's ListOffsets: −1 is the end, −2 the start of the log. */
  offsetAt(handle: number, timestamp: number): Promise<OffsetElsewhere>
  /** Deletes what is before `offset`; −1: all. The offset is the log's start then. */
  deleteRecords(handle: number, offset: number): Promise<OffsetElsewhere>
}

export interface AppendedElsewhere {
  readonly errorCode: number
  readonly baseOffset: number
  readonly appendTimeMs: number
  readonly logStartOffset: number
}

export interface FetchElsewhere {
  readonly offset: number
  readonly bytesMax: number
  readonly waitMs: number
  /** Ends the wait. */
  readonly signal: AbortSignal | null
}

export interface FetchedElsewhere {
  readonly errorCode: number
  readonly highWatermark: number
  readonly logStartOffset: number
  /** Memory of the caller's own; null for none. */
  readonly records: Uint8Array | null
}

export interface OffsetElsewhere {
  readonly errorCode: number
  readonly offset: number
  readonly timestamp: number
}

/** Null for what this broker leads, and everywhere in a broker that is alone. */
export function elsewhere(broker: MaybeElsewhere, handle: number): Elsewhere | null {
  const { elsewhere } = broker
  if (elsewhere === null || elsewhere === undefined) return null
  return broker.image.partitions.leader(handle) === broker.nodeId ? null : elsewhere
}

interface MaybeElsewhere {
  readonly elsewhere?: Elsewhere | null
  readonly image: { readonly partitions: { leader(handle: number): number } }
  readonly nodeId: number
}
