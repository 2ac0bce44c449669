import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs'

/**
 * Where log lines go: a file descriptor that may be full, stuck or gone without the broker taking
 * any harm. A pipe or terminal that takes no more keeps nobody waiting: lines wait here, up to a
 * bound, and are tried again. What is lost is counted, and said when lines can be written again.
 * Runs on main.
 */
const PENDING_BYTES_MAX = 256 * 1024
const RETRY_MS = 50
/** At the end, for a reader that is only slow. */
const LAST_TRIES = 10
const LAST_TRY_MS = 20

type Outcome = 'written' | 'full' | 'failed' | 'gone'

export class LogLines {
  /** Says how many lines were lost; called when lines can be written again. */
  onLost: (lines: number) => void = () => {}
  readonly #fd: number
  readonly #isOwn: boolean
  readonly #pending: Buffer[] = []
  #pendingBytes = 0
  #dropped = 0
  #untold = 0
  /** The oldest line is written in part. */
  #isCut = false
  /** A line was lost after a part of it had been written. */
  #isTorn = false
  #isGone = false
  #retry: NodeJS.Timeout | null = null

  constructor(fd: number) {
    const own = openOwn(fd)
    this.#fd = own ?? fd
    this.#isOwn = own !== null
  }

  /** Lines lost since the start. */
  get dropped(): number {
    return this.#dropped
  }

  /** One line with its end. Never throws, never waits. */
  write(line: string): void {
    const bytes = Buffer.from(this.#isTorn ? `\n${line}` : line)
    if (this.#isGone || this.#pendingBytes + bytes.length > PENDING_BYTES_MAX) {
      this.#lose()
      return
    }
    this.#isTorn = false
    this.#pending.push(bytes)
    this.#pendingBytes += bytes.length
    if (this.#retry === null) this.#drain()
  }

  /** Tries once more to write what waits, for a fifth of a second; for the end of the process. */
  close(): void {
    const cell = new Int32Array(new SharedArrayBuffer(4))
    for (let i = 0; i < LAST_TRIES && this.#pending.length > 0; i++) {
      this.#drain()
      if (this.#pending.length > 0) Atomics.wait(cell, 0, 0, LAST_TRY_MS)
    }
    if (this.#retry !== null) clearTimeout(this.#retry)
    this.#retry = null
    this.#isGone = true
    if (this.#isOwn) closeSync(this.#fd)
  }

  #drain(): void {
    while (this.#pending.length > 0) {
      const outcome = this.#writeFirst()
      if (outcome === 'full') {
        this.#retry ??= setTimeout(() => {
          this.#retry = null
          this.#drain()
        }, RETRY_MS).unref()
        return
      }
      if (outcome === 'written') continue
      this.#isGone = outcome === 'gone'
      this.#isTorn ||= this.#isCut
      const lost = this.#isGone ? this.#pending.length : 1
      for (let i = 0; i < lost; i++) {
        this.#shift()
        this.#lose()
      }
    }
  }

  /** Writes the oldest line, or what is left of it. */
  #writeFirst(): Outcome {
    const bytes = this.#pending[0] as Buffer
    try {
      const count = writeSync(this.#fd, bytes)
      if (count < bytes.length) {
        this.#isCut = true
        this.#pending[0] = bytes.subarray(count)
        this.#pendingBytes -= count
        return this.#writeFirst()
      }
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EAGAIN') return 'full'
      return code === 'EPIPE' || code === 'EBADF' ? 'gone' : 'failed'
    }
    this.#shift()
    this.#tell()
    return 'written'
  }

  #shift(): void {
    this.#isCut = false
    this.#pendingBytes -= this.#pending.shift()?.length ?? 0
  }

  #lose(): void {
    this.#dropped++
    this.#untold++
  }

  #tell(): void {
    if (this.#untold === 0) return
    const lines = this.#untold
    this.#untold = 0
    queueMicrotask(() => this.onLost(lines))
  }
}

/**
 * The same pipe or terminal, opened anew so that writes to it never wait: the flag belongs to the
 * opened file, and others share the one that this process was given. Null where that is not
 * possible or not needed.
 */
function openOwn(fd: number): number | null {
  try {
    const kind = fstatSync(fd)
    if (!kind.isFIFO() && !kind.isCharacterDevice()) return null
    const flags = constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY
    return openSync(`/proc/self/fd/${fd}`, flags)
  } catch {
    return null
  }
}
