/**
 * A broker of a simulated cluster: registers, follows the metadata, leads and follows partitions
 * with the real rules of `src/replication`. What goes over the network is a call that may get lost,
 * come twice or late, and so may its answer.
 */
import type { Random } from '../../../src/base/random.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import type { PartitionState } from '../../../src/metadata/partition-rules.ts'
import { checkFetch, truncationOffset } from '../../../src/replication/fetch-rules.ts'
import {
  PartitionLeader,
  type PartitionLeaderOptions,
} from '../../../src/replication/partition-leader.ts'
import type { EventClock } from '../event-clock.ts'
import { journal } from '../journal.ts'
import type { Links } from '../links.ts'
import { require_ } from '../violation.ts'
import type { ReplicationChecker } from './replication-checker.ts'
import {
  type Cluster,
  CONTROLLER_ID,
  type FetchAnswer,
  type FetchCall,
  type FetchSource,
} from './replication-cluster.ts'
import type { ReplicationPlan } from './replication-plan.ts'
import type { Metadata } from './sim-controller.ts'
import { SimReplica } from './sim-replica.ts'

interface Role {
  readonly leaderId: number
  readonly leaderEpoch: number
  readonly leader: PartitionLeader | null
  /** Writes that wait for all, by offset. */
  readonly waiting: { readonly offset: number; readonly value: string }[]
  /** The fetch that is under way; 0: none. */
  fetchToken: number
  fetchedMs: number
  proposalToken: number
  proposedMs: number
}

const HEARTBEAT_MS = 80
const RETRY_MS = 250
const EMPTY_FETCH_MS = 40

export class SimBroker implements FetchSource {
  readonly id: number
  /** By partition, of those that have a replica here. */
  readonly replicas: (SimReplica | undefined)[] = []
  isUp = false
  isPaused = false
  life = 0
  readonly #plan: ReplicationPlan
  readonly #clock: EventClock
  readonly #links: Links
  readonly #random: Random
  readonly #checker: ReplicationChecker
  readonly #cluster: Cluster
  /** What the next start may say of its past: the epoch in which nothing was lost; −1: none. */
  #cleanEpoch = -1
  #previousEpoch = -1
  #epoch = -1
  #metadata: Metadata | null = null
  #roles: Role[] = []
  #inbox: (() => void)[] = []
  #tokens = 1
  #isStopping = false

  constructor(id: number, cluster: Cluster, random: Random) {
    this.id = id
    this.#cluster = cluster
    this.#plan = cluster.plan
    this.#clock = cluster.clock
    this.#links = cluster.links
    this.#checker = cluster.checker
    this.#random = random
  }

  roleOf(partition: number): Role | undefined {
    return this.#roles[partition]
  }

  // —— living and dying ——

  start(): void {
    this.life++
    this.isUp = true
    this.isPaused = false
    this.#isStopping = false
    this.#epoch = -1
    this.#metadata = null
    this.#roles = []
    this.#inbox = []
    const previousEpoch = this.#cleanEpoch
    this.#previousEpoch = previousEpoch
    this.#cleanEpoch = -1
    const { life } = this
    const register = (): void => {
      if (life !== this.life || this.#epoch >= 0) return
      this.#call(
        CONTROLLER_ID,
        () => this.#cluster.controller.register(this.id, life, previousEpoch),
        (epoch) => {
          this.#epoch = Math.max(this.#epoch, epoch)
        },
      )
      this.#clock.after(RETRY_MS, register)
    }
    register()
    this.#every(HEARTBEAT_MS, () => this.#heartbeat())
    this.#every(20, () => this.#tick())
  }

