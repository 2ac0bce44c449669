/**
 * Bytes of batches that were handed to clients, by partition handle, whatever door they left by.
 * Counted where an answer is complete, because a waiting fetch reads the same bytes again and
 * again. Owned by main.
 */
export class SentBytes {
  #bytes = new Float64Array(1024)
  #total = 0

  add(handle: number, bytes: number): void {
    if (handle >= this.#bytes.length) this.#grow(handle)
    this.#bytes[handle]! += bytes
    this.#total += bytes
  }

  of(handle: number): number {
    return this.#bytes[handle] ?? 0
  }

  get total(): number {
    return this.#total
  }

  #grow(handle: number): void {
    const grown = new Float64Array(Math.max(2 * this.#bytes.length, handle + 1))
    grown.set(this.#bytes)
    this.#bytes = grown
  }
}
