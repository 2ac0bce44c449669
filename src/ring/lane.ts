/**
 * The two ends of a lane. `LaneWriter` belongs to the producing thread and alone stores the tail;
 * `LaneReader` belongs to the consuming thread and alone stores the head. Neither blocks, spins,
 * wakes anyone or allocates: a full lane refuses, and waking is the doorbell's business.
 * The memory layout stands in `lane-layout.ts`.
 */
import { assert } from '../base/assert.ts'
import { viewOf } from '../base/bytes.ts'
import {
  assertLaneMemory,
  HEAD_AT,
  type LaneMemory,
  laneCounters,
  laneRecords,
  PAYLOAD_BYTES_AT,
  payloadBytesMax,
  RECORD_HEADER_BYTES,
  recordBytes,
  TAIL_AT,
  TYPE_AT,
  TYPE_MAX,
  TYPE_PADDING,
} from './lane-layout.ts'

export { allocateLane, type LaneMemory } from './lane-layout.ts'

const TAIL = TAIL_AT / 4
const HEAD = HEAD_AT / 4

/**
 * Receives one message. Its payload is `payloadBytes` bytes of the reader's `view` and `bytes` at
 * `at` (8-byte aligned), valid only during the call: the producer overwrites it afterwards.
 */
export type LaneHandler = (type: number, at: number, payloadBytes: number) => void

export class LaneWriter {
  /** The whole ring. Write a claimed payload at the index that `claim` returned. */
  readonly view: DataView
  readonly bytes: Buffer
  /** The longest payload that `claim` accepts. */
  readonly payloadBytesMax: number

  readonly #counters: Uint32Array
  readonly #capacity: number
  /** What the consumer may see: equals the shared tail. */
  #published: number
  /** Runs ahead of `#published` by the claims since the last commit. */
  #claimed: number
  /** The head as last loaded; never ahead of the shared one, so room seen with it is real. */
  #head: number

  constructor(memory: LaneMemory) {
    assertLaneMemory(memory)
    this.#counters = laneCounters(memory)
    this.#capacity = memory.capacity
    this.bytes = laneRecords(memory)
    this.view = viewOf(this.bytes)
    this.payloadBytesMax = payloadBytesMax(memory.capacity)
    this.#published = Atomics.load(this.#counters, TAIL)
    this.#claimed = this.#published
    this.#head = Atomics.load(this.#counters, HEAD)
  }

