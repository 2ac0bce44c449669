/**
 * Runs of batches that are placed in a segment and wait to be written. Runs that follow each other
 * in one segment and lie in one memory become one gathering write; neighbours in that memory become
 * one range. The memory belongs to whoever staged it and must not change until it is written.
 */
import { assert } from '../base/assert.ts'
import type { FileId, Files } from './files.ts'
import type { Segment } from './segment.ts'

/** Ranges per system call; IOV_MAX is 1024 on Linux. */
const RANGES_PER_WRITE = 1024

/** What one call gets: a window of `#ranges`, its first pair shortened by a short write. */
const WINDOW = new Uint32Array(RANGES_PER_WRITE * 2)

interface Group {
  segment: Segment
  bytes: Uint8Array
  /** Index of the first pair in `#ranges`, and one past the last. */
  from: number
  to: number
}

export class StagedWrites {
  readonly #groups: Group[] = []
  #ranges = new Uint32Array(16)
  #count = 0

  get isEmpty(): boolean {
    return this.#count === 0
  }

  add(segment: Segment, bytes: Uint8Array, offset: number, length: number): void {
    let group = this.#groups.at(-1)
    if (group === undefined || group.segment !== segment || group.bytes !== bytes) {
      group = { segment, bytes, from: this.#count, to: this.#count }
      this.#groups.push(group)
    }
    const last = this.#count * 2 - 2
    if (group.to > group.from && this.#at(last) + this.#at(last + 1) === offset) {
      this.#ranges[last + 1] = this.#at(last + 1) + length
      return
    }
    if (this.#count * 2 === this.#ranges.length) {
      const grown = new Uint32Array(this.#ranges.length * 2)
      grown.set(this.#ranges)
      this.#ranges = grown
    }
    this.#ranges[this.#count * 2] = offset
    this.#ranges[this.#count * 2 + 1] = length
    this.#count++
    group.to = this.#count
  }

  clear(): void {
    this.#groups.length = 0
    this.#count = 0
  }

  /**
   * Writes everything in order. `open` gives a segment's file; the first byte of each segment goes
   * where its written bytes end. Throws what the disk throws, at whatever point.
   */
  write(files: Files, open: (segment: Segment) => FileId): void {
    let segment: Segment | null = null
    let position = 0
    for (const group of this.#groups) {
      if (group.segment !== segment) {
        segment = group.segment
        position = segment.bytes
      }
      position = this.#writeGroup(files, open(segment), position, group)
    }
  }

  #writeGroup(files: Files, file: FileId, from: number, group: Group): number {
    let position = from
    let pair = group.from
    /** Bytes of the pair that are written already. */
    let done = 0
    while (pair < group.to) {
      const count = Math.min(group.to - pair, RANGES_PER_WRITE)
      for (let i = 0; i < count * 2; i++) WINDOW[i] = this.#at(pair * 2 + i)
      WINDOW[0] = this.#at(pair * 2) + done
      WINDOW[1] = this.#at(pair * 2 + 1) - done
      let wanted = 0
      for (let i = 0; i < count; i++) wanted += WINDOW[i * 2 + 1] as number
      const written = files.write(file, position, {
        bytes: group.bytes,
        ranges: WINDOW,
        count,
      })
      assert(written > 0 && written <= wanted, 'a write reports an impossible count')
      position += written
      // Short counts are ordinary: go on after the last byte that was taken.
      let left = written
      while (pair < group.to && left >= this.#at(pair * 2 + 1) - done) {
        left -= this.#at(pair * 2 + 1) - done
        done = 0
        pair++
      }
      done += left
    }
    return position
  }

  #at(index: number): number {
    return this.#ranges[index] as number
  }
}
