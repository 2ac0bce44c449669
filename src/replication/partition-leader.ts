/**
 * What the leader of one partition decides about its followers, for one leader epoch: how far the
 * high watermark is, who is in the in-sync replicas (ISR), and whether a write to all of them may
 * be taken. Pure; the shard brings fetches, appends, time and the controller's answers.
 *
 * The ISR belongs to the controller. The leader proposes (AlterPartition), and until it is answered
 * it counts with whoever may be in it: a proposed member holds the high watermark back already, a
 * member that is to leave still does (KIP-497). So whichever of the two sets the controller knows,
 * every one of its members has what is below the watermark.
 *
 *   highWatermark   first offset that not all of the maximal ISR have; never decreases. Frozen
 *                   while the ISR is smaller than min.insync.replicas (KIP-966)
 *   join            a follower that has reached the watermark and the start of this epoch, of a
 *                   broker that may (KIP-841) and whose registration is the current one (KIP-903)
 *   leave           a follower that was not caught up for replica.lag.time.max.ms
 */
import { assert } from '../base/assert.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { FollowerProgress } from './follower-progress.ts'

export interface IsrMember {
  readonly brokerId: number
  readonly brokerEpoch: number
}

export interface IsrProposal {
  readonly members: readonly IsrMember[]
  /** The proposal is about the partition as it was at this epoch. */
  readonly partitionEpoch: number
}

export interface PartitionLeaderOptions {
  readonly lagMsMax: number
  readonly minInSyncReplicas: number
}

export interface PartitionLeaderParts {
  readonly brokerId: number
  readonly leaderEpoch: number
  readonly partitionEpoch: number
  /** Broker ids, this one among them. */
  readonly replicas: readonly number[]
  readonly inSyncReplicas: readonly number[]
  /** Where the log of this leader ends, exclusive; its epoch starts there. */
  readonly logEndOffset: number
  /** How much of it counts for the watermark: where it must be flushed, what is. */
  readonly countedOffset: number
  /** What was known of it before; at most `logEndOffset`. */
  readonly highWatermark: number
  readonly options: PartitionLeaderOptions
  /**
   * Whether a broker may be in an ISR, as the metadata says: it is not fenced, not shutting down,
   * and registered with this epoch.
   */
  readonly isEligible: (brokerId: number, brokerEpoch: number) => boolean
  readonly nowMs: number
}

/**
 * A throttle may keep a follower that was nearly there away for long: others must not wait. After
 * so long, and no longer, `onTime` is to be called.
 */
export const THROTTLED_WAIT_MS_MAX = 500

function waitMsFor({ isThrottled }: FollowerProgress, lagMsMax: number): number {
  return isThrottled ? Math.min(lagMsMax, THROTTLED_WAIT_MS_MAX) : lagMsMax
}

export class PartitionLeader {
  readonly leaderEpoch: number
  readonly epochStartOffset: number
  readonly #brokerId: number
  readonly #isEligible: PartitionLeaderParts['isEligible']
  readonly #followers = new Map<number, FollowerProgress>()
  #options: PartitionLeaderOptions
  #partitionEpoch: number
  #inSyncReplicas: ReadonlySet<number>
  /**
   * What the controller has been asked for and not answered: the members, and the broker epoch with
   * which each was found to have all (−1: not heard). One that registers anew meanwhile may have
   * lost something, so a proposal that is made again names the epoch that it named (KIP-903).
   */
  #proposed: ReadonlyMap<number, number> | null = null
  #isProposalOpen = false
  #logEndOffset: number
  /** Of our own log, what counts for the watermark: all of it, or what is flushed. */
  #countedOffset: number
  #highWatermark: number

