/**
 * How far one other replica is, as its leader sees it.
 *
 *   probe      where the logs agree is not known: one request at a time, without entries in flight
 *   replicate  they agree up to `nextOffset`: entries are sent on without waiting for answers
 *   load       what comes next is being read from the disk
 *   snapshot   what comes next is gone: a snapshot is sent, a part at a time
 *
 *   probe → replicate (an answer matches)      replicate → probe (an answer does not match)
 *   probe, replicate → load → replicate        probe, replicate → snapshot → probe
 */
import type { SnapshotId } from './messages.ts'
import type { ReplicaKey } from './replica-key.ts'

export type ProgressState = 'probe' | 'replicate' | 'load' | 'snapshot'

export class Progress {
  readonly key: ReplicaKey
  state: ProgressState = 'probe'
  /** Durable at the replica and equal to our log; exclusive. Never decreases. */
  matchedOffset = 0
  /** Of the first record that is sent next. At least `matchedOffset`. */
  nextOffset: number
  /** What it was last told is committed, no more than what that request reached. */
  toldCommittedOffset = -1
  /** A probe is under way; the next one waits for its answer or for a heartbeat. */
  isProbeOut = false
  /** End offsets of the requests with entries that are not answered, in order. */
  inFlight: number[] = []
  snapshot: SnapshotId | null = null
  /** Of the snapshot: where the part that is under way begins. */
  snapshotPosition = 0
  /** When that part was sent last. */
  partSentMs = Number.NEGATIVE_INFINITY
  /** When it last answered. */
  heardMs: number
  /** When it was last sent anything. */
  sentMs = Number.NEGATIVE_INFINITY

  constructor(key: ReplicaKey, nextOffset: number, nowMs: number) {
    this.key = key
    this.nextOffset = nextOffset
    this.heardMs = nowMs
  }

  probeFrom(offset: number): void {
    this.state = 'probe'
    this.nextOffset = Math.max(offset, this.matchedOffset)
    this.isProbeOut = false
    this.inFlight = []
    this.snapshot = null
  }

  matchedTo(offset: number): void {
    this.matchedOffset = Math.max(this.matchedOffset, offset)
    this.nextOffset = Math.max(this.nextOffset, offset)
    while (this.inFlight.length > 0 && (this.inFlight[0] as number) <= offset) this.inFlight.shift()
  }
}
