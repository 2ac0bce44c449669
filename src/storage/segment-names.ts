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
/** What compaction is writing; worthless when found at start. */
export const CLEANED_SUFFIX = '.cleaned'
/** A whole, durable segment that is about to replace those of its range, named by `rangeName`. */
export const SWAP_SUFFIX = '.swap'

const OFFSET_DIGITS = 20
const NAME = /^(\d{20})(\.[a-z]+)$/
const RANGE_NAME = /^(\d{20})-(\d{20})(\.[a-z]+)$/

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

export interface OffsetRange {
  readonly baseOffset: number
  /** Exclusive. */
  readonly endOffset: number
}

/** The name of a file that is about to stand for the segments of a range of offsets. */
export function rangeName({ baseOffset, endOffset }: OffsetRange, suffix: string): string {
  return `${offsetName(baseOffset, '')}-${offsetName(endOffset, suffix)}`
}

/** The range of a name with this suffix, or null. */
export function parseRange(name: string, suffix: string): OffsetRange | null {
  const match = RANGE_NAME.exec(name)
  if (match === null || match[3] !== suffix) return null
  const range = { baseOffset: Number(match[1]), endOffset: Number(match[2]) }
  return Number.isSafeInteger(range.endOffset) ? range : null
}

export function joinPath(directory: string, name: string): string {
  return `${directory}/${name}`
}

export function parentOf(path: string): string {
  const slash = path.lastIndexOf('/')
  if (slash < 0) return '.'
  return slash === 0 ? '/' : path.slice(0, slash)
}
