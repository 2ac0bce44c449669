import { assert } from '../base/assert.ts'
import type { Arena } from '../ring/arena.ts'

/**
 * The extent that a request arrived in, counted: whoever still needs its bytes holds it, and the
 * last one gives it back to the arena. Runs on main, the arena's allocating thread.
 */
export class RequestFrame {
  readonly offset: number
  readonly length: number
  readonly generation: number
  readonly #arena: Arena
  #holders = 1

  constructor(arena: Arena, extent: { offset: number; length: number; generation: number }) {
    this.#arena = arena
    this.offset = extent.offset
    this.length = extent.length
    this.generation = extent.generation
  }

  get bytes(): Uint8Array {
    return this.#arena.bytes
  }

  hold(): void {
    assert(this.#holders > 0)
    this.#holders++
  }

  release(): void {
    assert(this.#holders > 0)
    this.#holders--
    if (this.#holders === 0) this.#arena.free(this.offset, this.generation)
  }
}
