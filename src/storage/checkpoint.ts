/**
 * What a log directory remembers of its logs from one run to the next, in one table a shard:
 *
 *   recovery-checkpoint-<shard>   written now and then while the shard runs
 *   clean-checkpoint-<shard>      written after every log of the shard was closed in order
 *   recovery-checkpoint-start     everything known when the broker started, written by main
 *
 * A table: 0 magic u32 'MRCP' │ 4 version i16 │ 6 reserved i16 │ 8 entries i32 │ 12 entries
 *          │ crc32c u32 of all before it.
 * An entry: 0 topicId 16 bytes │ 16 partition i32 │ 20 recoveryPoint i64 │ 28 logStartOffset i64
 *           │ 36 logEndOffset i64 │ 44 truncations u32 │ 48 bytes i64
 *           │ from version 2 on: 56 highWatermark i64 (−1: not known)
 *
 * Version 1 is written where no log is replicated.
 *
 * Partitions change shards between runs, so several tables may speak of one partition. Which one is
 * newer need not be known: see `merge`.
 */
import { readInt64, viewOf, writeInt64 } from '../base/bytes.ts'
import { type Uuid, uuidFromHex, uuidToHex } from '../base/uuid.ts'
import { crc32c } from '../record/crc32c.ts'
import { readWhole, replaceDurably } from './file-io.ts'
import type { Files } from './files.ts'
import type { LogHint } from './log-types.ts'
import { joinPath } from './segment-names.ts'

const RECOVERY_PREFIX = 'recovery-checkpoint-'
const CLEAN_PREFIX = 'clean-checkpoint-'
const START_NAME = `${RECOVERY_PREFIX}start`
const TABLE_NAME = /^(?:clean-checkpoint-\d+|recovery-checkpoint-(?:\d+|start))$/

const MAGIC = 0x4d524350
const VERSION = 1
const VERSION_WITH_WATERMARKS = 2
const HEADER_BYTES = 12
const ENTRY_BYTES = [0, 56, 64]
const CRC_BYTES = 4

export interface CheckpointEntry {
  readonly topicId: Uuid
  readonly partition: number
  readonly hint: LogHint
}

export interface CheckpointTable {
  readonly logDirectory: string
  readonly shard: number
  /** Every log of the shard is closed: the table is its clean-shutdown mark. */
  readonly clean: boolean
  readonly entries: readonly CheckpointEntry[]
}

export function checkpointKey(topicId: Uuid, partition: number): string {
  return `${topicId}-${partition}`
}

/**
 * Replaces a shard's tables in a log directory, durably. In an orderly stop (`clean`) the logs that
 * were closed go into the clean mark; one that could not be (it is damaged) stays in the table of
 * recovery points and is scanned again. Throws BrokerError.
 */
export function writeCheckpoint(files: Files, table: CheckpointTable): void {
  const { logDirectory, shard, entries } = table
  const open = table.clean ? entries.filter((entry) => !entry.hint.clean) : entries
  if (open.length > 0 || !table.clean) {
    replaceDurably(files, logDirectory, RECOVERY_PREFIX + shard, encodeTable(open))
  }
  if (!table.clean) return
  const closed = entries.filter((entry) => entry.hint.clean)
  replaceDurably(files, logDirectory, CLEAN_PREFIX + shard, encodeTable(closed))
  if (open.length > 0) return
  // Everything it could say is said better now.
  files.remove(joinPath(logDirectory, RECOVERY_PREFIX + shard))
  files.syncDirectory(logDirectory)
}

/**
 * What all tables of a log directory know together, by `checkpointKey`. A partition that is not
 * there must be scanned. Throws BrokerError only when the disk refuses.
 */
export function readCheckpoints(
  files: Files,
  logDirectory: string,
  onWarning: (message: string) => void = () => {},
): Map<string, LogHint> {
  const merged = new Map<string, LogHint>()
  for (const name of tableNames(files, logDirectory)) {
    const isCleanTable = name.startsWith(CLEAN_PREFIX)
    const bytes = readWhole(files, joinPath(logDirectory, name))
    const entries = bytes === null ? null : decodeTable(bytes, isCleanTable)
    if (entries === null) {
      onWarning(`${joinPath(logDirectory, name)} is damaged: its partitions are scanned`)
      continue
    }
    for (const entry of entries) {
      const key = checkpointKey(entry.topicId, entry.partition)
      const other = merged.get(key)
      merged.set(key, other === undefined ? entry.hint : merge(other, entry.hint))
    }
  }
  return merged
}

/**
 * Takes back every clean mark, durably: call it at start, after reading and before any log is
 * opened. What the marks said lives on as recovery points, in one table that replaces all others.
 */
export function removeCleanMarks(files: Files, logDirectory: string): void {
  const names = tableNames(files, logDirectory)
  if (names.length === 0 || (names.length === 1 && names[0] === START_NAME)) return
  const known = readCheckpoints(files, logDirectory)
  const entries: CheckpointEntry[] = []
  for (const [key, hint] of known) entries.push({ ...parseKey(key), hint })
  replaceDurably(files, logDirectory, START_NAME, encodeTable(entries))
  for (const name of names) {
    if (name !== START_NAME) files.remove(joinPath(logDirectory, name))
  }
  files.syncDirectory(logDirectory)
}

/**
 * Forgets what the table of the start says of partitions that do not exist any more. Call it once
 * the metadata is known and before a shard writes tables of its own. Throws BrokerError.
 */
