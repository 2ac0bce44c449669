import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { checkFetch, type FetchCheck, truncationOffset } from '../replication/fetch-rules.ts'
import { PartitionLeader, THROTTLED_WAIT_MS_MAX } from '../replication/partition-leader.ts'
import type { PartitionLog } from '../storage/log.ts'
import type { ControlReply } from './control.ts'
import type { Partition } from './partition.ts'
import { Replica } from './replica.ts'
import type {
  FollowPartition,
  IsrProposalOf,
  LeadPartition,
  ReplicaRequest,
  ReplicaState,
} from './replica-control.ts'
import type { ShardState } from './shard-state.ts'

/**
 * A shard's partitions as replicas: who leads and who follows, as main says; fetches of followers;
 * what leaders want of the controller. The rules are those of `replication`; the brokers that may
 * be in sync are the same for all partitions. Part of the shard's turn.
 */
type RequestOf<K extends ReplicaRequest['kind']> = Extract<ReplicaRequest, { kind: K }>

/** A fetch of a follower, besides what any read says. */
export interface FollowerFetch {
  readonly replicaId: number
  /** The broker's epoch. */
  readonly replicaEpoch: number
  readonly currentLeaderEpoch: number
  readonly lastFetchedEpoch: number
  readonly followerLogStart: number
}

/** Leaders that a turn looks at because of time. */
const LEADERS_PER_TURN = 256
/** Proposals in one event: well below what a lane's record holds. */
const PROPOSALS_PER_EVENT = 128
const LAG_MS_MAX = 30_000

export class ReplicaService {
  readonly #state: ShardState
  /** A log's bytes are about to go: waits until nobody reads, flushes or compacts them. */
  readonly #quiesce: (partition: Partition) => void
  #self = -1
  #lagMsMax = LAG_MS_MAX
  #brokers = new Map<number, number>()
  readonly #leading = new Set<Partition>()
  /** Those that may have a proposal since the last turn's end. */
  readonly #touched = new Set<Partition>()
  #nextPassMs = Infinity
  /** When nobody waits any more for a throttled follower of each; the first ones first. */
  readonly #throttled = new Map<Partition, number>()
  /** Leaders that the pass under way has not looked at. */
  #pass: Iterator<Partition> | null = null

  constructor(state: ShardState, quiesce: (partition: Partition) => void) {
    this.#state = state
    this.#quiesce = quiesce
  }

