/**
 * The layout of an arena: payload bytes that several threads see, cut into extents by one of them.
 * This file holds numbers and the allocation; `arena.ts` holds the behaviour.
 *
 *   byte 0                                   bytes                    bytes + 4 × blocks
 *        ┌───────────────────────────────────┬────────────────────────┬─────────────────────────┐
 *        │ payload, blocks of 512 bytes      │ generations, u32/block │ extents, u8/block       │
 *        └───────────────────────────────────┴────────────────────────┴─────────────────────────┘
 *
 * An extent is 512 × 2^class bytes and begins at a multiple of its size. Its first block (the head)
 * carries its generation and, in the last table, 1 + class while it is allocated, else 0. Only the
 * allocating thread stores in the tables. A fresh arena is all zero and untouched: the system gives
 * it memory page by page as it is used.
 */
import { assert } from '../base/assert.ts'

/** The smallest extent, and the unit of the tables. */
export const BLOCK_BYTES = 512
export const BLOCK_SHIFT = 9
/** Keeps every offset a small integer. */
export const ARENA_BYTES_MAX = 1 << 30

/** In the table of extents: no allocated extent begins here. */
export const NOT_ALLOCATED = 0

/** An arena's memory, to be posted to the other threads as it is. Payload begins at byte 0. */
export interface ArenaMemory {
  readonly buffer: SharedArrayBuffer
  /** Payload bytes, a multiple of 512. */
  readonly bytes: number
}

/** Allocates an arena of `bytes` payload bytes (a multiple of 512, at most 1 GiB), untouched. */
export function allocateArena(bytes: number): ArenaMemory {
  assert(bytes > 0 && bytes <= ARENA_BYTES_MAX && bytes % BLOCK_BYTES === 0, 'arena size')
  const blocks = bytes / BLOCK_BYTES
  return { buffer: new SharedArrayBuffer(bytes + 5 * blocks), bytes }
}

/** The generation of the extent that begins at each block; bumped at every free. */
export function arenaGenerations(memory: ArenaMemory): Uint32Array {
  return new Uint32Array(memory.buffer, memory.bytes, memory.bytes / BLOCK_BYTES)
}

/** 1 + class of the allocated extent that begins at each block, or NOT_ALLOCATED. */
export function arenaExtents(memory: ArenaMemory): Uint8Array {
  const blocks = memory.bytes / BLOCK_BYTES
  return new Uint8Array(memory.buffer, memory.bytes + 4 * blocks, blocks)
}

export function arenaPayload(memory: ArenaMemory): Buffer {
  return Buffer.from(memory.buffer, 0, memory.bytes)
}

/** The smallest class whose extents hold `bytes` (at least 1). */
export function extentClass(bytes: number): number {
  return 32 - Math.clz32((bytes - 1) >> BLOCK_SHIFT)
}

export function extentClassBytes(extentClass: number): number {
  return BLOCK_BYTES << extentClass
}
