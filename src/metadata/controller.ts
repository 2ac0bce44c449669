/**
 * What the active controller decides, on the node that leads the quorum: who is a member, who is
 * alive, who is in sync, who leads. Pure: the shell brings requests and time, and proposes the
 * records that come back. It works on the image of what is committed and is never told whether a
 * proposal was taken: what was comes with the image, what was not is decided again.
 *
 * So a call and its proposal are one change: between the two nothing else may be applied. Answers
 * hold once their records are committed.
 *
 * What only it remembers is when brokers were heard (`broker-sessions.ts`); a new controller begins
 * with whole sessions for all of them but the node that led before it. To be made once this node
 * has applied everything that was committed before it led.
 */
import type { Uuid } from '../base/uuid.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { alterPartition } from './alter-partition.ts'
import type { BrokerRegistration } from './broker-registration.ts'
import {
  type BrokerSession,
  BrokerSessions,
  DEFAULT_SESSION_OPTIONS,
  type SessionOptions,
} from './broker-sessions.ts'
import { balanceLeaders } from './elect-leaders.ts'
import type { MetadataImage } from './image.ts'
import type { PartitionState } from './partition-rules.ts'
import type { PartitionShape } from './partition-shapes.ts'
import { completion } from './reassignment.ts'
import { type MetadataRecord, RULE_VERSION } from './records.ts'
import { type RegisterRequest, registerBroker } from './register-broker.ts'

export interface ControllerOptions extends SessionOptions {
  /** How often leaders are moved to preferred replicas; 0 for never. */
  readonly balanceIntervalMs: number
  /** Leaders that move in one step: each of them is a short stop for its clients. */
  readonly balanceStepMax: number
}

export const DEFAULT_CONTROLLER_OPTIONS: ControllerOptions = {
  ...DEFAULT_SESSION_OPTIONS,
  balanceIntervalMs: 300_000,
  balanceStepMax: 1000,
}

/** Between two steps of one balancing. */
const BALANCE_PAUSE_MS = 1000
/** In one step of `onTime`; each is a record with a few broker ids. */
const COMPLETIONS_MAX = 1000

export interface Registered {
  readonly errorCode: ErrorCode
  /** −1 when it was refused. */
  readonly brokerEpoch: number
  readonly records: readonly MetadataRecord[]
}

export interface HeartbeatRequest {
  readonly brokerId: number
  readonly brokerEpoch: number
  /** How much of the metadata the broker has applied, exclusive. */
  readonly metadataOffset: number
  /** It cannot lead for now. */
  readonly wantsFence: boolean
  readonly wantsShutdown: boolean
}

export interface HeartbeatAnswer {
  readonly errorCode: ErrorCode
  readonly isCaughtUp: boolean
  readonly isFenced: boolean
  readonly isDraining: boolean
  readonly mayShutDown: boolean
  readonly records: readonly MetadataRecord[]
}

export interface AlterPartitionsRequest {
  readonly brokerId: number
  readonly brokerEpoch: number
  /** Each partition at most once. */
  readonly partitions: readonly {
    readonly topicId: Uuid
    readonly partition: number
    readonly leaderEpoch: number
    readonly partitionEpoch: number
    readonly members: readonly { readonly brokerId: number; readonly brokerEpoch: number }[]
  }[]
}

export interface AlteredPartition {
  readonly topicId: Uuid
  readonly partition: number
  readonly errorCode: ErrorCode
  /**
   * As it is then, when it was taken. For a leader it holds from the moment that it has applied the
   * metadata up to there: options that changed before it come first.
   */
  readonly state: PartitionState | null
}

export class Controller {
  readonly #image: MetadataImage
  readonly #clusterId: Uuid
  readonly #committedOffset: () => number
  readonly #options: ControllerOptions
  readonly #sessions: BrokerSessions
  #nowMs: number
  #balanceMs: number

  constructor(parts: {
    readonly image: MetadataImage
    readonly clusterId: Uuid
    /** The offset, exclusive, that the image stands at. */
    readonly committedOffset: () => number
    readonly options?: Partial<ControllerOptions>
    readonly nowMs: number
  }) {
    this.#image = parts.image
    this.#clusterId = parts.clusterId
    this.#committedOffset = parts.committedOffset
    this.#options = { ...DEFAULT_CONTROLLER_OPTIONS, ...parts.options }
    this.#sessions = new BrokerSessions(this.#options, parts.nowMs)
    this.#nowMs = parts.nowMs
    this.#balanceMs = parts.nowMs + this.#options.balanceIntervalMs
    this.#watch()
  }

  // —— brokers ——

