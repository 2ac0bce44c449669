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
 * there is: one event may inflate to 16 MiB, and any number of streams may wait.
 */
export async function* streamPages(
  { memory, signal, read }: PageSource,
  first: Page,
  eventsMax: number,
): AsyncGenerator<string> {
  let page: Page | null = first
  let { offset } = first
  let eventsLeft = eventsMax
  /** Taken for the page that is sent next. */
  let room = 0
  try {
    while (!signal.aborted) {
      if (page === null) {
        const next: Page | RestError = await read(offset, eventsLeft).catch(refusal)
        if (!(next instanceof RestError)) {
          page = next
        } else if (next.code === ErrorCode.THROTTLING_QUOTA_EXCEEDED) {
          await pause()
        } else {
          yield `${JSON.stringify(next.toBody())}\n`
          return
        }
        continue
      }
      const { length } = page
      if (length > room && !memory.tryTake(length - room)) {
        page = null
        memory.give(room)
        room = 0
        while (!memory.tryTake(length)) {
          await pause()
          if (signal.aborted) return
        }
        room = length
        continue
      }
      room = Math.max(room, length)
      const { events } = page
      offset = page.read.nextOffset
      eventsLeft -= events.length
      page = null
      yield `${events.join('\n')}\n`
      memory.give(room)
      room = 0
      if (eventsLeft <= 0) return
    }
  } finally {
    memory.give(room)
  }
}

function refusal(error: unknown): RestError {
  if (error instanceof RestError) return error
  throw error
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, NO_MEMORY_MS))
}
