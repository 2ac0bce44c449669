import { createHash } from 'node:crypto'
import type { Counter } from './progress.ts'

/**
 * What the demo knows about its topic: line n is the event of offset ⌊n / partitions⌋ in partition
 * n modulo partitions. From that a reader's events are put together again to the stream that was
 * sent, whatever the order of the partitions between each other.
 */
export class DemoTopic {
  readonly #partitions: number

  constructor(partitions: number) {
    this.#partitions = partitions
  }

  reassembly(name: string): Reassembly {
    return new Reassembly(name, this.#partitions)
  }
}

export class Reassembly {
  readonly name: string
  readonly counter: Counter = { records: 0, bytes: 0 }
  /** The first thing that was wrong. */
  problem: string | null = null
  readonly #done = new AbortController()
  readonly #hash = createHash('sha256')
  readonly #partitions: number
  /** By partition: values that have come and whose turn has not, from `taken` on. */
  readonly #waiting: Uint8Array[][]
  /** By partition: offset of the next event that must come. */
  readonly #next: number[]
  /** Line whose turn it is. */
  #line = 0
  #expected = Infinity

  constructor(name: string, partitions: number) {
    this.name = name
    this.#partitions = partitions
    this.#waiting = Array.from({ length: partitions }, () => [])
    this.#next = new Array<number>(partitions).fill(0)
  }

  /** Aborts when everything has come, or when something was wrong. */
  get done(): AbortSignal {
    return this.#done.signal
  }

  /** So many lines were sent. */
  expect(lines: number): void {
    this.#expected = lines
    if (this.#line >= lines) this.#done.abort()
  }

  /** An event, in the order of its partition. Its value is copied if it has to wait. */
  take(partition: number, offset: number, value: Uint8Array | null): void {
    const next = this.#next[partition] as number
    if (offset !== next || value === null) {
      this.problem ??= `partition ${partition} gave offset ${offset} instead of ${next}`
      this.#done.abort()
      return
    }
    this.#next[partition] = next + 1
    this.counter.records++
    this.counter.bytes += value.length + 1
    if (partition === this.#line % this.#partitions && this.#waiting[partition]?.length === 0) {
      this.#emit(value)
    } else {
      this.#waiting[partition]?.push(Uint8Array.from(value))
    }
    this.#drain()
    if (this.#line >= this.#expected) this.#done.abort()
  }

  digest(): string {
    return this.#hash.copy().digest('hex')
  }

  #drain(): void {
    for (;;) {
      const queue = this.#waiting[this.#line % this.#partitions] as Uint8Array[]
      const value = queue.shift()
      if (value === undefined) return
      this.#emit(value)
    }
  }

  #emit(value: Uint8Array): void {
    this.#hash.update(value).update('\n')
    this.#line++
  }
}
