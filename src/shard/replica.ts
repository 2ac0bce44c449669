import { ErrorCode } from '../errors/error-code.ts'
import type { PartitionLeader } from '../replication/partition-leader.ts'
import type { PartitionLog } from '../storage/log.ts'
import type { Outbox } from './outbox.ts'
import { NO_OFFSETS, type WaitingAck } from './waiting-ack.ts'

/**
 * What a partition is to the others that have it, and who waits because of that. A partition whose
 * only replica is here has none of these, and pays for none.
 *
 *   leader     appends; its watermark is what the in-sync replicas have
 *   follower   takes what its leader has; appends are refused
 *   raw        takes what somebody else has decided, and nobody looks at epochs
 */
export type ReplicaRole = 'leader' | 'follower' | 'raw'

/** A FOLLOW that is written and not answered. */
export interface WaitingFollow {
  readonly token: number
  /** Exclusive: answered once so much counts here. */
  readonly endOffset: number
  readonly errorCode: ErrorCode
}

/** A follower that waits where its leader's log ends. */
export interface FollowerWatch {
  readonly brokerId: number
  readonly brokerEpoch: number
  readonly offset: number
}

/** What a follower has been told last. A broker that has restarted knows nothing of it. */
interface Told {
  brokerEpoch: number
  highWatermark: number
}

export class Replica {
  role: ReplicaRole
  /** Of a leader. */
  leader: PartitionLeader | null = null
  /** Appends with acks=1: they wait for what counts here, in offset order. */
  readonly localAcks: WaitingAck[] = []
  readonly follows: WaitingFollow[] = []
  readonly watches = new Map<number, FollowerWatch>()
  /** Where the log ended when the leader was last told. */
  #endOffset = 0
  readonly #told = new Map<number, Told>()

  constructor(role: ReplicaRole) {
    this.role = role
  }

  get isReplicated(): boolean {
    return this.role !== 'raw'
  }

  /** Somebody waits for something that happens to the open log. */
  get isWaitedFor(): boolean {
    return this.localAcks.length > 0 || this.follows.length > 0
  }

  lead(leader: PartitionLeader): void {
    this.role = 'leader'
    this.leader = leader
    this.#endOffset = leader.epochStartOffset
    this.#told.clear()
  }

  follow(): void {
    this.role = 'follower'
    this.leader = null
  }

  /** Why an append is not taken, or NONE. */
  refusalOf(append: { isInEpoch: boolean; needsAll: boolean }): ErrorCode {
    if (this.role === 'raw') return ErrorCode.NONE
    const { leader } = this
    if (leader === null || !append.isInEpoch) return ErrorCode.NOT_LEADER_OR_FOLLOWER
    if (append.needsAll && !leader.mayTakeAll) return ErrorCode.NOT_ENOUGH_REPLICAS
    return ErrorCode.NONE
  }

  /** Takes note of what the log has now, and answers whoever waits for that. */
  settle(log: PartitionLog, outbox: Outbox, nowMs: number): void {
    const { leader } = this
    if (leader !== null && log.logEndOffset < this.#endOffset) {
      // Opened again it is shorter: what it led is not there, and somebody else has to.
      this.follow()
      this.drop(outbox, ErrorCode.NOT_LEADER_OR_FOLLOWER)
    } else if (leader !== null) {
      this.#endOffset = log.logEndOffset
      leader.appended(log.logEndOffset, log.countedOffset, nowMs)
      log.setHighWatermark(leader.highWatermark)
      outbox.acknowledge(this.localAcks, log.countedOffset, log.logStartOffset)
      this.wakeFollowers(log.logEndOffset, outbox)
    }
    this.#answerFollows(log, outbox)
  }

  #answerFollows(log: PartitionLog, outbox: Outbox): void {
    const { follows } = this
    let done = 0
    while (done < follows.length) {
      const follow = follows[done] as WaitingFollow
      if (follow.endOffset > log.countedOffset) break
      outbox.followed(follow.token, follow.errorCode, log)
      done++
    }
    if (done > 0) follows.splice(0, done)
  }

  /** Those for whom there is something at their offset, or a watermark that they do not know. */
  wakeFollowers(logEndOffset: number, outbox: Outbox): void {
    for (const [token, { brokerId, brokerEpoch, offset }] of this.watches) {
      if (offset >= logEndOffset && !this.hasNews(brokerId, brokerEpoch)) continue
      this.watches.delete(token)
      outbox.wake(token)
    }
  }

  /** The follower has not been told the current high watermark. */
  hasNews(brokerId: number, brokerEpoch: number): boolean {
    const told = this.#told.get(brokerId)
    if (told === undefined || told.brokerEpoch !== brokerEpoch) return true
    return told.highWatermark < (this.leader?.highWatermark ?? -1)
  }

  noteTold(brokerId: number, brokerEpoch: number, highWatermark: number): void {
    const told = this.#told.get(brokerId)
    if (told === undefined) this.#told.set(brokerId, { brokerEpoch, highWatermark })
    else {
      told.brokerEpoch = brokerEpoch
      told.highWatermark = highWatermark
    }
  }

  /** Answers everyone who waits. */
  drop(outbox: Outbox, errorCode: number): void {
    for (const ack of this.localAcks) outbox.appended(ack.token, errorCode, NO_OFFSETS)
    this.localAcks.length = 0
    for (const follow of this.follows) outbox.followed(follow.token, errorCode, null)
    this.follows.length = 0
    for (const token of this.watches.keys()) outbox.wake(token)
    this.watches.clear()
  }
}
