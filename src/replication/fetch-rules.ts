/**
 * How a follower's log is made a prefix of its leader's (KIP-101, 279, 320, 595): a fetch says
 * where the follower's log ends and in which epoch; a leader that knows better says where that
 * epoch, or the one before it, ends in its own log, and the follower cuts and asks again. Pure.
 */

/** The leader epochs of a log. */
export interface LogEpochs {
  /** −1 when the log has none. */
  readonly latest: number
  /**
   * The end of the largest epoch ≤ the one asked for, which is at most `latest`. When the log
   * begins with a higher one, the epoch that was asked for and the log's start.
   */
  endOffsetFor(epoch: number, logEndOffset: number): EpochEnd
}

export interface EpochEnd {
  readonly epoch: number
  /** Exclusive. */
  readonly endOffset: number
}

export interface LeaderView {
  readonly leaderEpoch: number
  readonly epochs: LogEpochs
  readonly logStartOffset: number
  readonly logEndOffset: number
}

export interface FollowerFetch {
  /** The leader epoch that the follower knows; −1: not told, as consumers of old versions do. */
  readonly currentLeaderEpoch: number
  /** Of the last record that the follower has; −1 when its log is empty, or it does not tell. */
  readonly lastFetchedEpoch: number
  readonly fetchOffset: number
}

export type FetchCheck =
  | { readonly kind: 'ok' }
  /** The follower's log is not ours from somewhere on: it has to cut at this or before. */
  | { readonly kind: 'diverging'; readonly end: EpochEnd }
  /** The follower is behind the metadata; it will hear of the new epoch. */
  | { readonly kind: 'fenced' }
  /** We are behind the metadata; the follower asks again. */
  | { readonly kind: 'unknown-epoch' }
  | { readonly kind: 'out-of-range' }

/** What a leader makes of a fetch, before anything is read or counted. */
export function checkFetch(leader: LeaderView, fetch: FollowerFetch): FetchCheck {
  const { currentLeaderEpoch, lastFetchedEpoch, fetchOffset } = fetch
  if (currentLeaderEpoch >= 0) {
    if (currentLeaderEpoch < leader.leaderEpoch) return { kind: 'fenced' }
    if (currentLeaderEpoch > leader.leaderEpoch) return { kind: 'unknown-epoch' }
  }
  if (lastFetchedEpoch >= 0) {
    const end = endOf(leader.epochs, lastFetchedEpoch, leader.logEndOffset)
    if (end.epoch < lastFetchedEpoch || end.endOffset < fetchOffset) {
      return { kind: 'diverging', end }
    }
  }
  const isInLog = fetchOffset >= leader.logStartOffset && fetchOffset <= leader.logEndOffset
  return isInLog ? { kind: 'ok' } : { kind: 'out-of-range' }
}

/**
 * Where a follower cuts its log when the leader says that `end` is where the logs part; exclusive.
 * Both go down by epochs, so that several missed ones are found one after another (KIP-279).
 */
export function truncationOffset(
  follower: { readonly epochs: LogEpochs; readonly logEndOffset: number },
  end: EpochEnd,
): number {
  // The leader's log is empty.
  if (end.epoch < 0) return end.endOffset
  return Math.min(endOf(follower.epochs, end.epoch, follower.logEndOffset).endOffset, end.endOffset)
}

/** An epoch above all that have records ends where the log ends. */
function endOf(epochs: LogEpochs, epoch: number, logEndOffset: number): EpochEnd {
  if (epoch > epochs.latest) return { epoch: epochs.latest, endOffset: logEndOffset }
  return epochs.endOffsetFor(epoch, logEndOffset)
}
