import { getSystemErrorName } from 'node:util'
import { assert } from '../base/assert.ts'
import type { NativeAddon } from '../base/native.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { ByteRange, FileId, GatherSource } from './files.ts'
import { NodeFiles } from './node-files.ts'

/**
 * The native disk: names, opening and sizes as in `NodeFiles`, data by plain system calls of the
 * addon, with the hints that keep the page cache bounded. With an io_uring a flush and a read of
 * old data run off this thread and their completion signals the ring's eventfd; without one, or
 * when the ring is full, they block as with the portable disk. The ring belongs to whoever opened
 * it.
 */
export class NativeFiles extends NodeFiles {
  readonly #addon: NativeAddon
  readonly #ring: number | null
  readonly #completions = new Int32Array(3 * COMPLETIONS_MAX)
  /** Pairs of token and result that the ring has given and nobody has asked for yet. */
  readonly #flushesDone: number[] = []
  readonly #readsDone: number[] = []
  #writebacks = 0
  /** For ranges that come as another kind of array than the addon takes. */
  readonly #ranges = new Int32Array(2 * GATHER_MAX)

  constructor(addon: NativeAddon, ring: number | null = null) {
    super()
    this.#addon = addon
    this.#ring = ring
  }

  override read(file: FileId, position: number, into: ByteRange): number {
    try {
      return this.#addon.pread(file, position, into.bytes, into.offset, into.length)
    } catch (error) {
      throw this.failed('read', file, error)
    }
  }

  override write(file: FileId, position: number, source: GatherSource): number {
    assert(source.count >= 1 && 2 * source.count <= source.ranges.length)
    const count = Math.min(source.count, GATHER_MAX)
    const ranges = this.#typedRanges(source.ranges, count)
    let written: number
    try {
      written = this.#addon.pwritev(file, position, source.bytes, ranges, count)
    } catch (error) {
      throw this.failed('write', file, error)
    }
    assert(written >= 1, 'a write of nothing')
    return written
  }

  #typedRanges(ranges: ArrayLike<number>, count: number): Int32Array | Uint32Array {
    if (ranges instanceof Int32Array || ranges instanceof Uint32Array) return ranges
    for (let i = 0; i < 2 * count; i++) {
      const value = ranges[i]!
      assert(value >= 0 && (value | 0) === value) // The array would wrap it silently.
      this.#ranges[i] = value
    }
    return this.#ranges
  }

  override flush(file: FileId, token: number): void {
    assert((token | 0) === token, 'a flush token is an int32')
    if (!this.#startFlush(file, token)) super.flush(file, token)
  }

  /** Hands the flush to the ring; false when there is none or it is full. */
  #startFlush(file: FileId, token: number): boolean {
    if (this.#ring === null) return false
    try {
      return this.#addon.uringFlush(this.#ring, file, token)
    } catch (error) {
      throw this.failed('flush', file, error)
    }
  }

  /** What the ring throws is our own bug: a read that it keeps would write into others' memory. */
  override startRead(file: FileId, position: number, into: ByteRange, token: number): boolean {
    const { bytes, offset, length } = into
    if (this.#ring === null) return false
    return this.#addon.uringRead(this.#ring, file, position, bytes, offset, length, token | 0)
  }

  override drainReads(handler: (token: number, count: number) => void): number {
    this.#collect()
    return report(this.#readsDone, (token, result) => handler(token >>> 0, result))
  }

  override drainFlushes(handler: (token: number, error: Error | null) => void): number {
    const blocking = super.drainFlushes(handler)
    this.#collect()
    const count = report(this.#flushesDone, (token, result) =>
      handler(token, result < 0 ? flushError(result) : null),
    )
    return blocking + count
  }

  /** Empties the ring: its eventfd is cleared already and would not wake anyone again. */
  #collect(): void {
    if (this.#ring === null) return
    const out = this.#completions
    for (;;) {
      const count = this.#addon.uringDrain(this.#ring, out)
      for (let i = 0; i < count; i++) {
        const kind = out[3 * i]
        if (kind === KIND_WRITEBACK) {
          this.#writebacks-- // A hint: how it ended is for the next flush to say.
          continue
        }
        const done = kind === KIND_READ ? this.#readsDone : this.#flushesDone
        done.push(out[3 * i + 1] as number, out[3 * i + 2] as number)
      }
      if (count < COMPLETIONS_MAX) return
    }
  }

  override flushNow(file: FileId): void {
    try {
      this.#addon.fdatasync(file)
    } catch (error) {
      throw this.failed('flush', file, error)
    }
  }

  /**
   * The call waits while the device has a full queue, so the ring makes it where there is one, a
   * few at a time.
   */
  override startWriteback(
    file: FileId,
    position: number,
    bytes: number,
    mayWait: boolean,
  ): boolean {
    if (this.#ring !== null) {
      const isFree = this.#writebacks < WRITEBACKS_MAX
      if (isFree && this.#addon.uringWriteback(this.#ring, file, position, bytes)) {
        this.#writebacks++
        return true
      }
      if (!mayWait) return false
    }
    this.#addon.syncFileRange(file, position, bytes)
    return true
  }

  override dropCached(file: FileId, position: number, bytes: number): void {
    this.#addon.fadviseDontNeed(file, position, bytes)
  }

  override preallocate(file: FileId, bytes: number): void {
    this.#addon.fallocateKeepSize(file, bytes)
  }
}

const COMPLETIONS_MAX = 64
const KIND_READ = 1
const KIND_WRITEBACK = 2
/** Ranges that the disk is being started on at a time; a range has up to 2 MB. */
const WRITEBACKS_MAX = 4

/** Hands out pairs and forgets them; a handler may cause new ones. Returns how many it were. */
function report(pairs: number[], handler: (token: number, result: number) => void): number {
  if (pairs.length === 0) return 0
  const taken = pairs.splice(0)
  for (let i = 0; i < taken.length; i += 2) handler(taken[i] as number, taken[i + 1] as number)
  return taken.length / 2
}

/** IOV_MAX on Linux. More pieces are left to the caller's next write. */
const GATHER_MAX = 1024

/** The error that a blocking flush would have thrown. `result` is minus the errno. */
function flushError(result: number): BrokerError {
  const code = getSystemErrorName(result)
  const cause = Object.assign(new Error(`${code}: fdatasync`), {
    code,
    errno: result,
    syscall: 'fdatasync',
  })
  return new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, 'flush a file', cause)
}
