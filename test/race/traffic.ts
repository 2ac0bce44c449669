/**
 * The traffic of `lane-traffic.test.ts`: what a producer and its consumers say to each other, how
 * payloads are made and checked, and what each thread is started with and reports at its end.
 */
import type { ArenaMemory } from '../../src/ring/arena-layout.ts'
import type { WaitCell } from '../../src/ring/doorbell.ts'
import type { LaneMemory } from '../../src/ring/lane-layout.ts'

/** Producer to consumer: one extent, then inline bytes. All fields are u32. */
export const EXTENT = 1
export const SEQUENCE_AT = 0
export const OFFSET_AT = 4
export const LENGTH_AT = 8
export const GENERATION_AT = 12
export const CHECKSUM_AT = 16
export const INLINE_AT = 20
/** Consumer to producer: offset and generation of an extent that is not used any more. */
export const RETURN = 2
/** Producer to consumer: nothing follows. */
export const END = 3

/** Longer than any run takes: a consumer that sleeps this long over data has lost a wake. */
export const PARK_MS = 5_000

export interface Link {
  forth: LaneMemory
  back: LaneMemory
  consumerCell: WaitCell
  producerCell: WaitCell
}

export interface ProducerData {
  seed: number
  links: Link[]
  arena: ArenaMemory
  messages: number
  /** One word a consumer: 1 while it must stand still. */
  halts: SharedArrayBuffer
  /** Frees one extent that the first consumer, standing still, has not seen. */
  earlyFree: boolean
}

export interface ConsumerData {
  seed: number
  index: number
  link: Link
  arena: ArenaMemory
  halts: SharedArrayBuffer
  checksTags: boolean
}

export interface ParkReport {
  parks: number
  woken: number
  sleptOverData: number
}

export interface ProducerReport extends ParkReport {
  refused: number[]
  exhausted: number
  bytesPeak: number
  bytesLeft: number
  /** Messages that the others had returned when the halted consumer was let go. */
  returnedBeforeResume: number
}

export interface ConsumerReport extends ParkReport {
  delivered: number
}

/** Fills a range with bytes that depend on `sequence` and returns their checksum. */
export function fillPayload(
  bytes: Uint8Array,
  start: number,
  end: number,
  sequence: number,
): number {
  let x = sequence ^ 0x5bd1e995
  for (let i = start; i < end; i++) {
    x = (Math.imul(x, 1_664_525) + 1_013_904_223) | 0
    bytes[i] = x >>> 24
  }
  return checksum(bytes, start, end)
}

/** FNV-1a. */
export function checksum(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ (bytes[i] as number), 16_777_619)
  return hash >>> 0
}