export function pruneCheckpoints(
  files: Files,
  logDirectory: string,
  exists: (topicId: Uuid, partition: number) => boolean,
): void {
  const bytes = readWhole(files, joinPath(logDirectory, START_NAME))
  const entries = bytes === null ? null : decodeTable(bytes, false)
  if (entries === null) return
  const kept = entries.filter(({ topicId, partition }) => exists(topicId, partition))
  if (kept.length === entries.length) return
  replaceDurably(files, logDirectory, START_NAME, encodeTable(kept))
}

/**
 * The stronger of two true statements about one log. A recovery point says "flushed up to here,
 * after so many truncations": with equal counts both are true and the larger says more; with
 * different counts only the one that knows of the later truncation still holds. So it is with a
 * high watermark, since going below one counts as a truncation. A log start never
 * goes back except by a truncation. A clean mark is the last word, since all marks go before any
 * log is opened.
 */
export function merge(a: LogHint, b: LogHint): LogHint {
  if (a.clean !== b.clean) return a.clean ? a : b
  if (a.truncations !== b.truncations) return a.truncations > b.truncations ? a : b
  const further = a.logEndOffset >= b.logEndOffset ? a : b
  const highWatermark = Math.max(a.highWatermark ?? -1, b.highWatermark ?? -1)
  return {
    ...(highWatermark >= 0 ? { highWatermark } : {}),
    // Two clean marks that differ contradict each other: neither is believed.
    clean: a.clean && a.logEndOffset === b.logEndOffset && a.logStartOffset === b.logStartOffset,
    recoveryPoint: Math.max(a.recoveryPoint, b.recoveryPoint),
    logStartOffset: Math.max(a.logStartOffset, b.logStartOffset),
    logEndOffset: further.logEndOffset,
    truncations: a.truncations,
    bytes: further.bytes,
  }
}

function parseKey(key: string): { topicId: Uuid; partition: number } {
  const dash = key.lastIndexOf('-')
  return { topicId: key.slice(0, dash), partition: Number(key.slice(dash + 1)) }
}

/** In a fixed order, so that runs of the simulator do not depend on the disk's. */
function tableNames(files: Files, logDirectory: string): string[] {
  return files
    .list(logDirectory)
    .filter((name) => TABLE_NAME.test(name))
    .sort()
}

function encodeTable(entries: readonly CheckpointEntry[]): Uint8Array {
  const areReplicated = entries.some(({ hint }) => hint.highWatermark !== undefined)
  const version = areReplicated ? VERSION_WITH_WATERMARKS : VERSION
  const entryBytes = ENTRY_BYTES[version] as number
  const bytes = new Uint8Array(HEADER_BYTES + entries.length * entryBytes + CRC_BYTES)
  const view = viewOf(bytes)
  view.setUint32(0, MAGIC)
  view.setInt16(4, version)
  view.setInt32(8, entries.length)
  let at = HEADER_BYTES
  for (const { topicId, partition, hint } of entries) {
    const hex = uuidToHex(topicId)
    for (let i = 0; i < 16; i++) bytes[at + i] = Number.parseInt(hex.slice(i * 2, i * 2 + 2), 16)
    view.setInt32(at + 16, partition)
    writeInt64(view, at + 20, hint.recoveryPoint)
    writeInt64(view, at + 28, hint.logStartOffset)
    writeInt64(view, at + 36, hint.logEndOffset)
    view.setUint32(at + 44, hint.truncations)
    writeInt64(view, at + 48, hint.bytes)
    if (areReplicated) writeInt64(view, at + 56, hint.highWatermark ?? -1)
    at += entryBytes
  }
  view.setUint32(at, crc32c(bytes, 0, at))
  return bytes
}

/** Null when the bytes are not a whole table. */
function decodeTable(bytes: Uint8Array, clean: boolean): CheckpointEntry[] | null {
  if (bytes.length < HEADER_BYTES + CRC_BYTES) return null
  const view = viewOf(bytes)
  const count = view.getInt32(8)
  const version = view.getInt16(4)
  if (view.getUint32(0) !== MAGIC) return null
  if (version !== VERSION && version !== VERSION_WITH_WATERMARKS) return null
  const entryBytes = ENTRY_BYTES[version] as number
  const end = HEADER_BYTES + count * entryBytes
  if (count < 0 || end + CRC_BYTES !== bytes.length) return null
  if (crc32c(bytes, 0, end) >>> 0 !== view.getUint32(end)) return null
  const entries: CheckpointEntry[] = []
  for (let at = HEADER_BYTES; at < end; at += entryBytes) {
    let hex = ''
    for (let i = 0; i < 16; i++) hex += (bytes[at + i] as number).toString(16).padStart(2, '0')
    const highWatermark = version === VERSION ? -1 : readInt64(view, at + 56)
    const entry = {
      topicId: uuidFromHex(hex),
      partition: view.getInt32(at + 16),
      hint: {
        clean,
        recoveryPoint: readInt64(view, at + 20),
        logStartOffset: readInt64(view, at + 28),
        logEndOffset: readInt64(view, at + 36),
        truncations: view.getUint32(at + 44),
        bytes: readInt64(view, at + 48),
        ...(highWatermark >= 0 ? { highWatermark } : {}),
      },
    }
    if (!isPossible(entry)) return null
    entries.push(entry)
  }
  return entries
}

/** A right CRC does not make an offset of it: whoever wrote it may have been wrong himself. */
function isPossible({ partition, hint }: CheckpointEntry): boolean {
  const { recoveryPoint, logStartOffset, logEndOffset, bytes } = hint
  const counts = [partition, recoveryPoint, logStartOffset, logEndOffset, bytes]
  counts.push(hint.highWatermark ?? 0)
  return counts.every((count) => count >= 0 && Number.isSafeInteger(count))
}
