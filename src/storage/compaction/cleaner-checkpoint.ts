/**
 * Up to where a log is compacted, in Kafka's format, in the log's own directory:
 *
 *   0                               version
 *   1                               entries
 *   topicId partition firstDirtyOffset
 *
 * Only a hint: where it is missing or damaged everything counts as dirty, which is slow and
 * harmless. One that is too high would let a tombstone go before what it deletes: a truncation
 * removes it before anything can be appended, and nobody believes it above `compactedTo`.
 */
import { readWhole, replace } from '../file-io.ts'
import type { Files } from '../files.ts'
import { joinPath } from '../segment-names.ts'

export const CLEANER_CHECKPOINT_FILE = 'cleaner-offset-checkpoint'

const FORMAT = /^0\n1\n\S+ \d+ (\d+)\n$/

interface Place {
  readonly context: { readonly files: Files }
  readonly directory: string
}

/** Throws BrokerError. */
export function readCleanerCheckpoint({ context, directory }: Place): number {
  const bytes = readWhole(context.files, joinPath(directory, CLEANER_CHECKPOINT_FILE))
  const match = bytes === null ? null : FORMAT.exec(new TextDecoder().decode(bytes))
  const offset = Number(match?.[1] ?? 0)
  return Number.isSafeInteger(offset) ? offset : 0
}

/** Throws BrokerError. */
export function writeCleanerCheckpoint({ context, directory }: Place, offset: number): void {
  const name = directory.slice(directory.lastIndexOf('/') + 1)
  const dash = name.lastIndexOf('-')
  const text = `0\n1\n${name.slice(0, dash)} ${name.slice(dash + 1)} ${offset}\n`
  const path = joinPath(directory, CLEANER_CHECKPOINT_FILE)
  replace(context.files, path, new TextEncoder().encode(text), true)
}

export function dropCleanerCheckpoint({ context, directory }: Place): void {
  context.files.remove(joinPath(directory, CLEANER_CHECKPOINT_FILE))
}
