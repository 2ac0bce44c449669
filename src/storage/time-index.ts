/**
 * A segment's time index in memory: the largest timestamp so far → relative offset of the last
 * record of the batch that brought it. Timestamps increase strictly. On disk (Kafka's
 * `.timeindex`):
 *
 *   0 timestamp i64 │ 8 relativeOffset i32 │ 12 …
 *
 * When a segment is sealed or closed its largest timestamp becomes the last entry, so that the last
 * entry of a file answers "what is the newest record here". A segment without any timestamp has one
 * entry in its file, −1, and none in memory: an empty file tells of a write that did not happen.
 */
import { assert } from '../base/assert.ts'
import { readInt64, viewOf, writeInt64 } from '../base/bytes.ts'

export const TIME_ENTRY_BYTES = 12
const NO_TIMESTAMP = -1

export class TimeIndex {
  #timestamps: Float64Array
  #offsets: Int32Array
  #count = 0

  constructor(capacity = 16) {
    this.#timestamps = new Float64Array(Math.max(1, capacity))
    this.#offsets = new Int32Array(Math.max(1, capacity))
  }

  get count(): number {
    return this.#count
  }

  timestamp(index: number): number {
    assert(index >= 0 && index < this.#count)
    return this.#timestamps[index] as number
  }

  relativeOffset(index: number): number {
    assert(index >= 0 && index < this.#count)
    return this.#offsets[index] as number
  }

  /** Appends unless the timestamp is not above the last one (−1 when there is none). */
  maybeAppend(timestamp: number, relativeOffset: number): void {
    const count = this.#count
    const last = count === 0 ? -1 : (this.#timestamps[count - 1] as number)
    if (timestamp <= last) return
    if (count > 0) assert(relativeOffset >= (this.#offsets[count - 1] as number))
    if (count === this.#offsets.length) this.#grow()
    this.#timestamps[count] = timestamp
    this.#offsets[count] = relativeOffset
    this.#count++
  }

  /** Index of the last entry whose timestamp is < the given one, −1 when there is none. */
  findBelow(timestamp: number): number {
    let low = 0
    let high = this.#count
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#timestamps[middle] as number) < timestamp) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  /** Keeps the first `count` entries. */
  shorten(count: number): void {
    assert(count >= 0 && count <= this.#count)
    this.#count = count
  }

  #grow(): void {
    const timestamps = new Float64Array(this.#count * 2)
    const offsets = new Int32Array(this.#count * 2)
    timestamps.set(this.#timestamps)
    offsets.set(this.#offsets)
    this.#timestamps = timestamps
    this.#offsets = offsets
  }

  encode(): Uint8Array {
    const bytes = new Uint8Array(Math.max(1, this.#count) * TIME_ENTRY_BYTES)
    const view = viewOf(bytes)
    if (this.#count === 0) writeInt64(view, 0, NO_TIMESTAMP)
    for (let i = 0; i < this.#count; i++) {
      writeInt64(view, i * TIME_ENTRY_BYTES, this.#timestamps[i] as number)
      view.setInt32(i * TIME_ENTRY_BYTES + 8, this.#offsets[i] as number)
    }
    return bytes
  }

  /** Null when the bytes cannot be a time index. */
  static decode(bytes: Uint8Array, segmentBytes: number): TimeIndex | null {
    if (bytes.length % TIME_ENTRY_BYTES !== 0) return null
    if (bytes.length === 0 && segmentBytes > 0) return null
    const count = bytes.length / TIME_ENTRY_BYTES
    const index = new TimeIndex(count)
    const view = viewOf(bytes)
    let timestamp = -1
    let offset = -1
    for (let i = 0; i < count; i++) {
      const nextTimestamp = readInt64(view, i * TIME_ENTRY_BYTES)
      const nextOffset = view.getInt32(i * TIME_ENTRY_BYTES + 8)
      if (count === 1 && nextTimestamp === NO_TIMESTAMP && nextOffset === 0) return index
      if (!Number.isSafeInteger(nextTimestamp)) return null
      if (nextTimestamp <= timestamp || nextOffset < offset || nextOffset < 0) return null
      index.maybeAppend(nextTimestamp, nextOffset)
      timestamp = nextTimestamp
      offset = nextOffset
    }
    return index
  }
}
