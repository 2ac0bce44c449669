/**
 * What clients did and saw, as lines of JSON. Every client process writes a file of its own, one
 * append a batch, so that a process that is killed leaves whole lines and perhaps one that is torn.
 *
 * An event is known by its producer and its sequence, which is also its value: `PRODUCER/SEQUENCE`.
 * A producer numbers its events from 0 on, over all partitions; one that is made anew after an
 * error has a new name.
 */
import { appendFileSync, closeSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'

/** Milliseconds since the Unix epoch; all clients run on one machine. */
type Instant = number

/** About to be sent: `count` events from sequence `first` on. */
export interface Invoked {
  readonly type: 'invoke'
  readonly at: Instant
  readonly producer: string
  readonly partition: string
  readonly first: number
  readonly count: number
}

/** Acknowledged: [sequence, offset] of each; the offset is −1 where the client does not say. */
export interface Acknowledged {
  readonly type: 'ok'
  readonly at: Instant
  readonly producer: string
  readonly partition: string
  readonly events: readonly (readonly [sequence: number, offset: number])[]
}

/** Ended in an error. `fail`: was not written, for sure. `unknown`: may be there, once. */
export interface Unacknowledged {
  readonly type: 'fail' | 'unknown'
  readonly at: Instant
  readonly producer: string
  readonly partition: string
  readonly sequences: readonly number[]
  readonly error: string
}

/**
 * Read, in this order. One `reader` is one position in the partition: whoever starts again from
 * an older one says so with a new name.
 */
export interface Read {
  readonly type: 'read'
  readonly at: Instant
  readonly reader: string
  readonly partition: string
  readonly events: readonly SeenEvent[]
}

/** The partition as it is when everything has healed, batch by batch from offset 0 on. */
export interface Final {
  readonly type: 'final'
  readonly partition: string
  /** `ID:EPOCH` of the producer as brokers know it: no sequence of it comes twice. */
  readonly sender: string
  readonly events: readonly SeenEvent[]
}

export type SeenEvent = readonly [offset: number, producer: string, sequence: number]

export type HistoryLine = Invoked | Acknowledged | Unacknowledged | Read | Final

export const HISTORY_SUFFIX = '.history.ndjson'
const CHUNK_BYTES = 1024 * 1024

export function partitionName(topic: string, partition: number): string {
  return `${topic}-${partition}`
}

/** One file of a history. Synchronous: a line is in the system before its client goes on. */
export class HistoryFile {
  readonly #path: string

  constructor(directory: string, name: string) {
    this.#path = join(directory, `${name}${HISTORY_SUFFIX}`)
  }

  append(...lines: readonly HistoryLine[]): void {
    appendFileSync(this.#path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  }
}

/** Every line of every file of a directory. A torn line at the end of a file is left out. */
export function* readHistory(directory: string): Generator<HistoryLine> {
  const names = readdirSync(directory).filter((name) => name.endsWith(HISTORY_SUFFIX))
  for (const name of names.sort()) yield* readHistoryFile(join(directory, name))
}

function* readHistoryFile(path: string): Generator<HistoryLine> {
  const file = openSync(path, 'r')
  const chunk = Buffer.alloc(CHUNK_BYTES)
  let rest = ''
  try {
    for (;;) {
      // Histories are ASCII: no character is cut by a chunk's end.
      const bytes = readSync(file, chunk)
      if (bytes === 0) return
      const lines = `${rest}${chunk.toString('latin1', 0, bytes)}`.split('\n')
      rest = lines.pop() as string
      for (const line of lines) yield JSON.parse(line) as HistoryLine
    }
  } finally {
    closeSync(file)
  }
}
