/**
 * The names of a log's files. A segment's files are named by its base offset in 20 digits, as in
 * Kafka, so that names sort like offsets; a snapshot is named by the first offset it does not
 * cover.
 */
export const LOG_SUFFIX = '.log'
export const INDEX_SUFFIX = '.index'
export const TIME_INDEX_SUFFIX = '.timeindex'
export const TXN_INDEX_SUFFIX = '.txnindex'
export const SNAPSHOT_SUFFIX = '.snapshot'

/** Everything that a segment may own apart from its `.log` file. */
export const SIDE_SUFFIXES = [INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX] as const

/** A file being written: renamed when whole, worthless when found at start. */
export const TEMPORARY_SUFFIX = '.tmp'
/** A file whose deletion was decided. */
export const DELETED_SUFFIX = '.deleted'
/** A whole, durable file that is about to replace the one without the suffix. */
export const SWAP_SUFFIX = '.swap'

const OFFSET_DIGITS = 20
const NAME = /^(\d{20})(\.[a-z]+)$/

export function offsetName(offset: number, suffix: string): string {
  return String(offset).padStart(OFFSET_DIGITS, '0') + suffix
}

export interface ParsedName {
  readonly offset: number
  readonly suffix: string
}

/** Null for a name that is not an offset with one suffix. */
export function parseName(name: string): ParsedName | null {
  const match = NAME.exec(name)
  if (match === null) return null
  const offset = Number(match[1])
  return Number.isSafeInteger(offset) ? { offset, suffix: match[2] as string } : null
}

export function joinPath(directory: string, name: string): string {
  return `${directory}/${name}`
}

export function parentOf(path: string): string {
  const slash = path.lastIndexOf('/')
  if (slash < 0) return '.'
  return slash === 0 ? '/' : path.slice(0, slash)
}