  /**
   * Takes room for one message of `type` (1 to 65,535) and returns the index in `view` and `bytes`
   * where its payload of exactly `payloadBytes` goes, 8-byte aligned; −1 when the lane is full: the
   * caller sheds load or comes back, it never waits here. The room holds old bytes, so the whole
   * payload must be written before `commit`. A claim cannot be given back.
   */
  claim(type: number, payloadBytes: number): number {
    assert(type > TYPE_PADDING && type <= TYPE_MAX, 'lane message type')
    assert(payloadBytes >= 0 && payloadBytes <= this.payloadBytesMax, 'lane payload length')

    const size = recordBytes(payloadBytes)
    const index = this.#claimed & (this.#capacity - 1)
    const contiguous = this.#capacity - index
    const padding = size <= contiguous ? 0 : contiguous
    if (!this.#hasRoom(padding + size)) return -1

    let at = index
    if (padding > 0) {
      this.#putHeader(index, TYPE_PADDING, padding - RECORD_HEADER_BYTES)
      at = 0
    }
    this.#putHeader(at, type, payloadBytes)
    this.#claimed = (this.#claimed + padding + size) >>> 0
    return at + RECORD_HEADER_BYTES
  }

  /** Publishes everything claimed since the last commit, in the order of the claims. */
  commit(): void {
    if (this.#claimed === this.#published) return
    this.#published = this.#claimed
    // Publish last: the consumer must never see a tail that covers unwritten bytes.
    Atomics.store(this.#counters, TAIL, this.#claimed)
  }

  /** Bytes that are published and not taken, headers and padding included. */
  get unreadBytes(): number {
    return (this.#published - Atomics.load(this.#counters, HEAD)) >>> 0
  }

  #hasRoom(bytes: number): boolean {
    if (this.#capacity - ((this.#claimed - this.#head) >>> 0) >= bytes) return true
    this.#head = Atomics.load(this.#counters, HEAD)
    const used = (this.#claimed - this.#head) >>> 0
    assert(used <= this.#capacity, 'lane head ran past the tail')
    return this.#capacity - used >= bytes
  }

  #putHeader(at: number, type: number, payloadBytes: number): void {
    this.view.setUint32(at + PAYLOAD_BYTES_AT, payloadBytes, true)
    this.view.setUint32(at + TYPE_AT, type, true)
  }
}

export class LaneReader {
  /** The whole ring. A handler reads its payload here, at the index that it is given. */
  readonly view: DataView
  readonly bytes: Buffer

  readonly #counters: Uint32Array
  readonly #capacity: number
  /** Everything before it has been handled. */
  #head: number
  /** The shared head: what the producer may overwrite ends here. Never ahead of `#head`. */
  #released: number
  #draining = false

  constructor(memory: LaneMemory) {
    assertLaneMemory(memory)
    this.#counters = laneCounters(memory)
    this.#capacity = memory.capacity
    this.bytes = laneRecords(memory)
    this.view = viewOf(this.bytes)
    this.#head = Atomics.load(this.#counters, HEAD)
    this.#released = this.#head
  }

  /**
   * True when nothing is published that has not been handled. The load is sequentially consistent:
   * a parker relies on it after it has stored its parked word.
   */
  isEmpty(): boolean {
    return Atomics.load(this.#counters, TAIL) === this.#head
  }

  /** Bytes that are published and not handled, headers and padding included. */
  get unreadBytes(): number {
    return (Atomics.load(this.#counters, TAIL) - this.#head) >>> 0
  }

  /**
   * Hands up to `limit` (at least 1) of the messages published so far to `handler`, oldest first,
   * and returns how many. Room goes back to the producer after the handler, at the latest when
   * `drain` returns; a message whose handler throws counts as handled. Not re-entrant.
   */
  drain(limit: number, handler: LaneHandler): number {
    assert(limit > 0, 'lane drain limit')
    assert(!this.#draining, 'lane drained from its own handler')
    const tail = Atomics.load(this.#counters, TAIL)
    assert((tail - this.#head) >>> 0 <= this.#capacity, 'lane tail ran past its capacity')

    this.#draining = true
    let count = 0
    try {
      while (count < limit && this.#head !== tail) count += this.#handleNext(tail, handler)
    } finally {
      this.#draining = false
      this.#release()
    }
    return count
  }

  /** Handles the record at the head; returns 1 for a message, 0 for padding. */
  #handleNext(tail: number, handler: LaneHandler): number {
    const at = this.#head & (this.#capacity - 1)
    const payloadBytes = this.view.getUint32(at + PAYLOAD_BYTES_AT, true)
    const type = this.view.getUint32(at + TYPE_AT, true)
    const size = recordBytes(payloadBytes)
    assert(size <= this.#capacity - at && size <= (tail - this.#head) >>> 0, 'lane record length')
    const next = (this.#head + size) >>> 0
    if (type === TYPE_PADDING) {
      this.#head = next
      return 0
    }

    assert(type <= TYPE_MAX, 'lane record type')
    try {
      handler(type, at + RECORD_HEADER_BYTES, payloadBytes)
    } finally {
      this.#head = next
    }
    // A long drain gives room back on the way, so that the producer need not wait for its end.
    if ((next - this.#released) >>> 0 >= this.#capacity / 4) this.#release()
    return 1
  }

  #release(): void {
    if (this.#released === this.#head) return
    this.#released = this.#head
    // Release last: the producer must not overwrite a payload that a handler still reads.
    Atomics.store(this.#counters, HEAD, this.#head)
  }
}
