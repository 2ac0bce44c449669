/**
 * What Raft replicates: record batches of the metadata log, of which it knows nothing but where
 * they lie, the epoch in which they were written, and whether they change the voters.
 */
import type { ReplicaKey } from './replica-key.ts'

export interface Entry {
  readonly epoch: number
  /** Of the batch's first record. */
  readonly baseOffset: number
  /** Exclusive. */
  readonly endOffset: number
  /** The batch; Raft does not look into it. */
  readonly bytes: Uint8Array
  /** The voters from this entry on; null when it changes nothing about them. */
  readonly voters: readonly ReplicaKey[] | null
}

export function bytesOf(entries: readonly Entry[]): number {
  return entries.reduce((sum, { bytes }) => sum + bytes.length, 0)
}
