import { assert } from '../base/assert.ts'

/**
 * What waits for a shard's answer, by a u32 token that the answer brings back. Runs on main.
 *
 *   token: 31 … 24 generation of the slot │ 23 … 0 slot
 *
 * A client chooses how much waits: a Fetch may name a million partitions, and each subscription at
 * its log's end waits for more. Few generations are enough, since answers come in order: a slot's
 * next value is not answered before what was still on its way about the last one.
 *
 * Not a Map: one whose keys only ever rise is rebuilt every hundred or so entries, and V8 links
 * each discarded table to its successor. Once one of them is old, all that the later ones still
 * point to outlives its request, and the collector copies a fifth of everything twice.
 */
const SLOT_BITS = 24
const SLOTS_MAX = 1 << SLOT_BITS
const GENERATIONS = 1 << (32 - SLOT_BITS)

export class TokenTable<T extends object> {
  readonly #values: (T | null)[] = []
  readonly #generations: number[] = []
  readonly #free: number[] = []

  /** How many wait. */
  get size(): number {
    return this.#values.length - this.#free.length
  }

  /** Keeps `value` and names it by a token that no other value has while it waits. */
  add(value: T): number {
    let slot = this.#free.pop()
    if (slot === undefined) {
      slot = this.#values.length
      assert(slot < SLOTS_MAX, 'too much waits for a shard')
      this.#values.push(null)
      this.#generations.push(0)
    }
    this.#values[slot] = value
    return (((this.#generations[slot] as number) << SLOT_BITS) | slot) >>> 0
  }

  /** Undefined when the token is spent or was never given. */
  get(token: number): T | undefined {
    const slot = token & (SLOTS_MAX - 1)
    if (this.#generations[slot] !== token >>> SLOT_BITS) return undefined
    return this.#values[slot] ?? undefined
  }

  /** As `get`, and the token is spent. */
  take(token: number): T | undefined {
    const value = this.get(token)
    if (value === undefined) return undefined
    const slot = token & (SLOTS_MAX - 1)
    this.#values[slot] = null
    this.#generations[slot] = ((this.#generations[slot] as number) + 1) % GENERATIONS
    this.#free.push(slot)
    return value
  }
}
