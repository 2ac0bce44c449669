/**
 * Which blocks of an arena are free: a binary buddy allocator over block numbers, kept in typed
 * arrays of the allocating thread. It knows nothing of bytes, generations or other threads.
 *
 * Free runs of each class stand in a doubly linked list, so that merging takes a buddy out in O(1).
 * In front of the lists stands a small stack of freed runs per class that are not merged: a steady
 * load of equal sizes allocates and frees in O(1) and reuses the warmest memory. The stacks are
 * bounded, overflow merges at once, and all of them are merged before an allocation fails.
 *
 * Links are block + 1 with 0 for none, so that fresh tables are zero and cost no memory until used.
 */
import { assert } from '../base/assert.ts'
import { BLOCK_BYTES } from './arena-layout.ts'

/** States of a block in the table: the head of a free run carries its class too. */
const IS_LISTED = 0x40
const IS_STACKED = 0x80
const CLASS_MASK = 0x3f

/** Bounds of a stack: whichever comes first. Runs beyond the bytes are never stacked. */
const STACK_RUNS_MAX = 64
const STACK_BLOCKS_MAX = (2 << 20) / BLOCK_BYTES

export class ArenaBlocks {
  /** The class of the longest run that can ever be taken. */
  readonly classMax: number

  readonly #blocks: number
  /** State of the head of each free run; 0 within a run and for taken blocks. */
  readonly #states: Uint8Array
  readonly #next: Uint32Array
  readonly #previous: Uint32Array
  readonly #listHeads: Uint32Array
  /** Bit c is set while the list of class c is not empty. */
  #listed = 0
  readonly #stackHeads: Uint32Array
  readonly #stackCounts: Uint32Array
  #stacked = 0

  constructor(blocks: number) {
    this.#blocks = blocks
    this.classMax = 31 - Math.clz32(blocks)
    this.#states = new Uint8Array(blocks)
    this.#next = new Uint32Array(blocks)
    this.#previous = new Uint32Array(blocks)
    this.#listHeads = new Uint32Array(this.classMax + 1)
    this.#stackHeads = new Uint32Array(this.classMax + 1)
    this.#stackCounts = new Uint32Array(this.classMax + 1)
    // Largest first from block 0: then each run begins at a multiple of its size.
    let block = 0
    for (let runClass = this.classMax; runClass >= 0; runClass--) {
      if ((blocks & (1 << runClass)) === 0) continue
      this.#list(block, runClass)
      block += 1 << runClass
    }
  }

  /**
   * Takes a run of 2^runClass blocks, its first block a multiple of that; −1 when there is none.
   */
  take(runClass: number): number {
    if (runClass > this.classMax) return -1
    const link = this.#stackHeads[runClass] as number
    if (link !== 0) return this.#unstack(link - 1, runClass)
    const block = this.#takeListed(runClass)
    if (block >= 0 || this.#stacked === 0) return block
    this.#mergeStacks()
    return this.#takeListed(runClass)
  }

  /** Gives back a run that `take` returned, or a part of one cut by halving. */
  give(block: number, runClass: number): void {
    const count = this.#stackCounts[runClass] as number
    if (count >= STACK_RUNS_MAX || (count + 1) << runClass > STACK_BLOCKS_MAX) {
      this.#merge(block, runClass)
      return
    }
    this.#states[block] = IS_STACKED | runClass
    this.#next[block] = this.#stackHeads[runClass] as number
    this.#stackHeads[runClass] = block + 1
    this.#stackCounts[runClass] = count + 1
    this.#stacked++
  }

  #unstack(block: number, runClass: number): number {
    assert(this.#states[block] === (IS_STACKED | runClass), 'arena stack')
    this.#stackHeads[runClass] = this.#next[block] as number
    this.#stackCounts[runClass] = (this.#stackCounts[runClass] as number) - 1
    this.#stacked--
    this.#states[block] = 0
    return block
  }

  #mergeStacks(): void {
    for (let runClass = 0; runClass <= this.classMax; runClass++) {
      for (;;) {
        const link = this.#stackHeads[runClass] as number
        if (link === 0) break
        this.#merge(this.#unstack(link - 1, runClass), runClass)
      }
    }
    assert(this.#stacked === 0, 'arena stacks')
  }

  /** Takes from the smallest class that has a run, and lists the upper halves that are cut off. */
  #takeListed(runClass: number): number {
    const candidates = this.#listed & (-1 << runClass)
    if (candidates === 0) return -1
    let found = 31 - Math.clz32(candidates & -candidates)
    const block = (this.#listHeads[found] as number) - 1
    this.#unlist(block, found)
    while (found > runClass) {
      found--
      this.#list(block + (1 << found), found)
    }
    return block
  }

  /** Lists a run, first joined with its buddy for as long as that is free as a whole. */
  #merge(run: number, runClass: number): void {
    let block = run
    let merged = runClass
    while (merged < this.classMax) {
      const buddy = block ^ (1 << merged)
      // Beyond the end the table reads undefined, which is no state either.
      if (this.#states[buddy] !== (IS_LISTED | merged)) break
      this.#unlist(buddy, merged)
      block = Math.min(block, buddy)
      merged++
    }
    this.#list(block, merged)
  }

  #list(block: number, runClass: number): void {
    assert(block + (1 << runClass) <= this.#blocks, 'arena run')
    const first = this.#listHeads[runClass] as number
    this.#states[block] = IS_LISTED | runClass
    this.#next[block] = first
    this.#previous[block] = 0
    if (first !== 0) this.#previous[first - 1] = block + 1
    this.#listHeads[runClass] = block + 1
    this.#listed |= 1 << runClass
  }

  #unlist(block: number, runClass: number): void {
    assert(((this.#states[block] as number) & CLASS_MASK) === runClass, 'arena list')
    const next = this.#next[block] as number
    const previous = this.#previous[block] as number
    this.#states[block] = 0
    if (next !== 0) this.#previous[next - 1] = previous
    if (previous !== 0) {
      this.#next[previous - 1] = next
    } else {
      this.#listHeads[runClass] = next
      if (next === 0) this.#listed &= ~(1 << runClass)
    }
  }
}