  register(request: RegisterRequest, nowMs: number): Registered {
    this.#advance(nowMs)
    const isAlive = (broker: BrokerRegistration): boolean => {
      const session = this.#sessions.get(broker)
      return session !== undefined && !this.#sessions.isOver(session)
    }
    const result = registerBroker(this.#image, request, { clusterId: this.#clusterId, isAlive })
    if (typeof result === 'number') return { errorCode: 0, brokerEpoch: result, records: [] }
    if ('refusal' in result) return { errorCode: result.refusal, brokerEpoch: -1, records: [] }
    // Until it is heard for the first time: nobody else may take its id meanwhile.
    this.#sessions.of({ id: result.brokerId, epoch: result.brokerEpoch })
    return { errorCode: 0, brokerEpoch: result.brokerEpoch, records: [result] }
  }

  heartbeat(request: HeartbeatRequest, nowMs: number): HeartbeatAnswer {
    this.#advance(nowMs)
    const broker = this.#image.brokers.get(request.brokerId)
    if (broker === undefined) return unheard(ErrorCode.BROKER_ID_NOT_REGISTERED)
    if (broker.epoch !== request.brokerEpoch) return unheard(ErrorCode.STALE_BROKER_EPOCH)
    const session = this.#sessions.of(broker)
    this.#sessions.heard(session, request.metadataOffset)
    // Whoever is fenced has to learn it, and all that was decided meanwhile, before it leads again.
    session.catchUpOffset = broker.isFenced
      ? (session.catchUpOffset ?? this.#committedOffset())
      : null
    const isCaughtUp = request.metadataOffset >= (session.catchUpOffset ?? 0)
    if (request.wantsShutdown || broker.isDraining) {
      return { ...this.#drain(broker, session), errorCode: ErrorCode.NONE, isCaughtUp }
    }
    const { isFenced } = broker
    const mayLead = isCaughtUp && !request.wantsFence
    const answer = { errorCode: ErrorCode.NONE, isCaughtUp, isDraining: false, mayShutDown: false }
    if (isFenced && mayLead) {
      return { ...answer, isFenced: false, records: [brokerEvent('broker-unfenced', broker)] }
    }
    if (!isFenced && request.wantsFence) {
      session.catchUpOffset = null
      return { ...answer, isFenced: true, records: [brokerEvent('broker-fenced', broker)] }
    }
    return { ...answer, isFenced, records: [] }
  }

  /** A connection of a broker broke. No proof of anything: see `broker-sessions.ts`. */
  brokerConnectionLost(brokerId: number, nowMs: number): void {
    this.#advance(nowMs)
    const broker = this.#image.brokers.get(brokerId)
    if (broker !== undefined) this.#sessions.connectionLost(broker)
  }

  /**
   * The node that led the quorum before is a broker as well. As the leader it was heard last at
   * `heardMs`; `lostMs` is when its connection broke, or its silence was noticed.
   */
  succeeds(brokerId: number, heardMs: number, lostMs: number): void {
    const broker = this.#image.brokers.get(brokerId)
    if (broker !== undefined) this.#sessions.succeeds(broker, heardMs, lostMs)
  }

  /** Takes a broker out of the cluster for good; it must have stopped. */
  unregister(brokerId: number, nowMs: number): Registered {
    this.#advance(nowMs)
    const broker = this.#image.brokers.get(brokerId)
    const refused = (errorCode: ErrorCode): Registered => {
      return { errorCode, brokerEpoch: -1, records: [] }
    }
    if (broker === undefined) return refused(ErrorCode.BROKER_ID_NOT_REGISTERED)
    if (!broker.isFenced) return refused(ErrorCode.INVALID_REQUEST)
    const records = [brokerEvent('broker-unregistered', broker)]
    return { errorCode: ErrorCode.NONE, brokerEpoch: broker.epoch, records }
  }

  // —— partitions ——

  /** What leaders propose about who is in sync with them. A wrong broker epoch refuses all. */
  alterPartitions(request: AlterPartitionsRequest): {
    errorCode: ErrorCode
    records: MetadataRecord[]
    results: AlteredPartition[]
  } {
    const { brokerId, brokerEpoch } = request
    const records: MetadataRecord[] = []
    if (this.#image.brokers.get(brokerId)?.epoch !== brokerEpoch) {
      return { errorCode: ErrorCode.STALE_BROKER_EPOCH, records, results: [] }
    }
    const seen = new Set<number>()
    const results = request.partitions.map(
      ({ topicId, partition, ...proposal }): AlteredPartition => {
        const refuse = (errorCode: ErrorCode): AlteredPartition => {
          return { topicId, partition, errorCode, state: null }
        }
        if (!this.#image.topicsById.has(topicId)) return refuse(ErrorCode.UNKNOWN_TOPIC_ID)
        const handle = this.#image.handleOf(topicId, partition)
        if (handle === undefined) return refuse(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        if (seen.has(handle)) return refuse(ErrorCode.INVALID_REQUEST)
        seen.add(handle)
        const before = this.#image.partitions.state(handle)
        const state = alterPartition(
          before,
          { brokerId, brokerEpoch, ...proposal },
          {
            ...this.#image.context(handle),
            brokerEpochOf: (id) => this.#image.brokers.get(id)?.epoch ?? -1,
          },
        )
        if (typeof state === 'number') return refuse(state)
        if (state !== before) {
          const { inSyncReplicas } = state
          const named = { topicId, partition, inSyncReplicas, ruleVersion: RULE_VERSION }
          records.push({ type: 'partition-altered', ...named })
        }
        records.push(...completion(this.#image, handle, state))
        return { topicId, partition, errorCode: ErrorCode.NONE, state }
      },
    )
    return { errorCode: ErrorCode.NONE, records, results }
  }

  // —— time ——

  /** To be called at `nextDeadlineMs`: fences who is not heard, balances leaders, ends moves. */
  onTime(nowMs: number): MetadataRecord[] {
    this.#advance(nowMs)
    this.#watch()
    const records: MetadataRecord[] = []
    for (const broker of this.#image.brokers.values()) {
      if (broker.isFenced) continue
      const session = this.#sessions.of(broker)
      if (!this.#sessions.isOver(session)) continue
      session.catchUpOffset = null
      records.push(brokerEvent('broker-fenced', broker))
    }
    // What else there is to do is decided on what that leaves behind.
    if (records.length > 0) return records
    for (const handle of this.#image.partitions.reassignments.keys()) {
      if (records.length >= COMPLETIONS_MAX) return records
      records.push(...completion(this.#image, handle))
    }
    return records.length > 0 ? records : this.#balance()
  }

  /** Never far away: time in which nobody called counts as one in which it stood still. */
  nextDeadlineMs(): number {
    let next = this.#nowMs + this.#options.heartbeatIntervalMs
    for (const broker of this.#image.brokers.values()) {
      const session = broker.isFenced ? undefined : this.#sessions.get(broker)
      if (session !== undefined) next = Math.min(next, this.#sessions.deadlineMs(session))
    }
    return next
  }

  // —— inside ——

  #advance(nowMs: number): void {
    this.#nowMs = nowMs
    this.#sessions.advance(nowMs)
  }

  /** Whoever may lead has a session from the moment that this is noticed. */
  #watch(): void {
    for (const broker of this.#image.brokers.values()) {
      if (!broker.isFenced) this.#sessions.of(broker)
    }
  }

  /** A broker that stops in order: its leaders move, the others learn of it, it is fenced, goes. */
  #drain(
    broker: BrokerRegistration,
    session: BrokerSession,
  ): Omit<HeartbeatAnswer, 'errorCode' | 'isCaughtUp'> {
    if (broker.isFenced) {
      return { isFenced: true, isDraining: broker.isDraining, mayShutDown: true, records: [] }
    }
    const draining = { isFenced: false, isDraining: true, mayShutDown: false }
    // Again, when others have caught up since.
    const isDue =
      !broker.isDraining || this.#image.partitions.countOf(movable(this.#image, broker)) > 0
    if (isDue) {
      session.drainedOffset = null
      return { ...draining, records: [brokerEvent('broker-draining', broker)] }
    }
    session.drainedOffset ??= this.#committedOffset()
    if (!this.#isKnown(session.drainedOffset)) return { ...draining, records: [] }
    const records = [brokerEvent('broker-fenced', broker)]
    return { isFenced: true, isDraining: true, mayShutDown: true, records }
  }

  /** Whether every broker that leads or follows has applied so much of the metadata. */
  #isKnown(offset: number): boolean {
    for (const broker of this.#image.brokers.values()) {
      if (!this.#image.isActive(broker.id)) continue
      const session = this.#sessions.get(broker)
      if (session === undefined || session.metadataOffset < offset) return false
    }
    return true
  }

  #balance(): MetadataRecord[] {
    const { balanceIntervalMs, balanceStepMax } = this.#options
    if (balanceIntervalMs === 0 || this.#nowMs < this.#balanceMs) return []
    const records = balanceLeaders(this.#image, balanceStepMax)
    const moved = records.reduce((sum, { partitions }) => sum + partitions.length, 0)
    const pauseMs = moved < balanceStepMax ? balanceIntervalMs : BALANCE_PAUSE_MS
    this.#balanceMs = this.#nowMs + pauseMs
    return records
  }
}

/** What the broker leads and others could. */
function movable(
  image: MetadataImage,
  broker: BrokerRegistration,
): (shape: PartitionShape) => boolean {
  return ({ leader, inSyncReplicas }) =>
    leader === broker.id && inSyncReplicas.some((id) => image.isActive(id))
}

function brokerEvent(
  type: 'broker-fenced' | 'broker-unfenced' | 'broker-draining' | 'broker-unregistered',
  { id: brokerId, epoch: brokerEpoch }: BrokerRegistration,
): MetadataRecord {
  return { type, brokerId, brokerEpoch, ruleVersion: RULE_VERSION }
}

function unheard(errorCode: ErrorCode): HeartbeatAnswer {
  const state = { isCaughtUp: false, isFenced: true, isDraining: false, mayShutDown: false }
  return { errorCode, ...state, records: [] }
}
