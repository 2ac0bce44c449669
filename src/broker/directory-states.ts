import type { Logger } from '../metrics/logger.ts'
import type { DiskReserve } from './disk-reserve.ts'

/**
 * How each log directory is: online, short of something that may come back (room on its disk,
 * descriptors), or offline until a restart. Shards say what they meet; here it is remembered for
 * clients, /health/ready and /metrics, and said once in the log. Runs on main.
 */
export type DirectoryCondition = 'online' | 'short' | 'offline'

export interface DirectoryStatus {
  readonly path: string
  readonly condition: DirectoryCondition
  /** Null while online. */
  readonly reason: string | null
}

interface Entry {
  readonly path: string
  readonly reserve: DiskReserve | null
  condition: DirectoryCondition
  reason: string | null
  /** Steps under way that live on the room of the reserve. */
  borrowers: number
  /** When a shard was last refused something, monotonic. */
  refusedMs: number
}

/** Without a refusal for so long, and with its reserve whole, a directory is online again. */
const CALM_MS = 5_000

export class DirectoryStates {
  readonly #logger: Logger
  readonly #nowMs: () => number
  readonly #entries = new Map<string, Entry>()

  constructor(logger: Logger, nowMs: () => number) {
    this.#logger = logger
    this.#nowMs = nowMs
  }

  add(path: string, reserve: DiskReserve): void {
    this.#entries.set(path, {
      path,
      reserve,
      condition: 'online',
      reason: null,
      borrowers: 0,
      refusedMs: -Infinity,
    })
  }

  /** A directory that could not be opened at start, or that is not there. */
  addOffline(path: string, reason: string): void {
    this.#entries.set(path, {
      path,
      reserve: null,
      condition: 'offline',
      reason,
      borrowers: 0,
      refusedMs: -Infinity,
    })
  }

  get all(): readonly DirectoryStatus[] {
    return [...this.#entries.values()].map(({ path, condition, reason }) => {
      return { path, condition, reason }
    })
  }

  /** False when nothing can be served at all. */
  get isAnyUsable(): boolean {
    return this.all.some(({ condition }) => condition !== 'offline')
  }

  conditionOf(path: string): DirectoryCondition {
    return this.#entries.get(path)?.condition ?? 'offline'
  }

  /** What a client whose request meant this directory should know; null while it is online. */
  explain(path: string): string | null {
    const entry = this.#entries.get(path)
    if (entry === undefined || entry.condition === 'online') return null
    if (entry.condition === 'offline') {
      return `The log directory ${path} is offline: ${entry.reason}`
    }
    return `The log directory ${path} takes no writes now: ${entry.reason}. Try again later`
  }

  /** A disk error: what the directory holds is not served until a restart. */
  fail(path: string, reason: string): void {
    const entry = this.#entries.get(path)
    if (entry === undefined || entry.condition === 'offline') return
    entry.condition = 'offline'
    entry.reason = reason
    this.#logger.error(
      { directory: path },
      `a log directory is offline until the broker is restarted: ${reason}; its partitions answer ` +
        'KAFKA_STORAGE_ERROR, others are served. Check the disk, then restart the broker',
    )
  }

  /** A write was refused for want of something, `code` is the system's name for it. */
  short(path: string, code: string): void {
    const entry = this.#entries.get(path)
    if (entry === undefined || entry.condition === 'offline') return
    entry.refusedMs = this.#nowMs()
    if (entry.condition === 'short') return
    const { what, remedy } = SHORTAGES[code] ?? { what: `out of resources (${code})`, remedy: '' }
    entry.condition = 'short'
    entry.reason = what
    this.#logger.error(
      { directory: path, code },
      `a log directory takes no writes: ${what}. Producers are told to try again, reads, ` +
        `retention and deletions go on${remedy}`,
    )
  }

  /** Looks, every now and then, whether what was short has come back. */
  tend(): void {
    for (const entry of this.#entries.values()) {
      if (entry.condition === 'offline' || entry.reserve === null) continue
      if (entry.borrowers > 0) continue
      if (!entry.reserve.isWhole) entry.reserve.fill()
      if (entry.condition !== 'short' || !entry.reserve.isWhole) continue
      if (this.#nowMs() - entry.refusedMs < CALM_MS) continue
      entry.condition = 'online'
      entry.reason = null
      this.#logger.info({ directory: entry.path }, 'a log directory takes writes again')
    }
  }

  /**
   * Runs what makes room on a full disk with the room of the reserve, which is taken back once
   * nobody needs it: a request for a thousand partitions must not write it a thousand times.
   */
  async withReserve<T>(path: string, work: () => Promise<T>): Promise<T> {
    const entry = this.#entries.get(path)
    const reserve = entry?.reserve ?? null
    if (entry === undefined || reserve === null || entry.condition === 'offline') return work()
    if (entry.borrowers++ === 0) reserve.release()
    try {
      return await work()
    } finally {
      if (--entry.borrowers === 0) reserve.fill()
    }
  }
}

const NO_ROOM = '; free space, delete topics or records, or lower retention.bytes or retention.ms'
const DESCRIPTORS = '; raise the limit of open files (ulimit -n)'

/** Keyed by errno names; `isTemporary` of the storage layer has the same list. */
const SHORTAGES: Readonly<Record<string, { what: string; remedy: string }>> = {
  ENOSPC: { what: 'its disk is full (ENOSPC)', remedy: NO_ROOM },
  EDQUOT: { what: 'its disk quota is used up (EDQUOT)', remedy: NO_ROOM },
  EMFILE: { what: 'the broker has no file descriptor left (EMFILE)', remedy: DESCRIPTORS },
  ENFILE: { what: 'the system has no file descriptor left (ENFILE)', remedy: DESCRIPTORS },
  ENOMEM: { what: 'the system has no memory left (ENOMEM)', remedy: '' },
}
