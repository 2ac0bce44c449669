/**
 * A segment's offset index in memory: relative offset of a batch's last record → position of that
 * batch, one entry per index.interval.bytes, strictly increasing. On disk (Kafka's `.index`):
 *
 *   0 relativeOffset i32 │ 4 position i32 │ 8 …
 *
 * The file carries no checksum: whoever follows an entry checks the batch it finds there, and a
 * doubtful index is rebuilt from the segment.
 */
import { assert } from '../base/assert.ts'
import { viewOf } from '../base/bytes.ts'

export const OFFSET_ENTRY_BYTES = 8

export class OffsetIndex {
  #entries: Int32Array
  #count: number

  constructor(capacity = 16) {
    this.#entries = new Int32Array(Math.max(1, capacity) * 2)
    this.#count = 0
  }

  get count(): number {
    return this.#count
  }

  relativeOffset(index: number): number {
    assert(index >= 0 && index < this.#count)
    return this.#entries[index * 2] as number
  }

  position(index: number): number {
    assert(index >= 0 && index < this.#count)
    return this.#entries[index * 2 + 1] as number
  }

  append(relativeOffset: number, position: number): void {
    const at = this.#count * 2
    if (this.#count > 0) {
      assert(relativeOffset > (this.#entries[at - 2] as number))
      assert(position > (this.#entries[at - 1] as number))
    }
    if (at === this.#entries.length) {
      const grown = new Int32Array(at * 2)
      grown.set(this.#entries)
      this.#entries = grown
    }
    this.#entries[at] = relativeOffset
    this.#entries[at + 1] = position
    this.#count++
  }

  /** Index of the last entry whose offset is ≤ the given one, −1 when there is none. */
  find(relativeOffset: number): number {
    let low = 0
    let high = this.#count
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#entries[middle * 2] as number) <= relativeOffset) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  /** Keeps the first `count` entries. */
  shorten(count: number): void {
    assert(count >= 0 && count <= this.#count)
    this.#count = count
  }

  encode(): Uint8Array {
    const bytes = new Uint8Array(this.#count * OFFSET_ENTRY_BYTES)
    const view = viewOf(bytes)
    for (let i = 0; i < this.#count * 2; i++) view.setInt32(i * 4, this.#entries[i] as number)
    return bytes
  }

  /** Null when the bytes cannot be the index of a segment of `segmentBytes`. */
  static decode(bytes: Uint8Array, segmentBytes: number): OffsetIndex | null {
    if (bytes.length % OFFSET_ENTRY_BYTES !== 0) return null
    const count = bytes.length / OFFSET_ENTRY_BYTES
    const index = new OffsetIndex(count)
    const view = viewOf(bytes)
    let offset = -1
    let position = -1
    for (let i = 0; i < count; i++) {
      const nextOffset = view.getInt32(i * 8)
      const nextPosition = view.getInt32(i * 8 + 4)
      if (nextOffset <= offset || nextPosition <= position || nextPosition >= segmentBytes) {
        return null
      }
      index.append(nextOffset, nextPosition)
      offset = nextOffset
      position = nextPosition
    }
    return index
  }
}
