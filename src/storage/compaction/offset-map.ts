/**
 * The latest offset of each key, in bounded memory: 24 bytes an entry (the key's hash and the
 * offset), open addressing with linear probing. Kafka's cleaner has the same (SkimpyOffsetMap). It
 * grows by doubling up to its limit, so that a small log does not cost the whole buffer.
 */
import { assert } from '../../base/assert.ts'
import { HASH_WORDS, hashKey } from './key-hash.ts'

export const ENTRY_BYTES = HASH_WORDS * 4 + 8
const FIRST_SLOTS = 1024

export class OffsetMap {
  readonly #slotsMax: number
  readonly #loadFactor: number
  readonly #secret: Int32Array
  readonly #hash = new Int32Array(HASH_WORDS)
  #slots: number
  #hashes: Int32Array
  /** Offset + 1; 0 = the slot is empty. */
  #offsets: Float64Array
  #count = 0

  /** `loadFactor`: the share of slots that may be taken, below 1. */
  constructor(bytesMax: number, loadFactor: number, secret: Int32Array) {
    assert(loadFactor > 0 && loadFactor < 1)
    this.#slotsMax = Math.max(2, Math.floor(bytesMax / ENTRY_BYTES))
    this.#loadFactor = loadFactor
    this.#secret = secret
    this.#slots = Math.min(FIRST_SLOTS, this.#slotsMax)
    this.#hashes = new Int32Array(this.#slots * HASH_WORDS)
    this.#offsets = new Float64Array(this.#slots)
  }

  /** Distinct keys. */
  get count(): number {
    return this.#count
  }

  get bytes(): number {
    return this.#slots * ENTRY_BYTES
  }

  /**
   * Notes that the key bytes[start, end) has a record at `offset`; the largest offset stays. False
   * when there is no room for another key.
   */
  put(bytes: Uint8Array, start: number, end: number, offset: number): boolean {
    let slot = this.#find(bytes, start, end)
    if (this.#offsets[slot] !== 0) {
      if ((this.#offsets[slot] as number) < offset + 1) this.#offsets[slot] = offset + 1
      return true
    }
    if (this.#count + 1 > Math.max(1, Math.floor(this.#slots * this.#loadFactor))) {
      if (this.#slots === this.#slotsMax) return false
      this.#grow()
      slot = this.#find(bytes, start, end)
    }
    this.#hashes.set(this.#hash, slot * HASH_WORDS)
    this.#offsets[slot] = offset + 1
    this.#count++
    return true
  }

  /** The largest offset of the key; −1 when it has none here. */
  get(bytes: Uint8Array, start: number, end: number): number {
    return (this.#offsets[this.#find(bytes, start, end)] as number) - 1
  }

  /** The slot of the key, or the empty one where it would go. */
  #find(bytes: Uint8Array, start: number, end: number): number {
    hashKey(this.#secret, bytes, { start, end }, this.#hash)
    return this.#probe(this.#hash, 0)
  }

  #probe(hashes: Int32Array, at: number): number {
    const first = hashes[at] as number
    let slot = (first >>> 0) % this.#slots
    for (;;) {
      if (this.#offsets[slot] === 0) return slot
      const there = slot * HASH_WORDS
      if (
        this.#hashes[there] === first &&
        this.#hashes[there + 1] === hashes[at + 1] &&
        this.#hashes[there + 2] === hashes[at + 2] &&
        this.#hashes[there + 3] === hashes[at + 3]
      ) {
        return slot
      }
      slot = slot + 1 === this.#slots ? 0 : slot + 1
    }
  }

  #grow(): void {
    const hashes = this.#hashes
    const offsets = this.#offsets
    this.#slots = Math.min(this.#slots * 2, this.#slotsMax)
    this.#hashes = new Int32Array(this.#slots * HASH_WORDS)
    this.#offsets = new Float64Array(this.#slots)
    for (let old = 0; old < offsets.length; old++) {
      if (offsets[old] === 0) continue
      const slot = this.#probe(hashes, old * HASH_WORDS)
      const words = hashes.subarray(old * HASH_WORDS, (old + 1) * HASH_WORDS)
      this.#hashes.set(words, slot * HASH_WORDS)
      this.#offsets[slot] = offsets[old] as number
    }
  }
}