  answer(request: ReplicaRequest): ControlReply {
    switch (request.kind) {
      case 'lead': {
        const states = request.partitions.map((one) => this.#lead(one))
        return { kind: 'replicas', states: states.filter((state) => state !== null) }
      }
      case 'follow':
        return { kind: 'replicas', states: request.partitions.map((one) => this.#follow(one)) }
      case 'replica-states':
        return { kind: 'replicas', states: request.handles.map((handle) => this.#stateOf(handle)) }
      case 'truncate':
        return this.#edit(request, request.leaderEpoch, (log) => {
          const { epochs, logEndOffset } = log
          return truncate(log, truncationOffset({ epochs, logEndOffset }, request.end))
        })
      case 'restart-at':
        return this.#edit(request, request.leaderEpoch, (log) => restart(log, request.offset))
      case 'truncate-to':
        return this.#edit(request, null, (log) => truncate(log, request.offset))
      case 'set-brokers':
        this.#setBrokers(request)
        return { kind: 'ok' }
      default:
        this.#onAltered(request)
        return { kind: 'ok' }
    }
  }

  /** One turn's share: time, and what leaders want to ask for. Returns how much was done. */
  run(nowMs: number): number {
    let work = 0
    if (this.#pass === null && nowMs >= this.#nextPassMs) {
      this.#pass = this.#leading.values()
      this.#nextPassMs = nowMs + this.#lagMsMax / 2
    }
    if (this.#pass !== null) work += this.#walk(this.#pass, nowMs)
    work += this.#waitNoMore(nowMs)
    if (this.#touched.size > 0) work += this.#tellProposals()
    return work
  }

  /** When `run` has something to do though nothing comes; monotonic. */
  get nextDeadlineMs(): number {
    if (this.#pass !== null || this.#touched.size > 0) return 0
    const [waitsUntilMs = Infinity] = this.#throttled.values()
    return this.#leading.size > 0 ? Math.min(this.#nextPassMs, waitsUntilMs) : waitsUntilMs
  }

  // —— roles ——

  /** Null when it was taken. */
  #lead(lead: LeadPartition): ReplicaState | null {
    const { handle, leaderEpoch, replicas, inSyncReplicas } = lead
    const partition = this.#state.partitions.get(handle)
    if (partition === undefined) return refused(handle, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    if (partition.replica?.role === 'raw') return refused(handle, ErrorCode.INVALID_REQUEST)
    if (leaderEpoch < partition.leaderEpoch) return refused(handle, ErrorCode.FENCED_LEADER_EPOCH)
    if (replicas.length === 1) {
      this.#leadAlone(partition, leaderEpoch)
      return null
    }
    const isOurs = replicas.includes(this.#self) && inSyncReplicas.includes(this.#self)
    if (!isOurs) return refused(handle, ErrorCode.INVALID_REQUEST)
    const replica = partition.replica ?? new Replica('follower')
    partition.replica = replica
    const log = this.#state.openLog(partition)
    if (log === null) return refused(handle, ErrorCode.KAFKA_STORAGE_ERROR)
    if (replica.leader?.leaderEpoch === leaderEpoch) this.#confirm(replica.leader, lead)
    else this.#beginLeading(replica, log, lead)
    partition.leaderEpoch = leaderEpoch
    if (this.#leading.size === 0) this.#nextPassMs = this.#nowMs + this.#lagMsMax / 2
    this.#leading.add(partition)
    this.#touched.add(partition)
    this.#state.settle(partition)
    return null
  }

  #beginLeading(replica: Replica, log: PartitionLog, lead: LeadPartition): void {
    const { outbox } = this.#state
    for (const { token } of replica.follows) {
      outbox.followed(token, ErrorCode.NOT_LEADER_OR_FOLLOWER, null)
    }
    replica.follows.length = 0
    const { logEndOffset, countedOffset, highWatermark } = log
    const leader = new PartitionLeader({
      ...lead,
      brokerId: this.#self,
      logEndOffset,
      countedOffset,
      highWatermark,
      options: { lagMsMax: this.#lagMsMax, minInSyncReplicas: lead.minInSyncReplicas },
      isEligible: this.#isEligible,
      nowMs: this.#nowMs,
    })
    replica.lead(leader)
  }

  /** News of the partition in the epoch that we lead. */
  #confirm(leader: PartitionLeader, lead: LeadPartition): void {
    const { minInSyncReplicas } = lead
    const options = { lagMsMax: this.#lagMsMax, minInSyncReplicas }
    // Of two changes in one message, what holds the watermark back comes first.
    if (minInSyncReplicas >= leader.options.minInSyncReplicas) {
      leader.setOptions(options, this.#nowMs)
      leader.confirmed(lead, this.#nowMs)
    } else {
      leader.confirmed(lead, this.#nowMs)
      leader.setOptions(options, this.#nowMs)
    }
  }

  /** Nobody else has it: everything that counts here is seen by all. */
  #leadAlone(partition: Partition, leaderEpoch: number): void {
    partition.leaderEpoch = leaderEpoch
    const { replica } = partition
    if (replica === null) return
    this.#leading.delete(partition)
    const acks = replica.localAcks.splice(0)
    replica.drop(this.#state.outbox, ErrorCode.NOT_LEADER_OR_FOLLOWER)
    partition.replica = null
    partition.waitingAcks.push(...acks)
    partition.waitingAcks.sort((a, b) => a.endOffset - b.endOffset)
    this.#state.settle(partition)
  }

  #follow({ handle, leaderEpoch }: FollowPartition): ReplicaState {
    const partition = this.#state.partitions.get(handle)
    if (partition === undefined) return refused(handle, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    if (partition.replica?.role === 'raw') return refused(handle, ErrorCode.INVALID_REQUEST)
    if (leaderEpoch < partition.leaderEpoch) return refused(handle, ErrorCode.FENCED_LEADER_EPOCH)
    const isNew = leaderEpoch > partition.leaderEpoch || partition.replica?.role !== 'follower'
    if (isNew) {
      this.#state.dropWaiters(partition, ErrorCode.NOT_LEADER_OR_FOLLOWER)
      this.#leading.delete(partition)
      const replica = partition.replica ?? new Replica('follower')
      replica.follow()
      partition.replica = replica
      partition.leaderEpoch = leaderEpoch
    }
    return this.#stateOf(handle)
  }

  #stateOf(handle: number): ReplicaState {
    const partition = this.#state.partitions.get(handle)
    if (partition === undefined) return refused(handle, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    const log = this.#state.openLog(partition)
    if (log === null) return refused(handle, ErrorCode.KAFKA_STORAGE_ERROR)
    const { logStartOffset, logEndOffset, highWatermark, latestEpoch } = log
    const errorCode = ErrorCode.NONE
    return { handle, errorCode, logStartOffset, logEndOffset, highWatermark, latestEpoch }
  }

  // —— a follower's log ——

  /** Changes what a log holds; a null epoch: only where nobody looks at epochs. */
  #edit(
    { handle, kind }: { readonly handle: number; readonly kind: string },
    leaderEpoch: number | null,
    change: (log: PartitionLog) => ErrorCode,
  ): ControlReply {
    const partition = this.#state.partitions.get(handle)
    if (partition === undefined) return failed(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    const code = editRefusal(partition, leaderEpoch)
    if (code !== ErrorCode.NONE) return failed(code)
    const log = this.#state.openLog(partition)
    if (log === null) return failed(ErrorCode.KAFKA_STORAGE_ERROR)
    this.#quiesce(partition)
    this.#state.dropWaiters(partition, ErrorCode.NOT_LEADER_OR_FOLLOWER)
    try {
      const code = change(log)
      if (code !== ErrorCode.NONE) return failed(code)
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      this.#state.refuse(partition, error)
      return failed(ErrorCode.KAFKA_STORAGE_ERROR, `${kind}: ${error.message}`)
    }
    return { kind: 'replicas', states: [this.#stateOf(handle)] }
  }

  // —— a leader's followers ——

  /** Takes a follower's fetch into account; 'ok': what lies at its offset may be read. */
  fetched(
    partition: Partition,
    log: PartitionLog,
    {
      follower,
      fetchOffset,
      isThrottled,
    }: {
      readonly follower: FollowerFetch
      readonly fetchOffset: number
      readonly isThrottled: boolean
    },
  ): FetchCheck | { readonly kind: 'not-leader' } {
    const leader = partition.replica?.leader
    const { logStartOffset, logEndOffset, epochs } = log
    const { leaderEpoch } = partition
    // Without a record there is nothing that could part from what the follower has.
    const isVacuous = epochs.latest < 0 && fetchOffset === logEndOffset
    const lastFetchedEpoch = isVacuous ? -1 : follower.lastFetchedEpoch
    const view = { leaderEpoch, epochs, logStartOffset, logEndOffset }
    const { currentLeaderEpoch } = follower
    const check = checkFetch(view, { currentLeaderEpoch, lastFetchedEpoch, fetchOffset })
    if (check.kind === 'fenced' || check.kind === 'unknown-epoch') return check
    if (leader == null) return { kind: 'not-leader' }
    if (check.kind !== 'ok') return check
    // What was written after the last note of it may be what the follower has.
    this.#state.settle(partition)
    const isReplica = leader.fetched(follower.replicaId, {
      brokerEpoch: follower.replicaEpoch,
      fetchOffset,
      logStartOffset: follower.followerLogStart,
      isThrottled,
      nowMs: this.#nowMs,
    })
    if (!isReplica) return { kind: 'not-leader' }
    this.#throttled.delete(partition)
    if (isThrottled) {
      this.#throttled.set(partition, this.#nowMs + THROTTLED_WAIT_MS_MAX + 1)
    }
    this.#touched.add(partition)
    this.#state.settle(partition)
    return check
  }

  #setBrokers({ self, lagMsMax, brokers }: RequestOf<'set-brokers'>): void {
    this.#self = self
    this.#brokers = new Map(brokers)
    if (lagMsMax !== this.#lagMsMax) {
      this.#lagMsMax = lagMsMax
      for (const { replica } of this.#leading) {
        const leader = replica?.leader
        leader?.setOptions({ ...leader.options, lagMsMax }, this.#nowMs)
      }
    }
    // Whoever may not be in sync any more holds no watermark back that it only held back as one
    // that was about to be.
    this.#nextPassMs = this.#nowMs
    this.#pass = null
  }

  #onAltered(answer: RequestOf<'alter-answer'>): void {
    const partition = this.#state.partitions.get(answer.handle)
    const leader = partition?.replica?.leader
    if (partition === undefined || leader == null) return
    const { leaderEpoch, partitionEpoch, errorCode } = answer
    if (leader.leaderEpoch !== leaderEpoch || leader.partitionEpoch !== partitionEpoch) return
    if (errorCode === ErrorCode.NONE) return
    if (errorCode === ErrorCode.REQUEST_TIMED_OUT) leader.proposalFailed()
    else leader.proposalRefused(errorCode as ErrorCode, this.#nowMs)
    this.#touched.add(partition)
    this.#state.settle(partition)
  }

  #walk(pass: Iterator<Partition>, nowMs: number): number {
    for (let i = 0; i < LEADERS_PER_TURN; i++) {
      const next = pass.next()
      if (next.done === true) {
        this.#pass = null
        return i
      }
      if (!this.#onTime(next.value, nowMs)) this.#leading.delete(next.value)
    }
    return LEADERS_PER_TURN
  }

  /** Leaders of which a throttle has held somebody back; returns how many. */
  #waitNoMore(nowMs: number): number {
    let count = 0
    for (const [partition, dueMs] of this.#throttled) {
      if (dueMs > nowMs || count === LEADERS_PER_TURN) break
      this.#throttled.delete(partition)
      this.#onTime(partition, nowMs)
      count++
    }
    return count
  }

  /** False when it is not led here any more. */
  #onTime(partition: Partition, nowMs: number): boolean {
    const leader = partition.replica?.leader
    if (leader == null || this.#state.partitions.get(partition.handle) !== partition) return false
    leader.onTime(nowMs)
    this.#touched.add(partition)
    if (partition.openedLog !== null) this.#state.settle(partition)
    else partition.replica?.wakeFollowers(-1, this.#state.outbox)
    return true
  }

  /** Returns how many. */
  #tellProposals(): number {
    let proposals: IsrProposalOf[] = []
    let count = 0
    for (const partition of this.#touched) {
      const leader = partition.replica?.leader
      const proposal = leader?.takeProposal()
      if (leader == null || proposal == null) continue
      const { handle } = partition
      proposals.push({ handle, leaderEpoch: leader.leaderEpoch, ...proposal })
      count++
      if (proposals.length < PROPOSALS_PER_EVENT) continue
      this.#state.outbox.event({ kind: 'isr-proposals', proposals })
      proposals = []
    }
    if (proposals.length > 0) this.#state.outbox.event({ kind: 'isr-proposals', proposals })
    this.#touched.clear()
    return count
  }

  readonly #isEligible = (brokerId: number, brokerEpoch: number): boolean =>
    this.#brokers.get(brokerId) === brokerEpoch

  get #nowMs(): number {
    return this.#state.context.clock.monotonicMs()
  }
}

function truncate(log: PartitionLog, offset: number): ErrorCode {
  // The logs part before this one begins: nothing of it is the leader's.
  if (offset < log.logStartOffset) return restart(log, offset)
  log.truncateTo(offset)
  return ErrorCode.NONE
}

function restart(log: PartitionLog, offset: number): ErrorCode {
  if (!Number.isSafeInteger(offset) || offset < 0) return ErrorCode.INVALID_REQUEST
  log.truncateFullyAndStartAt(offset)
  return ErrorCode.NONE
}

/** Why somebody may not change what the log holds, or NONE. */
function editRefusal(partition: Partition, leaderEpoch: number | null): ErrorCode {
  const role = partition.replica?.role
  if (role === 'raw') return ErrorCode.NONE
  if (role !== 'follower' || leaderEpoch === null) return ErrorCode.NOT_LEADER_OR_FOLLOWER
  if (leaderEpoch < partition.leaderEpoch) return ErrorCode.FENCED_LEADER_EPOCH
  return leaderEpoch > partition.leaderEpoch ? ErrorCode.UNKNOWN_LEADER_EPOCH : ErrorCode.NONE
}

function refused(handle: number, errorCode: ErrorCode): ReplicaState {
  const unknown = { logStartOffset: -1, logEndOffset: -1, highWatermark: -1, latestEpoch: -1 }
  return { handle, errorCode, ...unknown }
}

function failed(errorCode: number, message = ''): ControlReply {
  return { kind: 'failed', errorCode, message }
}
