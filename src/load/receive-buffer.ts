/**
 * Bytes of a socket until a whole frame of them is there, contiguous. What arrives whole is handed
 * on without a copy; a frame that arrives in pieces is gathered in memory that is used again.
 */

/**
 * Takes whole frames of bytes[start, end) and returns how many bytes it took. The bytes are valid
 * until it returns.
 */
export type TakeFrames = (bytes: Buffer, start: number, end: number) => number

const INITIAL_BYTES = 16 * 1024

export class ReceiveBuffer {
  readonly #take: TakeFrames
  #held: Buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES)
  #start = 0
  #end = 0

  constructor(take: TakeFrames) {
    this.#take = take
  }

  /** The first `length` bytes of `chunk` have arrived; they may change afterwards. */
  push(chunk: Buffer, length: number): void {
    if (this.#start === this.#end) {
      const taken = this.#take(chunk, 0, length)
      this.#start = 0
      this.#end = 0
      if (taken < length) this.#hold(chunk, taken, length)
      return
    }
    this.#hold(chunk, 0, length)
    this.#start += this.#take(this.#held, this.#start, this.#end)
  }

  #hold(chunk: Buffer, from: number, to: number): void {
    const count = to - from
    if (this.#end + count > this.#held.length) this.#makeRoom(count)
    chunk.copy(this.#held, this.#end, from, to)
    this.#end += count
  }

  #makeRoom(count: number): void {
    const held = this.#end - this.#start
    const needed = held + count
    const target =
      needed <= this.#held.length
        ? this.#held
        : Buffer.allocUnsafeSlow(Math.max(needed, this.#held.length * 2))
    this.#held.copy(target, 0, this.#start, this.#end)
    this.#held = target
    this.#start = 0
    this.#end = held
  }
}
