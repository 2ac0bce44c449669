import { randomFillSync } from 'node:crypto'
import { statfsSync } from 'node:fs'
import { BrokerError } from '../errors/broker-error.ts'
import { writeFully } from '../storage/file-io.ts'
import type { FileId, Files } from '../storage/files.ts'
import { joinPath } from '../storage/segment-names.ts'

/**
 * A file in a log directory that only takes up room, so that on a full disk there is some for what
 * makes more: a start after a crash, the deletion of a topic or of records. Given back to the disk
 * for the length of such a step, and taken again right after it. Runs on main, never fails: a disk
 * that has no room for the reserve just has none.
 */
const NAME = '.reserve'
const BYTES = 4 * 1024 * 1024
/** Of a small disk no more than this part. */
const DISK_SHARE = 1 / 64
/** What a file system may compress apart: a reserve that compresses is none. */
const CHUNK_BYTES = 128 * 1024

export class DiskReserve {
  readonly #files: Files
  readonly #directory: string
  readonly #path: string
  #bytes = 0

  constructor(files: Files, directory: string) {
    this.#files = files
    this.#directory = directory
    this.#path = joinPath(directory, NAME)
  }

  /** The whole reserve lies on the disk. */
  get isWhole(): boolean {
    return this.#bytes > 0 && this.#bytes >= this.#wantedBytes()
  }

  /** Gives the room back to the disk. */
  release(): void {
    this.#bytes = 0
    this.#attempt(() => this.#files.remove(this.#path))
  }

  /** The same if the disk has less room than the reserve. For a start. */
  releaseIfFull(): void {
    if (this.#freeBytes() < BYTES) this.release()
  }

  /** Takes the room again, or as much of it as there is. */
  fill(): void {
    const wanted = this.#wantedBytes()
    this.#attempt(() => {
      const file = this.#files.open(this.#path, 'create')
      try {
        this.#grow(file, wanted)
      } finally {
        this.#files.close(file)
      }
    })
  }

  #grow(file: FileId, wanted: number): void {
    this.#bytes = this.#files.size(file)
    if (this.#bytes >= wanted) return
    const chunk = randomFillSync(new Uint8Array(CHUNK_BYTES))
    while (this.#bytes < wanted) {
      const piece = chunk.subarray(0, Math.min(CHUNK_BYTES, wanted - this.#bytes))
      writeFully(this.#files, file, this.#bytes, piece)
      this.#bytes += piece.length
    }
  }

  #wantedBytes(): number {
    const disk = this.#disk()
    return disk === null
      ? BYTES
      : Math.min(BYTES, Math.floor(disk.blocks * disk.bsize * DISK_SHARE))
  }

  #freeBytes(): number {
    const disk = this.#disk()
    return disk === null ? 0 : disk.bavail * disk.bsize
  }

  #disk(): { blocks: number; bsize: number; bavail: number } | null {
    try {
      return statfsSync(this.#directory)
    } catch {
      return null
    }
  }

  #attempt(work: () => void): void {
    try {
      work()
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
    }
  }
}
