/**
 * A file in a log directory that says: a log in it was cut where more than an append under way can
 * have been, so this broker may lack what it acknowledged, although its machine went on. Durable
 * before the cut, and there until the broker has told its cluster so.
 */
import { replaceDurably } from './file-io.ts'
import type { Files } from './files.ts'
import { joinPath } from './segment-names.ts'

export const LOSS_MARK = 'records-lost'

/** Throws BrokerError. */
export function writeLossMark(files: Files, logDirectory: string): void {
  if (files.exists(joinPath(logDirectory, LOSS_MARK))) return
  replaceDurably(files, logDirectory, LOSS_MARK, new Uint8Array(0))
}
