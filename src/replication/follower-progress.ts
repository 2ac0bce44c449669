/**
 * How far one follower of a partition is, as its leader sees it (Kafka's `Replica`). A follower is
 * caught up at a time when its fetch reached the leader's log end of that time, so a leader that
 * is written to all the while still knows who keeps pace.
 */
export class FollowerProgress {
  readonly brokerId: number
  /** Of the broker's registration; −1 before its first fetch. */
  brokerEpoch = -1
  /** Where its log ends, as far as it has asked; exclusive. −1 before its first fetch. */
  logEndOffset = -1
  logStartOffset = -1
  /** What it copies was held back, or could be, at its last fetch. */
  isThrottled = false
  /** When its log last reached the end of the leader's. */
  caughtUpMs: number
  #fetchMs = Number.NEGATIVE_INFINITY
  #leaderEndAtFetch = -1

  constructor(brokerId: number, caughtUpMs: number) {
    this.brokerId = brokerId
    this.caughtUpMs = caughtUpMs
  }

  /** `leaderEndOffset`: where the leader's log ends now, exclusive. */
  fetched(
    at: {
      readonly brokerEpoch: number
      readonly fetchOffset: number
      readonly logStartOffset: number
      readonly nowMs: number
    },
    leaderEndOffset: number,
  ): void {
    if (at.fetchOffset >= leaderEndOffset) this.caughtUpMs = Math.max(this.caughtUpMs, at.nowMs)
    else if (at.fetchOffset >= this.#leaderEndAtFetch) {
      this.caughtUpMs = Math.max(this.caughtUpMs, this.#fetchMs)
    }
    this.brokerEpoch = at.brokerEpoch
    this.logEndOffset = at.fetchOffset
    this.logStartOffset = at.logStartOffset
    this.#fetchMs = at.nowMs
    this.#leaderEndAtFetch = leaderEndOffset
  }

  isCaughtUp(leaderEndOffset: number, nowMs: number, lagMsMax: number): boolean {
    return this.logEndOffset === leaderEndOffset || nowMs - this.caughtUpMs <= lagMsMax
  }
}
