/** A queue whose both ends cost the same however long it is. */
export class Fifo<T> {
  #items: (T | undefined)[] = []
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  push(item: T): void {
    this.#items.push(item)
  }

  /** The oldest, which stays; undefined when there is none. */
  peek(): T | undefined {
    return this.#items[this.#head]
  }

  /** Takes the oldest; undefined when there is none. */
  shift(): T | undefined {
    if (this.#head === this.#items.length) return undefined
    const item = this.#items[this.#head]
    this.#items[this.#head++] = undefined
    // Each item is moved once at most, on average.
    if (this.#head > 16 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }

  /** Takes out what `keep` refuses, in order. */
  filter(keep: (item: T) => boolean): void {
    const left = this.#items.slice(this.#head) as T[]
    this.#items = left.filter(keep)
    this.#head = 0
  }

  *[Symbol.iterator](): Generator<T, void, void> {
    for (let i = this.#head; i < this.#items.length; i++) yield this.#items[i] as T
  }
}
