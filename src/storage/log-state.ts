/**
 * The few facts of a log that neither its batches nor a shard's checkpoint can be trusted with:
 * where it starts after records were deleted, that its tail was truncated, and up to where offsets
 * may be missing because they were compacted. Written durably before the change that it announces,
 * so rarely that one small text file a log will do:
 *
 *   1                                                                version
 *   logStartOffset truncations truncatedTo compactedTo crc32c-in-hex of the text before it
 *
 * Version 0 has no compactedTo and is still written where it is 0. Logs whose records were never
 * deleted or compacted and whose tail was never cut have no such file.
 */
import type { BatchEngine } from '../record/batch-engine.ts'
import { readWhole, replaceDurably } from './file-io.ts'
import type { Files } from './files.ts'
import { joinPath } from './segment-names.ts'

export const LOG_STATE_FILE = 'log-state-checkpoint'

export interface LogState {
  readonly logStartOffset: number
  /** How often the tail was truncated below something that a checkpoint may remember. */
  readonly truncations: number
  /** Where the last truncation cut. A recovery point from before it counts only up to here. */
  readonly truncatedTo: number
  /**
   * Below, batches may be missing between two others: compaction took them. All of it was durable
   * before this was written, so a torn or lost batch is never taken for such a hole, and what is at
   * or above has none. A follower declares the holes of its leader's log before it takes them: then
   * it lies ahead of the log's end.
   */
  readonly compactedTo: number
}

const STATE = /^([01]\n(\d+) (\d+) (\d+) (?:(\d+) )?)([0-9a-f]{8})\n$/

export const INITIAL_STATE: LogState = {
  logStartOffset: 0,
  truncations: 0,
  truncatedTo: 0,
  compactedTo: 0,
}

export function writeLogState(
  context: { readonly files: Files; readonly engine: BatchEngine },
  directory: string,
  state: LogState,
): void {
  const { logStartOffset, truncations, truncatedTo, compactedTo } = state
  const facts = [logStartOffset, truncations, truncatedTo]
  const text =
    compactedTo === 0 ? `0\n${facts.join(' ')} ` : `1\n${[...facts, compactedTo].join(' ')} `
  const body = new TextEncoder().encode(text)
  const crc = context.engine.crc32c(body, 0, body.length) >>> 0
  const bytes = new TextEncoder().encode(`${text}${crc.toString(16).padStart(8, '0')}\n`)
  replaceDurably(context.files, directory, LOG_STATE_FILE, bytes)
}

/** Null when there is no file; 'damaged' when it is not what was written. */
export function readLogState(
  context: { readonly files: Files; readonly engine: BatchEngine },
  directory: string,
): LogState | 'damaged' | null {
  const bytes = readWhole(context.files, joinPath(directory, LOG_STATE_FILE))
  if (bytes === null) return null
  const match = STATE.exec(new TextDecoder().decode(bytes))
  if (match === null) return 'damaged'
  const body = new TextEncoder().encode(match[1])
  const crc = context.engine.crc32c(body, 0, body.length) >>> 0
  if (crc !== Number.parseInt(match[6] as string, 16)) return 'damaged'
  const state = {
    logStartOffset: Number(match[2]),
    truncations: Number(match[3]),
    truncatedTo: Number(match[4]),
    compactedTo: Number(match[5] ?? 0),
  }
  return Object.values(state).every(Number.isSafeInteger) ? state : 'damaged'
}
