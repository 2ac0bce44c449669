/**
 * Files of deleted segments: renamed, part of no log any more, on disk until `file.delete.delay.ms`
 * has passed. One list serves every log of a thread and outlives each of them, so that a log may be
 * closed meanwhile. What a process leaves behind is put on the list again, or removed, when its log
 * is opened. Bounded by what is on disk.
 */
import type { Clock } from '../base/clock.ts'
import type { Files } from './files.ts'

interface DeletedFile {
  readonly path: string
  /** Monotonic. */
  readonly dueMs: number
}

export class DeletedFiles {
  readonly #files: Files
  readonly #clock: Clock
  /** Ascending by `dueMs`. */
  readonly #waiting: DeletedFile[] = []
  readonly #paths = new Set<string>()

  constructor(files: Files, clock: Clock) {
    this.#files = files
    this.#clock = clock
  }

  get count(): number {
    return this.#waiting.length
  }

  /** When the next file is due, monotonic; Infinity when none waits. */
  get nextDueMs(): number {
    return this.#waiting[0]?.dueMs ?? Infinity
  }

  isDue(nowMs: number): boolean {
    return this.count > 0 && this.nextDueMs <= nowMs
  }

  /** A file that waits already keeps its time. */
  add(path: string, delayMs: number): void {
    if (this.#paths.has(path)) return
    this.#paths.add(path)
    const dueMs = this.#clock.monotonicMs() + delayMs
    // Nearly always the last: delays differ by topic only.
    let at = this.#waiting.length
    while (at > 0 && (this.#waiting[at - 1] as DeletedFile).dueMs > dueMs) at--
    this.#waiting.splice(at, 0, { path, dueMs })
  }

  /**
   * Removes files that are due at `nowMs` (Infinity: all), oldest first, at most `limit`: a large
   * file takes its time. Returns how many. Throws BrokerError; the file is then left to whoever
   * opens its log next.
   */
  removeDue(nowMs: number, limit = Infinity): number {
    let count = 0
    for (let file = this.#waiting[0]; file !== undefined; file = this.#waiting[0]) {
      if (count === limit || file.dueMs > nowMs) break
      this.#waiting.shift()
      this.#paths.delete(file.path)
      this.#files.remove(file.path)
      count++
    }
    return count
  }
}
