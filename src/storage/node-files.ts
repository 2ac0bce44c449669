import {
  closeSync,
  constants,
  existsSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync,
  writevSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { assert } from '../base/assert.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { ByteRange, FileId, Files, GatherSource, OpenMode } from './files.ts'

/**
 * The portable disk: synchronous node:fs calls, on any system. One instance belongs to one thread.
 * A flush blocks and its outcome is kept for the next `drainFlushes`; hints do nothing.
 */
export class NodeFiles implements Files {
  /** Paths of open files, for messages. A FileId is the system's descriptor. */
  readonly #paths = new Map<FileId, string>()
  #finished: FinishedFlushes = { tokens: [], errors: [] }
  /** The other of the two lists: swapped while one is reported, so that handlers may flush. */
  #reporting: FinishedFlushes = { tokens: [], errors: [] }

  list(directory: string): string[] {
    try {
      return readdirSync(directory)
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return []
      throw storageError(`list ${directory}`, error)
    }
  }

  exists(path: string): boolean {
    return existsSync(path)
  }

  makeDirectory(path: string): void {
    attempt('create directory', path, () => makeLevels(path))
  }

  remove(path: string): void {
    try {
      unlinkSync(path)
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw storageError(`remove ${path}`, error)
    }
  }

  removeDirectory(path: string): void {
    attempt('remove directory', path, () => rmSync(path, { recursive: true, force: true }))
  }

  rename(from: string, to: string): void {
    attempt(`rename ${from} to`, to, () => renameSync(from, to))
  }

  syncDirectory(path: string): void {
    if (process.platform === 'win32') return // No such thing there: names are durable with NTFS's log.
    attempt('sync directory', path, () => {
      const directory = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY)
      try {
        fsyncSync(directory)
      } finally {
        closeSync(directory)
      }
    })
  }

  open(path: string, mode: OpenMode): FileId {
    const file = attempt('open', path, () => openSync(path, OPEN_FLAGS[mode], 0o644))
    assert(!this.#paths.has(file), 'a descriptor was closed behind our back')
    this.#paths.set(file, path)
    return file
  }

  close(file: FileId): void {
    const path = this.#paths.get(file)
    assert(path !== undefined, 'closing a file that is not open')
    this.#paths.delete(file)
    attempt('close', path, () => closeSync(file))
  }

  size(file: FileId): number {
    try {
      return fstatSync(file).size
    } catch (error) {
      throw this.failed('stat', file, error)
    }
  }

  modifiedMs(file: FileId): number {
    try {
      return Math.floor(fstatSync(file).mtimeMs)
    } catch (error) {
      throw this.failed('stat', file, error)
    }
  }

  truncate(file: FileId, bytes: number): void {
    try {
      ftruncateSync(file, bytes)
    } catch (error) {
      throw this.failed('truncate', file, error)
    }
  }

  read(file: FileId, position: number, into: ByteRange): number {
    try {
      return readSync(file, into.bytes, into.offset, into.length, position)
    } catch (error) {
      throw this.failed('read', file, error)
    }
  }

  write(file: FileId, position: number, source: GatherSource): number {
    const { bytes, ranges } = source
    assert(source.count >= 1 && 2 * source.count <= ranges.length)
    const pieces: Uint8Array[] = []
    for (let i = 0; i < Math.min(source.count, GATHER_MAX); i++) {
      const offset = ranges[2 * i]!
      const length = ranges[2 * i + 1]!
      // `subarray` would clamp, and the log would lack bytes that everybody believes written.
      assert(offset >= 0 && length >= 0 && offset + length <= bytes.length)
      pieces.push(bytes.subarray(offset, offset + length))
    }
    let written: number
    try {
      written =
        pieces.length === 1
          ? writeSync(file, pieces[0]!, 0, pieces[0]!.length, position)
          : writevSync(file, pieces, position)
    } catch (error) {
      throw this.failed('write', file, error)
    }
    assert(written >= 1, 'a write of nothing')
    return written
  }

  flush(file: FileId, token: number): void {
    assert((token | 0) === token, 'a flush token is an int32')
    let outcome: Error | null = null
    try {
      this.flushNow(file)
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      outcome = error
    }
    this.#finished.tokens.push(token)
    this.#finished.errors.push(outcome)
  }

  startRead(_file: FileId, _position: number, _into: ByteRange, _token: number): boolean {
    return false
  }

  drainReads(_handler: (token: number, count: number) => void): number {
    return 0
  }

  drainFlushes(handler: (token: number, error: Error | null) => void): number {
    const { tokens, errors } = this.#finished
    const count = tokens.length
    if (count === 0) return 0
    const emptied = this.#reporting
    assert(emptied.tokens.length === 0, 'drainFlushes called by its own handler')
    this.#reporting = this.#finished
    this.#finished = emptied
    for (let i = 0; i < count; i++) handler(tokens[i]!, errors[i]!)
    tokens.length = 0
    errors.length = 0
    return count
  }

  flushNow(file: FileId): void {
    try {
      fdatasyncSync(file)
    } catch (error) {
      throw this.failed('flush', file, error)
    }
  }

  startWriteback(_file: FileId, _position: number, _bytes: number, _mayWait: boolean): boolean {
    return true
  }

  dropCached(_file: FileId, _position: number, _bytes: number): void {}

  preallocate(_file: FileId, _bytes: number): void {}

  /** What to throw for a failed call on an open file. */
  protected failed(action: string, file: FileId, error: unknown): unknown {
    return storageError(`${action} ${this.#paths.get(file) ?? `file ${file}`}`, error)
  }
}

interface FinishedFlushes {
  readonly tokens: number[]
  readonly errors: (Error | null)[]
}

/** IOV_MAX on Linux. More pieces are left to the caller's next write. */
const GATHER_MAX = 1024

const OPEN_FLAGS: Record<OpenMode, number> = {
  read: constants.O_RDONLY,
  write: constants.O_RDWR,
  create: constants.O_RDWR | constants.O_CREAT,
}

/**
 * Level by level: mkdirSync's own recursion never ends where the system answers ENOENT although the
 * parent is there, as it does below /proc.
 */
function makeLevels(path: string): void {
  if (isDirectory(path)) return
  const parent = dirname(path)
  if (parent !== path) makeLevels(parent)
  try {
    mkdirSync(path)
  } catch (error) {
    // Somebody else may have been faster.
    if (codeOf(error) !== 'EEXIST' || !isDirectory(path)) throw error
  }
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

function attempt<T>(action: string, path: string, call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw storageError(`${action} ${path}`, error)
  }
}

/** The world's failures have a `syscall`; anything else is our own bug and passes as it is. */
function storageError(action: string, error: unknown): unknown {
  if ((error as NodeJS.ErrnoException).syscall === undefined) return error
  return new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, action, error)
}