  /**
   * `isKnown`: the start after it can tell that the machine has run on (the same boot), so that the
   * page cache is whole.
   */
  crash(isPowerLoss: boolean, isKnown: boolean): void {
    if (isKnown) this.#cleanEpoch = this.#epoch >= 0 ? this.#epoch : this.#previousEpoch
    journal(() => `broker ${this.id} ${isPowerLoss ? 'loses power' : 'is killed'}`)
    this.isUp = false
    this.life++
    for (const replica of this.replicas) replica?.lose(isPowerLoss, this.#random)
  }

  /** Leads nothing any more, puts all on the disk, and ends. */
  stop(done: () => void): void {
    if (!this.isUp || this.#isStopping || this.#epoch < 0) return
    this.#isStopping = true
    const epoch = this.#epoch
    this.#every(RETRY_MS, () => {
      this.#call(
        CONTROLLER_ID,
        () => {
          this.#cluster.controller.stop(this.id, epoch)
          return epoch
        },
        () => {
          journal(() => `broker ${this.id} stops in order`)
          for (const replica of this.replicas) {
            if (replica !== undefined) replica.flushedOffset = replica.logEndOffset
          }
          this.crash(false, true)
          done()
        },
      )
    })
  }

  /** Now, or as soon as the process goes on. */
  input(run: () => void): void {
    if (!this.isUp) return
    if (this.isPaused) this.#inbox.push(run)
    else run()
  }

  resume(): void {
    this.isPaused = false
    for (const run of this.#inbox.splice(0)) this.input(run)
  }

  // —— clients ——

  /** Appends if this broker takes itself for the leader. */
  produce(partition: number, value: string, needsAll: boolean): void {
    const role = this.#roles[partition]
    if (!this.isUp || this.isPaused || role?.leader == null) return
    if (needsAll && !role.leader.mayTakeAll) {
      this.#cluster.count('writes refused below the minimum')
      return
    }
    const replica = this.replicas[partition] as SimReplica
    replica.append([{ epoch: role.leaderEpoch, value }])
    this.#cluster.count('writes')
    if (needsAll) role.waiting.push({ offset: replica.logEndOffset - 1, value })
    this.#written(partition, role)
  }

  // —— leading ——

  serveFetch(partition: number, call: FetchCall): FetchAnswer {
    const role = this.#roles[partition]
    const leader = role?.leader
    if (role === undefined || leader == null) return { kind: 'error' }
    const replica = this.replicas[partition] as SimReplica
    const { leaderEpoch } = role
    const { logEndOffset } = replica
    const check = checkFetch(
      { leaderEpoch, epochs: replica, logStartOffset: 0, logEndOffset },
      call,
    )
    if (check.kind === 'diverging') return check
    if (check.kind !== 'ok') {
      this.#cluster.count(`fetches refused: ${check.kind}`)
      return { kind: 'error' }
    }
    const { brokerId, brokerEpoch, fetchOffset } = call
    const nowMs = this.#clock.nowMs
    leader.fetched(brokerId, { brokerEpoch, fetchOffset, logStartOffset: 0, nowMs })
    this.#watermarkMoved(partition, role)
    this.#sendProposal(partition, role)
    const end = fetchOffset + this.#plan.fetchRecordsMax
    return {
      kind: 'records',
      records: replica.records.slice(fetchOffset, end),
      hw: leader.highWatermark,
    }
  }

  #written(partition: number, role: Role): void {
    const replica = this.replicas[partition] as SimReplica
    this.#leaderAppended(partition, role)
    if (this.#plan.mode !== 'flushes') return
    this.#flush(replica, () => {
      const now = this.#roles[partition]
      if (now !== undefined) this.#leaderAppended(partition, now)
    })
  }

  #leaderAppended(partition: number, role: Role): void {
    const { leader } = role
    if (leader === null) return
    const replica = this.replicas[partition] as SimReplica
    leader.appended(replica.logEndOffset, this.#countedOffset(replica), this.#clock.nowMs)
    this.#watermarkMoved(partition, role)
  }

  #countedOffset(replica: SimReplica): number {
    return this.#plan.mode === 'flushes' ? replica.flushedOffset : replica.logEndOffset
  }

  #watermarkMoved(partition: number, role: Role): void {
    const { leader, waiting } = role
    if (leader === null) return
    const replica = this.replicas[partition] as SimReplica
    if (leader.highWatermark === replica.highWatermark) return
    replica.highWatermark = leader.highWatermark
    this.#checker.onWatermark(this, { partition, epoch: role.leaderEpoch }, replica)
    // Where one machine at a time loses what it had, the leader may count with that for a while.
    if (this.#plan.mode !== 'one loss') {
      const others = [...leader.inSyncReplicas].map((id) => this.#cluster.broker(id))
      this.#checker.onCounted(partition, replica, others)
    }
    while (waiting.length > 0 && (waiting[0]?.offset ?? 0) < leader.highWatermark) {
      const { offset, value } = waiting.shift() as (typeof waiting)[number]
      this.#checker.onAcknowledged(partition, offset, value)
    }
  }

  #sendProposal(partition: number, role: Role): void {
    const { leader } = role
    const proposal = leader?.takeProposal()
    if (leader === null || proposal == null) return
    const { members, partitionEpoch } = proposal
    const { leaderEpoch } = role
    const token = this.#tokens++
    role.proposalToken = token
    role.proposedMs = this.#clock.nowMs
    const request = { brokerId: this.id, brokerEpoch: this.#epoch, leaderEpoch, partitionEpoch }
    const own = members.map((member) =>
      member.brokerId === this.id ? { ...member, brokerEpoch: this.#epoch } : member,
    )
    this.#call(
      CONTROLLER_ID,
      () => this.#cluster.controller.alter(partition, { ...request, members: own }),
      (code) => {
        if (role.proposalToken !== token) return
        role.proposalToken = 0
        // What was taken comes with the metadata.
        if (code !== ErrorCode.NONE) {
          this.#cluster.count('changes of the ISR refused')
          leader.proposalRefused(code, this.#clock.nowMs)
          this.#watermarkMoved(partition, role)
        } else this.#cluster.count('changes of the ISR')
      },
    )
  }

  // —— following ——

  #fetch(partition: number, role: Role): void {
    const replica = this.replicas[partition] as SimReplica
    role.fetchedMs = this.#clock.nowMs
    // The leader counts what is asked from there as had, so it is on the disk first.
    if (this.#countedOffset(replica) < replica.logEndOffset) {
      this.#flush(replica, () => this.#fetchSoon(partition, 0))
      return
    }
    const token = this.#tokens++
    role.fetchToken = token
    const fetchOffset = replica.logEndOffset
    const call: FetchCall = {
      brokerId: this.id,
      brokerEpoch: this.#epoch,
      currentLeaderEpoch: role.leaderEpoch,
      lastFetchedEpoch: replica.records[fetchOffset - 1]?.epoch ?? -1,
      fetchOffset,
    }
    const { leaderId } = role
    this.#call(
      leaderId,
      () => this.#cluster.broker(leaderId).serveFetch(partition, call),
      (answer) => {
        if (role.fetchToken !== token || this.#roles[partition] !== role) return
        role.fetchToken = 0
        this.#onFetched(partition, fetchOffset, answer)
      },
    )
  }

  #onFetched(partition: number, fetchOffset: number, answer: FetchAnswer): void {
    const replica = this.replicas[partition] as SimReplica
    if (answer.kind === 'error') return
    if (answer.kind === 'diverging') {
      const offset = truncationOffset(
        { epochs: replica, logEndOffset: replica.logEndOffset },
        answer.end,
      )
      this.#truncate(partition, replica, offset)
      this.#fetchSoon(partition, 0)
      return
    }
    require_(
      fetchOffset === replica.logEndOffset,
      'a fetch goes on where the log ends',
      () => `broker ${this.id}, partition ${partition}: ${fetchOffset} of ${replica.logEndOffset}`,
    )
    replica.append(answer.records)
    replica.highWatermark = Math.max(
      replica.highWatermark,
      Math.min(answer.hw, replica.logEndOffset),
    )
    this.#fetchSoon(partition, answer.records.length === 0 ? EMPTY_FETCH_MS : 0)
  }

  #flush(replica: SimReplica, done: () => void): void {
    const { life } = this
    const end = replica.logEndOffset
    this.#clock.after(this.#random.fraction() * this.#plan.flushMsMax, () => {
      if (life !== this.life) return
      this.input(() => {
        // A truncation may have come between.
        replica.flushedOffset = Math.max(replica.flushedOffset, Math.min(end, replica.logEndOffset))
        done()
      })
    })
  }

  #truncate(partition: number, replica: SimReplica, offset: number): void {
    if (offset >= replica.logEndOffset) return
    this.#cluster.count('truncations')
    const gone = new Set(replica.records.slice(offset).map(({ epoch }) => epoch))
    if (gone.size > 1) this.#cluster.count('truncations over several epochs')
    journal(() => `broker ${this.id} cuts partition ${partition} at ${offset}`)
    require_(
      offset >= replica.highWatermark,
      'what is below the watermark is never cut',
      () => `broker ${this.id}, partition ${partition}: ${offset} below ${replica.highWatermark}`,
    )
    replica.truncateTo(offset)
  }

  #fetchSoon(partition: number, delayMs: number): void {
    const { life } = this
    const role = this.#roles[partition]
    if (role === undefined || role.leader !== null || role.leaderId < 0) return
    this.#clock.after(delayMs, () => {
      if (life !== this.life) return
      this.input(() => {
        if (this.#roles[partition] === role && role.fetchToken === 0) this.#fetch(partition, role)
      })
    })
  }

  // —— the controller ——

  #heartbeat(): void {
    if (this.#epoch < 0) return
    const epoch = this.#epoch
    const version = this.#metadata?.version ?? 0
    this.#call(
      CONTROLLER_ID,
      () => {
        this.#cluster.controller.heartbeat(this.id, epoch, version)
        return this.#cluster.controller.metadata()
      },
      (metadata) => this.#apply(metadata, epoch),
    )
  }

  #apply(metadata: Metadata, epoch: number): void {
    // Nothing from before the registration counts: it did not know yet what this broker has lost.
    if (epoch !== this.#epoch || metadata.version <= (this.#metadata?.version ?? 0)) return
    // Several changes at once have no order: between them the higher minimum holds. With the lower
    // one too early a leader that is deposed would move its watermark, with it too late one that
    // has lost a member.
    const before = this.#options.minInSyncReplicas
    this.#metadata = metadata
    const minInSyncReplicas = Math.max(before, this.#options.minInSyncReplicas)
    for (const [partition, state] of metadata.partitions.entries()) {
      if (!state.replicas.includes(this.id)) continue
      const nowMs = this.#clock.nowMs
      this.#roles[partition]?.leader?.setOptions({ ...this.#options, minInSyncReplicas }, nowMs)
      this.replicas[partition] ??= new SimReplica()
      this.#applyPartition(partition, state)
      this.#roles[partition]?.leader?.setOptions(this.#options, nowMs)
    }
  }

  #applyPartition(partition: number, state: PartitionState): void {
    const role = this.#roles[partition]
    const nowMs = this.#clock.nowMs
    if (role !== undefined && state.leaderEpoch <= role.leaderEpoch) {
      if (role.leader === null || state.leaderEpoch < role.leaderEpoch) return
      role.leader.confirmed(state, nowMs)
      this.#watermarkMoved(partition, role)
      return
    }
    const replica = this.replicas[partition] as SimReplica
    const { leaderEpoch } = state
    const isLeader = state.leader === this.id
    const leader = isLeader ? this.#lead(state, replica) : null
    const next: Role = {
      leaderId: state.leader,
      leaderEpoch,
      leader,
      waiting: [],
      fetchToken: 0,
      fetchedMs: Number.NEGATIVE_INFINITY,
      proposalToken: 0,
      proposedMs: 0,
    }
    this.#roles[partition] = next
    if (leader === null) {
      if (state.leader > 0) this.#fetchSoon(partition, 0)
      return
    }
    journal(() => `broker ${this.id} leads partition ${partition} in ${leaderEpoch}`)
    this.#checker.onLeader(this, partition, leaderEpoch, replica)
    this.#watermarkMoved(partition, next)
    this.#written(partition, next)
  }

  #lead(state: PartitionState, replica: SimReplica): PartitionLeader {
    return new PartitionLeader({
      brokerId: this.id,
      leaderEpoch: state.leaderEpoch,
      partitionEpoch: state.partitionEpoch,
      replicas: state.replicas,
      inSyncReplicas: state.inSyncReplicas,
      logEndOffset: replica.logEndOffset,
      countedOffset: this.#countedOffset(replica),
      highWatermark: replica.highWatermark,
      options: this.#options,
      isEligible: (id, epoch) => this.#metadata?.active.get(id) === epoch,
      nowMs: this.#clock.nowMs,
    })
  }

  get #options(): PartitionLeaderOptions {
    return {
      lagMsMax: this.#plan.lagMsMax,
      minInSyncReplicas: this.#metadata?.minInSyncReplicas ?? this.#plan.minInSyncReplicas,
    }
  }

  // —— time and network ——

  #tick(): void {
    const nowMs = this.#clock.nowMs
    for (const [partition, role] of this.#roles.entries()) {
      if (role === undefined) continue
      if (role.leader === null) {
        const isLate = role.fetchToken === 0 || nowMs - role.fetchedMs > RETRY_MS
        if (role.leaderId > 0 && isLate) this.#fetch(partition, role)
        continue
      }
      role.leader.onTime(nowMs)
      this.#watermarkMoved(partition, role)
      if (role.proposalToken !== 0 && nowMs - role.proposedMs > RETRY_MS) {
        role.proposalToken = 0
        role.leader.proposalFailed()
      }
      this.#sendProposal(partition, role)
    }
  }

  #every(ms: number, run: () => void): void {
    const { life } = this
    const next = (): void => {
      if (life !== this.life) return
      if (!this.isPaused) run()
      this.#clock.after(ms, next)
    }
    next()
  }

  /** Runs `serve` at `to`, if it gets there, and `done` with what it gave here, if that does. */
  #call<T>(to: number, serve: () => T, done: (answer: T) => void): void {
    const { life } = this
    this.#links.send(this.id, to, () => {
      this.#cluster.at(to, () => {
        const answer = serve()
        this.#links.send(to, this.id, () => {
          if (life === this.life) this.input(() => done(answer))
        })
      })
    })
  }
}
