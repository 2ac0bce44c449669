/**
 * Keeps the page cache of a growing log bounded: written bytes are started towards the disk early,
 * in steps, and dropped from the cache once they leave the window that readers of the tail use.
 * Hints only; nothing here affects what is durable.
 */
import type { Files } from './files.ts'
import { NO_FILE, type Segment } from './segment.ts'

/**
 * A disk that is behind is not waited for until so many steps of a log have not been started: the
 * page cache takes a burst. One that stays too slow makes its producers wait, a step at a time.
 */
export const STEPS_BEHIND_MAX = 256

/**
 * Steps that are dropped together: each time the kernel empties every core's list of new pages.
 */
export const STEPS_PER_DROP = 32

/**
 * Steps at the end of a log that are not started. The kernel locks the pages that it hands to the
 * disk, and those around them: a write that comes meanwhile to the last of them waits for
 * milliseconds.
 */
export const TAIL_STEPS = 2

/** What is due is started so many steps at a time at most. */
export const STEPS_PER_START = 4

/** So many small segments may lie in the window; the oldest goes before its time. */
const PREVIOUS_MAX = 64

interface PreviousSegment {
  readonly segment: Segment
  droppedTo: number
}

export class PageCacheWindow {
  readonly #files: Files
  #segment: Segment | null = null
  /** Segments before it of which part lies in the window, oldest first. */
  #previous: PreviousSegment[] = []
  #startedTo = 0
  #droppedTo = 0

  constructor(files: Files) {
    this.#files = files
  }

  /** Call after bytes were written to the end of `segment`. */
  advance(segment: Segment, stepBytes: number, windowBytes: number): void {
    if (segment !== this.#segment) this.#move(segment)
    // One write may roll so many segments that the first of them are closed again.
    if (segment.file === NO_FILE || !this.#start(segment, stepBytes)) return
    this.#dropPrevious(this.#startedTo, windowBytes)
    const dropTo = this.#startedTo - windowBytes
    if (dropTo - this.#droppedTo < STEPS_PER_DROP * stepBytes) return
    this.#files.dropCached(segment.file, this.#droppedTo, dropTo - this.#droppedTo)
    this.#droppedTo = dropTo
  }

  /** Bytes that were written and not dropped: what this log leaves in the page cache. */
  get keptBytes(): number {
    let previous = 0
    for (const { segment, droppedTo } of this.#previous) previous += segment.bytes - droppedTo
    return previous + (this.#segment === null ? 0 : this.#segment.bytes - this.#droppedTo)
  }

  /** Of those, bytes of the last segment that the disk has not been told to write. */
  get unstartedBytes(): number {
    return this.#segment === null ? 0 : this.#segment.bytes - this.#startedTo
  }

  /**
   * A few steps at a time, also when more is due: behind what the device has queued waits the file
   * system's journal, and behind that wait writes. False when nothing was started.
   */
  #start(segment: Segment, stepBytes: number): boolean {
    const startedBefore = this.#startedTo
    for (;;) {
      const pending = segment.bytes - this.#startedTo
      const steps = Math.floor(pending / stepBytes) - TAIL_STEPS
      if (steps < 1) break
      const mayWait = pending >= STEPS_BEHIND_MAX * stepBytes
      const bytes = Math.min(steps, STEPS_PER_START) * stepBytes
      if (!this.#files.startWriteback(segment.file, this.#startedTo, bytes, mayWait)) break
      this.#startedTo += bytes
    }
    return this.#startedTo > startedBefore
  }

  reset(): void {
    this.#segment = null
    this.#previous = []
  }

  #move(segment: Segment): void {
    const before = this.#segment
    if (before !== null && before.file !== NO_FILE && before.bytes > this.#startedTo) {
      // Refused, it is left to the kernel and to the flush that a rolled segment gets.
      const rest = before.bytes - this.#startedTo
      this.#files.startWriteback(before.file, this.#startedTo, rest, false)
    }
    if (before !== null) this.#previous.push({ segment: before, droppedTo: this.#droppedTo })
    if (this.#previous.length > PREVIOUS_MAX) this.#drop(this.#previous.shift(), Infinity)
    this.#segment = segment
    this.#startedTo = 0
    this.#droppedTo = 0
    // A log that was opened: what lies far behind was not written by this process.
    if (before === null) this.#startedTo = this.#droppedTo = segment.bytes
  }

  /** `bytes` of the newest segment have been started. */
  #dropPrevious(bytes: number, windowBytes: number): void {
    let after = bytes
    for (let i = this.#previous.length - 1; i >= 0; i--) {
      const each = this.#previous[i] as PreviousSegment
      this.#drop(each, each.segment.bytes + after - windowBytes)
      after += each.segment.bytes
    }
    this.#previous = this.#previous.filter(
      ({ segment, droppedTo }) => segment.file !== NO_FILE && droppedTo < segment.bytes,
    )
  }

  /** A file that was closed is left to the kernel. */
  #drop(previous: PreviousSegment | undefined, to: number): void {
    if (previous === undefined || previous.segment.file === NO_FILE) return
    const { segment, droppedTo } = previous
    const dropTo = Math.min(segment.bytes, to)
    if (dropTo <= droppedTo) return
    this.#files.dropCached(segment.file, droppedTo, dropTo - droppedTo)
    previous.droppedTo = dropTo
  }
}
