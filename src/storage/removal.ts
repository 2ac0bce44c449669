import type { Files } from './files.ts'

/**
 * Of a partition's directory that is being removed. What a crash leaves of one must never be taken
 * for a log: its oldest segments go first, and one that begins too late is believed by followers.
 */
const REMOVED_SUFFIX = '.removed'
/** A topic's id, and a partition: what others have in a log directory is not ours to remove. */
const REMOVED = new RegExp(`^[0-9a-f]{32}-\\d+\\${REMOVED_SUFFIX}$`)

/**
 * Removes the directory of a replica that the same broker may be given again: at once and durably,
 * however many files there are. Throws BrokerError.
 */
export function removeReplica(files: Files, directory: string): void {
  const aside = `${directory}${REMOVED_SUFFIX}`
  files.removeDirectory(aside)
  if (!files.exists(directory)) return
  files.rename(directory, aside)
  files.syncDirectory(directory.slice(0, directory.lastIndexOf('/')))
  files.removeDirectory(aside)
}

/** Whether a name in a log directory is of what `removeReplica` could not finish. */
export function isRemoved(name: string): boolean {
  return REMOVED.test(name)
}
