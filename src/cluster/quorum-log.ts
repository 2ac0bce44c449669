import type { Entry } from '../raft/entry.ts'
import type { SnapshotId } from '../raft/messages.ts'
import type { StoredLog } from '../raft/raft-log.ts'
import type { ReplicaKey } from '../raft/replica-key.ts'

/** What a start finds of a quorum's log. */
export interface FoundLog extends StoredLog {
  /** as of the start of the log; null: those that the quorum had first. */
  readonly voters: readonly ReplicaKey[] | null
  readonly entries: readonly Entry[]
}

/**
 * Where a replica of the quorum keeps its log. Operations take effect in the order of the calls and
 * are durable when they resolve; a rejection ends the process.
 */
export interface QuorumLog {
  append(entries: readonly Entry[]): Promise<void>
  /** Everything at and above `offset` goes. */
  truncate(offset: number): Promise<void>
  /** Everything goes; the log begins anew at `offset`. */
  reset(offset: number): Promise<void>
  /** Entries from `offset` on, at least one; empty when they are not there any more. */
  read(offset: number): Promise<readonly Entry[]>
}

/** What the records in front of a log's entries add up to. */
export interface FoundSnapshot {
  readonly snapshot: SnapshotId
  /** As of its end. */
  readonly voters: readonly ReplicaKey[]
}

const NO_SNAPSHOT: SnapshotId = { endOffset: 0, epoch: 0 }

/**
 * What a start begins with, of a log's entries and the newest snapshot. `isOther`: the log does not
 * hold the snapshot, so that it is older, or another one, and has to begin anew at its end (see
 * `raft/README.md`). Null when neither holds what the log began with.
 */
export function foundLog(
  log: { readonly startOffset: number; readonly entries: readonly Entry[] },
  begin: FoundSnapshot | null,
): (FoundLog & { readonly isOther: boolean }) | null {
  const snapshot = begin?.snapshot ?? NO_SNAPSHOT
  const voters = begin?.voters ?? null
  if (log.startOffset > snapshot.endOffset) return null
  const isHeld =
    log.startOffset === snapshot.endOffset ||
    log.entries.some(
      ({ endOffset, epoch }) => endOffset === snapshot.endOffset && epoch === snapshot.epoch,
    )
  const entries = isHeld
    ? log.entries.filter(({ baseOffset }) => baseOffset >= snapshot.endOffset)
    : []
  const epochs: { epoch: number; startOffset: number }[] = []
  for (const { epoch, baseOffset } of entries) {
    const latest = epochs.at(-1)?.epoch ?? snapshot.epoch
    if (latest < epoch) epochs.push({ epoch, startOffset: baseOffset })
  }
  const endOffset = entries.at(-1)?.endOffset ?? snapshot.endOffset
  return { snapshot, epochs, endOffset, voters, entries, isOther: !isHeld }
}
