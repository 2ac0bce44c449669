/**
 * Integers by row, in pages: a table of millions grows by a page, and not by a copy of all of it,
 * which would stop main for as long as an election waits.
 */
const PAGE_BITS = 12
export const PAGE_ROWS = 1 << PAGE_BITS
const PAGE_MASK = PAGE_ROWS - 1

export class IntColumn {
  readonly #pages: (Int32Array | undefined)[] = []

  /** 0 for a row that was never set. */
  get(row: number): number {
    const page = this.#pages[row >>> PAGE_BITS]
    return page === undefined ? 0 : (page[row & PAGE_MASK] as number)
  }

  set(row: number, value: number): void {
    const page = this.#pages[row >>> PAGE_BITS] ?? this.#addPage(row >>> PAGE_BITS)
    page[row & PAGE_MASK] = value
  }

  /** Of the rows from `row` on, which is the first of a page; undefined: none of them is set. */
  pageAt(row: number): Int32Array | undefined {
    return this.#pages[row >>> PAGE_BITS]
  }

  add(row: number, value: number): void {
    this.set(row, this.get(row) + value)
  }

  #addPage(index: number): Int32Array {
    // A list without holes: V8 keeps one with holes as a table that is slow to look into.
    while (this.#pages.length < index) this.#pages.push(undefined)
    const page = new Int32Array(PAGE_ROWS)
    this.#pages[index] = page
    return page
  }
}
