/**
 * Payload bytes shared between threads. `Arena` belongs to the one thread that allocates and frees;
 * `ArenaView` is what any other thread holds. A message carries (offset, length, generation) of an
 * extent; the receiver checks it with its view, uses the bytes in place and returns the extent by
 * message. No object is made per extent. The memory layout stands in `arena-layout.ts`.
 */
import { assert } from '../base/assert.ts'
import { ArenaBlocks } from './arena-blocks.ts'
import {
  type ArenaMemory,
  arenaExtents,
  arenaGenerations,
  arenaPayload,
  BLOCK_BYTES,
  BLOCK_SHIFT,
  extentClass,
  extentClassBytes,
  NOT_ALLOCATED,
} from './arena-layout.ts'

export { type ArenaMemory, allocateArena } from './arena-layout.ts'

/** What a freed extent is filled with under the `poison` option. */
export const POISON = 0xdb

export interface ArenaOptions {
  /**
   * Fill freed extents with 0xDB, so that whoever still reads one notices. For tests and debugging.
   */
  readonly poison?: boolean
  /** How much may be in use at a time, counted in whole extents; the arena's size by default. */
  readonly bytesInUseMax?: number
}

export class Arena {
  /** The whole payload: a long-lived view, so that nobody makes one per message. */
  readonly bytes: Buffer
  readonly bytesTotal: number
  /** The longest extent, the greatest power of two times 512 that fits. */
  readonly extentBytesMax: number

  readonly #generations: Uint32Array
  readonly #extents: Uint8Array
  readonly #blocks: ArenaBlocks
  readonly #poison: boolean
  readonly #bytesInUseMax: number
  #bytesInUse = 0
  #bytesPeak = 0
  #extentsInUse = 0

  constructor(memory: ArenaMemory, options: ArenaOptions = {}) {
    this.bytes = arenaPayload(memory)
    this.bytesTotal = memory.bytes
    this.#generations = arenaGenerations(memory)
    this.#extents = arenaExtents(memory)
    this.#blocks = new ArenaBlocks(memory.bytes / BLOCK_BYTES)
    this.extentBytesMax = extentClassBytes(this.#blocks.classMax)
    this.#poison = options.poison ?? false
    this.#bytesInUseMax = options.bytesInUseMax ?? memory.bytes
    assert(this.#bytesInUseMax > 0 && this.#bytesInUseMax <= memory.bytes, 'arena budget')
  }

  /** Bytes of all allocated extents: whole extents, not what was asked for. */
  get bytesInUse(): number {
    return this.#bytesInUse
  }

  /** The highest `bytesInUse` so far. */
  get bytesPeak(): number {
    return this.#bytesPeak
  }

  get extentsInUse(): number {
    return this.#extentsInUse
  }

  /**
   * Allocates an extent of at least `bytes` (at least 1) and returns its offset in `bytes`, a
   * multiple of 512; −1 when budget or space are exhausted, always for more than `extentBytesMax`.
   * The extent holds whatever was there before.
   */
  allocate(bytes: number): number {
    assert(bytes > 0, 'arena allocation of nothing')
    if (bytes > this.extentBytesMax) return -1
    const wanted = extentClass(bytes)
    const extentBytes = extentClassBytes(wanted)
    if (this.#bytesInUse + extentBytes > this.#bytesInUseMax) return -1
    const block = this.#blocks.take(wanted)
    if (block < 0) return -1

    assert(this.#extents[block] === NOT_ALLOCATED, 'arena gave an extent out twice')
    this.#extents[block] = 1 + wanted
    this.#extentsInUse++
    this.#bytesInUse += extentBytes
    if (this.#bytesInUse > this.#bytesPeak) this.#bytesPeak = this.#bytesInUse
    return block << BLOCK_SHIFT
  }

  /** The size of an allocated extent. */
  capacityOf(offset: number): number {
    return extentClassBytes(this.#classOf(offset))
  }

  /** The generation of an allocated extent, a u32 that wraps: goes into every message about it. */
  generationOf(offset: number): number {
    this.#classOf(offset)
    return this.#generations[offset >>> BLOCK_SHIFT] as number
  }

  /** Frees an extent. A second free, or one with the generation of an earlier owner, is our bug. */
  free(offset: number, generation: number): void {
    const freed = this.#classOf(offset)
    const block = offset >>> BLOCK_SHIFT
    assert(this.#generations[block] === generation, 'arena extent freed with a wrong generation')
    // The tag dies before the bytes do: whoever has read poison finds the tag dead afterwards.
    Atomics.store(this.#generations, block, (generation + 1) >>> 0)
    this.#extents[block] = NOT_ALLOCATED
    const extentBytes = extentClassBytes(freed)
    if (this.#poison) this.bytes.fill(POISON, offset, offset + extentBytes)
    this.#extentsInUse--
    this.#bytesInUse -= extentBytes
    this.#blocks.give(block, freed)
  }

  /**
   * Gives back what an allocated extent has beyond its first `bytes` (at least 1), as far as whole
   * extents go. Offset and generation stay; messages already sent must not reach past the new
   * capacity.
   */
  trim(offset: number, bytes: number): void {
    assert(bytes > 0, 'arena trim to nothing')
    let kept = this.#classOf(offset)
    const block = offset >>> BLOCK_SHIFT
    const wanted = extentClass(bytes)
    while (kept > wanted) {
      kept--
      const half = extentClassBytes(kept)
      if (this.#poison) this.bytes.fill(POISON, offset + half, offset + 2 * half)
      this.#bytesInUse -= half
      this.#blocks.give(block + (1 << kept), kept)
    }
    this.#extents[block] = 1 + kept
  }

  #classOf(offset: number): number {
    assertOffset(offset, this.bytesTotal)
    const extent = this.#extents[offset >>> BLOCK_SHIFT] as number
    assert(extent !== NOT_ALLOCATED, 'no arena extent begins here')
    return extent - 1
  }
}

/** Another thread's sight of an arena: reads and writes within extents that it was sent. */
export class ArenaView {
  /** The whole payload, long-lived. */
  readonly bytes: Buffer

  readonly #generations: Uint32Array
  readonly #extents: Uint8Array

  constructor(memory: ArenaMemory) {
    this.bytes = arenaPayload(memory)
    this.#generations = arenaGenerations(memory)
    this.#extents = arenaExtents(memory)
  }

  /**
   * Asserts that an extent of that generation begins at `offset`, is allocated, and holds `length`
   * bytes. Cheap enough for every message: done on receipt it finds an extent freed while on its
   * way, done again after use one freed under the reader's hands.
   */
  check(offset: number, length: number, generation: number): void {
    assertOffset(offset, this.bytes.length)
    const block = offset >>> BLOCK_SHIFT
    const extent = this.#extents[block] as number
    assert(extent !== NOT_ALLOCATED, 'extent freed while in use')
    assert(Atomics.load(this.#generations, block) === generation, 'extent of another generation')
    assert(length >= 0 && length <= extentClassBytes(extent - 1), 'length exceeds the extent')
  }
}

function assertOffset(offset: number, bytesTotal: number): void {
  assert(offset >= 0 && offset < bytesTotal && offset % BLOCK_BYTES === 0, 'arena offset')
}
