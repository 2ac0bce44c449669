/**
 * The few facts of a log that neither its batches nor a shard's checkpoint can be trusted with:
 * where it starts after records were deleted, and that its tail was truncated. Written durably
 * before the change that it announces, so rarely that one small text file a log will do:
 *
 *   0                                                        version
 *   logStartOffset truncations truncatedTo crc32c-in-hex     of the text before it, in one line
 *
 * Logs whose records were never deleted and whose tail was never cut have no such file.
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
}

export const INITIAL_STATE: LogState = { logStartOffset: 0, truncations: 0, truncatedTo: 0 }

export function writeLogState(
  context: { readonly files: Files; readonly engine: BatchEngine },
  directory: string,
  state: LogState,
): void {
  const text = `0\n${state.logStartOffset} ${state.truncations} ${state.truncatedTo} `
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
  const match = /^(0\n(\d+) (\d+) (\d+) )([0-9a-f]{8})\n$/.exec(new TextDecoder().decode(bytes))
  if (match === null) return 'damaged'
  const body = new TextEncoder().encode(match[1])
  const crc = context.engine.crc32c(body, 0, body.length) >>> 0
  if (crc !== Number.parseInt(match[5] as string, 16)) return 'damaged'
  const state = {
    logStartOffset: Number(match[2]),
    truncations: Number(match[3]),
    truncatedTo: Number(match[4]),
  }
  return Object.values(state).every(Number.isSafeInteger) ? state : 'damaged'
}
