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

/**
 * Connections that leave descriptors for files: half of them, Kafka's and those of HTTP and
 * WebSockets, which may have as many again while they are told that there are too many.
 */
export function connectionsMax(limit: number): { readonly kafka: number; readonly http: number } {
  const part = (divisor: number): number => Math.max(16, Math.floor(limit / divisor))
  return { kafka: part(4), http: part(8) }
}

/** Logs that each shard may keep open: a log takes up to six descriptors while it is flushed. */
export function openLogsMax(limit: number, shards: number): number {
  const share = Math.floor((limit / 2 - OWN_DESCRIPTORS) / 6 / shards)
  return Math.min(10_000, Math.max(16, share))
}
