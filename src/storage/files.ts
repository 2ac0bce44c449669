/**
 * The disk as the log sees it. Everything the log, recovery and the shard do to a file goes through
 * this interface: the portable tier (node:fs), the native tier (plain system calls, io_uring) and
 * the simulator's disk implement it and nothing else knows which one runs.
 *
 * All calls are synchronous and made by the thread that owns the files, except that a flush and a
 * `startRead` complete later: `drainFlushes` and `drainReads` report them. Failures of the world
 * are thrown as BrokerError with KAFKA_STORAGE_ERROR and the system's error as `cause`
 * (`cause.code` is 'ENOSPC', 'EIO', …).
 */
export interface Files {
  /** Names (not paths) in a directory, in no particular order; [] when it does not exist. */
  list(directory: string): string[]
  exists(path: string): boolean
  /** Creates a directory and its missing parents; not an error when it exists. */
  makeDirectory(path: string): void
  /** Removes a file; not an error when it does not exist. */
  remove(path: string): void
  /** Removes a directory and everything in it; not an error when it does not exist. */
  removeDirectory(path: string): void
  /** Atomically replaces `to`. Durable only after `syncDirectory` of the parent(s). */
  rename(from: string, to: string): void
  /** Makes created, renamed and removed names of a directory durable. */
  syncDirectory(path: string): void

  open(path: string, mode: OpenMode): FileId
  close(file: FileId): void
  /** Current size in bytes. */
  size(file: FileId): number
  /** When its content was last changed, on the wall clock, in whole milliseconds. */
  modifiedMs(file: FileId): number
  /** Cuts or extends (with zeros) to exactly `bytes`. */
  truncate(file: FileId, bytes: number): void
  /**
   * Reads up to `range.length` bytes at `position`; returns the count, short at the end of file.
   */
  read(file: FileId, position: number, into: ByteRange): number
  /**
   * One gathering write at `position`, in the order of `ranges`, all taken from `from`. Returns how
   * many bytes were written, at least 1: like the system call it may be short, and the caller
   * loops.
   */
  write(file: FileId, position: number, source: GatherSource): number
  /**
   * Starts reading `into` off this thread; false when the disk cannot do that, or not now: then
   * `read` serves. `token`, a u32, comes back once through `drainReads`; until then the memory is
   * the disk's. The file may be closed meanwhile, but what is read must not be truncated.
   */
  startRead(file: FileId, position: number, into: ByteRange, token: number): boolean
  /** Reports finished reads; returns how many. A negative count is a failure; it may be short. */
  drainReads(handler: (token: number, count: number) => void): number
  /** Starts making the file's data durable. The token comes back once, through `drainFlushes`. */
  flush(file: FileId, token: number): void
  /** Reports finished flushes; returns how many. A failed flush is never retried by anyone. */
  drainFlushes(handler: (token: number, error: Error | null) => void): number
  /** Blocks until the file's data is durable. */
  flushNow(file: FileId): void

  /** Hints: each may do nothing, none may fail. Positions and lengths in bytes. */
  /** False when the disk has enough to do and `mayWait` is not given: ask again later. */
  startWriteback(file: FileId, position: number, bytes: number, mayWait: boolean): boolean
  dropCached(file: FileId, position: number, bytes: number): void
  /** Reserves space so that the file can grow to `bytes` without changing its size. */
  preallocate(file: FileId, bytes: number): void
}

/** A small integer that names an open file until it is closed. */
export type FileId = number

/**
 * 'read': must exist. 'write': read and write, must exist. 'create': read and write, made if
 * missing.
 */
export type OpenMode = 'read' | 'write' | 'create'

export interface ByteRange {
  readonly bytes: Uint8Array
  /** Index in `bytes`, inclusive. */
  readonly offset: number
  readonly length: number
}

/**
 * Pieces of one memory, in writing order: ranges[2i] is an index in `bytes`, ranges[2i+1] a length.
 */
export interface GatherSource {
  readonly bytes: Uint8Array
  readonly ranges: ArrayLike<number>
  /** How many pairs of `ranges` count. */
  readonly count: number
}
