/**
 * How much large answers may hold of main's heap, over all connections, from when they are made
 * until they have left: who asks for more waits his turn. In whatever unit the askers count. Runs
 * on main.
 */
export class AnswerRoom {
  readonly #max: number
  readonly #waiting: { readonly size: number; readonly enter: () => void }[] = []
  #used = 0

  constructor(max: number) {
    this.#max = max
  }

  /** Somebody waits: who holds room and does not read its answer keeps others from theirs. */
  get isShort(): boolean {
    return this.#waiting.length > 0
  }

  get used(): number {
    return this.#used
  }

  /** Null when there is room, and it is taken; else resolves once it is. One always fits alone. */
  enter(size: number): Promise<void> | null {
    if (this.#waiting.length === 0 && this.#fits(size)) {
      this.#used += size
      return null
    }
    return new Promise((resolve) => this.#waiting.push({ size, enter: resolve }))
  }

  leave(size: number): void {
    this.#used -= size
    for (;;) {
      const next = this.#waiting[0]
      if (next === undefined || !this.#fits(next.size)) return
      this.#waiting.shift()
      this.#used += next.size
      next.enter()
    }
  }

  #fits(size: number): boolean {
    return this.#used === 0 || this.#used + size <= this.#max
  }
}
