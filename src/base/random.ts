/**
 * A seeded generator (sfc32) for tests, simulation and jitter. Not for secrets.
 */
export class Random {
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(seed: number) {
    this.#a = 0x9e3779b9
    this.#b = seed | 0
    this.#c = (seed / 0x1_0000_0000) | 0
    for (let i = 0; i < 15; i++) this.u32()
  }

  /** A uniform integer in [0, 2^32). */
  u32(): number {
    const t = (((this.#a + this.#b) | 0) + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (this.#c << 21) | (this.#c >>> 11)
    this.#c = (this.#c + t) | 0
    return t >>> 0
  }

  /** A uniform integer in [0, exclusiveMax). */
  below(exclusiveMax: number): number {
    return Math.floor(this.fraction() * exclusiveMax)
  }

  /** A uniform integer in [min, max], both inclusive. */
  between(min: number, max: number): number {
    return min + this.below(max - min + 1)
  }

  /** A uniform number in [0, 1). */
  fraction(): number {
    return this.u32() / 0x1_0000_0000
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.fraction() < probability
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T
  }

  bytes(count: number): Uint8Array {
    const out = new Uint8Array(count)
    for (let i = 0; i < count; i++) out[i] = this.u32()
    return out
  }

  /** An independent generator, so that a draw added in one component shifts no other. */
  split(): Random {
    return new Random(this.u32() + this.u32() * 0x1_0000_0000)
  }
}
