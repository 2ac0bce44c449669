import { readFileSync } from 'node:fs'

/**
 * How many file descriptors this process may have (the soft limit, which Node raises to the hard
 * one at start), and how they are shared out. Where the system does not say, a cautious number.
 */
const UNKNOWN_LIMIT = 4096

export function descriptorLimit(): number {
  try {
    const limits = readFileSync('/proc/self/limits', 'utf8')
    const found = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1]
    return found === 'unlimited' ? Infinity : Number(found ?? UNKNOWN_LIMIT)
  } catch {
    return UNKNOWN_LIMIT // Not Linux.
  }
}

/** Of the process itself: libraries, listeners, event loops, rings. */
const OWN_DESCRIPTORS = 48
/** Enough for files, unless the limit is so high that a quarter is more. */
const FILES_ENOUGH = 8192
/** HTTP connections beyond the limit that may wait to be told so. */
export const REFUSED_MAX = 100

/** Descriptors for files: half of a low limit. */
function forFiles(limit: number): number {
  return Math.min(limit / 2, Math.max(FILES_ENOUGH, limit / 4))
}

/** Connections that leave descriptors for files: half of them Kafka's, half HTTP's. */
export function connectionsMax(limit: number): { readonly kafka: number; readonly http: number } {
  if (limit === Infinity) return { kafka: Infinity, http: Infinity }
  const half = Math.max(32, Math.floor((limit - forFiles(limit)) / 2))
  return { kafka: half, http: half - Math.min(REFUSED_MAX, Math.floor(half / 2)) }
}

/** Logs that each shard may keep open: a log takes up to six descriptors while it is flushed. */
export function openLogsMax(limit: number, shards: number): number {
  const share = Math.floor((forFiles(limit) - OWN_DESCRIPTORS) / 6 / shards)
  return Math.min(10_000, Math.max(16, share))
}