  constructor(parts: PartitionLeaderParts) {
    assert(parts.inSyncReplicas.includes(parts.brokerId), 'a leader is in sync with itself')
    assert(parts.highWatermark <= parts.logEndOffset)
    this.leaderEpoch = parts.leaderEpoch
    this.epochStartOffset = parts.logEndOffset
    this.#brokerId = parts.brokerId
    this.#isEligible = parts.isEligible
    this.#options = parts.options
    this.#partitionEpoch = parts.partitionEpoch
    this.#inSyncReplicas = new Set(parts.inSyncReplicas)
    this.#logEndOffset = parts.logEndOffset
    this.#countedOffset = parts.countedOffset
    this.#highWatermark = parts.highWatermark
    for (const id of parts.replicas) this.#addFollower(id, parts.nowMs)
    this.#advance(parts.nowMs)
  }

  get highWatermark(): number {
    return this.#highWatermark
  }

  get options(): PartitionLeaderOptions {
    return this.#options
  }

  get partitionEpoch(): number {
    return this.#partitionEpoch
  }

  /** As the controller has confirmed it. */
  get inSyncReplicas(): ReadonlySet<number> {
    return this.#inSyncReplicas
  }

  get followers(): ReadonlyMap<number, FollowerProgress> {
    return this.#followers
  }

  /** Whether a write with `acks=all` may be taken; otherwise NOT_ENOUGH_REPLICAS. */
  get mayTakeAll(): boolean {
    return this.#inSyncReplicas.size >= this.#minInSyncReplicas
  }

  /**
   * Options come with the metadata, in the order of its log: a lower minimum is used only after the
   * partition has been told that nobody is eligible any more (`minInSyncReplicasChanged`).
   */
  setOptions(options: PartitionLeaderOptions, nowMs: number): void {
    this.#options = options
    this.#advance(nowMs)
  }

  // —— what happens ——

