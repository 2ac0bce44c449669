/**
 * The layout of a lane: one SharedArrayBuffer ring between one producing and one consuming thread.
 * This file holds numbers and the allocation; `lane.ts` holds the behaviour.
 *
 *   byte 0        128            256            384                             384 + capacity
 *        ┌─────────┬──────────────┬──────────────┬───────────────────────────────┐
 *        │  guard  │ tail u32     │ head u32     │ records, a ring of `capacity` │
 *        └─────────┴──────────────┴──────────────┴───────────────────────────────┘
 *                    stored by      stored by
 *                    the producer   the consumer
 *
 *   record, 8-byte aligned, never across the end of the ring:
 *        0 payloadBytes u32 │ 4 type u16 │ 6 zero u16 │ 8 payload … zero to seven bytes of slack
 *
 * Tail and head are free-running byte counts that wrap at 2^32: only their difference (used bytes)
 * and their low bits (ring index) mean anything. The guard keeps whatever the heap placed before
 * the buffer off the tail's cache line (a SharedArrayBuffer is aligned to 16 bytes only); 128 bytes
 * are two lines, since processors prefetch lines in pairs. The parked word of the consumer is not
 * here: one word serves all lanes of a consumer (`doorbell.ts`).
 */
import { assert } from '../base/assert.ts'

/** Distance in bytes between words that different threads store. */
export const APART_BYTES = 128

/** Byte positions within the lane's memory. */
export const TAIL_AT = APART_BYTES
export const HEAD_AT = 2 * APART_BYTES
export const RECORDS_AT = 3 * APART_BYTES

/** Within a record. Multi-byte values are little-endian. */
export const PAYLOAD_BYTES_AT = 0
export const TYPE_AT = 4
export const RECORD_HEADER_BYTES = 8

/** Fills the ring up to its end; no handler ever sees it. Types of messages are 1 to 65,535. */
export const TYPE_PADDING = 0
export const TYPE_MAX = 0xffff

/** Powers of two. The upper bound keeps `tail − head` far from the wrap of the counters. */
export const LANE_CAPACITY_MIN = 64
export const LANE_CAPACITY_MAX = 1 << 30

/** A lane's memory, to be posted to the other thread as it is. */
export interface LaneMemory {
  readonly buffer: SharedArrayBuffer
  /** Where the lane begins in `buffer`; a multiple of 8. */
  readonly byteOffset: number
  /** Bytes of the ring of records, without the head of the lane; a power of two. */
  readonly capacity: number
}

/** Bytes that a lane of this capacity occupies in its buffer. */
export function laneBytes(capacity: number): number {
  return RECORDS_AT + capacity
}

/** Bytes that one message occupies in the ring, padding at the wrap not counted. */
export function recordBytes(payloadBytes: number): number {
  return RECORD_HEADER_BYTES + ((payloadBytes + 7) & ~7)
}

/** The longest payload: a record of half the ring always fits an empty one, padding included. */
export function payloadBytesMax(capacity: number): number {
  return capacity / 2 - RECORD_HEADER_BYTES
}

/**
 * Allocates an empty lane. `initialCounter` (a multiple of 8, below 2^32) is where head and tail
 * start: tests set it close to 2^32 to see the counters wrap.
 */
export function allocateLane(capacity: number, options?: { initialCounter?: number }): LaneMemory {
  const initialCounter = options?.initialCounter ?? 0
  assert(initialCounter % 8 === 0 && initialCounter === initialCounter >>> 0)
  const memory = { buffer: new SharedArrayBuffer(laneBytes(capacity)), byteOffset: 0, capacity }
  assertLaneMemory(memory)
  const counters = laneCounters(memory)
  counters[TAIL_AT / 4] = initialCounter
  counters[HEAD_AT / 4] = initialCounter
  return memory
}

export function assertLaneMemory(memory: LaneMemory): void {
  const { buffer, byteOffset, capacity } = memory
  assert(capacity >= LANE_CAPACITY_MIN && capacity <= LANE_CAPACITY_MAX, 'lane capacity')
  assert((capacity & (capacity - 1)) === 0, 'lane capacity must be a power of two')
  assert(byteOffset >= 0 && byteOffset % 8 === 0, 'lane must be 8-byte aligned')
  assert(byteOffset + laneBytes(capacity) <= buffer.byteLength, 'lane exceeds its buffer')
}

/** The words of the lane's head: index with TAIL_AT / 4 and HEAD_AT / 4. */
export function laneCounters(memory: LaneMemory): Uint32Array {
  return new Uint32Array(memory.buffer, memory.byteOffset, RECORDS_AT / 4)
}

/** The ring of records as bytes: index 0 is ring index 0. */
export function laneRecords(memory: LaneMemory): Buffer {
  return Buffer.from(memory.buffer, memory.byteOffset + RECORDS_AT, memory.capacity)
}
