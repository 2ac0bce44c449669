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

/** Connections that leave descriptors for files: half of them. */
export function connectionsMax(limit: number): number {
  return Math.max(16, Math.floor(limit / 2))
}

/** Logs that each shard may keep open: a log takes up to six descriptors while it is flushed. */
export function openLogsMax(limit: number, shards: number): number {
  const share = Math.floor(limit / 2 / 6 / shards)
  return Math.min(10_000, Math.max(16, share))
}