  /** Our own log ends here now, and so much of it counts for the watermark. */
  appended(logEndOffset: number, countedOffset: number, nowMs: number): void {
    assert(logEndOffset >= this.#logEndOffset && countedOffset >= this.#countedOffset)
    assert(countedOffset <= logEndOffset)
    this.#logEndOffset = logEndOffset
    this.#countedOffset = countedOffset
    this.#advance(nowMs)
  }

  /**
   * A follower fetches from `fetchOffset`, and has all before. Its epoch and its last fetched epoch
   * have been checked: its log is a prefix of ours. False for a broker that is no replica.
   */
  fetched(
    brokerId: number,
    fetch: {
      readonly brokerEpoch: number
      readonly fetchOffset: number
      readonly logStartOffset: number
      /** Somebody holds back what it copies. */
      readonly isThrottled?: boolean
      readonly nowMs: number
    },
  ): boolean {
    const follower = this.#followers.get(brokerId)
    if (follower === undefined) return false
    // A fetch of a registration before this one was under way when the broker restarted: what it
    // says it had may be lost (KIP-903).
    if (fetch.brokerEpoch < follower.brokerEpoch) return true
    assert(fetch.fetchOffset <= this.#logEndOffset, 'a follower has what there is')
    follower.fetched(fetch, this.#logEndOffset)
    follower.isThrottled = fetch.isThrottled ?? false
    this.#maybeExpand(follower, fetch.nowMs)
    this.#advance(fetch.nowMs)
    return true
  }

  /** To be called now and then: who lags for too long is proposed to leave. */
  onTime(nowMs: number): void {
    // Who was waited for, as it was about to join, may have fallen behind.
    this.#advance(nowMs)
    if (this.#proposed !== null) return
    const { lagMsMax } = this.#options
    const staying = [...this.#inSyncReplicas].filter((id) => {
      const follower = this.#followers.get(id)
      return follower === undefined || follower.isCaughtUp(this.#logEndOffset, nowMs, lagMsMax)
    })
    if (staying.length < this.#inSyncReplicas.size) this.#propose(staying)
  }

  // —— the controller ——

  /** What to ask the controller for, once each; null when nothing is new. */
  takeProposal(): IsrProposal | null {
    if (!this.#isProposalOpen || this.#proposed === null) return null
    this.#isProposalOpen = false
    const members = [...this.#proposed].map(([brokerId, brokerEpoch]): IsrMember => {
      return { brokerId, brokerEpoch }
    })
    return { members, partitionEpoch: this.#partitionEpoch }
  }

  /** The request got lost, or the controller was not there: it is asked again. */
  proposalFailed(): void {
    if (this.#proposed !== null) this.#isProposalOpen = true
  }

  /**
   * The controller does not take it. Only a refusal that it gives to the current state says that
   * nothing came of it; any other may be the answer to a second copy, and what holds comes with the
   * metadata.
   */
  proposalRefused(code: ErrorCode, nowMs: number): void {
    const isCurrent = code === ErrorCode.INELIGIBLE_REPLICA || code === ErrorCode.INVALID_REQUEST
    if (!isCurrent) return
    this.#proposed = null
    this.#isProposalOpen = false
    this.#advance(nowMs)
  }

  /** The partition as the controller has it, in this leader epoch. Older news is nothing. */
  confirmed(
    partition: {
      readonly partitionEpoch: number
      readonly replicas: readonly number[]
      readonly inSyncReplicas: readonly number[]
    },
    nowMs: number,
  ): void {
    if (partition.partitionEpoch <= this.#partitionEpoch) return
    assert(partition.inSyncReplicas.includes(this.#brokerId), 'a leader is in sync with itself')
    this.#partitionEpoch = partition.partitionEpoch
    this.#inSyncReplicas = new Set(partition.inSyncReplicas)
    this.#proposed = null
    this.#isProposalOpen = false
    for (const id of this.#followers.keys()) {
      if (!partition.replicas.includes(id)) this.#followers.delete(id)
    }
    for (const id of partition.replicas) this.#addFollower(id, nowMs)
    this.#advance(nowMs)
  }

  // —— inside ——

  #addFollower(id: number, nowMs: number): void {
    if (id === this.#brokerId || this.#followers.has(id)) return
    // A member of the ISR has been caught up until now; others have to show it.
    const caughtUpMs = this.#inSyncReplicas.has(id) ? nowMs : Number.NEGATIVE_INFINITY
    this.#followers.set(id, new FollowerProgress(id, caughtUpMs))
  }

  #maybeExpand(follower: FollowerProgress, nowMs: number): void {
    if (this.#proposed !== null || this.#inSyncReplicas.has(follower.brokerId)) return
    if (!this.#mayJoin(follower)) return
    // One that reaches the watermark once and stays behind would hold it back for as long as it
    // may lag.
    if (!follower.isCaughtUp(this.#logEndOffset, nowMs, this.#options.lagMsMax)) return
    this.#propose([...this.#inSyncReplicas, follower.brokerId])
  }

  #mayJoin({ brokerId, brokerEpoch, logEndOffset }: FollowerProgress): boolean {
    return (
      logEndOffset >= this.#highWatermark &&
      logEndOffset >= this.epochStartOffset &&
      this.#isEligible(brokerId, brokerEpoch)
    )
  }

  #propose(members: readonly number[]): void {
    this.#proposed = new Map(members.map((id) => [id, this.#followers.get(id)?.brokerEpoch ?? -1]))
    this.#isProposalOpen = true
  }

  /** Of a topic with fewer replicas than it asks for, all that there are. */
  get #minInSyncReplicas(): number {
    return Math.min(this.#options.minInSyncReplicas, this.#followers.size + 1)
  }

  #advance(nowMs: number): void {
    if (!this.mayTakeAll) return
    const { lagMsMax } = this.#options
    let lowest = this.#countedOffset
    for (const follower of this.#followers.values()) {
      const { brokerId, logEndOffset } = follower
      const counts =
        this.#inSyncReplicas.has(brokerId) ||
        this.#proposed?.has(brokerId) === true ||
        // About to join: without it a watermark that keeps moving is never reached.
        (follower.isCaughtUp(this.#logEndOffset, nowMs, waitMsFor(follower, lagMsMax)) &&
          this.#isEligible(brokerId, follower.brokerEpoch))
      if (counts) lowest = Math.min(lowest, logEndOffset)
    }
    if (lowest > this.#highWatermark) this.#highWatermark = lowest
  }
}
