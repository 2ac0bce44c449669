import type { ByteBudget } from '../../base/byte-budget.ts'
import type { EventsRead } from '../../broker/read-events.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import { RestError } from './rest-error.ts'

/** An answer that follows a partition, page by page. Runs on main. */
export interface Page {
  /** Where it was read from. */
  readonly offset: number
  readonly events: readonly string[]
  /** Of the events' texts, in characters. */
  readonly length: number
  readonly read: EventsRead
}

export interface PageSource {
  /** For pages that are on their way. */
  readonly memory: ByteBudget
  /** Nobody reads the answer any more. */
  readonly signal: AbortSignal
  /** Waits a while for events; rejects with RestError. */
  readonly read: (offset: number, eventsLeft: number) => Promise<Page>
}

/** Before a stream looks again for memory. */
const NO_MEMORY_MS = 200

/**
 * Each event on a line, an empty line for a page without any. No page is read before the one in
 * front of it has been taken. A page for which there is no memory is dropped, and read again once
 * there is: one event may inflate to 16 MiB, and any number of streams may wait. No generator,
 * whose frame would keep what its variables have held.
 */
export class EventStream implements AsyncIterableIterator<string> {
  readonly #source: PageSource
  #page: Page | null
  #offset: number
  #eventsLeft: number
  /** Taken for the page that is sent next, or is being sent. */
  #room = 0
  #isOver = false

  constructor(source: PageSource, first: Page, eventsMax: number) {
    this.#source = source
    this.#page = first
    this.#offset = first.offset
    this.#eventsLeft = eventsMax
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<string>> {
    this.#giveRoom() // The piece before has been taken.
    const { signal } = this.#source
    while (!this.#isOver && !signal.aborted && this.#eventsLeft > 0) {
      if (this.#page === null) {
        const refusal = await this.#read()
        if (refusal === null) continue
        this.#isOver = true
        return { done: false, value: `${JSON.stringify(refusal.toBody())}\n` }
      }
      const value = this.#takeText()
      if (value !== null) return { done: false, value }
      await this.#waitForRoom()
    }
    return this.return()
  }

  return(): Promise<IteratorResult<string>> {
    this.#isOver = true
    this.#page = null
    this.#giveRoom()
    return Promise.resolve({ done: true, value: undefined })
  }

  /** Why the stream ends; null when it goes on. */
  async #read(): Promise<RestError | null> {
    try {
      this.#page = await this.#source.read(this.#offset, this.#eventsLeft)
    } catch (error) {
      if (!(error instanceof RestError)) throw error
      if (error.code !== ErrorCode.THROTTLING_QUOTA_EXCEEDED) return error
      await pause()
    }
    return null
  }

  /** The page's text, its room taken; null where there is none for it. */
  #takeText(): string | null {
    const { events, length, read } = this.#page as Page
    if (length > this.#room) {
      if (!this.#source.memory.tryTake(length - this.#room)) return null
      this.#room = length
    }
    this.#page = null
    this.#offset = read.nextOffset
    this.#eventsLeft -= events.length
    return `${events.join('\n')}\n`
  }

  /** Drops the page, and takes room for it as soon as there is some. */
  async #waitForRoom(): Promise<void> {
    const length = this.#page?.length ?? 0
    this.#page = null
    this.#giveRoom()
    const { memory, signal } = this.#source
    while (!this.#isOver && !signal.aborted) {
      if (memory.tryTake(length)) {
        this.#room = length
        return
      }
      await pause()
    }
  }

  #giveRoom(): void {
    this.#source.memory.give(this.#room)
    this.#room = 0
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, NO_MEMORY_MS))
}
