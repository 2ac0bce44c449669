import type { Arena } from '../ring/arena.ts'

/**
 * Shares the ingress arena among connections so that unfinished requests cannot block each other
 * for ever. Up to half of the arena anybody may take, and up to three quarters for the small piece
 * that a request begins with, so that small requests pass large ones that wait. Above it only one
 * receiver at a time, the holder, may: its request can always grow to its end, and then the next
 * one holds. Runs on main.
 *
 * Requests that are whole free their memory by themselves as the shards write them.
 */
/** What a request begins with. */
export const SMALL_BYTES = 16 * 1024

export class ReceiveMemory {
  readonly arena: Arena
  readonly #sharedBytes: number
  readonly #smallBytes: number
  #holder: object | null = null
  #heldSinceMs = 0
  readonly #nowMs: () => number
  readonly #onFreed = new Set<() => void>()

  constructor(arena: Arena, nowMs: () => number) {
    this.arena = arena
    this.#sharedBytes = arena.bytesTotal / 2
    this.#smallBytes = (arena.bytesTotal / 4) * 3
    this.#nowMs = nowMs
  }

  /** Who may exceed the shared half, null when nobody does. */
  get holder(): object | null {
    return this.#holder
  }

  /** Since when the same receiver holds, monotonic; Infinity when nobody does. */
  get heldSinceMs(): number {
    return this.#holder === null ? Infinity : this.#heldSinceMs
  }

  /** An extent for `owner`, or −1: try again when something has been freed. */
  allocate(owner: object, bytes: number): number {
    const limit = bytes <= SMALL_BYTES ? this.#smallBytes : this.#sharedBytes
    if (owner !== this.#holder && this.arena.bytesInUse + bytes > limit) {
      if (this.#holder !== null) return -1
      this.#holder = owner
      this.#heldSinceMs = this.#nowMs()
    }
    return this.arena.allocate(bytes)
  }

  /** An extent that nobody has to wait for, or −1: within the shared half only. */
  allocateSpare(bytes: number): number {
    if (this.arena.bytesInUse + bytes > this.#sharedBytes) return -1
    return this.arena.allocate(bytes)
  }

  /** `owner` has finished or given up its request. */
  done(owner: object): void {
    if (this.#holder === owner) this.#holder = null
  }

  /**
   * `callback` runs when memory may have come back, for whoever waits for some. Returns how to take
   * it back.
   */
  onFreed(callback: () => void): () => void {
    this.#onFreed.add(callback)
    return () => this.#onFreed.delete(callback)
  }

  /** Memory came back from somebody, whichever door he uses. */
  freed(): void {
    for (const callback of this.#onFreed) callback()
  }
}
